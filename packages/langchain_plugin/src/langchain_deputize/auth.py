"""The token at the socket, and nowhere before it."""

from collections.abc import AsyncGenerator, Generator

import httpx

from langchain_deputize.sessions import current_access


class DeputizeAuth(httpx.Auth):
    """`httpx.get(url, auth=DeputizeAuth())` in a tool's body: the current access, as its resource is registered.

    One object may serve all tools and users: who calls is found out with each request. The token goes to the
    resource's own origin alone. Raises NoSession outside a tool call, Denied where the call's scopes do not reach.

    Args:
        resource: Alias or URL; left out, the tool's own.
    """

    def __init__(self, resource: str | None = None) -> None:
        self._resource = resource

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """As httpx asks for it."""
        yield from current_access(self._resource).auth().sync_auth_flow(request)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """As httpx asks for it."""
        flow = current_access(self._resource).auth().async_auth_flow(request)
        try:
            outgoing = await anext(flow)
            while True:
                response = yield outgoing
                outgoing = await flow.asend(response)
        except StopAsyncIteration:
            return
        finally:
            await flow.aclose()
