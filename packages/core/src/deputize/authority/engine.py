"""The embedded authority: the use cases bound to one store, one policy and the keys of this process."""

import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from deputize.attestation import InProcess
from deputize.authority import access, calls, introspection, opening, revocation
from deputize.authority.identities import Identities, Identity
from deputize.authority.journal import append
from deputize.authority.key_book import KeyBook
from deputize.authority.parts import ACTIVE_POLICY, Parts, Rules
from deputize.authority.refusal import MILLIS
from deputize.authority.stores import check_anchor, store_of
from deputize.authority.subject import Tokens
from deputize.config import Configuration
from deputize.keys.anchor import Anchor, NoAnchor
from deputize.model.clock import Clock
from deputize.model.event import Event, Json
from deputize.model.failure import ConfigurationError
from deputize.model.registry import Registry
from deputize.model.request import AccessRequest, CallRequest, HandOffRequest, RootRequest
from deputize.model.revocation import Kind
from deputize.model.session import Node
from deputize.policy import compile_policy
from deputize.store.protocol import ReadTx, Store, WriteTx


def rules_of(configuration: Configuration) -> Rules:
    """Compile a configuration. Raises ConfigurationError with file and line."""
    registry = configuration.registry
    policy = compile_policy(
        registry,
        users=configuration.users,
        user_rules=configuration.user_rules,
        files=configuration.policy_files,
        impersonation=configuration.impersonation,
        workloads=configuration.workloads,
    )
    return Rules(registry=registry, policy=policy, configuration=configuration)


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
    ) -> None:
        """`decides` False: to look and to cut off alone; the store's policy stays what it is whatever the file says.

        `anchor` None is the anchor `none`; an authority over PostgreSQL refuses it. Raises ConfigurationError.
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
        attested = InProcess(configuration.trust_domain).attest(rules.registry.agents.values())
        self.parts = Parts(
            issuer=configuration.issuer,
            trust_domain=configuration.trust_domain,
            limits=configuration.limits,
            rules=rules,
            store=store,
            clock=clock,
            keys=keys,
            attested=attested,
        )
        self._tokens = Tokens()
        self._identities = Identities(self.parts, configuration.algorithm)
        claim(store, configuration, write=decides)
        if decides:
            self._settle_policy(rules)
        _after_fork(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an authority is not pickled: open its store in the other process")

    def forked(self) -> None:
        """In a forked child: keys do not move between processes, so it makes its own."""
        self.parts.keys.forked()
        self._identities.forked()
        self._tokens.clear()

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
        return opening.open_root(self.parts, self.identity(agent).client, request)

    def hand_off(self, agent: str, request: HandOffRequest) -> opening.Opened:
        """A child or link, presented by `agent`."""
        return opening.hand_off(self.parts, self._tokens, self.identity(agent).client, request)

    def access(self, agent: str, request: AccessRequest) -> access.Issued:
        """Access from a session of `agent`."""
        return access.issue_access(self.parts, self._tokens, self.identity(agent).client, request)

    def permit_call(self, agent: str, request: CallRequest) -> calls.Permitted:
        """Permission for one tool call in a session of `agent`."""
        return calls.permit_call(self.parts, self._tokens, self.identity(agent).client, request)

    def note(
        self,
        node: Node,
        kind: str,
        outcome: str,
        *,
        tool: str | None = None,
        call_id: str | None = None,
        resource: str | None = None,
        code: str | None = None,
        detail: Mapping[str, Json] | None = None,
    ) -> int:
        """Record what came of something in a session."""
        client = self.identity(node.agent).client
        return calls.note(
            self.parts,
            client,
            node,
            kind,
            outcome,
            tool=tool,
            call_id=call_id,
            resource=resource,
            code=code,
            detail=detail,
        )

    def revoke(self, kind: Kind, target: str, *, reason: str, by: str = "operator") -> revocation.Revocation:
        """Revoke one target; dead when this returns."""
        done = revocation.revoke(self.parts, kind, target, reason=reason, by=by)
        if kind is Kind.KEY:
            self.parts.keys.drop(target)
            self.renew_identities()
        return done

    def close_session(self, sid: str) -> None:
        """An orderly end."""
        revocation.close_session(self.parts, sid)

    def introspect(self, token: str) -> introspection.Introspection:
        """The state of a token."""
        return introspection.introspect(self.parts, token)

    def apply(self, configuration: Configuration) -> str:
        """A new policy version over the same log; every process on the store has to load it. Returns the digest."""
        rules = rules_of(configuration)
        self._write_policy(rules, previous=self.parts.rules.policy.digest)
        self.parts.rules = rules
        self.parts.attested = InProcess(configuration.trust_domain).attest(rules.registry.agents.values())
        return rules.policy.digest

    def forget_inputs(self) -> None:
        """Drop the caches of verified inputs, so that the next exchange verifies them again."""
        self._tokens.clear()

    def close(self) -> None:
        """End the lease of this process's key and close the store. Sessions live on in a file store."""
        self.parts.keys.end()
        self._identities.forget()
        self.parts.store.close()

    def _settle_policy(self, rules: Rules) -> None:
        """First open writes the pointer; a changed file moves it, unless another process decides by the old one."""
        active = self.parts.store.read(lambda tx: tx.meta(ACTIVE_POLICY))
        if active == rules.policy.digest:
            return
        if active is not None and self.parts.keys.live_instances(self.parts.clock.now()):
            raise ConfigurationError(
                "another process decides on this store by another policy set; end it, or: deputize policy apply",
                path=rules.configuration.path,
            )
        self._write_policy(rules, previous=active)

    def _write_policy(self, rules: Rules, *, previous: str | None) -> None:
        move_policy(self.parts.store, self.parts.clock, rules, previous)


def move_policy(store: Store, clock: Clock, rules: Rules, previous: str | None) -> None:
    """Point the store at a policy set, and record it."""

    def operation(tx: WriteTx) -> None:
        millis = max(int(clock.now() * MILLIS), tx.newest_time())
        detail: dict[str, Json] = {"previous": previous, "file": Path(rules.configuration.path).name}
        append(
            tx,
            Event(
                type="policy.applied",
                outcome="noted",
                time=millis,
                policy_set=rules.policy.digest,
                detail={name: value for name, value in detail.items() if value},
            ),
        )
        tx.set_meta(ACTIVE_POLICY, rules.policy.digest)

    store.write(operation, sync=True)


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
        move_policy(store, clock, rules, store.read(lambda tx: tx.meta(ACTIVE_POLICY)))
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
