"""Strings that break things, in every place that takes a string: only our errors, nothing told, records whole.

The strings are one public list; beside them stand those that this library would trip over.
"""
# ruff: noqa: ARG005  # the places in the tables below are called alike, whatever they need

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from deputize import Mode
from deputize.audit.record import check
from deputize.model.failure import DeputizeError
from deputize.model.limits import Limits
from deputize.model.registry import Registry
from deputize.model.request import AccessRequest, CallRequest
from deputize.model.resource import Right
from deputize.testing import vectors

AGENT = "spiffe://example.org/agent/"
OWN = [
    "\ud800",
    "a\ud800b",
    "\udfff" * 300,
    "\x00",
    "a\x00b",
    "\x1b[2J\x1b[31m",
    "line\r\nsession.opened permitted",
    "\u202edrowssap",
    "\u2028\u2029\u0085",
    "reader\u200b",
    "rеader",  # noqa: RUF001  # a Cyrillic letter, on purpose
    "READER",
    "reader ",
    "..",
    "../reader",
    "reader/../writer",
    "a/b/c",
    "reader\n",
    '"]\n[agents.evil]\nopen = true\n#',
    "{{constructor}}",
    "%s%n%x",
    "x" * 5000,
    "é" * 300,
    "spiffe://example.org/agent/reader\x00",
    "local|alice|bob",
    "1e400",
    "'; drop table records; --",
]


@pytest.fixture(scope="module")
def strings() -> list[str]:
    listed: list[str] = json.loads((vectors("naughty_strings") / "blns.json").read_text("utf-8"))
    assert len(listed) > 500
    return [*listed, *OWN]


Place = Callable[[Any, Any, str], object]
PLACES: dict[str, Place] = {
    "agent": lambda firm, child, s: firm.authority.session(agent=s, user="alice"),
    "agent of its own": lambda firm, child, s: firm.authority.session(agent=s, mode=Mode.SELF),
    "user": lambda firm, child, s: firm.root(user=s),
    "key of a session": lambda firm, child, s: firm.root(key=s),
    "scope of a session": lambda firm, child, s: firm.root(scopes=[s]),
    "resource of a session": lambda firm, child, s: firm.root(resources=[s]),
    "hand-off": lambda firm, child, s: child.parent.delegate(s),
    "scope of a hand-off": lambda firm, child, s: child.parent.delegate("reader", scopes=[s]),
    "resource": lambda firm, child, s: child.access(s, ["crm:read"]),
    "scope": lambda firm, child, s: child.access("crm", [s]),
    "tool of an access": lambda firm, child, s: child.access("crm", ["crm:read"], tool=s),
    "key of an access": lambda firm, child, s: child.access("crm", ["crm:read"], key=s),
    "reason": lambda firm, child, s: child.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, reason=s),
    "user to appear as": lambda firm, child, s: child.access(
        "crm", ["crm:read"], mode=Mode.IMPERSONATION, user=s, reason="x"
    ),
    "tool": lambda firm, child, s: child.tool_call(s).start(),
    "tool of a resource": lambda firm, child, s: child.tool_call(s, resource="crm").start(),
    "tool that hands on": lambda firm, child, s: child.tool_call(s, to=["writer"]).start(),
    "tool's receiver": lambda firm, child, s: child.tool_call("transfer", to=[s]).start(),
    "session token": lambda firm, child, s: firm.access("reader", s),
    "actor token": lambda firm, child, s: firm.hand_off("reader", child.present(), s, "writer"),
    "right": lambda firm, child, s: firm.engine.access(
        AGENT + "reader",
        AccessRequest(
            subject_token=child.present(), resource=s, scopes=frozenset({s}), onward=frozenset({Right(s, s)})
        ),
    ),
    "right of a call": lambda firm, child, s: firm.engine.permit_call(
        AGENT + "reader",
        CallRequest(subject_token=child.present(), tool=s, resource="local", scopes=frozenset({s}), call_id=s),
    ),
    "session to revoke": lambda firm, child, s: firm.authority.revoke(session=s, reason="x"),
    "user to revoke": lambda firm, child, s: firm.authority.revoke(user=f"{s}!", reason="x"),
    "agent to revoke": lambda firm, child, s: firm.authority.revoke(agent=s, reason="x"),
    "key to revoke": lambda firm, child, s: firm.authority.revoke(key=s, reason="x"),
    "session to find": lambda firm, child, s: firm.authority.get_session(s),
    "search": lambda firm, child, s: firm.records(reference=s, tool=s, user=s, session=s, call_id=s),
    "introspection": lambda firm, child, s: firm.authority.introspect(s),
    "explanation": lambda firm, child, s: firm.authority.explain(chain=["boss", s], tool=s, user=s),
}
IDS = {
    "agent",
    "user",
    "key of a session",
    "scope of a session",
    "hand-off",
    "resource",
    "scope",
    "tool",
    "tool that hands on",
    "reason",
}
# Free text and names of the caller's own: taken as they are, as data.
FREE: dict[str, Place] = {
    "task": lambda firm, child, s: child.delegate("writer", task=s[:4096]),
    "call id": lambda firm, child, s: child.tool_call("search", call_id=s).start().finish(),
    "arguments": lambda firm, child, s: child.tool_call("search", args={s: s, "n": [s]}).start().finish(),
    "note": lambda firm, child, s: child.note(s or "empty", tool=s, call_id=s, detail={s: [s]}),
}


def whole(firm: Any) -> None:
    """Every record is what its leaf says, in order, and readable."""
    store = firm.engine.parts.store
    records = store.read(lambda tx: list(tx.records()))
    assert [record.seq for record in records] == list(range(len(records)))
    for record in records:
        check(record)
    for plain in firm.authority.audit:
        json.dumps(plain)


@pytest.mark.requirement("I10")
@pytest.mark.requirement("BCP-04")
@pytest.mark.parametrize("place", PLACES)
def test_in_every_id_they_are_refused_or_mean_only_themselves(firm: Any, strings: list[str], place: str) -> None:
    child = firm.root().delegate("reader")
    use = PLACES[place]
    outcomes = {"answered": 0, "refused": 0}
    for text in strings if place in IDS else [*strings[::5], *OWN]:
        before = len(firm.authority.audit)
        try:
            use(firm, child, text)
            outcomes["answered"] += 1
        except DeputizeError as error:
            outcomes["refused"] += 1
            told = str(error)
            told.encode("utf-8")
            assert all(line.isprintable() for line in told.split("\n"))
            assert len(told) < 1000
            if error.reference is not None:
                assert len(firm.records(reference=error.reference)) == 1  # noqa: PT017  # it is recorded, besides
                assert len(firm.authority.audit) == before + 1
    assert outcomes["refused"] or place in {"search", "introspection", "reason", "tool of an access"}
    assert child.state == "open" or place in {"agent to revoke", "user to revoke"}
    whole(firm)
    str(firm.root(user="bob").tree()).encode("utf-8")
    assert {session.agent for session in firm.authority.sessions()} <= {AGENT + n for n in ("boss", "reader", "writer")}


@pytest.mark.requirement("I10")
@pytest.mark.parametrize("kind", ["firm", "filed"])
def test_what_no_row_can_hold_is_refused_by_an_error_of_ours(kind: str, request: Any, broken: Any) -> None:
    """SQLite's driver raises errors of Python's for lone surrogates and for numbers of more than 64 bits."""
    from deputize.store import connection

    firm = request.getfixturevalue(kind)
    child = firm.root().delegate("reader")
    uses = [PLACES[place] for place in ("session to revoke", "search", "key to revoke", "resource", "tool", "hand-off")]
    uses += [
        lambda firm, child, s: firm.authority.revoke(token=s, reason="x"),
        lambda firm, child, s: firm.authority.revoke(token="x", reason=s),
        lambda firm, child, s: firm.records(limit=2**70),
    ]
    with broken(connection, "UNSTORABLE", ()), pytest.raises(UnicodeEncodeError):
        uses[0](firm, child, "\ud800")
    for use in uses:
        with pytest.raises(DeputizeError):
            use(firm, child, "\ud800")
    whole(firm)
    assert child.access("crm", ["crm:read"])


@pytest.mark.requirement("I10")
@pytest.mark.requirement("I14")
@pytest.mark.parametrize("place", FREE)
def test_as_free_text_they_are_recorded_as_data(firm: Any, strings: list[str], place: str) -> None:
    child = firm.root().delegate("reader")
    parts = firm.engine.parts
    limits = Limits(children_max=10_000, tree_max=10_000)
    parts.rules = replace(parts.rules, configuration=replace(parts.rules.configuration, limits=limits))
    for text in strings if place in {"task", "call id"} else [*strings[::5], *OWN]:
        FREE[place](firm, child, text)
    whole(firm)
    drawn = str(child.tree())
    drawn.encode("utf-8")
    assert all(line.isprintable() for line in drawn.split("\n"))


@pytest.mark.requirement("I10")
def test_what_a_model_wrote_moves_no_cursor_and_makes_no_line_where_people_read_it(filed: Any, broken: Any) -> None:
    """Log injection: the tree, the command line's listings, and its errors."""
    from typer.testing import CliRunner

    from deputize.authority import tree
    from deputize.cli.main import app

    child = filed.root().delegate("reader")
    for text in OWN:
        for use in (FREE["note"], FREE["call id"], PLACES["tool"], PLACES["tool that hands on"], PLACES["hand-off"]):
            with suppress(DeputizeError):
                use(filed, child, text)
    config = ["--config", str(filed.path)]

    def shown(*arguments: str) -> list[str]:
        result = CliRunner().invoke(app, [*arguments, *config])
        assert isinstance(result.exception, DeputizeError | SystemExit | None)
        return str(result.output).splitlines()

    with broken(tree, "plain", str):
        assert not all(line.isprintable() for line in str(child.tree()).split("\n"))
    count = len(filed.authority.audit)
    assert len(shown("audit", "show")) == count
    for lines in (shown("audit", "show"), shown("session", "tree", child.root), shown("session", "list")):
        assert len(lines) > 1
        assert all(line.isprintable() for line in lines)
    for odd in ("\udcff", "\x1b[2J", "\u2028"):
        assert all(line.isprintable() for line in shown("session", "tree", odd))
        assert all(line.isprintable() for line in shown("audit", "show", "--session", odd))


@pytest.mark.requirement("A-18")
def test_what_would_have_allowed_it_is_no_way_to_write_a_configuration(firm: Any, broken: Any) -> None:
    """`suggest` prints what a model asked for; whoever pastes it must not paste what a model wrote."""
    import tomllib

    from deputize.authority import explain

    root = firm.root()
    evil = 'x"]\n[agents.evil]\nopen = true\n#'
    with pytest.raises(DeputizeError):
        root.delegate(evil)
    with broken(explain, "check_agent_name", str):
        assert "\n[agents.evil]\nopen = true\n" in firm.authority.suggest()
    for attempt in (
        lambda: root.tool_call(evil).start(),
        lambda: root.tool_call("transfer", to=[evil]).start(),
        lambda: root.tool_call("a b").start(),
        lambda: root.tool_call("rm").start(),
        lambda: root.delegate("stranger"),
        lambda: root.delegate("loner"),
    ):
        with pytest.raises(DeputizeError):
            attempt()
    found = tomllib.loads(firm.authority.suggest())
    assert set(found["agents"]) == {"boss", "stranger"}
    assert set(found["agents"]["boss"]["use"]["local"]) == {"plan", "rm"}
    assert set(found["agents"]["boss"]["delegate_to"]) == {"boss", "loner", "reader", "stranger", "writer"}


@pytest.mark.requirement("I16")
def test_a_tool_whose_name_no_scope_can_have_is_refused_on_the_record(firm: Any, broken: Any) -> None:
    """A model makes up a name: that it tried is what somebody will look for."""
    from deputize.model.resource import tool_right

    root = firm.root()

    def unrecorded(self: Any, tool: str, resource: str | None = None) -> None:
        tool_right(tool)

    with broken(Registry, "tool", unrecorded), pytest.raises(DeputizeError) as lost:
        root.tool_call("drop table")
    assert lost.value.reference is None
    for name in ("drop table", 'say "hi"', "tool\n", "né"):
        with pytest.raises(DeputizeError) as refused:
            root.tool_call(name).start()
        (record,) = firm.records(reference=refused.value.reference)
        assert (record["type"], record["tool"], record["policies"]) == ("tool.denied", name, ["unknown-right"])
