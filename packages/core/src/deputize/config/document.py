"""The shape of `deputize.toml`, section by section. Values only; what they refer to is checked in `config.build`."""

import datetime as dt
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from deputize.config.values import claim_match, duration, rate, size

Duration = Annotated[int, BeforeValidator(duration)]
Size = Annotated[int, BeforeValidator(size)]
Rate = Annotated[float, BeforeValidator(rate)]
Claims = Annotated[dict[tuple[str, ...], str], BeforeValidator(claim_match)]
Method = Literal["in_process", "kubernetes", "oidc", "spiffe", "client_metadata", "unix", "join"]

DEFAULT_POLICIES: Final = "policies/*.cedar"  # the one pattern that may match nothing
_DAY: Final = 86_400


class Section(BaseModel):
    """Strict: an unknown key or a value of another type is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AuthoritySection(Section):
    """`[authority]`."""

    issuer: str = "http://127.0.0.1:8400"
    trust_domain: str = "local"
    algorithm: Literal["ES256", "EdDSA", "RS256"] = "ES256"
    users: Literal["listed", "unrestricted"] | None = None


class StoreSection(Section):
    """`[store]`."""

    url: str = "sqlite:deputize.db"
    durability: Literal["full", "normal"] = "full"


class LimitsSection(Section):
    """`[limits]`. The upper bounds are those of SEMANTICS ("Time", "Binding", "Revocation")."""

    session_ttl: Duration = 3600
    session_ttl_max: Annotated[Duration, Field(le=30 * _DAY)] = 8 * 3600
    session_token_ttl: Annotated[Duration, Field(le=900)] = 900
    access_ttl: Annotated[Duration, Field(le=300)] = 300
    access_ttl_bearer: Annotated[Duration, Field(le=60)] = 60
    impersonation_ttl_max: Annotated[Duration, Field(le=120)] = 120
    identity_ttl: Annotated[Duration, Field(le=_DAY)] = 900
    depth_max: Annotated[int, Field(ge=0, le=16)] = 4
    children_max: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    tree_max: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    revocation_lag_max: Annotated[Duration, Field(le=300)] = 10


class ResourceSection(Section):
    """`[resources.<alias>]`."""

    url: str | None = None
    scopes: list[str] | None = None
    binding: Literal["bearer", "dpop", "optional"] = "bearer"
    chain: Literal["full", "outermost"] = "full"
    introspection: list[str] = []
    agent: str | None = None
    a2a: Literal["JSONRPC", "GRPC", "HTTP+JSON"] | None = None
    tools: dict[str, list[str]] = {}
    allow_framework_tools: list[str] = []
    shared_with: dict[str, list[str]] = {}


class AgentSection(Section):
    """`[agents.<name>]`."""

    open: bool = False
    use: dict[str, list[str]] = {}
    delegate: dict[str, list[str]] = {}
    delegate_to: list[str] = []
    accept_from: list[str] = []
    groups: list[str] = []
    session_ttl: Duration | None = None
    attestation: list[Method] = []


class UsersSection(Section):
    """One `[[users]]`. `audience` has no default: a token meant for somebody else must not start a session."""

    issuer: str
    alias: str
    audience: Annotated[list[str], Field(min_length=1)]
    tokens: Annotated[list[Literal["access_token", "id_token"]], Field(min_length=1)] = ["access_token", "id_token"]
    subject: Annotated[str, Field(min_length=1)] = "sub"
    groups: str = "groups"
    scopes: Annotated[str, Field(min_length=1)] | None = None
    max_auth_age: Duration = 12 * 3600
    jwks: Annotated[str, Field(min_length=1)] = "discover"
    ca_file: str = ""
    private_network: bool = False


class AttestationSection(Section):
    """One `[[attestation]]`."""

    method: Method
    workload: str
    agents: list[str]
    issuer: str = ""
    audience: str = ""
    jwks: Annotated[str, Field(min_length=1)] = "discover"
    ca_file: str = ""
    private_network: bool = False
    single_use: bool = True
    match: Claims = {}


class ImpersonationSection(Section):
    """One `[[impersonation]]`."""

    agent: str
    user: str
    resource: str
    scopes: Annotated[list[str], Field(min_length=1)]
    expires: dt.datetime
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class PolicySection(Section):
    """`[policy]`."""

    files: list[str] = [DEFAULT_POLICIES]
    shadow: list[str] = []


class AuditSection(Section):
    """`[audit]`."""

    task_text: Literal["hash", "clear"] = "hash"
    retention: Duration = 400 * _DAY
    checkpoint_every: Duration = 60
    checkpoint_to: list[str] = []


class ServerSection(Section):
    """`[server]`."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8400
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    trusted_proxies: list[str] = []
    max_body: Size = 64 * 1024
    max_headers: Size = 32 * 1024
    rate: Rate = 10.0
    shutdown_grace: Annotated[Duration, Field(le=600)] = 30
    unix_socket: str = ""
    metrics_from: list[str] = []


class OperatorSection(Section):
    """One `[[operators]]`."""

    issuer: str
    groups: Annotated[
        dict[Literal["viewer", "responder", "admin"], Annotated[list[str], Field(min_length=1)]], Field(min_length=1)
    ]
    audience: list[str] = []
    groups_claim: Annotated[str, Field(min_length=1)] = "groups"
    subject: Annotated[str, Field(min_length=1)] = "sub"
    jwks: Annotated[str, Field(min_length=1)] = "discover"
    ca_file: str = ""
    private_network: bool = False


class Document(Section):
    """The whole file."""

    version: Literal[1] = 1
    include: list[str] = []
    authority: AuthoritySection = AuthoritySection()
    store: StoreSection = StoreSection()
    limits: LimitsSection = LimitsSection()
    resources: dict[str, ResourceSection] = {}
    agents: dict[str, AgentSection] = {}
    users: list[UsersSection] = []
    attestation: list[AttestationSection] = []
    impersonation: list[ImpersonationSection] = []
    policy: PolicySection = PolicySection()
    audit: AuditSection = AuditSection()
    server: ServerSection = ServerSection()
    operators: list[OperatorSection] = []


class TeamPolicySection(Section):
    """`[policy]` of an included file."""

    files: list[str] = []


class TeamDocument(Section):
    """An included file: what one namespace says of itself."""

    version: Literal[1] = 1
    namespace: str
    resources: dict[str, ResourceSection] = {}
    agents: dict[str, AgentSection] = {}
    policy: TeamPolicySection = TeamPolicySection()
