"""The embedded authority: the use cases bound to one store, one policy and the keys of this process."""

import contextlib
import os
import weakref
from collections.abc import Sequence
from typing import Final, NoReturn

from deputize.attestation import InProcess
from deputize.authority import calls, invitation, opening, revocation
from deputize.authority.access import Issued, issue_access
from deputize.authority.clocks import check_clock
from deputize.authority.explain import Explanation, explain, suggest
from deputize.authority.following import StoreFollower, policy_ready
from deputize.authority.identities import Identities, Identity
from deputize.authority.introspection import introspect
from deputize.authority.key_book import KeyBook
from deputize.authority.parts import Parts
from deputize.authority.policy_sets import NO_SET, active_digest, active_text, keep, kept_text, move
from deputize.authority.protocol import Shown
from deputize.authority.reported import record_rejections, record_report
from deputize.authority.rules import Rules, rules_of
from deputize.authority.stores import check_anchor, store_of
from deputize.authority.subject import Tokens, state_of
from deputize.authority.tree import SessionTree
from deputize.authority.tree_reading import build_tree
from deputize.config import Configuration
from deputize.keys.anchor import Anchor, NoAnchor
from deputize.model.clock import Clock
from deputize.model.failure import ConfigurationError, InvalidRequest, NotFound
from deputize.model.introspection import Introspection
from deputize.model.registry import Registry
from deputize.model.report import Note, Rejections, Report
from deputize.model.request import AccessRequest, CallRequest, Client, HandOffRequest, RedeemRequest, RootRequest
from deputize.model.revocation import Kind
from deputize.model.session import Node
from deputize.model.token import IdentityClaims, SessionClaims
from deputize.store.protocol import ReadTx, Store, WriteTx
from deputize.wire import session_token

LAPSED = 30 * 86_400  # seconds that a token may be over where it permits nothing

EMBEDDED: Final = "configuration file"  # who moved the policy: whoever can write it and open the store


class Engine:
    """Everything an authority does, in process. Thread-safe; one object serves all agents of the process."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        store: Store,
        clock: Clock,
        anchor: Anchor | None = None,
        decides: bool = True,
        follows: bool = False,
    ) -> None:
        """Bind a configuration to its store. Raises ConfigurationError, AttestationFailed.

        Args:
            configuration: What the store is to decide by, if it may.
            store: Closed by `close`.
            clock: Of this process.
            anchor: The trust root; None is the anchor `none`, which an authority over PostgreSQL refuses.
            decides: False: to look and to cut off alone; the store's policy stays what it is.
            follows: As a server's replicas do: decide by the set that the store names, now and after every
                roll-out; the configuration's is taken only where the store has none yet.
        """
        anchor = anchor or NoAnchor()
        if decides:
            check_anchor(configuration, anchor)
        rules = rules_of(configuration)
        keys = KeyBook(
            algorithm=configuration.algorithm,
            store=store,
            clock=clock,
            anchor=anchor,
            issuer=configuration.issuer,
            limits=configuration.limits,
        )
        if not follows:
            InProcess(configuration.trust_domain).attest(rules.registry.agents.values())
        self.parts = Parts(
            issuer=configuration.issuer,
            trust_domain=configuration.trust_domain,
            rules=rules,
            store=store,
            clock=clock,
            keys=keys,
            follower=StoreFollower(configuration) if follows else None,
        )
        self.tokens = Tokens()
        self._identities = Identities(self.parts, configuration.algorithm)
        claim(store, configuration, write=decides)
        if decides and follows:
            self._join_policy(rules)
        elif decides:
            self._settle_policy(rules)
        _after_fork(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an authority is not pickled: open its store in the other process")

    def forked(self) -> None:
        """In a forked child: keys do not move between processes, so it makes its own."""
        self.parts.keys.forked()
        self._identities.forked()
        self.tokens.clear()

    @property
    def registry(self) -> Registry:
        """What is registered now."""
        return self.parts.rules.registry

    def identity(self, agent: str) -> Identity:
        """The key and identity of an agent of this process, by id."""
        return self._identities.get(agent)

    def renew_identities(self) -> None:
        """Issue the identities of this process anew, over the same keys."""
        self._identities.expire()

    def open_root(self, agent: str, request: RootRequest) -> opening.Opened:
        """A root session of `agent`."""
        return self.open_root_of(self.identity(agent).client, request)

    def hand_off(self, agent: str, request: HandOffRequest) -> opening.Opened:
        """A child or link, presented by `agent`."""
        return self.hand_off_of(self.identity(agent).client, request)

    def redeem(self, agent: str, request: RedeemRequest) -> opening.Opened:
        """A child of the session behind an invitation, redeemed by `agent`."""
        return self.redeem_of(self.identity(agent).client, request)

    def access(self, agent: str, request: AccessRequest) -> Issued:
        """Access from a session of `agent`."""
        return self.access_of(self.identity(agent).client, request)

    def permit_call(self, agent: str, request: CallRequest) -> calls.Permitted:
        """Permission for one tool call in a session of `agent`."""
        return self.permit_call_of(self.identity(agent).client, request)

    def open_root_of(self, client: Client, request: RootRequest) -> opening.Opened:
        """A root session of a client that was authenticated elsewhere."""
        return opening.open_root(self.parts, client, request)

    def hand_off_of(self, client: Client, request: HandOffRequest) -> opening.Opened:
        """A child or link, presented by a client that was authenticated elsewhere."""
        return opening.hand_off(self.parts, self.tokens, client, request)

    def redeem_of(self, client: Client, request: RedeemRequest) -> opening.Opened:
        """A child by invitation, redeemed by a client that was authenticated elsewhere."""
        return invitation.redeem(self.parts, client, request)

    def access_of(self, client: Client, request: AccessRequest) -> Issued:
        """Access, presented by a client that was authenticated elsewhere."""
        return issue_access(self.parts, self.tokens, client, request)

    def permit_call_of(self, client: Client, request: CallRequest) -> calls.Permitted:
        """Permission for one tool call, presented by a client that was authenticated elsewhere."""
        return calls.permit_call(self.parts, self.tokens, client, request)

    def identity_claims(self, token: str) -> IdentityClaims:
        """What an identity of ours says, its key and form checked. Raises InvalidToken."""
        return self.tokens.identity(self.parts, token, self.parts.now())[0]

    def session(self, sid: str) -> Node:
        """A session as it was made; what can change of it is asked for apart. Raises NotFound."""
        node = self.parts.node(sid)
        if node is None:
            raise NotFound("no such session")
        return node

    def bound(self, resource: str) -> bool:
        """Whether tokens for this resource (alias or URL) are bound to a key. False where there is none."""
        try:
            return self.registry.resource(resource).binding != "bearer"
        except InvalidRequest:
            return False

    def session_token(self, token: str, *, lapsed: bool = False) -> SessionClaims:
        """What a session token of ours says, its key and form checked. Raises InvalidToken.

        `lapsed`: also where it has expired, for what permits nothing: to tell an outcome, to end the session.
        """
        parts = self.parts
        if not lapsed:
            return self.tokens.session(parts, token, parts.now())[0]
        return session_token.decode(
            token, issuer=parts.issuer, key_for=parts.keys.verifying, now=parts.now(), leeway=LAPSED
        )

    def state(self, node: Node, shown: Shown | None = None) -> str:
        """The state of a session as the store says now, ended ancestors included."""
        del shown
        parts = self.parts
        return parts.store.read(lambda tx: state_of(tx, tx.line(node), parts.moment(tx))).value

    def tree(self, node: Node, shown: Shown | None = None) -> SessionTree:
        """The session and all below it, with their tool calls."""
        del shown
        return build_tree(self.parts, node)

    @property
    def token_life(self) -> int:
        """Seconds that a session token lives at most."""
        return self.parts.limits.session_token_ttl

    def check_ready(self) -> None:
        """Whether this process may decide: the store answers, tells our time, and names our policy set. Raises."""
        parts = self.parts
        check_clock(parts)
        parts.store.read(lambda tx: parts.check_policy(tx, parts.rules))

    def jwks(self) -> list[dict[str, object]]:
        """The public keys that tokens are verified with."""
        return self.parts.keys.jwks()

    def explain(
        self, *, chain: Sequence[str], tool: str | None, scopes: Sequence[str], resource: str | None, user: str | None
    ) -> Explanation:
        """Dry run, hop by hop; nothing is issued."""
        return explain(self.parts, chain=chain, tool=tool, scopes=scopes, resource=resource, user=user)

    def suggest(self, session: str | None) -> str:
        """TOML that would have allowed what was refused."""
        return suggest(self.parts, session)

    def record_call(self, report: Report) -> None:
        """What a resource server tells of a call."""
        record_report(self.parts, report)

    def record_rejections(self, told: Rejections) -> None:
        """What a resource server tells of requests that no caller could be named for."""
        record_rejections(self.parts, told)

    def note(self, node: Node, note: Note, shown: Shown | None = None) -> int:
        """Record what came of something in a session of this process."""
        del shown  # who owns the store needs no token to be believed
        return self.note_of(self.identity(node.agent).client, node, note)

    def note_of(self, client: Client, node: Node, note: Note) -> int:
        """Record what a client tells of its session."""
        return calls.note(self.parts, client, node, note)

    def revoke(
        self, kind: Kind, target: str, *, reason: str, by: str = "operator", role: str = ""
    ) -> revocation.Revocation:
        """Revoke one target; dead when this returns."""
        done = revocation.revoke(self.parts, kind, target, reason=reason, by=by, role=role)
        if kind is Kind.KEY:
            self.parts.keys.drop(target)
            self.renew_identities()
        return done

    def revoke_session(self, node: Node, reason: str, shown: Shown | None = None) -> revocation.Revocation:
        """Its holder revokes a session."""
        del shown
        return self.revoke(Kind.SESSION, node.sid, reason=reason, by=node.agent)

    def close_session(self, node: Node, shown: Shown | None = None) -> None:
        """An orderly end."""
        del shown
        revocation.close_session(self.parts, node.sid)

    def introspect(self, token: str) -> Introspection:
        """The state of a token."""
        return introspect(self.parts, token)

    def apply(self, configuration: Configuration) -> str:
        """A new policy version over the same log; every process on the store has to load it. Returns the digest."""
        rules = rules_of(configuration)
        move(self.parts.store, self.parts.clock, rules, by=EMBEDDED)
        self.parts.keys.allow_for(rules.limits)
        self.parts.rules = rules
        return rules.policy.digest

    def forget_inputs(self) -> None:
        """Drop the caches of verified inputs, so that the next exchange verifies them again."""
        self.tokens.clear()

    def close(self) -> None:
        """End the lease of this process's key and close the store. Sessions live on in a file store."""
        self.parts.keys.end()
        self._identities.forget()
        self.parts.store.close()

    def _settle_policy(self, rules: Rules) -> None:
        """First open writes the pointer; a changed file moves it, unless another process decides by the old one."""
        store, digest = self.parts.store, rules.policy.digest
        active, text = store.read(lambda tx: (active_digest(tx), kept_text(tx, digest)))
        if active == digest:
            if text is None:
                keep(store, rules)
            return
        if active is not None and self.parts.keys.live_instances(self.parts.clock.now()):
            raise ConfigurationError(
                "another process decides on this store by another policy set; end it, or: deputize policy apply",
                path=rules.configuration.path,
            )
        move(store, self.parts.clock, rules, by=EMBEDDED)

    def _join_policy(self, rules: Rules) -> None:
        """Follow the store's set. One that cannot be loaded leaves this replica not ready, and it decides nothing."""
        active, text = self.parts.store.read(active_text)
        if active is None:
            with contextlib.suppress(InvalidRequest):  # another replica was first: its set is followed
                move(self.parts.store, self.parts.clock, rules, by=EMBEDDED, expected=NO_SET)
        elif text is None:
            self._settle_policy(rules)
        policy_ready(self.parts)


def claim(store: Store, configuration: Configuration, *, write: bool = True) -> None:
    """One store, one issuer, one trust domain: the first that opens it. Raises ConfigurationError for another."""
    mine = {"authority.issuer": configuration.issuer, "authority.trust_domain": configuration.trust_domain}

    def held(tx: ReadTx) -> dict[str, str | None]:
        return {name: tx.meta(name) for name in mine}

    def operation(tx: WriteTx) -> dict[str, str | None]:
        for name, value in mine.items():
            if tx.meta(name) is None:
                tx.set_meta(name, value)
        return held(tx)

    found = store.read(held)
    if write and None in found.values():
        found = store.write(operation)
    for name, value in mine.items():
        if found[name] not in {None, value}:
            what = name.partition(".")[2].replace("_", " ")
            raise ConfigurationError(
                f"this store belongs to another {what}; one store is of one authority: name another [store] url",
                path=configuration.path,
                key=name,
            )


def apply_policy_of(configuration: Configuration, *, clock: Clock) -> str:
    """Make a store decide by this configuration, whoever has it open. Returns the digest."""
    rules = rules_of(configuration)
    store = store_of(configuration)
    try:
        claim(store, configuration)
        move(store, clock, rules, by=EMBEDDED)
    finally:
        store.close()
    return rules.policy.digest


def _after_fork(engine: Engine) -> None:
    held = weakref.ref(engine)

    def in_child() -> None:
        alive = held()
        if alive is not None:
            alive.forked()

    os.register_at_fork(after_in_child=in_child)
