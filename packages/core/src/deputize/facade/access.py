"""Access: a token for one resource that does its work without being seen."""

from collections.abc import Callable, Generator
from typing import Final, NoReturn

import httpx

from deputize.model.failure import InvalidRequest
from deputize.model.resource import Right
from deputize.model.session import Grant
from deputize.wire import dpop
from deputize.wire.alg import ProofKey

_MASK: Final = "***"


class Access:
    """One resource, the scopes of one operation. `repr` is masked; pickling and copying are refused.

    `expires_at` is in seconds since the epoch.
    """

    __slots__ = ("__weakref__", "_grant", "_key", "_now", "_token")

    def __init__(self, grant: Grant, token: str, key: ProofKey | None, now: Callable[[], float]) -> None:
        self._grant = grant
        self._token = token
        self._key = key
        self._now = now

    @property
    def resource(self) -> str:
        """The one audience."""
        return self._grant.resource

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes of one operation there."""
        return self._grant.scope

    @property
    def onward(self) -> frozenset[Right]:
        """What the agent that is the audience may open a session over; empty: no invitation."""
        return self._grant.onward

    @property
    def expires_at(self) -> float:
        """Seconds since the epoch."""
        return float(self._grant.exp)

    @property
    def id(self) -> str:
        """The token's `jti`: names its record, opens nothing."""
        return self._grant.jti

    @property
    def bound(self) -> bool:
        """True where the token is bound to the agent's key and needs a proof with every request (RFC 9449)."""
        return self._key is not None

    def headers(self, method: str, url: str, *, nonce: str | None = None) -> dict[str, str]:
        """The headers of one request, a fresh proof included. To be set at the socket, never kept."""
        if self._key is None:
            return {"Authorization": f"Bearer {self._token}"}
        proof = dpop.proof(self._key, htm=method, htu=url, access_token=self._token, nonce=nonce, now=self._now())
        return {"Authorization": f"DPoP {self._token}", "DPoP": proof}

    def auth(self) -> httpx.Auth:
        """For httpx: Bearer or DPoP, as the resource is registered. Goes to the resource's own origin alone."""
        return _AccessAuth(self)

    def reveal(self) -> str:
        """The token. The one place where it leaves."""
        return self._token

    def __repr__(self) -> str:
        return f"Access(resource={self.resource!r}, scopes={sorted(self.scopes)!r}, token={_MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Access is neither pickled nor copied: it belongs to this process")

    def __copy__(self) -> NoReturn:
        raise TypeError("an Access is neither pickled nor copied: it belongs to this process")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("an Access is neither pickled nor copied: it belongs to this process")


class _AccessAuth(httpx.Auth):
    def __init__(self, access: Access) -> None:
        self._access = access

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        origin = httpx.URL(self._access.resource)
        target = request.url
        if (origin.scheme, origin.host, origin.port) != (target.scheme, target.host, target.port):
            raise InvalidRequest("this access is for another origin; the token was not sent", code="invalid_target")
        request.headers.update(self._access.headers(request.method, str(target)))
        yield request
