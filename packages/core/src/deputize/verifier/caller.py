"""Who called a resource server, as a value."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from deputize.model.failure import InvalidRequest
from deputize.model.mode import Mode

if TYPE_CHECKING:
    from httpx import Auth


class OnwardAccess(Protocol):
    """Access for the next hop, as an authority gives it (`deputize.Access`)."""

    @property
    def resource(self) -> str:
        """The one audience."""
        ...

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes of one operation there."""
        ...

    @property
    def expires_at(self) -> float:
        """Seconds since the epoch."""
        ...

    def auth(self) -> "Auth":
        """For httpx."""
        ...

    def reveal(self) -> str:
        """The token."""
        ...


class Provider(Protocol):
    """What an authority puts behind `Caller.access`."""

    def __call__(self, caller: "Caller", resource: str, scopes: frozenset[str]) -> OnwardAccess:
        """Access for the caller's own session at `resource`. Raises Denied, InvalidRequest."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A verified presenter of an access token. Decide by `subject`, `agent`, `scopes` and `mode`.

    `chain` is outermost actor first; everybody in it but the first is for the record only (RFC 8693 §4.1).
    `agent` is who acts: the outermost actor, the subject itself in SELF mode, the client where it impersonates.
    `bound` is true where the presenter proved the key that the token is bound to.
    """

    issuer: str
    resource: str
    subject: str
    agent: str
    chain: tuple[str, ...]
    client_id: str
    session: str  # sid
    root: str  # txn: the same over the whole tree
    mode: Mode
    scopes: frozenset[str]
    jti: str
    expires_at: float  # seconds since the epoch
    bound: bool
    auth_time: int | None = None  # when the user signed in, by their issuer: seconds since the epoch
    acr: str | None = None  # how strongly
    amr: tuple[str, ...] = ()  # by which methods
    task: str | None = None  # known where an authority stands behind the verifier
    provider: Provider | None = field(default=None, repr=False, compare=False)

    def access(self, resource: str, scopes: Collection[str]) -> OnwardAccess:
        """Access for the next hop. Raises InvalidRequest (`no_onward_access`) where no authority was given."""
        if self.provider is None:
            raise InvalidRequest("this verifier has no authority to ask for onward access", code="no_onward_access")
        return self.provider(self, resource, frozenset(scopes))

    def with_provider(self, provider: Provider, *, task: str | None = None) -> "Caller":
        """The same caller, who can be given access for the next hop."""
        return replace(self, provider=provider, task=task)
