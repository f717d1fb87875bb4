"""The digest names what decides: whatever can change a decision changes it, and nothing else does."""

from collections.abc import Callable

import pytest

from deputize.policy import CedarEngine

TOML = """
users = "unrestricted"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
[resources.crm.tools]
look = ["crm:read"]
[agents.a]
open = true
use = { crm = ["crm:read"] }
groups = ["g"]
[agents.b]
"""
POLICY = '@id("p") forbid (principal, action, resource) when { resource.name == "x" };'
Build = Callable[..., CedarEngine]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"unrestricted"', '"listed"'),
        ("open = true", "open = false"),
        ('use = { crm = ["crm:read"] }', 'use = { crm = ["crm:read", "crm:write"] }'),
        ('groups = ["g"]', 'groups = ["h"]'),
        ("[agents.b]", "[agents.c]"),
        ('look = ["crm:read"]', 'look = ["crm:write"]'),
        ('scopes = ["crm:read", "crm:write"]', 'scopes = ["crm:read", "crm:write"]\nbinding = "dpop"'),
        ("open = true", 'open = true\nsession_ttl = "5m"'),
    ],
)
def test_a_change_that_can_decide_changes_the_digest(engine_of: Build, old: str, new: str) -> None:
    assert old in TOML
    assert engine_of(TOML, POLICY).digest != engine_of(TOML.replace(old, new), POLICY).digest


def test_a_policy_is_part_of_the_digest(engine_of: Build) -> None:
    plain = engine_of(TOML).digest
    assert plain != engine_of(TOML, POLICY).digest
    assert engine_of(TOML, POLICY).digest != engine_of(TOML, POLICY.replace('"x"', '"y"')).digest
    assert engine_of(TOML, POLICY).digest != engine_of(TOML, POLICY.replace('"p"', '"q"')).digest


def test_layout_comments_and_order_are_not(engine_of: Build) -> None:
    moved = TOML.replace('["crm:read", "crm:write"]', '["crm:write", "crm:read"]').replace(
        "[agents.b]", "# b\n\n[agents.b]"
    )
    assert engine_of(TOML, POLICY).digest == engine_of(moved, f"// why\n{POLICY}\n").digest
    assert len(engine_of(TOML).digest) == 64
