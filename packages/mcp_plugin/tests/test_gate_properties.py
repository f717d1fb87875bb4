"""No input passes a tool without its scopes, and none crashes the gate."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deputize_mcp.body import Malformed, Operation, parse_operation
from deputize_mcp.catalogue import Catalogue, Unavailable
from deputize_mcp.routing import check_routing, decode_name

Guarded = Any
SECRET = "write"
QUICK = settings(max_examples=120, deadline=None)
# The guard keeps nothing between requests that could differ for the next example; what was seen is cleared.
SHARED = settings(QUICK, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])

names = st.sampled_from(
    ["read"] * 6 + [SECRET] * 3 + ["WRITE", "wr\u0131te", "", "write ", "write\u0000", 7, None, ["write"]]
)
methods = st.sampled_from(
    ["tools/call"] * 8 + ["ping"] * 2 + ["Tools/Call", "tools/call ", "notifications/x", "resources/read", 3]
)
keys = st.sampled_from(
    ["jsonrpc", "id", "method", "Method", "params", "Params", "param\u017f", "name", "Name", "uri", "x"]
)
scalars = st.one_of(names, methods, st.just("2.0"), st.integers(), st.booleans(), st.none())


def members(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object as a list of pairs, so that a member may stand twice."""
    return st.lists(st.tuples(keys, inner), max_size=4).map(Pairs)


class Pairs(list[Any]):
    """Marks a list that is written as an object."""


values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | members(inner), max_leaves=8)


def written(value: Any) -> str:
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{written(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(item) for item in value) + "]"
    return json.dumps(value)


TRICKS = ["twin name", "cased name", "twin top", "cased top", "batch", "utf-16", "utf-8-sig", "cut", "odd", "plain"]
TOP_TWINS = {"method": "Method", "params": "param\u017f", "id": "ID", "jsonrpc": "JSONRPC"}


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A call, and one trick at a time that may hide another tool in it."""
    trick = draw(st.sampled_from(TRICKS))
    tools = st.sampled_from(["read", SECRET])
    params = [("name", draw(names if trick == "odd" else tools))]
    if trick in {"twin name", "cased name"}:
        params.append(("name" if trick == "twin name" else draw(st.sampled_from(["Name", "NAME"])), draw(tools)))
    whole: list[tuple[str, Any]] = [
        ("jsonrpc", "2.0"),
        ("id", draw(values) if trick == "odd" else 1),
        ("method", draw(methods) if trick in {"odd", "twin top", "cased top"} else "tools/call"),
        ("params", Pairs(draw(st.permutations(params)))),
    ]
    if trick in {"twin top", "cased top"}:
        key = draw(st.sampled_from(sorted(TOP_TWINS)))
        second = {"method": methods, "params": tools.map(lambda name: Pairs([("name", name)]))}.get(key, values)
        whole.append((key if trick == "twin top" else TOP_TWINS[key], draw(second)))
    if trick == "odd":
        whole.append((draw(keys), draw(values)))
    message = Pairs(draw(st.permutations(whole)))
    text = written([message] if trick == "batch" else message)
    raw = text.encode(trick if trick in {"utf-16", "utf-8-sig"} else "utf-8", "surrogatepass")
    return raw[: draw(st.integers(0, len(raw)))] if trick == "cut" else raw


def readings(raw: bytes) -> Iterator[Any]:
    """How servers might read a body: the last or the first of twins, members without regard to case."""

    def first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return dict(reversed(pairs))

    def folded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name.casefold(): value for name, value in pairs}

    for hook in (dict, first, folded):
        try:
            yield json.loads(raw, object_pairs_hook=hook)
        except (ValueError, RecursionError):
            continue


def called(raw: bytes) -> set[Any]:
    """Every tool that some reading of the body calls."""
    found: set[Any] = set()
    for reading in readings(raw):
        for message in reading if isinstance(reading, list) else [reading]:
            params = message.get("params") if isinstance(message, dict) else None
            if isinstance(params, dict) and message.get("method") == "tools/call":
                name = params.get("name")
                found.add(name if isinstance(name, str) else None)
    return found


@pytest.mark.requirement("I10")
@SHARED
@given(raw=bodies(), header=st.sampled_from([None, "read", SECRET, "=?base64?d3JpdGU=?="]))
def test_no_body_passes_a_tool_without_its_scopes(
    raw: bytes, header: str | None, guarded: Callable[..., Guarded], issuer: Any
) -> None:
    world = guarded(unlisted="base")
    world.application.seen.clear()
    headers = [("authorization", f"Bearer {issuer.token(['crm:read'])}")]
    if header is not None:
        headers.append(("mcp-name", header))
    answer = asyncio.run(world.send_raw(raw, headers))
    assert answer.status_code in {200, 400, 403}
    for _, body in world.application.seen:
        assert body == raw
        assert SECRET not in called(body)


@QUICK
@given(
    raw=st.one_of(bodies(), st.binary(max_size=200), st.text(max_size=100).map(lambda t: t.encode("utf-8", "replace")))
)
def test_reading_a_body_ends_in_an_operation_or_in_our_refusal(raw: bytes) -> None:
    try:
        operation = parse_operation(raw)
    except Malformed:
        return
    assert isinstance(operation, Operation)
    assert all(isinstance(name, str) and name for name in operation.names)


@QUICK
@given(name=st.text(max_size=40), value=st.text(max_size=60))
def test_a_routing_header_never_makes_another_operation(name: str, value: str) -> None:
    operation = Operation(method="tools/call", request_id=1, kind="tool", names=(name,))
    try:
        check_routing([(b"mcp-name", value.encode("latin-1", "replace"))], operation)
    except Malformed:
        return
    assert decode_name(value.encode("latin-1", "replace").decode("latin-1").strip()) == name


scope_sets = st.frozensets(st.sampled_from(["a", "b", "c", "d"]), max_size=3)


@QUICK
@given(
    tools=st.dictionaries(st.sampled_from(["t1", "t2"]), scope_sets),
    base=scope_sets,
    unlisted=st.sampled_from(["deny", "base"]),
    names=st.lists(st.sampled_from(["t1", "t2", "t3"]), min_size=1, max_size=1),
)
def test_an_operation_needs_the_base_scopes_and_all_of_its_own(
    tools: dict[str, frozenset[str]], base: frozenset[str], unlisted: str, names: list[str]
) -> None:
    catalogue = Catalogue(
        tools={name: sorted(scopes) for name, scopes in tools.items()}, base_scopes=sorted(base), unlisted=unlisted
    )
    operation = Operation(method="tools/call", kind="tool", names=tuple(names))
    try:
        needed = catalogue.scopes_for(operation)
    except Unavailable:
        assert unlisted == "deny"
        assert names[0] not in tools
    else:
        assert needed == base | tools.get(names[0], frozenset())
        assert needed <= set(catalogue.all_scopes)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("plain", "plain"),
        ("=?base64?cGzDpA==?=", "plä"),
        ("=?base64??=", ""),
        ("=?base64?cGzDpB==?=", None),
        ("=?base64?!?=", None),
        ("=?base64?/w==?=", None),
        ("=?base64?=", "=?base64?="),
    ],
)
def test_an_encoded_name_has_one_spelling(value: str, name: str | None) -> None:
    assert decode_name(value) == name
