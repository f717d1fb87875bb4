"""An authority over PostgreSQL: whoever can write the database can sign neither a token nor a checkpoint."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deputize import Authority, ConfigurationError, DeputizeError
from deputize.audit import checkpoint as notes
from deputize.keys.anchor import SeedAnchor
from deputize.model.token import AccessClaims, TokenContext
from deputize.runtime import verifier_for
from deputize.store.rows import KeyRow
from deputize.wire import access_token
from deputize.wire.alg import LocalKey, generate
from deputize.wire.json_strict import dumps
from deputize.wire.published_key import statement

WIKI = "https://wiki.example/mcp"
LONER = "spiffe://example.org/agent/loner"
Endorse = Callable[[KeyRow, str], bytes | None]


def foreign(world: Any, key: LocalKey, **changes: Any) -> KeyRow:
    """A well-formed row, with the proof that its writer holds the key."""
    now = int(world.clock.now())
    row = KeyRow(
        kid=key.kid,
        use="sig",
        jwk=dumps(key.public_jwk()),
        sign_from=now,
        sign_until=now + 600,
        serve_until=now + 1600,
        instance="mallory",
        proof=key.sign(statement(key.kid, key.alg, "mallory", now)),
    )
    return replace(row, **changes)


def put(world: Any, *rows: KeyRow) -> None:
    world.authority.engine.parts.store.write(lambda tx: [tx.put_key(row) for row in rows])


def served(authority: Authority) -> list[Any]:
    return [key["kid"] for key in authority.jwks()["keys"]]


def row_of(world: Any, kid: str) -> KeyRow:
    rows = world.authority.engine.parts.store.read(lambda tx: tx.keys())
    return next(row for row in rows if row.kid == kid)


def forged(world: Any, session: Any, key: LocalKey) -> str:
    """A token of whoever writes the database, like one of ours but for its key."""
    now = int(world.clock.now())
    claims = AccessClaims(
        iss=world.authority.issuer,
        aud=WIKI,
        sub="local|alice",
        client_id=LONER,
        chain=(LONER,),
        scope=("wiki:read",),
        jti="forgedforgedforg",
        iat=now,
        exp=now + 60,
        sid=session.id,
        txn=session.root,
        jkt=None,
        context=TokenContext(mode="on_behalf_of", path=(), rec="R" * 43),
    )
    return access_token.encode(claims, key)


def refused_by(world: Any, token: str) -> str:
    """The code with which a resource server of this authority refuses it."""
    with pytest.raises(DeputizeError) as caught:
        verifier_for(world.authority, WIKI).verify(token)
    return caught.value.code


def test_an_authority_over_postgres_does_not_start_without_an_anchor(
    shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEPUTIZE_ANCHOR")
    with pytest.raises(ConfigurationError) as refused:
        shared.open()
    assert refused.value.key == "store.url"
    monkeypatch.setenv("DEPUTIZE_ANCHOR", "0" * 64)
    with pytest.raises(ConfigurationError):
        shared.open()


def by(seed: bytes, issuer: str) -> Endorse:
    """Endorse as the holder of a seed does."""
    anchor = SeedAnchor(seed)
    return lambda row, alg: anchor.endorse(
        dumps({"issuer": issuer}) + b"\n" + statement(row.kid, alg, row.instance, row.sign_from, row.sign_until)
    )


def endorsements(seed: str, issuer: str) -> dict[str, Endorse]:
    """What whoever writes the database can put beside a row."""
    ours = by(bytes.fromhex(seed), issuer)
    return {
        "none": lambda _row, _alg: None,
        "empty": lambda _row, _alg: b"",
        "of another seed": by(hashlib.sha256(b"mallory's").digest(), issuer),
        "of another authority with this seed": by(bytes.fromhex(seed), "https://other.example"),
        "of another time": lambda row, alg: ours(replace(row, sign_until=row.sign_until - 1), alg),
        "of another key": lambda row, alg: ours(replace(row, kid=generate().kid), alg),
    }


KINDS = ["none", "empty", "of another seed", "of another authority with this seed", "of another time", "of another key"]


@pytest.mark.requirement("A-13")
@pytest.mark.requirement("I8")
@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_key_row_changes_nothing_and_is_told_once(shared: Any, seed: str, kind: str) -> None:
    root, key = shared.root(), generate()
    before = served(shared.authority)
    row = foreign(shared, key)
    endorse = endorsements(seed, shared.authority.issuer)[kind]
    put(shared, replace(row, endorsement=endorse(row, key.alg)))
    other = shared.open()
    for _ in range(2):
        assert served(shared.authority) == served(other) == before
    token = forged(shared, root, key)
    assert refused_by(shared, token) == "unknown_key"
    assert not other.introspect(token).active
    told = shared.authority.audit.find(type="key.refused")
    assert [(record["outcome"], record["detail"]) for record in told] == [
        ("denied", {"kid": key.kid, "anchor": "seed"})
    ]
    assert root.delegate("researcher")


def test_the_attack_works_where_endorsements_are_not_looked_at(shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root, key = shared.root(), generate()
    put(shared, foreign(shared, key))
    monkeypatch.setattr(SeedAnchor, "accepts", lambda *_: True)
    token = forged(shared, root, key)
    assert verifier_for(shared.authority, WIKI).verify(token).subject == "local|alice"
    monkeypatch.undo()


def test_a_row_that_was_endorsed_and_then_changed_is_not_served(shared: Any) -> None:
    """A leaked key of a process that ended is not brought back by whoever writes the database."""
    root = shared.root()
    (kid,) = served(shared.authority)
    other = shared.open()
    assert served(other) == [kid]
    row = row_of(shared, kid)
    put(shared, replace(row, sign_until=row.sign_until + 9000, serve_until=row.serve_until + 9000))
    assert served(other) == served(shared.authority) == []
    put(shared, row)
    assert served(other) == [kid]
    assert root.delegate("researcher")


def test_a_key_whose_process_ended_in_order_is_served_on_for_what_it_signed(shared: Any) -> None:
    token = shared.authority.session(user="alice", agent="loner").access("wiki", ["wiki:read"]).reveal()
    (kid,) = served(shared.authority)
    shared.clock.advance(10)
    shared.reopen()
    assert served(shared.authority) == [kid]
    assert row_of(shared, kid).sign_until == int(shared.clock.now())
    assert shared.authority.introspect(token).active
    assert verifier_for(shared.authority, WIKI).verify(token).subject == "local|alice"
    assert shared.authority.audit.find(type="key.refused") == []


def test_a_renewed_key_is_endorsed_anew(shared: Any) -> None:
    other = shared.open()
    shared.root()
    (kid,) = served(other)
    first = row_of(shared, kid)
    shared.clock.advance(400)
    shared.root()
    assert row_of(shared, kid).endorsement not in {None, first.endorsement}
    assert served(other) == [kid]


@pytest.mark.requirement("AU-03")
@pytest.mark.requirement("I14")
def test_every_replica_signs_checkpoints_by_the_one_key_of_the_log(shared: Any, seed: str) -> None:
    first = shared.authority.audit.checkpoint()
    shared.root()
    second = shared.open().audit.checkpoint()
    key = SeedAnchor(bytes.fromhex(seed)).log_key(notes.origin_of(shared.authority.issuer))
    assert key is not None
    trusted = notes.VerifierKey(notes.origin_of(shared.authority.issuer), key.public_key().public_bytes_raw())
    for text in (first, second):
        head = notes.parse(text)
        assert notes.verify(head, [trusted]) == trusted
        assert not head.unanchored
        assert shared.authority.audit.verify(against=text).ok
    told = shared.authority.audit.find(type="key.published")
    assert [record["detail"]["vkey"] for record in told if "vkey" in record["detail"]] == [str(trusted)]


def test_an_embedded_authority_with_a_seed_is_anchored_too(filed: Any, seed: str) -> None:
    authority = filed.reopen()
    token = authority.session(user="alice", agent="loner").access("wiki", ["wiki:read"]).reveal()
    assert verifier_for(authority, WIKI).verify(token).subject == "local|alice"
    assert not notes.parse(authority.audit.checkpoint()).unanchored
