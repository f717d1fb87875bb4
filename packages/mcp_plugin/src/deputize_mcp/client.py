"""`TokenExchangeAuth`: an MCP client's requests carry what the delegated session may do, and no more."""

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from typing import Literal, TypeVar

import httpx
import httpx2

from deputize import Access, Session
from deputize.errors import ConfigurationError, DeputizeError
from deputize_mcp.flow import Answer, Flow, Obtain, Send, Step, Steps

Req = TypeVar("Req", httpx.Request, httpx2.Request)


class TokenExchangeAuth(httpx2.Auth, httpx.Auth):  # type: ignore[misc]  # one class that both libraries take as their own
    """`auth=` of an httpx or httpx2 client: each request gets a token of the delegated session it is made in.

    `session`: left out, the ambient one, so that one client object serves many sessions at once. `resource`:
    alias or URL; left out, what the server's RFC 9728 metadata say where they fit its URL. `scopes`: what every
    message needs. `tools`: scopes by tool name, where the registry does not list them. `step_up`: "session"
    asks the session's authority once for what a 403 names, for that operation alone; "never" leaves the 403.

    Raises, from the request: Denied where the authority refuses, StepUpDenied where it refuses what the server
    asks for, ResourceMismatch before anything is sent to a server that is not the resource, NoSession.
    """

    requires_request_body = True

    def __init__(
        self,
        session: Session | None = None,
        *,
        resource: str | None = None,
        scopes: Sequence[str] = (),
        tools: Mapping[str, Sequence[str]] | None = None,
        step_up: Literal["session", "never"] = "session",
    ) -> None:
        if isinstance(scopes, str) or any(isinstance(named, str) for named in (tools or {}).values()):
            raise ConfigurationError("scopes are a list, not one string", key="scopes")
        if step_up not in {"session", "never"}:
            raise ConfigurationError('step_up is "session" or "never"', key="step_up")
        self._flow = Flow(
            session,
            resource=resource,
            scopes=frozenset(scopes),
            tools={name: frozenset(named) for name, named in (tools or {}).items()},
            step_up=step_up,
        )

    def sync_auth_flow(self, request: Req) -> Generator[Req, httpx.Response | httpx2.Response, None]:
        """Drive the steps for `httpx.Client` and `httpx2.Client`."""
        request.read()
        steps = self._flow.steps(request)
        step = _begin(steps)
        while step is not None:
            if isinstance(step, Send):
                response = yield step.request  # type: ignore[misc]  # made by the type of `request`
                if step.read:
                    response.read()
                step = _go_on(steps, response)
                continue
            try:
                access = self._obtain(step)
            except DeputizeError as refusal:
                step = _refuse(steps, refusal)
            else:
                step = _go_on(steps, access)

    async def async_auth_flow(self, request: Req) -> AsyncGenerator[Req, httpx.Response | httpx2.Response]:
        """Drive the steps for `httpx.AsyncClient` and `httpx2.AsyncClient`."""
        await request.aread()
        steps = self._flow.steps(request)
        step = _begin(steps)
        while step is not None:
            if isinstance(step, Send):
                response = yield step.request  # type: ignore[misc]  # made by the type of `request`
                if step.read:
                    await response.aread()
                step = _go_on(steps, response)
                continue
            try:
                access = await self._aobtain(step)
            except DeputizeError as refusal:
                step = _refuse(steps, refusal)
            else:
                step = _go_on(steps, access)

    def _obtain(self, step: Obtain) -> Access:
        session, key, call = step.session, step.key, step.call
        if call is not None:
            return call.access(key.resource)
        return self._flow.tokens.get(
            key, session.authority.now, lambda: session.access(key.resource, sorted(key.scopes), tool=key.tool)
        )

    async def _aobtain(self, step: Obtain) -> Access:
        session, key, call = step.session, step.key, step.call
        if call is not None:
            return await session.authority.run(lambda: call.access(key.resource))
        return await self._flow.tokens.aget(
            key, session.authority.now, lambda: session.aaccess(key.resource, sorted(key.scopes), tool=key.tool)
        )


def _begin(steps: Steps) -> Step | None:
    return next(steps, None)


def _go_on(steps: Steps, answer: Answer) -> Step | None:
    try:
        return steps.send(answer)
    except StopIteration:
        return None


def _refuse(steps: Steps, refusal: DeputizeError) -> Step | None:
    try:
        return steps.throw(refusal)
    except StopIteration:
        return None
