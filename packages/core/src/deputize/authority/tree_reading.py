"""The delegation tree out of the store: the sessions below one, and what the log says of each."""

from collections.abc import Mapping
from typing import Final

from deputize.audit.record import open_body
from deputize.authority.parts import Parts
from deputize.authority.subject import state_of
from deputize.authority.tree import Call, Entry, SessionTree
from deputize.model.decision import DEFAULT_DENY
from deputize.model.event import Json, Record
from deputize.model.identity import short_name
from deputize.model.session import Node
from deputize.store.protocol import ReadTx

RECORDS_MAX: Final = 100_000
ENTRIES_MAX: Final = 100  # records of one session that are no tool calls, the newest
_OUTCOMES: Final = {
    "tool.started": "running",
    "tool.finished": "done",
    "tool.failed": "failed",
    "tool.suspended": "suspended",
    "tool.denied": "denied",
}
_BY_POLICY: Final = "access_denied"
_ENDS: Final = frozenset({"tool.finished", "tool.failed", "tool.suspended"})
# {name} stands for a member of the body or of its detail.
_WORDS: Final = {
    "session.opened": "session opened",
    "session.reissued": "new token of the session",
    "session.closed": "session closed",
    "session.revoked": "session revoked: {reason}",
    "session.returned": "work came back",
    "session.reentered": "entered again",
    "session.suspended": "suspended",
    "session.resumed": "resumed",
    "exchange.permitted": "access to {resource}",
    "exchange.reissued": "access to {resource}, once more",
    "exchange.denied": "access to {resource}",
    "handoff.announced": "hand-off to {to} announced",
    "handoff.taken": "hand-off to {to} taken",
    "handoff.not_taken": "hand-off to {to} not taken",
    "handoff.denied": "hand-off to {to}",
    "tool.unguarded": "{tool} without a guard",
    "agent.unnamed": "{tool} of an agent without a name",
}


def build_tree(parts: Parts, root: Node) -> SessionTree:
    """Read the tree below `root` from the store: sessions and what the log says of their tool calls."""

    def read(tx: ReadTx) -> tuple[dict[str, Node], dict[str, str], list[Record]]:
        now = parts.moment(tx)
        nodes = {node.sid: node for node in tx.sessions(txn=root.txn, limit=parts.limits.tree_max)}
        lines = {
            sid: [nodes[above] for above in (*node.ancestors, sid) if above in nodes] for sid, node in nodes.items()
        }
        states = {sid: state_of(tx, line, now).value for sid, line in lines.items()}
        return nodes, states, tx.find(txn=root.txn, limit=RECORDS_MAX)

    by_sid, states, records = parts.store.read(read)
    told = _told(records)
    below: dict[str | None, list[Node]] = {}
    for node in sorted(by_sid.values(), key=lambda n: n.leaf):
        below.setdefault(node.parent, []).append(node)

    def branch(node: Node) -> SessionTree:
        of_node = told.get(node.sid, _Told())
        return SessionTree(
            agent=short_name(node.agent),
            sid=node.sid,
            subject=node.sub,
            scopes=sorted(right.scope for right in node.ceiling),
            state=states[node.sid],
            calls=of_node.calls,
            children=[branch(child) for child in below.get(node.sid, [])],
            records=of_node.entries[-ENTRIES_MAX:],
            left_out=max(0, len(of_node.entries) - ENTRIES_MAX),
        )

    return branch(by_sid.get(root.sid, root))


class _Told:
    """What the log says of one session, oldest first."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.entries: list[Entry] = []
        self._running: dict[tuple[str, str | None], list[Call]] = {}
        self._suspended: dict[tuple[str, str | None], Call] = {}

    def take(self, record: Record, body: Mapping[str, Json]) -> None:
        """Started calls are matched with their outcome: by call id where there is one, else by order."""
        if record.type not in _OUTCOMES:
            if record.type in _WORDS:
                self.entries.append(_entry(record, body))
            return
        call_id = body.get("call_id")
        key = (str(body.get("tool", "")), str(call_id) if call_id is not None else None)
        if record.type in _ENDS:
            waiting = self._running.get(key)
            if waiting:
                call = waiting.pop(0)
                call.outcome, call.ended = _OUTCOMES[record.type], record.time
                if call.outcome == "suspended" and key[1] is not None:
                    self._suspended[key] = call
            return
        detail = body.get("detail")
        call = Call(
            tool=key[0],
            outcome=_OUTCOMES[record.type],
            policy=_policy(body) or DEFAULT_DENY,
            reference=_reference(body),
            scopes=_texts(body.get("scopes")),
            to=_texts(detail.get("to") if isinstance(detail, dict) else None),
            call_id=key[1],
            seq=record.seq,
            began=record.time,
        )
        _replace(self.calls, self._suspended.pop(key, None), call)
        if record.type == "tool.started":
            self._running.setdefault(key, []).append(call)


def _texts(told: Json) -> tuple[str, ...]:
    return tuple(str(text) for text in told) if isinstance(told, list) else ()


def _replace(calls: list[Call], before: Call | None, call: Call) -> None:
    """A call that goes on after it was suspended is the same one, in its place."""
    at = next((index for index, one in enumerate(calls) if one is before), None)
    if at is None:
        calls.append(call)
    else:
        calls[at] = call


def _told(records: list[Record]) -> dict[str, _Told]:
    told: dict[str, _Told] = {}
    for record in sorted(records, key=lambda r: r.seq):
        if record.body is not None:
            body = open_body(record)
            told.setdefault(str(body.get("sid", "")), _Told()).take(record, body)
    return told


def _entry(record: Record, body: Mapping[str, Json]) -> Entry:
    detail = body.get("detail")
    members = {**(detail if isinstance(detail, dict) else {}), **body}
    what = _WORDS[record.type].format_map(_Members(members))
    return Entry(
        type=record.type,
        outcome=str(body.get("outcome", "")),
        what=what,
        seq=record.seq,
        time=record.time,
        policy=_policy(body),
        reference=_reference(body),
    )


class _Members(dict[str, Json]):
    def __missing__(self, key: str) -> str:
        return "?"


def _policy(body: Mapping[str, Json]) -> str | None:
    """The policy that decided; where none did, the code says what was wrong."""
    policies, code = body.get("policies"), body.get("code")
    named = str(policies[0]) if isinstance(policies, list) and policies else None
    return str(code) if code is not None and code != _BY_POLICY and named in {None, DEFAULT_DENY} else named


def _reference(body: Mapping[str, Json]) -> str | None:
    return str(body["reference"]) if "reference" in body else None
