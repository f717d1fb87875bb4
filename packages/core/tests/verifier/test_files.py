"""Keys and revocations straight from the store file of an embedded authority."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from deputize.model.failure import DeputizeError
from deputize.model.revocation import Kind, RevocationEntry
from deputize.model.session import Edge, Evidence, Mode, Node
from deputize.store import schema
from deputize.store.rows import KeyRow
from deputize.store.sqlite import open_sqlite
from deputize.verifier import FileSource, files
from deputize.wire import alg, json_strict
from deputize.wire.published_key import statement

AGENT = "spiffe://example.org/agent/"


def code_of(call: Any, *arguments: Any, **named: Any) -> Any:
    with pytest.raises(DeputizeError) as caught:
        call(*arguments, **named)
    return caught.value.code


def key_row(world: Any, key: Any = None, **changes: Any) -> Any:
    key = key or world.key
    given = {
        "kid": key.kid,
        "use": "sig",
        "jwk": json_strict.dumps(key.public_jwk()),
        "sign_from": 0,
        "sign_until": world.now + 600,
        "serve_until": world.now + 900,
        "instance": "one",
        "proof": key.sign(statement(key.kid, key.alg, "one", 0)),
    }
    return KeyRow(**{**given, **changes})


def session(world: Any, sid: str, **changes: Any) -> Any:
    given = {
        "sid": sid,
        "txn": "T" * 16,
        "path": (),
        "parent": None if sid == "T" * 16 else "T" * 16,
        "kind": Edge.ROOT if sid == "T" * 16 else Edge.CHILD,
        "mode": Mode.ON_BEHALF_OF,
        "sub": "okta|alice",
        "agent": AGENT + "supervisor",
        "chain": (AGENT + "supervisor",),
        "ceiling": frozenset(),
        "created": world.now - 10,
        "exp": world.now + 3600,
        "depth": 0,
        "evidence": Evidence.ASSERTED,
        "workload": "w",
        "attestation": "in_process",
    }
    return Node(**{**given, **changes})


@pytest.fixture
def path(tmp_path: Any) -> Any:
    return tmp_path / "deputize.db"


@pytest.fixture
def store(path: Any, world: Any) -> Iterator[Any]:
    opened = open_sqlite(f"sqlite:{path}", durability="normal")
    opened.write(lambda tx: tx.put_key(key_row(world)))
    yield opened
    opened.close()


@pytest.fixture
def source(store: Any, path: Any, world: Any) -> Iterator[Any]:
    found = FileSource(path, clock=world.clock)
    yield found
    found.close()


@pytest.fixture
def verifier(world: Any, source: Any) -> Any:
    return world.verifier(keys=source, revocations=source)


def revoke(store: Any, kind: str, name: str, seq: int, at: int, before: Any = None) -> None:
    row = RevocationEntry(kind=kind, id=name, at=at, until=2**40, before=before, seq=seq)
    store.write(lambda tx: tx.revoke(row))


def test_the_tables_are_those_of_the_store() -> None:
    assert (files.SCHEMA, files.APPLICATION_ID) == (schema.VERSION, schema.APPLICATION_ID)


def test_a_token_of_the_authority_is_verified_from_its_file(verifier: Any, world: Any, store: Any) -> None:
    assert verifier.verify(world.token()).subject == "okta|alice"


def test_the_folder_of_the_store_will_do(store: Any, path: Any, world: Any) -> None:
    found = FileSource(path.parent, clock=world.clock)
    assert found.key(world.key.kid) is not None
    found.close()


@pytest.mark.requirement("I7")
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.SESSION, "T" * 16),
        (Kind.SESSION, "P" * 16),
        (Kind.CLOSE, "S" * 16),
        (Kind.TOKEN, "j" * 22),
        (Kind.AGENT, AGENT + "researcher"),
        (Kind.USER, "okta|alice"),
        (Kind.KEY, None),
    ],
)
def test_a_revocation_is_seen_by_the_next_check(verifier: Any, world: Any, store: Any, kind: str, name: str) -> None:
    token = world.token()
    assert verifier.verify(token)
    revoke(store, kind, name or world.key.kid, 0, world.now, before=world.now if kind is Kind.USER else None)
    assert code_of(verifier.verify, token) == "token_revoked"


def test_revocations_add_up_over_time(verifier: Any, world: Any, store: Any) -> None:
    tokens = [world.token(jti=f"{number:022}") for number in range(4)]
    for number, token in enumerate(tokens):
        assert verifier.verify(token)
        revoke(store, Kind.TOKEN, f"{number:022}", number, world.now)
        for later, other in enumerate(tokens):
            if later <= number:
                assert code_of(verifier.verify, other) == "token_revoked"
            else:
                assert verifier.verify(other)


@pytest.mark.requirement("I13")
def test_a_suspended_agent_takes_the_sessions_below_it_along(verifier: Any, world: Any, store: Any) -> None:
    """The token names neither: it is two hand-offs below the suspended agent's session."""
    store.write(lambda tx: tx.add_session(session(world, "T" * 16)))
    store.write(lambda tx: tx.add_session(session(world, "P" * 16, agent=AGENT + "planner")))
    token = world.token()
    assert verifier.verify(token)
    revoke(store, Kind.AGENT, AGENT + "planner", 0, world.now)
    assert code_of(verifier.verify, token) == "token_revoked"


@pytest.mark.requirement("I13")
def test_resuming_an_agent_lets_new_tokens_in_and_revives_none(verifier: Any, world: Any, store: Any) -> None:
    agent = AGENT + "researcher"
    store.write(lambda tx: tx.add_session(session(world, "S" * 16, agent=agent)))
    old = world.token()
    revoke(store, Kind.AGENT, agent, 0, world.now)
    assert code_of(verifier.verify, old) == "token_revoked"
    world.clock.advance(10)
    revoke(store, Kind.AGENT, agent, 1, world.now, before=world.now)
    assert code_of(verifier.verify, old) == "token_revoked"
    world.clock.advance(1)
    new = world.token(sid="N" * 16, txn="N" * 16, jti="n" * 22)
    assert verifier.verify(new).agent == agent


@pytest.mark.requirement("I13")
def test_a_revoked_user_takes_along_what_agents_did_for_themselves_in_the_tree(
    verifier: Any, world: Any, store: Any
) -> None:
    """A link has the agent as its subject; it hangs below the user's root all the same."""
    store.write(lambda tx: tx.add_session(session(world, "T" * 16)))
    token = world.token(sub=AGENT + "researcher")
    assert verifier.verify(token)
    revoke(store, Kind.USER, "okta|alice", 0, world.now, before=world.now)
    assert code_of(verifier.verify, token) == "token_revoked"


def test_keys_come_and_go_with_the_file(verifier: Any, world: Any, store: Any, source: Any) -> None:
    other = alg.generate()
    assert source.key(other.kid) is None
    row = key_row(world, other, sign_until=world.now - 1)
    store.write(lambda tx: tx.put_key(row))
    assert source.key(other.kid).sign_until == world.now - 1
    store.write(lambda tx: tx.drop_key(world.key.kid))
    assert source.key(world.key.kid) is None


def test_a_key_is_served_until_the_second_that_its_row_says(world: Any, source: Any) -> None:
    world.clock.advance(899)
    assert source.key(world.key.kid) is not None
    world.clock.advance(1)
    assert source.key(world.key.kid) is None


def test_a_lease_that_is_renewed_or_ended_is_followed(world: Any, source: Any, store: Any) -> None:
    assert source.key(world.key.kid).sign_until == world.now + 600
    store.write(lambda tx: tx.put_key(key_row(world, sign_until=world.now - 1)))
    assert source.key(world.key.kid).sign_until == world.now - 1


@pytest.mark.parametrize(
    "spoil",
    ["log", "name", "own name", "jwk", "no bytes", "unproved", "proved by another", "of another instance", "endorsed"],
)
def test_a_row_that_is_no_signing_key_under_its_own_name_is_not_served(
    world: Any, store: Any, source: Any, spoil: Any
) -> None:
    other = alg.generate()
    changes = {
        "log": {"use": "log"},
        "name": {"kid": "another"},
        "own name": {"kid": "another", "jwk": json_strict.dumps({**other.public_jwk(), "kid": "another"})},
        "jwk": {"kid": "another", "jwk": b"{}"},
        "no bytes": {"jwk": "{}"},
        "unproved": {"proof": None},
        "proved by another": {"proof": world.key.sign(statement(other.kid, other.alg, "one", 0))},
        "of another instance": {"instance": "two"},
        "endorsed": {"endorsement": b"by an anchor that is not known here"},
    }[spoil]
    row = key_row(world, other, **changes)
    store.write(lambda tx: tx.put_key(row))
    assert source.key(row.kid) is None
    assert source.key(world.key.kid) is not None


def test_the_file_is_not_written_to(path: Any, store: Any, source: Any, world: Any) -> None:
    assert source.key(world.key.kid)
    with pytest.raises(sqlite3.OperationalError):
        source._db.execute("create table intruder (a)")


def test_a_file_that_goes_away_is_bridged_for_a_moment_and_then_everything_is_refused(
    verifier: Any, world: Any, store: Any, path: Any
) -> None:
    token = world.token()
    assert verifier.verify(token)
    store.close()
    moved = path.with_name("moved.db")
    for name in path.parent.glob("deputize.db*"):
        name.rename(moved.with_name(name.name.replace("deputize", "moved")))
    world.clock.advance(1.0)
    assert verifier.verify(token)
    world.clock.advance(0.1)
    assert code_of(verifier.verify, token) == "stale_revocations"


def test_another_file_under_the_same_name_is_read_anew(
    verifier: Any, world: Any, store: Any, path: Any, tmp_path: Any
) -> None:
    """As after a restore: the open file would look fresh for ever."""
    token = world.token()
    assert verifier.verify(token)
    other = tmp_path / "other.db"
    second = open_sqlite(f"sqlite:{other}", durability="normal")
    second.write(lambda tx: tx.put_key(key_row(world)))
    revoke(second, Kind.TOKEN, "j" * 22, 0, world.now)
    second.close()
    store.close()
    for leftover in path.parent.glob("deputize.db-*"):
        leftover.unlink()
    other.replace(path)
    world.clock.advance(1.5)
    assert code_of(verifier.verify, token) == "token_revoked"


@pytest.mark.parametrize("content", ["missing", "text", "sqlite", "newer"])
def test_what_is_no_store_of_this_version_is_refused(world: Any, tmp_path: Any, content: Any) -> None:
    path = tmp_path / "x.db"
    if content == "text":
        path.write_text("not a database, not at all, only some text that is long enough", encoding="utf-8")
    elif content in {"sqlite", "newer"}:
        db = sqlite3.connect(path)
        db.execute("create table t (a)")
        if content == "newer":
            db.execute(f"pragma application_id = {files.APPLICATION_ID}")
            db.execute(f"pragma user_version = {files.SCHEMA + 1}")
        db.commit()
        db.close()
    source = FileSource(path, clock=world.clock)
    assert code_of(source.key, "k") in {"store_unreachable", "store_foreign"}
    verifier = world.verifier(revocations=source)
    assert code_of(verifier.verify, world.token()) == "stale_revocations"


# Python 3.12 warns of any fork beside other threads; what a child does then is what is tested.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_process_opens_the_file_for_itself(verifier: Any, world: Any, store: Any, source: Any) -> None:
    token = world.token()
    assert verifier.verify(token)
    revoke(store, Kind.TOKEN, "j" * 22, 0, world.now)
    child = os.fork()
    if child == 0:
        try:
            refused = code_of(verifier.verify, token) == "token_revoked"
            fresh = source._opened_by == os.getpid()
            os._exit(0 if refused and fresh else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert code_of(verifier.verify, token) == "token_revoked"


def test_a_copy_of_the_file_without_its_log_is_still_a_store(world: Any, store: Any, path: Any, tmp_path: Any) -> None:
    store.close()
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    source = FileSource(copy, clock=world.clock)
    assert source.key(world.key.kid) is not None
    source.close()


def test_a_lock_that_was_held_at_a_fork_does_not_stop_the_child(verifier: Any, world: Any, source: Any) -> None:
    token = world.token()
    assert verifier.verify(token)
    with source._lock:
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if verifier.verify(token) else 1)
            finally:
                os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
