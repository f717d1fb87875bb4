"""SEMANTICS, "Keys, identities, trust root": process keys under leases, served and deleted in time; one issuer."""

import sqlite3
from typing import Any

import pytest

from deputize import Authority, ConfigurationError, InvalidToken, StoreError
from deputize.keys.lease import LEASE, LIVE_KEYS_MAX
from deputize.model.request import AccessRequest
from deputize.model.session import Mode
from deputize.store.rows import KeyRow
from deputize.wire import identity_token, session_token
from deputize.wire.alg import generate
from deputize.wire.json_strict import dumps
from deputize.wire.published_key import statement

RESEARCHER = "spiffe://example.org/agent/researcher"


def rows(world: Any) -> list[KeyRow]:
    return [row for row in world.authority.engine.parts.store.read(lambda tx: tx.keys()) if row.use == "sig"]


def unproved(kid: str, now: int) -> KeyRow:
    return KeyRow(
        kid=kid, use="sig", jwk=b"{}", sign_from=now, sign_until=now + 600, serve_until=now + 900, instance=kid
    )


def test_a_process_that_only_looks_makes_no_key(filed: Any) -> None:
    root = filed.root()
    filed.authority.close()
    looking = filed.open()
    assert looking.explain(chain=["supervisor", "researcher"], tool="read_customers", user="alice").allowed
    assert looking.introspect(root._opened.token).active
    assert len(looking.audit) == len(list(looking.audit))
    assert looking.audit.verify().ok
    assert len(looking.jwks()["keys"]) == 1
    looking.suggest()
    looking.revoke(session=root.id, reason="cut off without a key")
    published = looking.audit.find(type="key.published")
    assert len(published) == 1
    assert published[0]["seq"] < root.node.leaf


def test_a_key_is_published_and_in_the_log_before_the_first_token_that_it_signed(world: Any) -> None:
    assert rows(world) == []
    root = world.root()
    (row,) = rows(world)
    record = world.authority.audit.find(type="key.published")[0]
    assert record["detail"]["kid"] == row.kid
    assert record["detail"]["anchor"] == ("seed" if world.kind == "postgres" else "none")
    assert (row.endorsement is None) is (world.kind != "postgres")
    assert record["seq"] < root.node.leaf
    assert "d" not in world.authority.jwks()["keys"][0]


def test_a_lease_of_ten_minutes_is_renewed_at_half_and_the_key_stays(world: Any) -> None:
    child = world.root().delegate("researcher")
    (first,) = rows(world)
    assert first.sign_until - first.sign_from == LEASE == 600
    world.clock.advance(299)
    child.access("crm", ["crm:read"])
    assert rows(world) == [first]
    world.clock.advance(1)
    child.access("crm", ["crm:read"])
    (renewed,) = rows(world)
    assert renewed.kid == first.kid
    assert renewed.sign_until == first.sign_until + 300
    assert [record["type"] for record in world.authority.audit if record["type"].startswith("key.")] == [
        "key.published",
        "key.renewed",
    ]


def test_a_process_goes_on_for_hours_and_another_believes_its_tokens(filed: Any) -> None:
    other = filed.open()
    child = filed.root(ttl=8 * 3600).delegate("researcher", ttl=7 * 3600)
    for _ in range(40):
        filed.clock.advance(170)
        token = child.access("crm", ["crm:read"]).reveal()
        assert filed.authority.introspect(token).active
        assert other.introspect(token).active
    assert len(rows(filed)) == 1


def test_a_lease_that_ran_out_is_not_revived(world: Any) -> None:
    child = world.root().delegate("researcher")
    (first,) = rows(world)
    world.clock.advance(600)
    child.access("crm", ["crm:read"])
    assert [row.kid == first.kid for row in rows(world)] == [True, False]


def test_a_key_is_served_until_its_last_token_has_expired_and_then_deleted(world: Any) -> None:
    root = world.root(ttl=8 * 3600)
    (first,) = rows(world)
    limits = world.authority.engine.parts.limits
    assert first.serve_until == first.sign_until + max(limits.session_token_ttl, limits.identity_ttl) + 5
    token = root.present()
    world.clock.advance(899)
    assert world.authority.introspect(token).active
    world.clock.advance(first.serve_until - world.clock.now())
    assert all(key["kid"] != first.kid for key in world.authority.jwks()["keys"])
    root.delegate("researcher")
    assert first.kid not in [row.kid for row in rows(world)]


@pytest.mark.requirement("JW-02")
def test_a_token_that_says_it_was_issued_after_its_keys_time_is_refused(filed: Any) -> None:
    """A key that leaked after its process ended signs nothing that is believed."""
    child = filed.root().delegate("researcher")
    parts = filed.authority.engine.parts
    leaked, said = (
        parts.keys.signer(),
        session_token.decode(child.present(), issuer=parts.issuer, key_for=parts.keys.verifying, now=filed.clock.now()),
    )
    filed.authority.close()
    filed.clock.advance(5)
    other = filed.open()
    now = int(filed.clock.now())
    forged = session_token.encode(
        type(said)(**{name: getattr(said, name) for name in said.__slots__} | {"iat": now, "exp": now + 900}), leaked
    )
    assert other.introspect(child._opened.token).active
    assert not other.introspect(forged).active
    request = AccessRequest(subject_token=forged, resource="crm", scopes=frozenset({"crm:read"}))
    with pytest.raises(InvalidToken) as refused:
        other.engine.access(RESEARCHER, request)
    assert refused.value.code == "key_retired"


def test_sixty_four_processes_sign_at_once_and_no_more(filed: Any) -> None:
    now = int(filed.clock.now())
    store = filed.authority.engine.parts.store

    keys = [generate() for _ in range(LIVE_KEYS_MAX)]

    def row(number: int, key: Any) -> KeyRow:
        return KeyRow(
            kid=key.kid,
            use="sig",
            jwk=dumps(key.public_jwk()),
            sign_from=now,
            sign_until=now + 600,
            serve_until=now + 900,
            instance=str(number),
            proof=key.sign(statement(key.kid, key.alg, str(number), now)),
        )

    store.write(lambda tx: [tx.put_key(row(number, key)) for number, key in enumerate(keys)])
    with pytest.raises(StoreError) as refused:
        filed.root()
    assert refused.value.code == "too_many_keys"
    store.write(lambda tx: tx.drop_key(keys[0].kid))
    assert filed.root()


def test_rows_that_hold_no_key_take_nobodys_place(filed: Any) -> None:
    now = int(filed.clock.now())
    many = [unproved(f"other-{n}", now) for n in range(LIVE_KEYS_MAX)]
    filed.authority.engine.parts.store.write(lambda tx: [tx.put_key(row) for row in many])
    assert filed.root()


@pytest.mark.requirement("A-13")
def test_a_row_without_the_proof_of_its_key_is_never_served_and_is_told_once(filed: Any) -> None:
    root = filed.root()
    (own,) = rows(filed)
    store = filed.authority.engine.parts.store
    store.write(lambda tx: tx.put_key(KeyRow(**{name: getattr(own, name) for name in own.__slots__} | {"kid": "else"})))
    for _ in range(2):
        assert [key["kid"] for key in filed.authority.jwks()["keys"]] == [own.kid]
        root.delegate("researcher")
    told = filed.authority.audit.find(type="key.refused")
    assert [(record["outcome"], record["detail"]["kid"]) for record in told] == [("denied", "else")]


def test_the_published_keys_are_those_of_all_processes(filed: Any) -> None:
    other = filed.open()
    first = filed.root().delegate("researcher").access("crm", ["crm:read"]).reveal()
    second = other.session(user="bob", agent="researcher").access("crm", ["crm:read"]).reveal()
    for authority in (filed.authority, other):
        assert len(authority.jwks()["keys"]) == 2
        assert authority.introspect(first).active
        assert authority.introspect(second).active


def test_an_identity_is_renewed_at_half_and_keeps_its_key(world: Any) -> None:
    engine = world.authority.engine
    first = engine.identity(RESEARCHER)
    world.clock.advance(449)
    assert engine.identity(RESEARCHER) is first
    world.clock.advance(1)
    second = engine.identity(RESEARCHER)
    assert second.key is first.key
    assert second.token != first.token
    kinds = [record["type"] for record in world.authority.audit.find(agent=RESEARCHER)]
    assert kinds == ["identity.issued", "identity.renewed"]


def test_an_agent_that_demands_other_evidence_is_not_attested_in_process(filed: Any) -> None:
    from deputize import AttestationFailed
    from deputize.config import load

    text = filed.path.read_text(encoding="utf-8")
    filed.path.write_text(
        text.replace("[agents.writer]\n", '[agents.writer]\nattestation = ["kubernetes"]\n'), encoding="utf-8"
    )
    filed.authority.engine.apply(load(str(filed.path)))
    with pytest.raises(AttestationFailed) as refused:
        filed.root().delegate("writer")
    assert filed.authority.audit.find(type="identity.denied")[0]["reference"] == refused.value.reference


@pytest.mark.requirement("AT-04")
def test_a_token_of_another_issuer_is_refused_in_every_slot(world: Any) -> None:
    from deputize.model.request import HandOffRequest

    agents = {"researcher": ["search"], "supervisor": ["plan"]}
    with Authority(agents=agents, delegations={"supervisor": ["researcher"]}, clock=world.clock) as other:
        theirs = other.session(user="alice", agent="supervisor").present()
        identity = other.engine.identity("spiffe://local/agent/researcher").token
        root = world.root()
        for session, actor in ((theirs, world.authority.engine.identity(RESEARCHER).token), (root.present(), identity)):
            request = HandOffRequest(subject_token=session, actor_token=actor, to="researcher")
            with pytest.raises(InvalidToken):
                world.authority.engine.hand_off(root.agent, request)
        assert not world.authority.introspect(theirs).active


@pytest.mark.parametrize("change", ['issuer = "http://127.0.0.1:9999"', 'trust_domain = "example.com"'])
def test_a_store_of_another_issuer_or_trust_domain_is_refused(filed: Any, change: str) -> None:
    from deputize.authority.engine import apply_policy_of
    from deputize.config import load

    filed.root()
    filed.authority.close()
    text = filed.path.read_text(encoding="utf-8")
    name = change.partition(" ")[0]
    lines = [line for line in text.splitlines() if not line.startswith(name)]
    lines.insert(lines.index("[authority]") + 1, change)
    filed.path.write_text("\n".join(lines), encoding="utf-8")
    cedar = filed.path.parent / "extra.cedar"
    cedar.write_text("", encoding="utf-8")
    for attempt in (filed.open, lambda: apply_policy_of(load(str(filed.path)), clock=filed.clock)):
        with pytest.raises(ConfigurationError) as refused:
            attempt()
        assert refused.value.key == f"authority.{name}"


def test_the_file_is_its_owners_alone(filed: Any) -> None:
    filed.root()
    folder = filed.path.parent
    assert {oct(path.stat().st_mode & 0o777) for path in folder.glob("deputize.db*")} == {"0o600"}


def test_no_private_key_is_in_the_file(filed: Any) -> None:
    filed.root().delegate("researcher").access("crm", ["crm:read"])
    with sqlite3.connect(filed.path.parent / "deputize.db") as db:
        dump = "\n".join(db.iterdump())
    db.close()
    assert '"d":' not in dump
    for row in rows(filed):
        assert b'"d"' not in row.jwk


@pytest.mark.requirement("A-16")
def test_names_of_agents_and_users_never_meet(world: Any) -> None:
    with world.root() as root:
        assert root.subject == "local|alice"
        assert root.agent.startswith("spiffe://example.org/agent/")
    with world.authority.session(agent="researcher", mode=Mode.SELF) as alone:
        assert alone.subject == RESEARCHER
    with world.root(user="okta|00u1") as other:
        assert other.subject == "okta|00u1"


def test_an_identity_in_process_says_that_nobody_checked_evidence(world: Any) -> None:
    identity = world.authority.engine.identity("spiffe://example.org/agent/supervisor")
    claims = identity_token.decode(
        identity.token,
        issuer=world.authority.issuer,
        key_for=world.authority.engine.parts.keys.verifying,
        now=world.clock.now(),
    )
    assert claims.context is not None
    assert (claims.context.workload, claims.context.method, claims.context.attested) == (
        "spiffe://example.org/workload/embedded",
        "in_process",
        0,
    )
