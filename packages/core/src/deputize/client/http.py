"""Requests to the authority, and its answers turned back into values or errors. Nothing here decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final
from urllib.parse import urlencode, urlsplit

import httpx

from deputize.model.clock import Clock
from deputize.model.failure import AuthorityUnavailable, ConfigurationError
from deputize.model.resource import LOOPBACK
from deputize.wire import dpop, error_answer
from deputize.wire.alg import ProofKey
from deputize.wire.json_strict import dumps
from deputize.wire.token_exchange import FORM

MAX_ANSWER: Final = 4 * 1024 * 1024  # bytes
_OK: Final = 200
_NONCE: Final = "DPoP-Nonce"
_TRIES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One request: a form or JSON, the key that is proved with it, the session token that it speaks for.

    `again`: it may be sent once more where the connection broke, since repeating it changes nothing.
    """

    method: str
    path: str
    asked: str  # for messages
    url: str | None = None  # whole, where it is not below the base
    items: tuple[tuple[str, str], ...] | None = None
    body: dict[str, object] | None = None
    key: ProofKey | None = None
    token: str | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)  # an operator's
    again: bool = False


class Connection:
    """One authority at one URL. Thread-safe. Redirects are not followed, proxies of the environment not used."""

    def __init__(self, url: str, *, timeout: float, clock: Clock, transport: httpx.BaseTransport | None = None) -> None:
        self.base = checked(url)
        self._clock = clock
        self._client = httpx.Client(
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
            transport=transport,
            headers={"Accept": "application/json"},
        )
        self._nonce: str | None = None
        self._lock = Lock()

    def send(self, sending: Sending) -> bytes:
        """The body of a 200 answer. Raises the error that the authority tells of, else AuthorityUnavailable."""
        answer = self._exchange(sending)
        if answer.status_code != _OK and self._wants_nonce(answer, sending):
            answer = self._exchange(sending)
        if answer.status_code == _OK:
            return answer.content
        raise error_answer.decode(
            answer.content, answer.status_code, asked=sending.asked, retry_after=_retry_after(answer)
        )

    def close(self) -> None:
        """Close what is open."""
        self._client.close()

    def _exchange(self, sending: Sending) -> httpx.Response:
        for left in reversed(range(_TRIES)):
            try:
                answer = self._client.send(self._request(sending))
            except httpx.ConnectError as error:
                if not left:
                    raise _unreachable(error) from None
            except httpx.TransportError as error:
                if not left or not sending.again:
                    raise _unreachable(error) from None
            else:
                if len(answer.content) > MAX_ANSWER:
                    raise AuthorityUnavailable("the authority's answer is too large")
                return answer
        raise AuthorityUnavailable("the authority could not be reached")

    def _request(self, sending: Sending) -> httpx.Request:
        url = sending.url or self.base + sending.path
        headers: dict[str, str] = {}
        content: bytes | None = None
        if sending.items is not None:
            content, headers["Content-Type"] = urlencode(sending.items).encode(), FORM
        elif sending.body is not None:
            content, headers["Content-Type"] = dumps(sending.body), "application/json"
        if sending.key is not None:
            headers["DPoP"] = dpop.proof(
                sending.key,
                htm=sending.method,
                htu=url,
                access_token=sending.token,
                nonce=self._nonce,
                now=self._clock.now(),
            )
        if sending.token is not None:
            headers["Authorization"] = f"DPoP {sending.token}"
        if sending.bearer is not None:
            headers["Authorization"] = f"Bearer {sending.bearer}"
        return self._client.build_request(sending.method, url, content=content, headers=headers)

    def _wants_nonce(self, answer: httpx.Response, sending: Sending) -> bool:
        """A server may ask for proofs with a nonce of its own (RFC 9449 §8): once, then its refusal stands."""
        nonce = answer.headers.get(_NONCE)
        if sending.key is None or nonce is None or nonce == self._nonce:
            return False
        with self._lock:
            self._nonce = nonce
        return True


def checked(url: str) -> str:
    """The base URL of an authority: https, or http on the loopback. Raises ConfigurationError (TX-21)."""
    parts = urlsplit(url)
    plain = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not (parts.scheme == "https" or plain) or not parts.hostname or parts.query or parts.fragment or "@" in url:
        raise ConfigurationError("an authority is named by an https URL; http is for the loopback alone")
    return url.rstrip("/")


def fields(*groups: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The fields of a form, group after group."""
    return tuple(item for group in groups for item in group)


def given(members: Mapping[str, object]) -> dict[str, object]:
    """What is sent of a body: a member that is not said is left out."""
    return {name: value for name, value in members.items() if value is not None}


def _unreachable(error: httpx.TransportError) -> AuthorityUnavailable:
    return AuthorityUnavailable(f"the authority could not be asked: {type(error).__name__}; nothing was permitted")


def _retry_after(answer: httpx.Response) -> float | None:
    said = answer.headers.get("Retry-After", "")
    return float(said) if said.isdigit() else None
