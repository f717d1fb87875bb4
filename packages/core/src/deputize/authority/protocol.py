"""What the public classes ask of an authority: in process `Engine`, at a URL its client. One meaning for both (I15)."""

from collections.abc import Callable, Sequence
from typing import Protocol

from deputize.authority.access import Issued
from deputize.authority.calls import Permitted
from deputize.authority.explain import Explanation
from deputize.authority.identities import Identity
from deputize.authority.opening import Opened
from deputize.authority.revocation import Revocation
from deputize.authority.tree import SessionTree
from deputize.model.introspection import Introspection
from deputize.model.registry import Registry
from deputize.model.report import Note, Rejections, Report
from deputize.model.request import AccessRequest, CallRequest, HandOffRequest, RedeemRequest, RootRequest
from deputize.model.revocation import Kind
from deputize.model.session import Node

Shown = Callable[[], str]  # gives the session's own token, minted again where it ran out; asked for only if needed


class AuthorityEngine(Protocol):
    """Decides, or asks the one that does. Raises what `deputize.errors` draws, and nothing else."""

    @property
    def registry(self) -> Registry:
        """What is registered now, as far as this process may know."""
        ...

    @property
    def token_life(self) -> int:
        """Seconds that a session token lives at most."""
        ...

    def identity(self, agent: str) -> Identity:
        """The key and identity of an agent of this process, by id. Raises UnknownAgent, AttestationFailed."""
        ...

    def renew_identities(self) -> None:
        """Have the identities of this process issued anew, over the same keys."""
        ...

    def open_root(self, agent: str, request: RootRequest) -> Opened:
        """A root session of `agent`."""
        ...

    def hand_off(self, agent: str, request: HandOffRequest) -> Opened:
        """A child or link, presented by `agent`."""
        ...

    def redeem(self, agent: str, request: RedeemRequest) -> Opened:
        """A child of the session behind an invitation, redeemed by `agent`."""
        ...

    def access(self, agent: str, request: AccessRequest) -> Issued:
        """Access from a session of `agent`."""
        ...

    def permit_call(self, agent: str, request: CallRequest) -> Permitted:
        """Permission for one tool call in a session of `agent`."""
        ...

    def note(self, node: Node, note: Note, shown: Shown) -> int:
        """Record what came of something in a session. The record's number."""
        ...

    def revoke(self, kind: Kind, target: str, *, reason: str, by: str = "operator") -> Revocation:
        """Revoke one target; dead when this returns."""
        ...

    def revoke_session(self, node: Node, reason: str, shown: Shown) -> Revocation:
        """Its holder revokes a session; dead when this returns."""
        ...

    def close_session(self, node: Node, shown: Shown) -> None:
        """An orderly end of a session and all below. Nothing happens where it has ended already."""
        ...

    def state(self, node: Node, shown: Shown) -> str:
        """open, closed, expired or revoked, ended ancestors included."""
        ...

    def tree(self, node: Node, shown: Shown) -> SessionTree:
        """The session and all below it, with their tool calls."""
        ...

    def introspect(self, token: str) -> Introspection:
        """The state of a token."""
        ...

    def jwks(self) -> list[dict[str, object]]:
        """The public keys that tokens are verified with."""
        ...

    def explain(
        self, *, chain: Sequence[str], tool: str | None, scopes: Sequence[str], resource: str | None, user: str | None
    ) -> Explanation:
        """Dry run, hop by hop; nothing is issued."""
        ...

    def suggest(self, session: str | None) -> str:
        """TOML that would have allowed what was refused."""
        ...

    def record_call(self, report: Report) -> None:
        """What a resource server tells of a call."""
        ...

    def record_rejections(self, told: Rejections) -> None:
        """What a resource server tells of requests that no caller could be named for."""
        ...

    def close(self) -> None:
        """Give everything back; keys are forgotten."""
        ...
