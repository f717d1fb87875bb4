"""Who starts a task: the user whom a token proves, and the expired root that a new one goes on from."""

from dataclasses import replace
from typing import Final

from deputize.audit.record import open_body
from deputize.authority.idempotency import key_digest
from deputize.authority.parts import Parts
from deputize.authority.refusal import Case
from deputize.authority.subject import Cuts, state_of
from deputize.model.event import Record
from deputize.model.failure import DeputizeError, InvalidRequest, InvalidToken
from deputize.model.request import RootRequest
from deputize.model.session import Evidence, Mode, Node, State
from deputize.store.protocol import ReadTx

_GAVE: Final = ("session.opened", "session.reissued")
_RECORDS: Final = 100


def check_continues(parts: Parts, sid: str, agent: str, sub: str) -> None:
    """A session goes on from a root that expired, of this very agent and subject; from another's nobody does.

    Raises InvalidRequest; one that is not there looks like one of somebody else's (A-17).
    """

    def expired(tx: ReadTx) -> bool:
        node = tx.session(sid)
        if node is None or (node.sid, node.agent, node.sub) != (node.txn, agent, sub):
            return False
        # One that a revoked user or suspended agent ended stays ended when its time has passed, too (G4).
        return state_of(tx, [node], parts.moment(tx)) is State.EXPIRED and Cuts(tx, [node], ()).killed() is None

    if not parts.store.read(expired):
        raise InvalidRequest("what is continued is an expired session of the same agent and subject, by its root")


def with_subject(parts: Parts, case: Case, request: RootRequest, token: str) -> RootRequest:
    """The user whom a token proves, in place of a name that somebody said."""
    if request.user is not None or request.mode is Mode.SELF:
        raise InvalidRequest("a user is named, or proved by a token, or there is none (mode)")
    held = _opened_by(parts, case, request, token)
    if held is not None:
        case.sub = held.sub
        return replace(
            request, user=held.sub, evidence=held.evidence, groups=held.groups, sign_in=held.sign_in, cap=None
        )
    found = parts.users(case.rules).verify(token, request.subject_token_type, parts.now())
    case.sub = found.user
    return replace(
        request,
        user=found.user,
        evidence=Evidence.TOKEN,
        groups=found.groups,
        cap=found.cap,
        sign_in=found.sign_in,
    )


def _opened_by(parts: Parts, case: Case, request: RootRequest, token: str) -> Node | None:
    """The session that this very key opened before under this idempotency key, by a token of this user.

    A session outlives the token that its user signed in with, so whoever holds it gets new session tokens without: the
    user was proved when it was opened. Another key shows evidence that holds now (SEMANTICS, "Idempotency").
    """
    client = case.client
    try:
        sub = parts.users(case.rules).claimed(token)
    except InvalidToken:
        return None
    key = key_digest("open", client.agent, sub, request.key)

    def look(tx: ReadTx) -> Node | None:
        row = tx.remembered(key) if key is not None else None
        node = tx.session(row.sid) if row is not None and row.sid is not None else None
        if node is None or (node.agent, node.sub, node.evidence) != (client.agent, sub, Evidence.TOKEN):
            return None
        told = [record for kind in _GAVE for record in tx.find(sid=node.sid, type=kind, limit=_RECORDS)]
        return node if any(_key_of(record) == client.jkt for record in told) else None

    return parts.store.read(look)


def _key_of(record: Record) -> str | None:
    """The key that a record's session token was bound to; None where it was erased."""
    try:
        detail = open_body(record).get("detail")
    except DeputizeError:
        return None
    jkt = detail.get("jkt") if isinstance(detail, dict) else None
    return jkt if isinstance(jkt, str) else None
