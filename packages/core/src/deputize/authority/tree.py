"""The delegation tree as people look at it: who did what, for whom, under which policy. `tree_reading` makes it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from deputize.model.failure import plain
from deputize.wire.answer import bad_response
from deputize.wire.json_strict import loads

MAX_DEPTH = 64  # of JSON: a tree is at most 16 sessions deep


@dataclass(slots=True)
class Call:
    """A tool call. `outcome`: running, done, failed, denied, or suspended until it runs again under its id.

    Times in milliseconds since the epoch; 0: not told.
    """

    tool: str
    outcome: str
    policy: str
    reference: str | None = None
    scopes: tuple[str, ...] = ()
    call_id: str | None = None
    to: tuple[str, ...] = ()  # of a hand-off tool: the agents that it might hand on to
    seq: int | None = None  # of the record that began it
    began: int = 0
    ended: int = 0

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        return {"tool": self.tool, "outcome": self.outcome, "policy": self.policy}


@dataclass(slots=True)
class Entry:
    """A record of the session that is no tool call. `what`: as people read it. `time`: milliseconds."""

    type: str
    outcome: str
    what: str
    seq: int
    time: int
    policy: str | None = None
    reference: str | None = None


@dataclass(slots=True)
class SessionTree:
    """One session with its calls, its records and the sessions below it.

    `str()` draws it; a notebook shows it as HTML. `left_out`: records that were too many to be told.
    """

    agent: str
    sid: str
    subject: str
    scopes: list[str]
    state: str
    calls: list[Call] = field(default_factory=list)
    children: list["SessionTree"] = field(default_factory=list)
    records: list[Entry] = field(default_factory=list)
    left_out: int = 0

    def to_dict(self) -> dict[str, object]:
        """Plain data: agent, sid, subject, scopes, state, calls, children."""
        return {
            "agent": self.agent,
            "sid": self.sid,
            "subject": self.subject,
            "scopes": list(self.scopes),
            "state": self.state,
            "calls": [call.to_dict() for call in self.calls],
            "children": [child.to_dict() for child in self.children],
        }

    def to_json(self) -> bytes:
        """As it travels: all that is known."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, raw: bytes) -> "SessionTree":
        """The inverse of `to_json`. Raises InvalidRequest (`invalid_response`)."""
        return cls._from(loads(raw, max_depth=MAX_DEPTH, refuse=bad_response))

    @classmethod
    def _from(cls, told: object) -> "SessionTree":
        if not isinstance(told, dict):
            raise bad_response("a tree is an object")
        try:
            calls = [
                Call(**{**call, **{name: tuple(call[name]) for name in ("scopes", "to")}}) for call in told["calls"]
            ]
            children = [cls._from(child) for child in told["children"]]
            records = [Entry(**entry) for entry in told["records"]]
            return cls(**{**told, "calls": calls, "children": children, "records": records})
        except (TypeError, KeyError, ValueError):
            raise bad_response("the answer tells of a tree in another form") from None

    def walk(self) -> Iterator["SessionTree"]:
        """This node and all below, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def to_mermaid(self) -> str:
        """A Mermaid flowchart: sessions, and what each was refused."""
        from deputize.authority.tree_graph import mermaid  # noqa: PLC0415  # for who asks for it

        return mermaid(self)

    def to_dot(self) -> str:
        """The same for Graphviz."""
        from deputize.authority.tree_graph import dot  # noqa: PLC0415  # as above

        return dot(self)

    def to_html(self) -> str:
        """A piece of HTML without scripts: the tree, decisions in colour, records that open."""
        from deputize.authority.tree_html import html  # noqa: PLC0415  # as above

        return html(self)

    def _repr_html_(self) -> str:
        return self.to_html()

    @property
    def refused(self) -> list[Entry]:
        """What this session asked for besides tools and was denied: hand-offs, access."""
        return [entry for entry in self.records if entry.outcome == "denied"]

    def __str__(self) -> str:
        return "\n".join([f"{self.subject}", *self.lines("", last=True)])

    def lines(self, indent: str, *, last: bool) -> Iterator[str]:
        """The drawing, line by line."""
        yield f"{indent}{'└─' if last else '├─'} {self.agent} [{self.state}] {', '.join(self.scopes)}"
        inner = indent + ("   " if last else "│  ")
        told = [f"{plain(call.tool)}: {call.outcome} ({_why(call)})" for call in self.calls]
        told += [f"{plain(entry.what)}: {entry.outcome} ({_why(entry)})" for entry in self.refused]
        for number, text in enumerate(told):
            yield f"{inner}{'├·' if self.children or number + 1 < len(told) else '└·'} {text}"
        for number, child in enumerate(self.children):
            yield from child.lines(inner, last=number + 1 == len(self.children))

    def __repr__(self) -> str:
        return str(self)


def _why(told: Call | Entry) -> str:
    return f"{told.policy or 'default-deny'}{f', ref {told.reference}' if told.reference else ''}"
