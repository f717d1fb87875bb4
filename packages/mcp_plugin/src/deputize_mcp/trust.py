"""`authority=`: who is trusted to have issued tokens, and where calls are recorded."""

import inspect
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypedDict, Unpack, cast, runtime_checkable

from deputize import Authority
from deputize.errors import ConfigurationError
from deputize.runtime import report_rejections, verifier_for
from deputize.verifier import KeySource, RevocationSource, Verifier


@runtime_checkable
class Sources(Protocol):
    """What an object needs to stand for an authority that is not of this process.

    It may also have `record_call`, called like `deputize.Authority.record_call` and possibly async.
    """

    issuer: str
    keys: KeySource
    revocations: RevocationSource


class Report(TypedDict):
    """One record of a call: `outcome` is started, done, failed or denied; the rest says whose call and of what."""

    sid: str
    txn: str
    jti: str
    sub: str
    agent: str
    resource: str
    tool: str
    scopes: tuple[str, ...]
    call_id: str
    outcome: str
    code: str | None


class Recorder(Protocol):
    """Appends to the log. Raises DeputizeError where it can't."""

    def __call__(self, **report: Unpack[Report]) -> Awaitable[None] | None:
        """One record."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """A verifier, and a recorder where there is a log to write to."""

    issuer: str
    verifier: Verifier
    record: Callable[[Report], Awaitable[None]] | None
    reject: Callable[[str, str, int], Awaitable[None]] | None  # code, address, count
    close: Callable[[], None]


def trust(authority: object, *, resource: str, lag: float) -> Trust:
    """From a path, a URL, an Authority or an object with sources. `lag`: seconds. Raises ConfigurationError."""
    if isinstance(authority, str) and authority.startswith(("http://", "https://", "unix:")):
        connected = Authority.connect(authority)
        return _of(connected, resource, lag, close=connected.close)
    if isinstance(authority, str | os.PathLike):
        opened = Authority.open(cast("str | os.PathLike[str]", authority))
        return _of(opened, resource, lag, close=opened.close)
    if isinstance(authority, Authority):
        return _of(authority, resource, lag, close=_nothing)
    if isinstance(authority, Sources):
        return _foreign(authority, resource)
    raise ConfigurationError(
        "authority is a path of deputize.toml, an Authority, or an object with issuer, keys and revocations",
        key="authority",
    )


def _of(authority: Authority, resource: str, lag: float, *, close: Callable[[], None]) -> Trust:
    async def record(report: Report) -> None:
        await authority.run(lambda: authority.record_call(**report))

    async def reject(code: str, client: str, count: int) -> None:
        await authority.run(
            lambda: report_rejections(authority, resource=resource, code=code, client=client, count=count)
        )

    verifier = verifier_for(authority, resource, bound=lag)
    return Trust(issuer=authority.issuer, verifier=verifier, record=record, reject=reject, close=close)


def _foreign(sources: Sources, resource: str) -> Trust:
    recorder: Recorder | None = getattr(sources, "record_call", None)

    async def record(report: Report) -> None:
        if recorder is not None:
            pending = recorder(**report)
            if inspect.isawaitable(pending):
                await pending

    verifier = Verifier(sources.issuer, resource, keys=sources.keys, revocations=sources.revocations)
    return Trust(
        issuer=sources.issuer,
        verifier=verifier,
        record=record if recorder is not None else None,
        reject=None,
        close=_nothing,
    )


def _nothing() -> None:
    """What is not ours stays open."""
