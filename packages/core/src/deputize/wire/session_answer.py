"""The answer that opens a session: standard members, and the session's place in its tree as one member of ours.

What was granted is in `authorization_details` (RFC 9396 §7), since a session's rights are pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from deputize.model.failure import InvalidRequest
from deputize.model.mode import Mode
from deputize.model.resource import Right
from deputize.model.session import Edge, Evidence, Node
from deputize.wire import authorization_details
from deputize.wire.answer import bad_response, number, text, texts
from deputize.wire.json_strict import dumps, loads
from deputize.wire.token_exchange import SESSION

SESSION_MEMBER: Final = "deputize_session"
_MAX_DEPTH: Final = 8
_DAMAGE: Final = (KeyError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAnswer:
    """A session and a token for it. `expires_in` is of the token, seconds; `narrowed` what fell out, and why."""

    node: Node
    token: str = field(repr=False)
    expires_in: int
    narrowed: tuple[tuple[Right, str], ...] = ()
    reissued: bool = False

    def to_json(self) -> bytes:
        """The body of a 200 answer; to be sent with `Cache-Control: no-store`."""
        members: dict[str, object] = {
            "access_token": self.token,
            "issued_token_type": SESSION,
            "token_type": "N_A",
            "expires_in": self.expires_in,
            "authorization_details": authorization_details.build(self.node.ceiling),
        }
        if len({right.resource for right in self.node.ceiling}) == 1:
            members["scope"] = " ".join(sorted(right.scope for right in self.node.ceiling))
        session = node_members(self.node)
        session["narrowed"] = [[right.resource, right.scope, why] for right, why in self.narrowed]
        session["reissued"] = self.reissued
        members[SESSION_MEMBER] = session
        return dumps(members)

    @classmethod
    def from_json(cls, raw: bytes) -> "SessionAnswer":
        """Raises InvalidRequest (`invalid_response`) for what is no such answer."""
        members = loads(raw, refuse=bad_response, max_depth=_MAX_DEPTH)
        token, told, expires_in = members.get("access_token"), members.get(SESSION_MEMBER), members.get("expires_in")
        issued, kind = members.get("issued_token_type"), members.get("token_type")
        if not (isinstance(token, str) and token and isinstance(told, dict) and issued == SESSION and kind == "N_A"):
            raise bad_response("the answer opens no session")
        if type(expires_in) is not int or expires_in < 0:
            raise bad_response("expires_in is a number of seconds")
        try:
            ceiling = authorization_details.read(members.get("authorization_details"))
            narrowed = tuple((Right(str(r), str(s)), str(why)) for r, s, why in told["narrowed"])
            node = node_from(told, ceiling)
        except (InvalidRequest, *_DAMAGE):
            raise bad_response("the answer tells of its session in another form") from None
        reissued = told.get("reissued") is True
        return cls(node=node, token=token, expires_in=expires_in, narrowed=narrowed, reissued=reissued)


def node_members(node: Node) -> dict[str, object]:
    """A session as its holder and an operator see it: no digest, no key, no text of the task."""
    return {
        "sid": node.sid,
        "txn": node.txn,
        "path": list(node.path),
        "parent": node.parent,
        "kind": node.kind.value,
        "mode": node.mode.value,
        "sub": node.sub,
        "agent": node.agent,
        "chain": list(node.chain),
        "created": node.created,
        "exp": node.exp,
        "depth": node.depth,
        "evidence": node.evidence.value,
        "workload": node.workload,
        "attestation": node.attestation,
        "leaf": node.leaf,
    }


def node_from(told: Mapping[str, object], ceiling: frozenset[Right]) -> Node:
    """The inverse of `node_members`. Raises KeyError, ValueError or TypeError for another form."""
    parent = told["parent"]
    return Node(
        sid=text(told["sid"]),
        txn=text(told["txn"]),
        path=texts(told["path"]),
        parent=None if parent is None else text(parent),
        kind=Edge(told["kind"]),
        mode=Mode(told["mode"]),
        sub=text(told["sub"]),
        agent=text(told["agent"]),
        chain=texts(told["chain"]),
        ceiling=ceiling,
        created=number(told["created"]),
        exp=number(told["exp"]),
        depth=number(told["depth"]),
        evidence=Evidence(told["evidence"]),
        workload=text(told["workload"]),
        attestation=text(told["attestation"]),
        leaf=number(told["leaf"]),
    )
