"""What happens to one request of an MCP client, step by step, without I/O.

Find the resource, get a token, send; on a refusal once more, at most once for each reason.
`deputize_mcp.client` drives it, sync or async.
"""

from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, cast

import httpx
import httpx2

from deputize import Access, Session, ToolCall
from deputize.errors import Denied, InvalidRequest, NoSession, SessionEnded
from deputize.runtime import ambient_session, current_call, current_session
from deputize_mcp.body import Malformed, Operation, parse_operation
from deputize_mcp.discovery import check_metadata, check_target, metadata_urls, origin, parse_metadata
from deputize_mcp.exchanged import Exchanged, Key
from deputize_mcp.failure import ResourceMismatch, StepUpDenied
from deputize_mcp.www_authenticate import Challenge, read_challenges

MOST_REMEMBERED: Final = 1024  # endpoints, operations, nonces
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
OK: Final = 200
_UNKNOWN: Final = frozenset({"invalid_scope", "invalid_target"})  # what no authority of ours has ever heard of

K = TypeVar("K")
V = TypeVar("V")
Request = httpx.Request | httpx2.Request
Response = httpx.Response | httpx2.Response


@dataclass(frozen=True, slots=True)
class Send:
    """Send this. `read`: the body is needed; never so for an answer of the MCP endpoint, which may be a stream."""

    request: Request
    read: bool = False


@dataclass(frozen=True, slots=True)
class Obtain:
    """Get this token: from `call` (which keeps its own), or by exchange, where `key` says what it is kept under."""

    session: Session
    key: Key
    call: ToolCall | None = None


Step = Send | Obtain
Answer = Response | Access
Steps = Generator[Step, Answer, None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Target:
    """One request: for whom, where and for which operation."""

    session: Session
    resource: str
    url: str
    label: str  # what a step-up is remembered for
    tool: str | None


class Flow:
    """The steps, and what one `TokenExchangeAuth` remembers between requests. Thread-safe by small atomic steps."""

    def __init__(
        self,
        session: Session | None,
        *,
        resource: str | None,
        scopes: frozenset[str],
        tools: Mapping[str, frozenset[str]],
        step_up: Literal["session", "never"],
    ) -> None:
        self.tokens = Exchanged()
        self._session = session
        self._resource = resource
        self._base = scopes
        self._tools = tools
        self._step_up = step_up
        self._resources: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._learned: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()
        self._nonces: OrderedDict[str, str] = OrderedDict()

    def steps(self, request: Request) -> Steps:
        """Everything that is sent and asked for one request, whose body has been read."""
        target = yield from self._target(request)
        obtain = self._first(target)
        access = yield from self._obtain(target, obtain)
        response = yield from self._authorized(request, access, target)
        if response.status_code == UNAUTHORIZED:
            self.tokens.drop(obtain.key, access)
            obtain = Obtain(obtain.session, obtain.key)
            access = yield from self._obtain(target, obtain)
            response = yield from self._authorized(request, access, target)
        challenge = _insufficient(response)
        if challenge is None or self._step_up == "never":
            return
        wanted = self._more(target, access, challenge)
        access = yield from self._stepped_up(target, access, challenge, wanted)
        response = yield from self._authorized(request, access, target)
        refused = _insufficient(response)
        if refused is not None:
            raise StepUpDenied(refused.scopes, access.scopes)
        _remember(self._learned, (target.resource, target.label), wanted)

    def _target(self, request: Request) -> Generator[Step, Answer, _Target]:
        session = self._session or _ambient()
        url = str(request.url).split("#", 1)[0].split("?", 1)[0]
        expected = session.authority.registry.resource(self._resource).url if self._resource is not None else None
        if expected is not None:
            check_target(url, expected)
        resource = self._resources.get((url, session.authority.issuer))
        if resource is None:
            resource = yield from self._discover(request, url, expected, session.authority.issuer)
            _remember(self._resources, (url, session.authority.issuer), resource)
        check_target(url, resource)
        operation = _operation(request)
        tool = operation.tool if operation is not None else None
        label = f"{operation.kind}:{operation.names[0]}" if operation is not None and operation.names else ""
        return _Target(session, resource, url, label, tool)

    def _discover(self, request: Request, url: str, expected: str | None, issuer: str) -> Generator[Step, Answer, str]:
        """Ask the server what it is, without a token. A server that does not say is taken at the user's word."""
        for address in metadata_urls(expected or url):
            document = yield from _document(request, address)
            if document is not None:
                return check_metadata(parse_metadata(document), expected=expected, endpoint=url, issuer=issuer)
        if expected is not None:
            return expected
        # Mounted servers serve them elsewhere, and say where in a challenge. HEAD opens no stream and has no body.
        response = yield from _sent(_plain(request, "HEAD", url))
        for challenge in _challenges(response):
            address = challenge.parameters.get("resource_metadata", "")
            if address and origin(address) == origin(url):
                document = yield from _document(request, address)
                if document is not None:
                    return check_metadata(parse_metadata(document), expected=None, endpoint=url, issuer=issuer)
        raise ResourceMismatch("the server has no resource metadata: say resource=")

    def _first(self, target: _Target) -> Obtain:
        """The token of the running tool call where its scopes reach; else one for this operation alone."""
        wanted = self._wanted(target)
        call = current_call()
        if call is not None and call.session.id == target.session.id and call.resource == target.resource:
            needed = wanted if wanted is not None else self._base
            if call.scopes and needed <= call.scopes:
                return Obtain(
                    target.session, Key(call.session.id, call.resource, call.scopes, call.tool, call.call_id), call
                )
        scopes = wanted if wanted is not None else self._base or _smallest(target)
        return Obtain(target.session, Key(target.session.id, target.resource, scopes, target.tool, None))

    def _wanted(self, target: _Target) -> frozenset[str] | None:
        """What is known of the operation: learned from the server, said by the user, or in the registry."""
        learned = self._learned.get((target.resource, target.label))
        if learned is not None:
            return learned
        if target.tool is None:
            return None
        declared = self._tools.get(target.tool)
        if declared is None:
            declared = target.session.authority.registry.resource(target.resource).tools.get(target.tool)
        return None if declared is None else declared | self._base

    def _obtain(self, target: _Target, obtain: Obtain) -> Generator[Step, Answer, Access]:
        try:
            return cast("Access", (yield obtain))
        except (SessionEnded, NoSession):
            raise
        except Denied as refusal:
            learned = self._learned.get((target.resource, target.label))
            if learned is None:
                raise
            raise StepUpDenied(learned, frozenset(), reference=refusal.reference) from refusal

    def _authorized(self, request: Request, access: Access, target: _Target) -> Generator[Step, Answer, Response]:
        """Send with the token, and again where the server wants its nonce in the proof (RFC 9449 §9)."""
        place = "{}://{}:{}".format(*origin(target.url))
        nonce = self._nonces.get(place)
        response = yield from _sent(_with_token(request, access, target, nonce))
        given = response.headers.get("dpop-nonce")
        if access.bound and given is not None:
            _remember(self._nonces, place, given)
            if given != nonce and _wants_nonce(response):
                response = yield from _sent(_with_token(request, access, target, given))
        return response

    def _more(self, target: _Target, access: Access, challenge: Challenge) -> frozenset[str]:
        """What the challenge names, and what was known of this operation; nothing of any other's."""
        wanted = challenge.scopes | (self._wanted(target) or self._base)
        if not challenge.scopes or wanted <= access.scopes:
            raise StepUpDenied(challenge.scopes, access.scopes)
        return wanted

    def _stepped_up(
        self, target: _Target, access: Access, challenge: Challenge, wanted: frozenset[str]
    ) -> Generator[Step, Answer, Access]:
        """Ask the session's authority, which holds the ceiling and the policy. The server's word decides nothing."""
        key = Key(target.session.id, target.resource, wanted, target.tool, None)
        try:
            return cast("Access", (yield Obtain(target.session, key)))
        except (SessionEnded, NoSession):
            raise
        except (Denied, InvalidRequest) as refusal:
            if isinstance(refusal, InvalidRequest) and refusal.code not in _UNKNOWN:
                raise
            raise StepUpDenied(challenge.scopes, access.scopes, reference=refusal.reference) from refusal


def _ambient() -> Session:
    """The session that the code belongs to; in a tool call outside any session block, the call's."""
    session, call = ambient_session(), current_call()
    if session is None and call is not None:
        return call.session
    return session or current_session()


def _with_token(request: Request, access: Access, target: _Target, nonce: str | None) -> Send:
    request.headers.pop("DPoP", None)
    request.headers.update(access.headers(request.method, target.url, nonce=nonce))
    return Send(request)


def _plain(request: Request, method: str, address: str) -> Send:
    """A request of the same library, with the same patience, without a token."""
    asking = type(request)(method, address, headers={"accept": "application/json"})
    if "timeout" in request.extensions:
        asking.extensions["timeout"] = request.extensions["timeout"]
    return Send(asking, read=True)


def _document(request: Request, address: str) -> Generator[Step, Answer, bytes | None]:
    """What lies at `address`, unless something of another origin answers for it."""
    response = yield from _sent(_plain(request, "GET", address))
    if response.status_code != OK or origin(str(response.url)) != origin(address):
        return None
    return response.content


def _sent(step: Send) -> Generator[Step, Answer, Response]:
    return cast("Response", (yield step))


def _operation(request: Request) -> Operation | None:
    """What the body asks for, as a guard would read it; None for a request without a JSON-RPC message."""
    try:
        return parse_operation(request.content)
    except Malformed:
        return None


def _smallest(target: _Target) -> frozenset[str]:
    """One scope for messages that name no object, such as the handshake: the first that the agent may use itself."""
    registry = target.session.authority.registry
    entry = registry.agent(target.session.agent)
    held = sorted(right.scope for right in target.session.rights if right.resource == target.resource)
    usable = {right.scope for right in entry.use if right.resource == target.resource} if entry else set()
    best = [scope for scope in held if scope in usable] or held or sorted(registry.resource(target.resource).scopes)
    return frozenset(best[:1])


def _challenges(response: Response) -> Sequence[Challenge]:
    return read_challenges(response.headers.get_list("www-authenticate"))


def _insufficient(response: Response) -> Challenge | None:
    if response.status_code != FORBIDDEN:
        return None
    return next((found for found in _challenges(response) if found.error == "insufficient_scope"), None)


def _wants_nonce(response: Response) -> bool:
    return response.status_code == UNAUTHORIZED and any(
        found.error == "use_dpop_nonce" for found in _challenges(response)
    )


def _remember(table: "OrderedDict[K, V]", name: K, value: V) -> None:
    table[name] = value
    while len(table) > MOST_REMEMBERED:
        table.popitem(last=False)
