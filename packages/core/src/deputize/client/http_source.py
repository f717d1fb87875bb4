"""What the sources over HTTP share: one bounded GET, and state that a fork does not spoil."""

import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from deputize.model.failure import AuthorityUnavailable
from deputize.system import SystemClock

if TYPE_CHECKING:
    import ssl

    import httpx

USER_AGENT: Final = "deputize"
_FORKED: Final["weakref.WeakSet[Forked]"] = weakref.WeakSet()


class Forked:
    """Something that starts anew in a child process: threads and connections stay with the parent."""

    __slots__ = ("__weakref__", "_renew")

    def __init__(self, renew: Callable[[], None]) -> None:
        self._renew = weakref.WeakMethod(renew)
        _FORKED.add(self)

    def renew(self) -> None:
        """In a child that nobody else runs in yet."""
        renew = self._renew()
        if renew is not None:
            renew()


def http_client(*, timeout: float, read: float | None = None, verify: "ssl.SSLContext | None") -> "httpx.Client":
    """A client that follows no redirect. Times are in seconds."""
    import httpx  # noqa: PLC0415  # a resource server that has its keys from elsewhere loads no HTTP

    return httpx.Client(
        timeout=httpx.Timeout(timeout, read=timeout if read is None else read),
        verify=True if verify is None else verify,
        follow_redirects=False,
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
    )


def get(client: "httpx.Client", url: str, *, most: int, patience: float) -> bytes:
    """The body of a 200 answer of at most `most` bytes, within `patience` seconds or so.

    Raises AuthorityUnavailable for everything else.
    """
    import httpx  # noqa: PLC0415  # as above

    held = bytearray()
    steady = SystemClock().monotonic
    end = steady() + patience
    try:
        with client.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise AuthorityUnavailable(f"the authority answered {response.status_code}")
            for chunk in response.iter_bytes():
                held += chunk
                if len(held) > most or steady() > end:
                    raise AuthorityUnavailable("the authority's answer is too large or too slow")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise AuthorityUnavailable(f"the authority could not be asked ({type(error).__name__})") from None
    return bytes(held)


def _renew_all() -> None:
    for one in list(_FORKED):
        one.renew()


os.register_at_fork(after_in_child=_renew_all)
