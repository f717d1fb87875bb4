"""What the authority is asked to do. The library builds these in process, a server from RFC 8693 forms.

Tokens and arguments are left out of `repr`.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from deputize.model.resource import Right
from deputize.model.session import Evidence, Mode
from deputize.model.sign_in import NO_SIGN_IN, SignIn

ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # a type's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who presents a request: the outcome of client authentication, in process the key handle.

    `agent` is the name that authenticated: an agent, or a workload itself where that asks. `jkt` is the thumbprint of
    the key that was proved (RFC 7638). `attested` is when the workload's evidence was checked, seconds since the
    epoch; 0 in process, where there is none.
    """

    agent: str
    jkt: str
    workload: str
    attestation: str
    attested: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCredentials:
    """What the kernel says of the process that made a connection over a Unix-domain socket.

    Numbers as the authority's own user namespace sees them. `pid` is for the record, never for a decision: it is
    given to another process as soon as its owner has ended.
    """

    uid: int
    gid: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadEvidence:
    """What a workload shows before it has a name: a token of its platform, a join token, or its connection.

    `token` for "jwt" and "join"; `peer` for "unix", filled in by whoever holds the socket, never by the caller.
    """

    kind: Literal["jwt", "join", "unix"]
    token: str = field(default="", repr=False)
    peer: PeerCredentials | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RootRequest:
    """A user, or an agent on its own behalf, starts a task. `ttl` in seconds, None for the default."""

    mode: Mode = Mode.ON_BEHALF_OF
    user: str | None = None  # `<alias>|<sub>`; None in SELF, and where `subject_token` names the user
    evidence: Evidence = Evidence.ASSERTED
    subject_token: str | None = field(default=None, repr=False)  # of an issuer that `[[users]]` names
    subject_token_type: str = ACCESS_TOKEN_TYPE  # RFC 8693 §3
    groups: tuple[str, ...] = ()
    cap: frozenset[Right] | None = None  # what the user's own token permits at most
    sign_in: SignIn = NO_SIGN_IN  # when and how the user signed in, by that token
    requested: frozenset[Right] | None = None  # None: all that the agent is registered for
    ttl: int | None = None
    task: str | None = None
    key: str | None = None
    continues: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOffRequest:
    """A child of the subject token's session for another agent; in SELF mode a link.

    `actor_token` is the other agent's identity (`wit+jwt`), whose key the result is bound to.
    """

    subject_token: str = field(repr=False)
    actor_token: str = field(repr=False)
    to: str
    mode: Mode = Mode.ON_BEHALF_OF
    requested: frozenset[Right] | None = None
    ttl: int | None = None
    task: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeemRequest:
    """A child of the session behind an invitation, for the agent that the invitation is for.

    `invitation` is an access token whose audience is that agent's own, issued with rights to go onward.
    """

    invitation: str = field(repr=False)
    requested: frozenset[Right] | None = None
    ttl: int | None = None
    task: str | None = None
    key: str | None = None  # None: one session for each invitation


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """A token for one resource and the scopes of one operation. `mode` ON_BEHALF_OF keeps the session's."""

    subject_token: str = field(repr=False)
    resource: str
    scopes: frozenset[str]
    tool: str | None = None
    onward: frozenset[Right] = frozenset()
    ttl: int | None = None
    key: str | None = None
    mode: Mode = Mode.ON_BEHALF_OF
    user: str | None = None  # whom to impersonate; None: the tree's own subject
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """Permission to run a tool: all `rights` at one resource, none for a framework's own tool.

    A hand-off tool names in `to` whom it hands on to: `delegate` governs it, it needs and gets no scope.
    """

    subject_token: str = field(repr=False)
    tool: str
    resource: str
    scopes: frozenset[str]
    call_id: str | None = None
    arguments: bytes | None = field(default=None, repr=False)  # SHA-256 in hex; a keyed digest of it is recorded
    to: tuple[str, ...] = ()  # agents, by name or id; one of them must be open to a hand-off
