"""From a text of deputize.toml to an engine, and questions with a full context."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deputize.config import Configuration, load
from deputize.model.decision import Action, ContextValue, Question
from deputize.model.resource import Right
from deputize.model.rules import PolicyFile
from deputize.policy import CedarEngine, compile_policy

CRM = "https://crm.example/mcp"
AGENT = "spiffe://example.org/agent/"
NOW = 1_750_000_000
COMMON: dict[str, ContextValue] = {
    "mode": "on_behalf_of",
    "user": "local|alice",
    "evidence": "asserted",
    "attestation": "in_process",
    "depth": 0,
    "ttl": 3600,
    "time": NOW,
}
EXTRA: dict[Action, dict[str, ContextValue]] = {"open": {}, "delegate": {}, "use": {"bound": False}}


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Configuration]:
    def build(text: str) -> Configuration:
        path = tmp_path / "deputize.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ={})

    return build


@pytest.fixture
def engine_of(configured: Callable[[str], Configuration]) -> Callable[..., CedarEngine]:
    def build(text: str, *policies: str) -> CedarEngine:
        made = configured('[authority]\ntrust_domain = "example.org"\n' + text)
        return compile_policy(
            made.registry,
            users=made.users,
            user_rules=made.user_rules,
            files=[PolicyFile(path=f"{number}.cedar", text=policy) for number, policy in enumerate(policies, start=1)],
            impersonation=made.impersonation,
            workloads=made.workloads,
        )

    return build


@pytest.fixture
def ask() -> Callable[..., Question]:
    """ask("use", "researcher", "crm:read", bound=True): agents by short name; `from_` is `from`."""

    def build(
        action: Action,
        principal: str,
        scope: str,
        *,
        resource: str = CRM,
        groups: tuple[str, ...] = (),
        without: tuple[str, ...] = (),
        **context: ContextValue,
    ) -> Question:
        named = {name.rstrip("_"): value for name, value in context.items()}
        for member in ("from", "to", "agent"):
            if member in named:
                named[member] = AGENT + str(named[member])
        base: dict[str, ContextValue]
        if action == "grant":
            base = {"agent": AGENT + "supervisor", "evidence": "asserted", "time": NOW}
        elif action == "impersonate":
            base = {
                "user": "okta|00u1",
                "reason": "INC-1",
                "grant": "writer.1",
                "attestation": "in_process",
                "ttl": 60,
                "time": NOW,
            }
        else:
            base = {**COMMON, **EXTRA[action]}
        full = {name: value for name, value in {**base, **named}.items() if name not in without}
        who = principal if action == "grant" else AGENT + principal
        return Question(action=action, principal=who, right=Right(resource, scope), context=full, groups=groups)

    return build
