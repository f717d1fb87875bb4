from collections.abc import Callable
from typing import Any

import cedarpy
import pytest

from deputize.model.decision import Question
from deputize.policy import CedarEngine

Ask = Callable[..., Question]
Build = Callable[..., CedarEngine]
NOW = 1_750_000_000
TOML = """
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read"]
[agents.worker]
use = { crm = ["crm:read"] }
"""


def test_an_answer_that_was_kept_is_the_one_that_was_given(
    engine_of: Build, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    evaluate = cedarpy.is_authorized_batch

    def counted(*given: Any) -> Any:
        asked.append(1)
        return evaluate(*given)

    monkeypatch.setattr(cedarpy, "is_authorized_batch", counted)
    engine = engine_of(TOML)
    first = engine.decide(ask("use", "worker", "crm:read"))
    assert engine.decide(ask("use", "worker", "crm:read", ttl=5, time=NOW + 9)) == first
    assert len(asked) == 1
    engine.forget()
    assert engine.decide(ask("use", "worker", "crm:read")) == first
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("condition", "permitted", "denied"),
    [
        ('context.time < datetime("2025-06-15T15:06:41Z")', {"time": NOW}, {"time": NOW + 60}),
        ("context.ttl > 100", {"ttl": 200}, {"ttl": 100}),
        ("context.bound", {"bound": True}, {"bound": False}),
        ('context has user && context.user == User::"local|alice"', {"user": "local|alice"}, {"user": "local|bob"}),
        ('context has tool && context.tool == "a"', {"tool": "a"}, {"tool": "b"}),
    ],
)
def test_an_answer_is_kept_for_what_its_policies_read_and_no_more(
    engine_of: Build, ask: Ask, condition: str, permitted: dict[str, object], denied: dict[str, object]
) -> None:
    forbid = f'@id("other") forbid (principal, action == Action::"use", resource) unless {{ {condition} }};'
    engine = engine_of(TOML, forbid)
    for _ in range(2):
        assert engine.decide(ask("use", "worker", "crm:read", **permitted)).allowed
        refused = engine.decide(ask("use", "worker", "crm:read", **denied))
        assert (refused.allowed, refused.policies) == (False, ("other",))


def test_an_answer_for_one_users_groups_is_not_given_to_another(engine_of: Build, ask: Ask) -> None:
    forbid = '@id("banned") forbid (principal in Group::"banned", action == Action::"grant", resource);'
    engine = engine_of(TOML, forbid)
    for _ in range(2):
        assert engine.decide(ask("grant", "local|alice", "crm:read", agent="worker")).allowed
        refused = engine.decide(ask("grant", "local|alice", "crm:read", agent="worker", groups=("banned",)))
        assert refused.policies == ("banned",)


def test_a_malformed_context_is_refused_also_where_an_answer_is_kept(engine_of: Build, ask: Ask) -> None:
    engine = engine_of(TOML)
    assert engine.decide(ask("use", "worker", "crm:read")).allowed
    assert not engine.decide(ask("use", "worker", "crm:read", depth=True)).allowed
    assert not engine.decide(ask("use", "worker", "crm:read", without=("time",))).allowed
