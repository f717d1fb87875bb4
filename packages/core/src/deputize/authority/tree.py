"""The delegation tree as people look at it: who did what, for whom, under which policy."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from deputize.audit.record import open_body
from deputize.authority.parts import Parts
from deputize.authority.subject import state_of
from deputize.model.event import Record
from deputize.model.failure import plain
from deputize.model.identity import short_name
from deputize.model.session import Node
from deputize.store.protocol import ReadTx
from deputize.wire.answer import bad_response
from deputize.wire.json_strict import loads

RECORDS_MAX = 100_000
_ENDS = frozenset({"tool.finished", "tool.failed", "tool.suspended"})
MAX_DEPTH = 64  # of JSON: a tree is at most 16 sessions deep
_OUTCOMES = {
    "tool.started": "running",
    "tool.finished": "done",
    "tool.failed": "failed",
    "tool.suspended": "suspended",
    "tool.denied": "denied",
}


@dataclass(slots=True)
class Call:
    """A tool call. `outcome`: running, done, failed, denied, or suspended until it runs again under its id."""

    tool: str
    outcome: str
    policy: str
    reference: str | None = None
    scopes: tuple[str, ...] = ()
    call_id: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        return {"tool": self.tool, "outcome": self.outcome, "policy": self.policy}


@dataclass(slots=True)
class SessionTree:
    """One session with its calls and the sessions below it. `str()` draws it."""

    agent: str
    sid: str
    subject: str
    scopes: list[str]
    state: str
    calls: list[Call] = field(default_factory=list)
    children: list["SessionTree"] = field(default_factory=list)

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
        """As it travels: `to_dict`, and of each call its reference, scopes and id."""
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
            calls = [Call(**{**call, "scopes": tuple(call["scopes"])}) for call in told["calls"]]
            children = [cls._from(child) for child in told["children"]]
            return cls(**{**told, "calls": calls, "children": children})
        except (TypeError, KeyError, ValueError):
            raise bad_response("the answer tells of a tree in another form") from None

    def walk(self) -> Iterator["SessionTree"]:
        """This node and all below, depth first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def __str__(self) -> str:
        return "\n".join([f"{self.subject}", *self.lines("", last=True)])

    def lines(self, indent: str, *, last: bool) -> Iterator[str]:
        """The drawing, line by line."""
        yield f"{indent}{'└─' if last else '├─'} {self.agent} [{self.state}] {', '.join(self.scopes)}"
        inner = indent + ("   " if last else "│  ")
        below = bool(self.children)
        for number, call in enumerate(self.calls):
            branch = "├·" if below or number + 1 < len(self.calls) else "└·"
            reference = f", ref {call.reference}" if call.reference else ""
            yield f"{inner}{branch} {plain(call.tool)}: {call.outcome} ({call.policy}{reference})"
        for number, child in enumerate(self.children):
            yield from child.lines(inner, last=number + 1 == len(self.children))

    def __repr__(self) -> str:
        return str(self)


def build_tree(parts: Parts, root: Node) -> SessionTree:
    """Read the tree below `root` from the store: sessions and what the log says of their tool calls."""

    def read(tx: ReadTx) -> tuple[dict[str, Node], dict[str, str], list[Record]]:
        now = parts.moment(tx)
        nodes = {node.sid: node for node in tx.sessions(txn=root.txn, limit=parts.limits.tree_max)}
        lines = {
            sid: [nodes[above] for above in (*node.ancestors, sid) if above in nodes] for sid, node in nodes.items()
        }
        states = {sid: state_of(tx, line, now).value for sid, line in lines.items()}
        found = [record for kind in _OUTCOMES for record in tx.find(txn=root.txn, type=kind, limit=RECORDS_MAX)]
        return nodes, states, found

    by_sid, states, records = parts.store.read(read)
    calls = _calls(records)
    below: dict[str | None, list[Node]] = {}
    for node in sorted(by_sid.values(), key=lambda n: n.leaf):
        below.setdefault(node.parent, []).append(node)

    def branch(node: Node) -> SessionTree:
        scopes = sorted(right.scope for right in node.ceiling)
        children = [branch(child) for child in below.get(node.sid, [])]
        done = calls.get(node.sid, [])
        return SessionTree(short_name(node.agent), node.sid, node.sub, scopes, states[node.sid], done, children)

    return branch(by_sid.get(root.sid, root))


def _calls(records: list[Record]) -> dict[str, list[Call]]:
    """Started calls matched with their outcome, oldest first: by call id where there is one, else by order."""
    calls: dict[str, list[Call]] = {}
    running: dict[tuple[str, str, str | None], list[Call]] = {}
    suspended: dict[tuple[str, str, str | None], Call] = {}
    for record in sorted(records, key=lambda r: r.seq):
        body = open_body(record)
        sid, tool = str(body.get("sid", "")), str(body.get("tool", ""))
        call_id = body.get("call_id")
        key = (sid, tool, str(call_id) if call_id is not None else None)
        if record.type in _ENDS:
            waiting = running.get(key)
            if waiting:
                over = waiting.pop(0)
                over.outcome = _OUTCOMES[record.type]
                if over.outcome == "suspended" and key[2] is not None:
                    suspended[key] = over
            continue
        policies = body.get("policies")
        named = [str(policy) for policy in policies] if isinstance(policies, list) else []
        scopes = body.get("scopes")
        call = Call(
            tool,
            _OUTCOMES[record.type],
            named[0] if named else "default-deny",
            str(body["reference"]) if "reference" in body else None,
            tuple(str(scope) for scope in scopes) if isinstance(scopes, list) else (),
            key[2],
        )
        _replace(calls.setdefault(sid, []), suspended.pop(key, None), call)
        if record.type == "tool.started":
            running.setdefault(key, []).append(call)
    return calls


def _replace(calls: list[Call], before: Call | None, call: Call) -> None:
    """A call that goes on after it was suspended is the same one, in its place."""
    at = next((index for index, one in enumerate(calls) if one is before), None)
    if at is None:
        calls.append(call)
    else:
        calls[at] = call
