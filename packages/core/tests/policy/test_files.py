"""Files of Cedar: what is refused, and that each refusal names file and line."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deputize.model.failure import ConfigurationError
from deputize.model.rules import PolicyFile
from deputize.policy import CedarEngine
from deputize.policy.statements import split

ANY = "permit (principal, action, resource)"
GOOD = f'@id("good") {ANY};\n'
TOML = '[agents.a]\nopen = true\nuse = { local = ["t"] }\n'
Build = Callable[..., CedarEngine]
_NOTHING = re.compile(r"//[^\n]*|\s")  # what may stand between statements

BROKEN = {
    "a stray brace": (f'{GOOD}\n@id("b") permit (principal, action, resource)}};', 3),
    "no semicolon at the end": (f'{GOOD}@id("b") {ANY}', 2),
    "an empty statement": (f"{GOOD}\n;\n", 3),
    "a string without end": (f'{GOOD}\n\n@id("b") {ANY} when {{ "x; == 1 }};\n', 4),
    "a control character": (f'{GOOD}@id("b")\0 {ANY};', 2),
    "a block comment": (f'{GOOD}/* old; */ @id("b") {ANY};', 2),
    "no id": (f"{GOOD}// why\n\n{ANY};", 4),
    "an empty id": (f'{GOOD}@id("") {ANY};', 2),
    "an id with a space": (f'{GOOD}@id("a b") {ANY};', 2),
    "an id with a quote": (f'{GOOD}@id("a\\"b") {ANY};', 2),
    "two ids": (f'{GOOD}@id("a") @id("b") {ANY};', 2),
    "the id of the implicit deny": (f'{GOOD}@id("default-deny") {ANY};', 2),
    "a template": (f'{GOOD}\n@id("t") permit (principal == ?principal, action, resource);', 3),
    "a template of resources": (f'{GOOD}@id("t") permit (principal, action, resource in ?resource);', 2),
    "an id of the registry": (f'{GOOD}@id("agent.a.use") {ANY};', 2),
    "the same id twice": (f'{GOOD}\n\n@id("good") {ANY};', 4),
    "an unknown action": (f'{GOOD}@id("b") permit (principal, action == Action::"fly", resource);', 2),
    "an unknown type": (f'{GOOD}@id("b") permit (principal is Robot, action, resource);', 2),
    "an unknown attribute": (f'{GOOD}@id("b")\n{ANY}\nwhen {{ principal.password == "x" }};', 2),
    "an unknown member of the context": (f'{GOOD}@id("b") {ANY} when {{ context.chain == "x" }};', 2),
    "an optional member without has": (
        f'{GOOD}@id("b") permit (principal, action == Action::"use", resource) when {{ context.tool == "x" }};',
        2,
    ),
    "a condition that is no truth value": (f'{GOOD}@id("b") {ANY} when {{ 1 + true }};', 2),
    "brackets beyond reason": (f'{GOOD}@id("b") {ANY} when {{ {"(" * 20_000}true{")" * 20_000} }};', 2),
    "an endless chain": (f'{GOOD}@id("b") {ANY} when {{ true{"&&true" * 20_000} }};', 2),
    "a chain deeper than the engine reads": (f'{GOOD}@id("b") {ANY} when {{ true{"&&true" * 200} }};', 2),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.requirement("I10")
def test_a_bad_file_stops_the_start_with_file_and_line(engine_of: Build, name: str) -> None:
    text, line = BROKEN[name]
    with pytest.raises(ConfigurationError) as caught:
        engine_of(TOML, '@id("first") ' + ANY + ";", text)
    assert (caught.value.path, caught.value.line) == ("2.cedar", line)
    assert len(str(caught.value)) < 300


def test_an_id_must_be_unique_over_all_files(engine_of: Build) -> None:
    with pytest.raises(ConfigurationError) as caught:
        engine_of(TOML, GOOD, f"\n{GOOD}")
    assert (caught.value.path, caught.value.line) == ("2.cedar", 2)


@pytest.mark.parametrize("text", ["", "\n\n", "// nothing; here\n", "// no newline at the end"])
def test_a_file_without_policies_is_fine(engine_of: Build, text: str) -> None:
    assert engine_of(TOML, text).policies == engine_of(TOML).policies


def test_semicolons_in_strings_and_comments_split_nothing(engine_of: Build) -> None:
    text = f"""// first; comment
@id("one") {ANY} when {{ resource.name == "a;b\\"; // no comment" }}; // "quote; in a comment
// @id("dead") {ANY};

@id("two") // annotated;
{ANY};"""
    engine = engine_of(TOML, text)
    assert engine.policies[-2:] == ("one", "two")
    assert [engine.location("one"), engine.location("two")] == [("1.cedar", 2), ("1.cedar", 5)]
    assert str(engine.policy_text("two")).startswith('@id("two") // annotated;')


@given(st.lists(st.text(alphabet="a;\"'\\/\n {}é", max_size=12), min_size=1, max_size=5))
def test_splitting_loses_nothing_and_never_fails(parts: list[str]) -> None:
    text = ";".join(parts)
    statements = split(PolicyFile(path="x", text=text))
    starts = [0, *(place + 1 for place, letter in enumerate(text) if letter == "\n")]
    at = 0
    for statement in statements:
        begin = text.index(statement.text, max(at, starts[statement.line - 1]))
        assert statement.line == text.count("\n", 0, begin) + 1
        assert not _NOTHING.sub("", text[at:begin])
        at = begin + len(statement.text)
    assert not _NOTHING.sub("", text[at:])


def test_the_registrys_policies_are_located_at_their_agent(engine_of: Build) -> None:
    engine = engine_of(TOML)
    path, line = engine.location("agent.a.use") or ("", 0)
    assert (path.rpartition("/")[2], line) == ("deputize.toml", 3)
    assert engine.location("users.unrestricted") is None
    assert engine.location("default-deny") is None
    assert engine.policy_text("default-deny") is None
