"""An auth for both httpx libraries that shows an access: which one, it is asked with each request."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator
from typing import TypeVar

import httpx
import httpx2

from deputize import Access

Req = TypeVar("Req", httpx.Request, httpx2.Request)


class AccessAuth(httpx2.Auth, httpx.Auth, ABC):  # type: ignore[misc]  # one class that both libraries take as their own
    """The access decides by the request's URL whether and how it is shown there."""

    @abstractmethod
    def access_for(self, request: httpx.Request | httpx2.Request) -> Access | None:
        """What this request is sent with; None: nothing. Raises what has to keep it from being sent."""

    @abstractmethod
    async def aaccess_for(self, request: httpx.Request | httpx2.Request) -> Access | None:
        """`access_for`, without blocking the loop."""

    def sync_auth_flow(self, request: Req) -> Generator[Req, httpx.Response | httpx2.Response, None]:
        """As httpx asks for it."""
        access = self.access_for(request)
        if access is None:
            yield request
            return
        yield from access.auth().sync_auth_flow(request)  # type: ignore[arg-type,misc]  # it looks at url and headers alone

    async def async_auth_flow(self, request: Req) -> AsyncGenerator[Req, httpx.Response | httpx2.Response]:
        """As httpx asks for it."""
        access = await self.aaccess_for(request)
        if access is None:
            yield request
            return
        flow = access.auth().async_auth_flow(request)  # type: ignore[arg-type]  # as above
        try:
            outgoing = await anext(flow)
            while True:
                response = yield outgoing  # type: ignore[misc]  # the request that it was given
                outgoing = await flow.asend(response)  # type: ignore[arg-type]  # it looks at none
        except StopAsyncIteration:
            return
        finally:
            await flow.aclose()
