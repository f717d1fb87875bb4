"""What the holder of a session may do with it: tool calls, outcomes, its state and tree, its end.

Each request carries the session token in the DPoP scheme with a proof of its key (RFC 9449 §7).
"""

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from deputize.authority.revocation import Revocation
from deputize.model.event import Json
from deputize.model.failure import InvalidRequest, NotFound
from deputize.model.report import Note
from deputize.model.request import CallRequest
from deputize.model.revocation import Kind
from deputize.server import answers
from deputize.server.incoming import Incoming
from deputize.server.service import Holder, Service
from deputize.wire.json_strict import dumps

MAX_TEXT: Final = 512  # characters
MAX_ITEMS: Final = 64
MAX_DETAIL: Final = 4096  # bytes of JSON
# What a holder may tell of its own session. Decisions are the authority's to record.
NOTES: Final = frozenset(
    {
        "agent.unnamed",
        "handoff.announced",
        "handoff.not_taken",
        "handoff.taken",
        "session.reentered",
        "session.resumed",
        "session.returned",
        "session.suspended",
        "tool.failed",
        "tool.finished",
        "tool.suspended",
        "tool.unguarded",
    }
)
_OUTCOMES: Final = frozenset({"done", "failed", "noted"})


def call(service: Service, incoming: Incoming, holder: Holder) -> Response:
    """`POST /calls`: permission for one tool call, before its body runs."""
    told = incoming.json()
    only(told, {"tool", "resource", "scopes", "call_id", "arguments", "to"})
    arguments = text(told, "arguments", None)
    permitted = service.engine.permit_call_of(
        holder.client,
        CallRequest(
            subject_token=holder.token,
            tool=text(told, "tool"),
            resource=text(told, "resource"),
            scopes=frozenset(texts(told, "scopes")),
            call_id=text(told, "call_id", None) or None,
            arguments=arguments.encode() if arguments else None,
            to=texts(told, "to"),
        ),
    )
    return answers.members(seq=permitted.seq, policies=list(permitted.policies))


def note(service: Service, incoming: Incoming, holder: Holder) -> Response:
    """`POST /notes`: what came of something. Needs no live session: what happened is written down."""
    told = incoming.json()
    only(told, {"kind", "outcome", "tool", "call_id", "resource", "code", "detail"})
    kind, outcome = text(told, "kind"), text(told, "outcome")
    if kind not in NOTES or outcome not in _OUTCOMES:
        raise InvalidRequest("what a holder tells of is what came of a tool call or a hand-off")
    seq = service.engine.note_of(
        holder.client,
        holder.node,
        Note(
            kind=kind,
            outcome=outcome,
            tool=text(told, "tool", None) or None,
            call_id=text(told, "call_id", None) or None,
            resource=text(told, "resource", None) or None,
            code=text(told, "code", None) or None,
            detail=_detail(told.get("detail")),
        ),
    )
    return answers.members(seq=seq)


def state(service: Service, incoming: Incoming, holder: Holder) -> Response:
    """`GET /session`: the state of the presented session."""
    del incoming
    return answers.members(sid=holder.node.sid, state=service.engine.state(holder.node))


def tree(service: Service, incoming: Incoming, holder: Holder) -> Response:
    """`GET /session/tree`: the presented session and all below it."""
    del incoming
    return answers.json(service.engine.tree(holder.node).to_json())


def close(service: Service, incoming: Incoming, holder: Holder) -> Response:
    """`POST /session/close`: an orderly end of the presented session and all below."""
    del incoming
    service.engine.close_session(holder.node)
    return answers.members(closed=True)


def revoke(service: Service, incoming: Incoming, holder: Holder) -> Response:
    """`POST /session/revoke`: a holder cuts off its own session, or one below it."""
    told = incoming.json()
    only(told, {"reason", "sid"})
    target = text(told, "sid", None) or holder.node.sid
    _check_below(service, holder, target)
    return revoked(service.engine.revoke(Kind.SESSION, target, reason=text(told, "reason"), by=holder.client.agent))


def revoked(done: Revocation) -> Response:
    """What a revocation came to, for holders and operators alike."""
    return answers.members(
        kind=done.kind,
        target=done.target,
        at=done.at,
        effective_by=done.effective_by,
        seq=done.seq,
        sessions=done.sessions,
    )


def _check_below(service: Service, holder: Holder, sid: str) -> None:
    """Another's session looks like none (A-17)."""
    node = holder.node if sid == holder.node.sid else service.engine.session(sid)
    if holder.node.sid not in {node.sid, *node.ancestors}:
        raise NotFound("no such session")


def only(told: Mapping[str, object], names: set[str]) -> None:
    """A member that is not known is refused: whoever wrote it meant something by it."""
    if not told.keys() <= names:
        raise InvalidRequest("the body has a member that is not known here")


def text(told: Mapping[str, object], name: str, default: str | None = "") -> str:
    """A short text; with `default` None it may be left out, and is then empty. Raises InvalidRequest."""
    value = told.get(name)
    if value is None and default is None:
        return ""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise InvalidRequest(f"{name} is a text of 1-{MAX_TEXT} characters")
    return value


def texts(told: Mapping[str, object], name: str) -> tuple[str, ...]:
    """A list of short texts; left out it is empty. Raises InvalidRequest."""
    value = told.get(name, [])
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise InvalidRequest(f"{name} is a list of at most {MAX_ITEMS} texts")
    found = [item for item in value if isinstance(item, str) and 0 < len(item) <= MAX_TEXT]
    if len(found) != len(value):
        raise InvalidRequest(f"{name} is a list of short texts")
    return tuple(found)


def _detail(value: object) -> Mapping[str, Json]:
    """A flat object of short texts, numbers and lists of texts: enough for an outcome, too little for content."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(dumps(value)) > MAX_DETAIL:
        raise InvalidRequest("detail is a small object")
    return {str(name): _plain(item) for name, item in value.items()}


def _plain(item: object) -> Json:
    if item is None or isinstance(item, str | bool) or type(item) is int:
        return item
    if isinstance(item, list) and all(isinstance(part, str) for part in item):
        return [str(part) for part in item]
    raise InvalidRequest("detail holds texts, whole numbers and lists of texts")
