"""`POST /token`: opens sessions and gives access (RFC 8693 §2, RFC 6749 §4.4, RFC 7523 §2.1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn, TypeVar

from starlette.responses import Response

from deputize.authority.client_auth import Authenticated, asserted_user
from deputize.authority.opening import Opened
from deputize.authority.refusal import Case, decided
from deputize.model.failure import DeputizeError, InvalidRequest, InvalidToken
from deputize.model.request import AccessRequest, Client, HandOffRequest, RedeemRequest, RootRequest
from deputize.model.resource import Right, check_resource, parse_scope, rights_of
from deputize.model.session import Evidence, Mode
from deputize.server import answers, identities
from deputize.server.incoming import Incoming
from deputize.server.service import Service
from deputize.wire import terms as wire_terms
from deputize.wire import token_exchange as tx
from deputize.wire.access_answer import AccessAnswer
from deputize.wire.foreign_token import claimed_issuer
from deputize.wire.session_answer import SessionAnswer
from deputize.wire.terms import Terms
from deputize.wire.thumbprint import thumbprint

CLIENT_CREDENTIALS: Final = "client_credentials"
_USERS: Final = frozenset({tx.ACCESS_TOKEN, tx.ID_TOKEN, tx.JWT})
# Passed over in silence they would make a session of another kind than was asked for.
_OF_AN_EXCHANGE: Final = frozenset(
    {
        "subject_token",
        "subject_token_type",
        "actor_token",
        "actor_token_type",
        "audience",
        "requested_token_type",
        wire_terms.USER,
        wire_terms.REASON,
        wire_terms.ONWARD,
    }
)
Items = Sequence[tuple[str, str]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A token request by an authenticated client."""

    service: Service
    incoming: Incoming
    who: Authenticated
    items: list[tuple[str, str]]
    terms: Terms

    @property
    def client(self) -> Client:
        """Who presents."""
        return self.who.client


def grant_type(items: Items) -> str:
    """The one grant type that a form names."""
    found = [value for name, value in items if name == "grant_type"]
    if len(found) != 1 or not found[0]:
        raise InvalidRequest("grant_type stands once")
    return found[0]


def token(service: Service, incoming: Incoming, items: list[tuple[str, str]], who: Authenticated) -> Response:
    """Answer a token request of an authenticated client. Whoever calls this records what is refused."""
    kinds: dict[str, Callable[[Asked], Response]] = {tx.GRANT_TYPE: _exchange, CLIENT_CREDENTIALS: _own_behalf}
    kind = kinds.get(grant_type(items))
    if kind is None:
        raise InvalidRequest("the grant type is none that is supported", code="unsupported_grant_type")
    asked = Asked(service=service, incoming=incoming, who=who, items=items, terms=Terms())
    return kind(replace(asked, terms=_read(asked, lambda: wire_terms.parse(items))))


def _exchange(asked: Asked) -> Response:
    request = _read(asked, lambda: tx.parse_form(asked.items))
    if request.requested_token_type == tx.ACCESS_TOKEN:
        return _access(asked, request)
    if request.requested_token_type == tx.SESSION:
        if request.subject_token_type == tx.SESSION:
            return _hand_off(asked, request)
        return _root(asked, request)
    _continues_nothing(asked)
    _read(asked, lambda: identities.check_hosted(asked.service, asked.client, request))
    jkt = _read(asked, lambda: asked.service.proved_key(asked.incoming))
    return identities.hosted(asked.service, asked.incoming, asked.client, request.audience, jkt)


def _own_behalf(asked: Asked) -> Response:
    """A session of the client's own (SELF): there is no subject but the agent itself (RFC 6749 §4.4)."""
    given = {name: value for name, value in asked.items if value}
    if not _OF_AN_EXCHANGE.isdisjoint(given) or given.get(tx.MODE_PARAMETER, Mode.SELF) != Mode.SELF:
        raise _refused(asked, InvalidRequest("client_credentials is the agent itself: no subject, actor or other mode"))
    scope = given.get("scope")
    resources = tuple(value for name, value in asked.items if name == "resource" and value)
    rights = _read(asked, lambda: _rights(asked.terms, scope, resources))
    return _opened(asked, _root_request(asked.terms, rights, mode=Mode.SELF, evidence=Evidence.AGENT))


def _root(asked: Asked, request: tx.TokenExchangeRequest) -> Response:
    """A user starts a task, by the user's own token or by the word of the agent that signed it."""
    if request.actor_token is not None:
        raise _refused(asked, InvalidRequest("the one who starts is the client itself: no actor token"))
    if _invites(asked, request):
        return _redeemed(asked, request)
    rights = _rights_of(asked, request)
    root = _root_request(asked.terms, rights, mode=request.mode, evidence=Evidence.TOKEN)
    if request.subject_token_type in _USERS:
        return _opened(
            asked,
            replace(root, subject_token=request.subject_token, subject_token_type=request.subject_token_type),
        )
    user = _read(asked, lambda: asserted_user(asked.service.engine.parts, asked.who, request.subject_token))
    return _opened(asked, replace(root, user=user, evidence=Evidence.ASSERTED))


def _redeemed(asked: Asked, request: tx.TokenExchangeRequest) -> Response:
    """A child by invitation: the client is who it is for, and the child is bound to its own key."""
    _continues_nothing(asked)
    if request.mode is not Mode.ON_BEHALF_OF:
        raise _refused(asked, InvalidRequest("an invitation opens a session on behalf of its subject, no other"))
    rights = _rights_of(asked, request)
    _prove(asked, asked.client.jkt)
    terms = asked.terms
    opened = asked.service.engine.redeem_of(
        asked.client,
        RedeemRequest(
            invitation=request.subject_token, requested=rights, ttl=terms.ttl, task=terms.task, key=terms.key
        ),
    )
    return _session(asked, opened)


def _invites(asked: Asked, request: tx.TokenExchangeRequest) -> bool:
    """Whether the subject token says that it is an access token of this authority's own."""
    if request.subject_token_type != tx.ACCESS_TOKEN:
        return False
    return _read(asked, lambda: claimed_issuer(request.subject_token)) == asked.service.engine.parts.issuer


def _opened(asked: Asked, request: RootRequest) -> Response:
    """Bound to the client's own key, by a proof in the same request."""
    _prove(asked, asked.client.jkt)
    return _session(asked, asked.service.engine.open_root_of(asked.client, request))


def _hand_off(asked: Asked, request: tx.TokenExchangeRequest) -> Response:
    """A child or link. The actor is named by its identity and nothing else, and its key is proved."""
    actor_token = request.actor_token
    if actor_token is None:
        raise _refused(asked, InvalidRequest("a hand-off names its actor: actor_token (RFC 8693 §2.1)"))
    _continues_nothing(asked)
    engine = asked.service.engine
    actor = _read(asked, lambda: engine.identity_claims(actor_token))
    rights = _rights_of(asked, request)
    _prove(asked, thumbprint(actor.jwk))
    opened = engine.hand_off_of(
        asked.client,
        HandOffRequest(
            subject_token=request.subject_token,
            actor_token=actor_token,
            to=request.audience or actor.sub,  # a name that nobody bears is refused by the authority, and recorded
            mode=request.mode,
            requested=rights,
            ttl=asked.terms.ttl,
            task=asked.terms.task,
            key=asked.terms.key,
        ),
    )
    return _session(asked, opened)


def _access(asked: Asked, request: tx.TokenExchangeRequest) -> Response:
    """Access from a session. Where the resource's tokens are bound, the client's key is proved here too."""
    engine, terms = asked.service.engine, asked.terms
    if request.subject_token_type != tx.SESSION:
        raise _refused(asked, InvalidToken("access comes from a session token", code="wrong_type"))
    if request.actor_token is not None:
        raise _refused(asked, InvalidRequest("an access appends no actor: the session's own agent asks"))
    if terms.rights is not None:
        raise _refused(
            asked,
            InvalidRequest("access is asked for by resource and scope", code="invalid_authorization_details"),
        )
    _continues_nothing(asked)
    if request.scope is None:
        raise _refused(asked, InvalidRequest("scope is missing; none never means all", code="invalid_scope"))
    resource = request.resource or request.audience or ""
    if asked.incoming.proof is not None or engine.bound(resource):
        _prove(asked, asked.client.jkt)
    issued = engine.access_of(
        asked.client,
        AccessRequest(
            subject_token=request.subject_token,
            resource=resource,
            scopes=frozenset(request.scope),
            tool=terms.tool,
            onward=terms.onward,
            ttl=terms.ttl,
            key=terms.key,
            mode=request.mode,
            user=terms.user,
            reason=terms.reason,
        ),
    )
    left = max(issued.grant.exp - asked.service.now, 0)
    answer = AccessAnswer(grant=issued.grant, token=issued.token, expires_in=left, reissued=issued.reissued)
    return answers.json(answer.to_json())


def _continues_nothing(asked: Asked) -> None:
    """Of anything but a root: what would mean nothing is refused, not passed over."""
    if asked.terms.continues is not None:
        raise _refused(asked, InvalidRequest("a root continues a session, nothing else does"))


def _session(asked: Asked, opened: Opened) -> Response:
    answer = SessionAnswer(
        node=opened.node,
        token=opened.token,
        expires_in=max(opened.expires - asked.service.now, 0),
        narrowed=opened.narrowed,
        reissued=opened.reissued,
    )
    return answers.json(answer.to_json())


def _root_request(terms: Terms, rights: frozenset[Right], *, mode: Mode, evidence: Evidence) -> RootRequest:
    return RootRequest(
        mode=mode,
        evidence=evidence,
        requested=rights,
        ttl=terms.ttl,
        task=terms.task,
        key=terms.key,
        continues=terms.continues,
    )


def _rights_of(asked: Asked, request: tx.TokenExchangeRequest) -> frozenset[Right]:
    scope = None if request.scope is None else " ".join(request.scope)
    named = request.audience is not None and request.subject_token_type != tx.SESSION  # a hand-off names to whom
    if named or asked.terms.onward or asked.terms.user is not None:
        raise _refused(
            asked,
            InvalidRequest(
                "a session is asked for by its rights: no user, nothing onward, no audience but its new agent"
            ),
        )
    resources = () if request.resource is None else (request.resource,)
    return _read(asked, lambda: _rights(asked.terms, scope, resources))


def _rights(terms: Terms, scope: str | None, resources: tuple[str, ...]) -> frozenset[Right]:
    """What a session is asked to hold: pairs, or the scopes of one resource. Nothing stated never means all."""
    if terms.rights is not None:
        if scope is not None or resources:
            raise InvalidRequest("rights are said as authorization_details, or as resource and scope; not both")
        return terms.rights
    if len(resources) != 1:
        raise InvalidRequest("say which resource, or authorization_details", code="invalid_target")
    if scope is None:
        raise InvalidRequest("scope is missing; none never means all", code="invalid_scope")
    return rights_of(check_resource(resources[0]), parse_scope(scope))


def _prove(asked: Asked, jkt: str) -> None:
    """The key that the answer is bound to was used to sign this very request."""
    _read(asked, lambda: asked.service.proved_key(asked.incoming, jkt=jkt))


def _read(asked: Asked, step: Callable[[], T]) -> T:
    """A step whose failure is a refusal of this authenticated client, and recorded as one."""
    parts = asked.service.engine.parts
    return decided(parts, Case("exchange.denied", asked.client, parts.rules), step)


def _refused(asked: Asked, error: DeputizeError) -> DeputizeError:
    """`error`, recorded."""

    def step() -> NoReturn:
        raise error

    try:
        _read(asked, step)
    except DeputizeError as recorded:
        return recorded
