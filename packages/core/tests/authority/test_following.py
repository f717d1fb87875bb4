"""Replicas decide by the set that the store names: through a roll-out, back again, and never by the old one."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.authority import rollout
from deputize.authority.engine import Engine
from deputize.authority.following import policy_ready
from deputize.authority.policy_diff import diff
from deputize.authority.stores import store_of
from deputize.config import Configuration, load
from deputize.errors import AuthorityUnavailable, ConfigurationError, Denied, InvalidRequest, NotFound
from deputize.model.request import RootRequest
from deputize.model.session import Evidence, Mode
from deputize.testing import FakeClock

CRM = "https://crm.example/mcp"
LONER = "spiffe://example.org/agent/loner"
SUPERVISOR = "spiffe://example.org/agent/supervisor"
TIGHTER = ("[agents.loner]\nopen = true", "[agents.loner]\nopen = false")


class Fleet:
    """Replicas of one authority on one file, each opened from a file of its own."""

    def __init__(self, folder: Path, text: str, policies: str) -> None:
        self.folder = folder
        self.text = text
        self.clock = FakeClock()
        (folder / "extra.cedar").write_text(policies, encoding="utf-8")
        self.engines: list[Engine] = []

    def configuration(self, *changes: tuple[str, str], **environ: str) -> Configuration:
        text = self.text
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = self.folder / "deputize.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ=environ)

    def replica(self, *changes: tuple[str, str], **environ: str) -> Engine:
        configuration = self.configuration(*changes, **environ)
        engine = Engine(configuration, store=store_of(configuration), clock=self.clock, follows=True)
        self.engines.append(engine)
        return engine

    def records(self) -> list[dict[str, Any]]:
        from deputize.audit.record import open_body

        def read(tx: Any) -> list[dict[str, Any]]:
            return [{"type": record.type, "seq": record.seq, **open_body(record)} for record in tx.records()]

        return self.engines[0].parts.store.read(read)


def opened(engine: Engine, agent: str = LONER, key: str | None = None, **more: Any) -> Any:
    request = RootRequest(
        mode=Mode.ON_BEHALF_OF,
        user="local|alice",
        evidence=Evidence.ASSERTED,
        requested=None,
        ttl=more.get("ttl"),
        task=None,
        key=key,
    )
    return engine.open_root(agent, request)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    from packages.core.tests.authority.conftest import CONFIGURATION, POLICIES

    made = Fleet(tmp_path, CONFIGURATION, POLICIES)
    yield made
    for engine in made.engines:
        engine.close()


def test_a_replica_takes_the_stores_set_whatever_its_own_file_says(fleet: Fleet) -> None:
    first = fleet.replica()
    second = fleet.replica(TIGHTER)
    assert second.parts.rules.policy.digest == first.parts.rules.policy.digest
    assert opened(second).node.agent == LONER
    assert len(rollout.history(first.parts.store)) == 1


@pytest.mark.requirement("PO-01")
def test_a_tightened_policy_is_not_evaded_by_asking_the_other_replica(fleet: Fleet) -> None:
    first, second = fleet.replica(), fleet.replica()
    assert opened(second).token
    rollout.apply(first.parts.store, fleet.clock, fleet.configuration(TIGHTER), by="test")
    with pytest.raises(Denied) as refused:
        opened(second)
    assert refused.value.denial.policy_set == second.parts.rules.policy.digest
    assert second.parts.rules.policy.digest == rollout.resolve(first.parts.store)


def test_the_attack_works_where_the_comparison_is_left_out(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what the test above refuses goes through on a copy without the check."""
    from deputize.authority.parts import Parts

    first, second = fleet.replica(), fleet.replica()
    assert opened(second).token
    rollout.apply(first.parts.store, fleet.clock, fleet.configuration(TIGHTER), by="test")
    monkeypatch.setattr(Parts, "check_policy", lambda *_: None)
    assert opened(second).token


@pytest.mark.requirement("PO-01")
def test_what_a_new_set_permits_is_permitted_at_once_by_every_replica(fleet: Fleet) -> None:
    """A refusal by the old set would be as wrong as a permit: it is decided again as well."""
    first, second = fleet.replica(TIGHTER), fleet.replica(TIGHTER)
    with pytest.raises(Denied):
        opened(second)
    rollout.apply(first.parts.store, fleet.clock, fleet.configuration(), by="test")
    assert opened(second).token
    denied = [record for record in fleet.records() if record["type"] == "session.denied"]
    assert len(denied) == 1


def test_limits_and_agents_follow_the_set(fleet: Fleet) -> None:
    first, second = fleet.replica(), fleet.replica()
    limits = '[limits]\nsession_ttl_max = "1h"\nsession_ttl = "30m"\n'
    agent = '[agents.newcomer]\nopen = true\nuse = { wiki = ["wiki:read"] }\n'
    more = ("[policy]", f"{limits}{agent}[policy]")
    rollout.apply(first.parts.store, fleet.clock, fleet.configuration(more), by="test")
    node = opened(second, "spiffe://example.org/agent/newcomer").node
    assert node.exp - node.created == 1800
    assert second.parts.limits.session_ttl_max == 3600
    assert "spiffe://example.org/agent/newcomer" in second.parts.attested.agents
    with pytest.raises(InvalidRequest) as refused:
        opened(second, ttl=7200)
    assert refused.value.code == "ttl_too_long"


def test_limits_of_the_environment_are_part_of_the_set_that_is_applied(fleet: Fleet) -> None:
    first = fleet.replica(DEPUTIZE_LIMITS_SESSION_TTL="10m")
    second = fleet.replica(DEPUTIZE_LIMITS_SESSION_TTL="20m", DEPUTIZE_LIMITS_DEPTH_MAX="2")
    assert second.parts.limits == first.parts.limits
    assert second.parts.limits.session_ttl == 600
    again = fleet.configuration(DEPUTIZE_LIMITS_SESSION_TTL="20m")
    digest = rollout.apply(first.parts.store, fleet.clock, again, by="test")
    assert digest != first.parts.rules.policy.digest
    for engine in (first, second):
        node = opened(engine).node
        assert node.exp - node.created == 1200
    assert rollout.show(first.parts.store).environment == {"DEPUTIZE_LIMITS_SESSION_TTL": "20m"}


def test_what_belongs_to_one_replica_stays_its_own(fleet: Fleet) -> None:
    fleet.replica()
    other = ("[policy]", '[server]\nport = 9000\n[audit]\ncheckpoint_every = "5m"\n[policy]')
    second = fleet.replica(other)
    rollout.apply(second.parts.store, fleet.clock, fleet.configuration(TIGHTER), by="test")
    assert policy_ready(second.parts)
    rules = second.parts.rules.configuration
    assert (rules.server.port, rules.checkpoint_every) == (9000, 300)


@pytest.mark.requirement("PO-02")
def test_a_set_that_cannot_be_loaded_denies_and_is_recorded_once(fleet: Fleet) -> None:
    first, second = fleet.replica(), fleet.replica()
    opened(second)
    new = rollout.apply(first.parts.store, fleet.clock, fleet.configuration(TIGHTER), by="test")
    row = f"policy.set.{new}"
    good = first.parts.store.read(lambda tx: tx.meta(row))
    for broken in ("{", good.replace("[agents.loner]", "[agents.loner"), good.replace("open = false", "open = true ")):
        first.parts.store.write(lambda tx, text=broken: tx.set_meta(row, text))
        for _ in range(3):
            with pytest.raises(AuthorityUnavailable):
                opened(second)
        assert not policy_ready(second.parts)
    told = [record for record in fleet.records() if record["type"] == "policy.unloadable"]
    assert len(told) == 3
    refused = [r for r in fleet.records() if r["type"] == "session.denied"]
    assert len(refused) == 9
    assert {record.get("policy_set") for record in refused} == {None}
    first.parts.store.write(lambda tx: tx.set_meta(row, good))
    assert policy_ready(second.parts)
    with pytest.raises(Denied):
        opened(second)


@pytest.mark.requirement("PO-02")
def test_a_replica_that_starts_on_a_broken_set_decides_nothing_until_it_is_mended(fleet: Fleet) -> None:
    first = fleet.replica()
    row = f"policy.set.{first.parts.rules.policy.digest}"
    good = first.parts.store.read(lambda tx: tx.meta(row))
    first.parts.store.write(lambda tx: tx.set_meta(row, good.replace("alice", "mallory")))
    second = fleet.replica(TIGHTER)
    assert not policy_ready(second.parts)
    with pytest.raises(AuthorityUnavailable):
        opened(second)
    first.parts.store.write(lambda tx: tx.set_meta(row, good))
    assert opened(second).token


def test_many_threads_load_a_new_set_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    from deputize.authority import following

    first, second = fleet.replica(), fleet.replica()
    opened(second)
    loads: list[str] = []
    real = following.compiled

    def counted(text: str | None, digest: str, **more: Any) -> Any:
        loads.append(digest)
        return real(text, digest, **more)

    monkeypatch.setattr(following, "compiled", counted)
    other = fleet.configuration(('session_ttl = "10m"', 'session_ttl = "11m"'))
    rollout.apply(first.parts.store, fleet.clock, other, by="test")
    start = threading.Barrier(8)
    done: list[Any] = []

    def work() -> None:
        start.wait()
        done.append(opened(second).node.sid)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(done)) == 8
    assert len(loads) == 1


def test_a_roll_back_returns_to_what_decided_before(fleet: Fleet) -> None:
    first, second = fleet.replica(), fleet.replica()
    store = first.parts.store
    old = first.parts.rules.policy.digest
    new = rollout.apply(store, fleet.clock, fleet.configuration(TIGHTER), by="ann", reason="INC-1")
    with pytest.raises(Denied):
        opened(second)
    assert rollout.rollback(store, fleet.clock, by="bob", reason="too tight") == old
    assert opened(second).token
    assert opened(first).token
    told = [(move.digest, move.by, move.reason, move.previous, move.active) for move in rollout.history(store)]
    assert told == [
        (old, "configuration file", "", None, True),
        (new, "ann", "INC-1", old, False),
        (old, "bob", "too tight", new, True),
    ]
    assert rollout.rollback(store, fleet.clock, new[:8], by="bob") == new
    with pytest.raises(Denied):
        opened(second)


def test_only_a_set_that_decided_here_can_be_returned_to(fleet: Fleet) -> None:
    first = fleet.replica()
    store = first.parts.store
    with pytest.raises(NotFound):
        rollout.rollback(store, fleet.clock, by="bob")
    planted = "ab" * 32
    store.write(lambda tx: tx.set_meta(f"policy.set.{planted}", "{}"))
    for name in (planted, "", "abab", "policy", "../x", first.parts.rules.policy.digest[:5]):
        with pytest.raises(NotFound):
            rollout.rollback(store, fleet.clock, name, by="bob")
    assert len(rollout.history(store)) == 1


def test_of_two_who_apply_at_once_the_last_wins_unless_it_said_what_it_replaces(fleet: Fleet) -> None:
    first = fleet.replica()
    store, old = first.parts.store, first.parts.rules.policy.digest
    tight = fleet.configuration(TIGHTER)
    other = fleet.configuration(('session_ttl = "10m"', 'session_ttl = "11m"'))
    new = rollout.apply(store, fleet.clock, tight, by="ann", expected=old[:10])
    with pytest.raises(InvalidRequest) as refused:
        rollout.apply(store, fleet.clock, other, by="bob", expected=old)
    assert refused.value.code == "policy_conflict"
    assert rollout.resolve(store) == new
    last = rollout.apply(store, fleet.clock, other, by="bob")
    assert [move.digest for move in rollout.history(store)] == [old, new, last]


def test_of_two_replicas_that_start_on_an_empty_store_the_second_follows_the_first(fleet: Fleet) -> None:
    """Both saw that there was no set; the one that comes second moves nothing."""
    from deputize.authority.policy_sets import NO_SET, move
    from deputize.authority.rules import rules_of

    first = fleet.replica()
    tight = rules_of(fleet.configuration(TIGHTER))
    with pytest.raises(InvalidRequest) as refused:
        move(first.parts.store, fleet.clock, tight, by="second", expected=NO_SET)
    assert refused.value.code == "policy_conflict"
    assert len(rollout.history(first.parts.store)) == 1


def test_a_set_is_kept_as_texts_without_what_is_of_one_replica(fleet: Fleet) -> None:
    more = ("[policy]", '[server]\nhost = "10.9.8.7" # here\n# hunter2\n[policy]')
    first = fleet.replica(more)
    shown = rollout.show(first.parts.store)
    assert set(shown.files) == {"deputize.toml", "extra.cedar"}
    text = shown.text()
    assert "writer-may-appear-for-reading" in text
    for hidden in ("10.9.8.7", "hunter2", "sqlite", str(fleet.folder)):
        assert hidden not in text


def test_a_difference_names_what_decides_otherwise(fleet: Fleet) -> None:
    old = fleet.configuration().bundle
    new = fleet.configuration(
        TIGHTER,
        ("[policy]", "[limits]\ndepth_max = 2\n[policy]"),
        ("[agents.writer]", "[agents.spare]\n[agents.writer]"),
    ).bundle
    assert old is not None
    assert new is not None
    found = diff(old, new)
    assert set(found.summary) == {"+ agent spare", "~ agent loner: opens True -> False", "~ limits: depth_max 4 -> 2"}
    assert "-open = true" in found.text
    assert diff(old, old).summary == ()


def test_a_configuration_that_was_changed_after_it_was_read_is_not_rolled_out(fleet: Fleet) -> None:
    from dataclasses import replace

    from deputize.model.limits import Limits

    first = fleet.replica()
    changed = replace(fleet.configuration(), limits=Limits(depth_max=1))
    with pytest.raises(ConfigurationError):
        rollout.apply(first.parts.store, fleet.clock, changed, by="test")
    assert len(rollout.history(first.parts.store)) == 1


def test_a_set_of_another_trust_domain_is_refused(fleet: Fleet) -> None:
    first = fleet.replica()
    (fleet.folder / "extra.cedar").write_text("", encoding="utf-8")
    foreign = fleet.configuration(("example.org", "other.org"))
    with pytest.raises(ConfigurationError) as refused:
        rollout.apply(first.parts.store, fleet.clock, foreign, by="test")
    assert refused.value.key == "authority.trust_domain"


def test_an_agent_that_only_the_new_set_knows_can_be_revoked_at_any_replica(fleet: Fleet) -> None:
    from deputize.model.revocation import Kind

    first, second = fleet.replica(), fleet.replica()
    more = ("[agents.loner]", "[agents.newcomer]\n[agents.loner]")
    rollout.apply(first.parts.store, fleet.clock, fleet.configuration(more), by="test")
    done = second.revoke(Kind.AGENT, "spiffe://example.org/agent/newcomer", reason="leak")
    assert done.target.endswith("newcomer")
    with pytest.raises(NotFound):
        second.revoke(Kind.AGENT, "spiffe://example.org/agent/nobody", reason="x")


def test_a_store_of_a_release_that_kept_no_texts_is_taken_over_by_the_file(fleet: Fleet) -> None:
    first = fleet.replica()
    first.close()
    path = fleet.folder / "deputize.db"
    with sqlite3.connect(path) as db:
        db.execute("delete from meta where name like 'policy.set.%'")
        db.execute("update meta set value = ? where name = 'policy.active'", ("00" * 32,))
    db.close()
    second = fleet.replica()
    fleet.engines.remove(first)
    assert opened(second).token
    assert rollout.show(second.parts.store).main == "deputize.toml"
