"""Who starts a task: the user whom a token proves, and the expired root that a new one goes on from."""

from dataclasses import replace

from deputize.authority.parts import Parts
from deputize.authority.refusal import Case
from deputize.authority.subject import state_of
from deputize.model.failure import InvalidRequest
from deputize.model.request import RootRequest
from deputize.model.session import Evidence, Mode, State
from deputize.store.protocol import ReadTx


def check_continues(parts: Parts, sid: str, agent: str, sub: str) -> None:
    """A session goes on from a root that expired, of this very agent and subject; from another's nobody does.

    Raises InvalidRequest; one that is not there looks like one of somebody else's (A-17).
    """

    def expired(tx: ReadTx) -> bool:
        node = tx.session(sid)
        if node is None or (node.sid, node.agent, node.sub) != (node.txn, agent, sub):
            return False
        return state_of(tx, [node], parts.moment(tx)) is State.EXPIRED

    if not parts.store.read(expired):
        raise InvalidRequest("what is continued is an expired session of the same agent and subject, by its root")


def with_subject(parts: Parts, case: Case, request: RootRequest, token: str) -> RootRequest:
    """The user whom a token proves, in place of a name that somebody said."""
    if request.user is not None or request.mode is Mode.SELF:
        raise InvalidRequest("a user is named, or proved by a token, or there is none (mode)")
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
