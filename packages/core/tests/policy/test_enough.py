"""What a refusal says would be enough: the smallest line, and the line works."""

import re
from collections.abc import Callable

import pytest

from deputize.config import Configuration
from deputize.model.decision import Question
from deputize.policy import CedarEngine, compile_policy, enough

HEAD = '[authority]\ntrust_domain = "example.org"\n'
TOML = (
    HEAD
    + """[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
[agents.supervisor]
open = true
delegate = { crm = ["crm:read"] }
delegate_to = ["writer"]
[agents.researcher]
use = { crm = ["crm:read"], local = ["search"] }
[agents.writer]
use = { crm = ["crm:write"] }
[agents."team/odd"]
"""
)
LOCAL = "urn:deputize:tools"
Ask = Callable[..., Question]
Configured = Callable[[str], Configuration]
CASES = [
    (("use", "researcher", "crm:write", {}), 'agents.researcher.use.crm = ["crm:read", "crm:write"]', 10),
    (("use", "writer", "tool:search", {"resource": LOCAL}), 'agents.writer.use.local = ["search"]', 12),
    (("use", "team/odd", "crm:read", {}), 'agents."team/odd".use.crm = ["crm:read"]', 14),
    (("open", "researcher", "crm:read", {}), "agents.researcher.open = true", 10),
    (("open", "supervisor", "crm:write", {}), 'agents.supervisor.use.crm = ["crm:write"]', 6),
    (
        ("open", "researcher", "crm:read", {"from_": "supervisor"}),
        'agents.supervisor.delegate_to = ["researcher", "writer"]',
        6,
    ),
    (
        ("delegate", "supervisor", "crm:write", {"to": "writer"}),
        'agents.supervisor.delegate.crm = ["crm:read", "crm:write"]',
        6,
    ),
]


@pytest.mark.parametrize(("asked", "line", "number"), CASES)
def test_the_line_is_named_with_its_place_and_would_be_enough(
    configured: Configured, ask: Ask, asked: tuple[str, str, str, dict[str, str]], line: str, number: int
) -> None:
    made = configured(TOML)
    question = ask(*asked[:3], **asked[3])
    assert not compile_policy(made.registry, users=made.users).decide(question).allowed
    assert enough(question, made.registry) == f"{line}   in {made.path}:{number}"
    mended = configured(mend(TOML, line))
    assert compile_policy(mended.registry, users=mended.users).decide(question).allowed


def mend(text: str, line: str) -> str:
    """Put the line in place of what stood there, as its reader would."""
    key, value = line.split(" = ", 1)
    parts = re.findall(r'"[^"]+"|[^.]+', key)
    header, verb = f"[agents.{parts[1]}]\n", parts[2]
    head, _, tail = text.partition(header)
    body, bracket, rest = tail.partition("\n[")
    rows = [row for row in body.split("\n") if row and not row.startswith(f"{verb} =")]
    kept = {
        alias: scopes
        for row in body.split("\n")
        if row.startswith(f"{verb} = {{")
        for alias, scopes in re.findall(r"(\w+) = (\[[^\]]*\])", row)
    }
    if len(parts) > 3:
        kept[parts[3]] = value
        value = "{ " + ", ".join(f"{alias} = {scopes}" for alias, scopes in kept.items()) + " }"
    return head + header + "\n".join([*rows, f"{verb} = {value}"]) + "\n" + bracket + rest


def test_several_missing_lines_are_all_named(configured: Configured, ask: Ask) -> None:
    registry = configured(TOML).registry
    text = enough(ask("open", "writer", "crm:read", from_="researcher"), registry)
    assert 'agents.writer.use.crm = ["crm:read", "crm:write"]' in text
    assert 'agents.researcher.delegate_to = ["writer"]' in text


def test_a_right_that_does_not_exist_is_what_is_missing(configured: Configured, ask: Ask) -> None:
    registry = configured(TOML).registry
    assert 'resources.crm.scopes = ["crm:admin", "crm:read", "crm:write"]' in enough(
        ask("use", "writer", "crm:admin"), registry
    )
    assert "[resources.<alias>]" in enough(ask("use", "writer", "x", resource="https://x.example"), registry)
    assert 'use.local = ["shell"]' in enough(ask("use", "writer", "tool:shell", resource=LOCAL), registry)
    assert "[agents.nobody]" in enough(ask("use", "nobody", "crm:read"), registry)


def test_where_the_registry_permits_it_says_so(configured: Configured, ask: Ask) -> None:
    made = configured(TOML)
    engine: CedarEngine = compile_policy(made.registry, users=made.users)
    question = ask("use", "researcher", "crm:read")
    assert engine.decide(question).allowed
    assert "policy of your own" in enough(question, made.registry)


@pytest.mark.parametrize(
    ("action", "told", "words"),
    [
        ("grant", {"principal": "okta|x"}, ["[[users]]", 'alias = "okta"', '"unrestricted"']),
        ("impersonate", {"principal": "writer"}, ["[[impersonation]]", '"impersonate"']),
        ("open", {"principal": "writer", "mode": "self", "from_": "supervisor"}, ['mode == "self"']),
    ],
)
def test_what_no_line_of_the_registry_gives_is_said_in_words(
    configured: Configured, ask: Ask, action: str, told: dict[str, str], words: list[str]
) -> None:
    text = enough(ask(action, scope="crm:read", **told), configured(TOML).registry)
    assert all(word in text for word in words)
