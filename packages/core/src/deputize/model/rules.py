"""What a configuration says besides the registry: who users are, how agents prove themselves, stored grants."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from deputize.model.claims_match import Match
from deputize.model.resource import Right

Role = Literal["viewer", "responder", "admin"]
ROLES: Final[tuple[Role, ...]] = ("viewer", "responder", "admin")  # each may do what those before it may


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """A file of Cedar policies, read. `path` is for messages.

    `namespace`: of the included file that named it, to whose agents its policies are then held; else empty.
    """

    path: str
    text: str
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRule:
    """One `[[users]]`: an issuer whose users may start sessions, `<alias>|<sub>` in our tokens.

    `groups` and `scopes` are names of claims; `scopes` None: no claim caps the root session. `max_auth_age`
    is in seconds. `jwks` is "discover", an https URL or a file path.
    """

    issuer: str
    alias: str
    audience: tuple[str, ...]
    tokens: tuple[str, ...] = ("access_token", "id_token")
    subject: str = "sub"
    groups: str = "groups"
    scopes: str | None = None
    max_auth_age: int = 12 * 3600
    jwks: str = "discover"
    ca_file: str = ""
    private_network: bool = False
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationRule:
    """One `[[attestation]]`: evidence that matches proves `workload`, which hosts `agents` (ids).

    `issuer` is a URL, for `spiffe` the trust domain's id. `jwks` says where its keys come from, as in UserRule; for
    `spiffe` a file, an https URL or the Workload API's socket (`unix:/path`). `single_use` False lets several
    processes show the same token.
    """

    method: str
    workload: str
    agents: tuple[str, ...]
    issuer: str = ""
    audience: str = ""
    jwks: str = "discover"
    ca_file: str = ""
    private_network: bool = False
    single_use: bool = True
    match: Match = field(default_factory=dict)
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpersonationGrant:
    """One `[[impersonation]]`. It permits nothing alone: a policy must permit as well.

    `id` is what `context.grant` names; `agent` and `user` are full ids; `expires` is seconds since the epoch.
    """

    id: str
    agent: str
    user: str
    rights: frozenset[Right]
    expires: int
    reason: str
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRule:
    """One `[[operators]]`: people and machines of an issuer that may read or act.

    `groups` maps a role to names of groups; `groups_claim` and `subject` are names of claims. `audience` empty:
    the authority's own issuer. `jwks` is "discover", an https URL or a file path.
    """

    issuer: str
    groups: Mapping[Role, tuple[str, ...]]
    audience: tuple[str, ...] = ()
    groups_claim: str = "groups"
    subject: str = "sub"
    jwks: str = "discover"
    ca_file: str = ""
    private_network: bool = False
    line: int | None = None

    def role_of(self, groups: Iterable[str]) -> Role | None:
        """The highest role that one of these groups has; None: none, so nothing is read."""
        held = set(groups)
        return next((role for role in reversed(ROLES) if held.intersection(self.groups.get(role, ()))), None)
