"""Where operators are known: their token, their role, and what they asked for. Nothing is read of a stranger's body."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deputize.authority.engine import Engine
from deputize.authority.following import policy_ready
from deputize.authority.log_keys import LogKey
from deputize.authority.operations import Operations
from deputize.authority.operator_refusals import refused, require_role
from deputize.authority.rules import Rules
from deputize.issuers.operators import Operators
from deputize.model.failure import (
    AuthorityUnavailable,
    DeputizeError,
    IntegrityError,
    InvalidRequest,
    InvalidToken,
    StoreError,
)
from deputize.model.operator import Operator
from deputize.model.rules import Role
from deputize.server import answers
from deputize.server.holding import only
from deputize.server.incoming import Incoming, read
from deputize.server.trace import Trace, trace_of
from deputize.wire.json_strict import dumps

MAX_POLICY: Final = 4 * 1024 * 1024  # bytes of a policy set
_UNRECORDED: Final = (AuthorityUnavailable, StoreError, IntegrityError)
_NO_NUMBER: Final = 18  # digits; more is no number of a record


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request of an operator who may ask it. `names`: the parts of its path."""

    incoming: Incoming
    names: Mapping[str, str]
    operations: Operations

    def body(self, *known: str) -> dict[str, object]:
        """The JSON body; a member that is not `known` is refused. Raises InvalidRequest."""
        told = self.incoming.json()
        only(told, set(known))
        return told

    def query(self, *known: str) -> dict[str, str]:
        """The parameters of the URL, each once and `known`. Raises InvalidRequest."""
        told = dict(self.incoming.query)
        if len(told) != len(self.incoming.query) or not told.keys() <= set(known):
            raise InvalidRequest("the query has a parameter that is not known here, or one twice")
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One endpoint for operators: who may ask it, and what it does. `acts`: it changes something, or is refused to.

    `limit`: bytes of its body where it is another than the server's.
    """

    path: str
    method: str
    role: Role
    run: Callable[[Asked], Response]
    acts: bool = False
    limit: int | None = None


class Desk:
    """Knows operators by the rules that the store decides by. Thread-safe."""

    def __init__(self, engine: Engine, log: LogKey) -> None:
        self._engine = engine
        self._log = log
        self._held: tuple[Rules, Operators] | None = None

    def operator(self, authorization: Sequence[str]) -> Operator:
        """Whom the one `Authorization` header proves. Raises InvalidToken, AuthorityUnavailable, StoreError."""
        scheme, _, token = (authorization[0] if len(authorization) == 1 else "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise InvalidToken("an operator shows one bearer token")
        parts = self._engine.parts
        if not policy_ready(parts):
            raise AuthorityUnavailable("this process does not decide by the store's policy set")
        return self._operators(parts.rules).verify(token, parts.now())

    def admit(self, authorization: Sequence[str], errand: Errand, asked: str, trace: Trace) -> Operator:
        """The operator, named to `trace`, where their role lets them. Raises what `operator` does, and Denied."""
        operator = self.operator(authorization)
        trace.operator = operator.name
        require_role(self._engine.parts, operator, errand.role, asked=asked)
        return operator

    def run(self, operator: Operator, errand: Errand, asked: Asked) -> Response:
        """Do it. What is refused to somebody who wanted to change something is recorded."""
        try:
            return errand.run(asked)
        except DeputizeError as error:
            if not errand.acts or isinstance(error, _UNRECORDED):
                raise
            what = f"{errand.method} {asked.incoming.path}"
            raise refused(self._engine.parts, operator, error, asked=what) from None

    def operations(self, operator: Operator) -> Operations:
        """What this operator does is done in their name."""
        return Operations(self._engine, by=operator.name, role=operator.role or "", head=self._log)

    def _operators(self, rules: Rules) -> Operators:
        held = self._held
        if held is None or held[0] is not rules:
            held = self._held = (rules, Operators.of(rules.configuration, self._engine.parts.clock))
        return held[1]


def routes_of(
    errands: Sequence[Errand], engine: Engine, log: LogKey, *, limit: int, limiter: anyio.CapacityLimiter
) -> list[Route]:
    """The endpoints as routes. `log` signs checkpoints. `limit`: bytes of a body; `limiter`: whose threads decide."""
    desk = Desk(engine, log)
    return [_route(desk, errand, limit, limiter) for errand in errands]


def _route(desk: Desk, errand: Errand, limit: int, limiter: anyio.CapacityLimiter) -> Route:
    async def endpoint(request: Request) -> Response:
        shown = request.headers.getlist("authorization")
        what = f"{request.method} {request.url.path}"
        try:
            operator = await anyio.to_thread.run_sync(
                desk.admit, shown, errand, what, trace_of(request), limiter=limiter
            )
        except InvalidToken as error:
            trace_of(request).refused(error)
            return _unknown(shown=bool(shown))
        except DeputizeError as error:
            trace_of(request).refused(error)
            return answers.refusal(error, authenticated=not isinstance(error, _UNRECORDED))

        def run(incoming: Incoming) -> Response:
            names = {name: str(value) for name, value in request.path_params.items()}
            asked = Asked(incoming=incoming, names=names, operations=desk.operations(operator))
            return desk.run(operator, errand, asked)

        try:
            incoming = await read(request, limit=errand.limit or limit)
            return await anyio.to_thread.run_sync(run, incoming, limiter=limiter)
        except DeputizeError as error:
            trace_of(request).refused(error)
            return answers.refusal(error, authenticated=True)

    return Route(errand.path, endpoint, methods=[errand.method])


def _unknown(*, shown: bool) -> Response:
    """The one answer to whoever is no operator, whatever was wrong and whatever was asked for (RFC 6750 §3, A-17)."""
    challenge = 'Bearer error="invalid_token"' if shown else "Bearer"
    return answers.json(dumps({"error": "invalid_token"}), status=401, headers={"WWW-Authenticate": challenge})


def number(told: Mapping[str, str], name: str, default: int | None, *, most: int | None = None) -> int:
    """A whole number among the parameters, from 0 to `most`; `default` None: it has to be there.

    Raises InvalidRequest.
    """
    value = told.get(name)
    if value is None and default is not None:
        return default
    if value is None or not (value.isascii() and value.isdigit()) or len(value) > _NO_NUMBER:
        raise InvalidRequest(f"{name} is a whole number")
    if most is not None and int(value) > most:
        raise InvalidRequest(f"{name} is at most {most}")
    return int(value)
