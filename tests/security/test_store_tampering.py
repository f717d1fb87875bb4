"""Somebody else writes to the store's file. With the anchor `none` whoever can do that is the authority.

So these tests draw the line exactly: what is refused all the same, what is only seen afterwards, and what is not seen
at all unless something left the machine in time (a checkpoint, a token's `rec`, a verifier that was told before).
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from deputize.audit.findings import Kind
from deputize.authority import key_book
from deputize.model.failure import DeputizeError
from deputize.model.token import AccessClaims, TokenContext
from deputize.runtime import verifier_for
from deputize.verifier import files
from deputize.wire import access_token, json_strict
from deputize.wire.alg import LocalKey, VerifyingKey, generate
from deputize.wire.published_key import statement

AGENT = "spiffe://example.org/agent/"
CRM, WIKI = "https://crm.example/mcp", "https://wiki.example/mcp"
Sql = Callable[..., list[Any]]


@pytest.fixture
def sql(filed: Any) -> Iterator[Sql]:
    """Another program that writes to the file."""
    db = sqlite3.connect(filed.database, isolation_level=None, timeout=10)

    def run(statement: str, *values: Any) -> list[Any]:
        return db.execute(statement, values).fetchall()

    yield run
    db.close()


def publish(sql: Sql, firm: Any, key: LocalKey, **changes: Any) -> None:
    """A row in the key table as the library writes it, proof of possession included."""
    now = int(firm.clock.now())
    row = {
        "kid": key.kid,
        "use": "sig",
        "jwk": json_strict.dumps(key.public_jwk()),
        "sign_from": now,
        "sign_until": now + 10_000,
        "serve_until": now + 10_000,
        "instance": "intruder",
        "endorsement": None,
        "proof": key.sign(statement(key.kid, key.alg, "intruder", now)),
        **changes,
    }
    sql(f"insert into keys ({', '.join(row)}) values ({', '.join('?' * len(row))})", *row.values())  # noqa: S608  # names


def forged_access(firm: Any, session: Any, key: LocalKey) -> str:
    """A token for alice at the wiki that no session, grant or record stands behind."""
    now = int(firm.clock.now())
    claims = AccessClaims(
        iss=firm.authority.issuer,
        aud=WIKI,
        sub="local|alice",
        client_id=AGENT + "writer",
        chain=(AGENT + "writer",),
        scope=("wiki:read", "wiki:write"),
        jti="forgedforgedforg",
        iat=now,
        exp=now + 600,
        sid=session.id,
        txn=session.root,
        jkt=None,
        context=TokenContext(mode="on_behalf_of", path=(), rec="R" * 43),
    )
    return access_token.encode(claims, key)


# --- keys


@pytest.mark.requirement("A-13")
@pytest.mark.requirement("I7")
@pytest.mark.parametrize(
    "spoil",
    ["no proof", "empty proof", "another's proof", "another's name", "a name of its own", "endorsed", "text", "junk"],
)
def test_a_key_row_without_its_proof_is_never_served_and_is_recorded(
    filed: Any, sql: Sql, broken: Any, code_of: Any, spoil: str
) -> None:
    root, mine = filed.root(), generate()
    jwk = json_strict.dumps(mine.public_jwk())
    changes: dict[str, Any] = {
        "no proof": {"proof": None},
        "empty proof": {"proof": b""},
        "another's proof": {"proof": generate().sign(b"deputize key v1\n{}")},
        "another's name": {"kid": generate().kid},
        "a name of its own": {"kid": "mine", "jwk": json_strict.dumps({**mine.public_jwk(), "kid": "mine"})},
        "endorsed": {"endorsement": b"by an anchor that this store has not"},
        "text": {"jwk": jwk.decode()},
        "junk": {"jwk": b"\x00{[", "kid": "junk"},
    }[spoil]
    publish(sql, filed, mine, **changes)
    forged = forged_access(filed, root, mine)
    verifier = verifier_for(filed.authority, WIKI)

    if spoil == "no proof":

        def believing(kid: str, raw: bytes, *_: object) -> VerifyingKey:
            return mine.public

        with broken(files, "proved_key", believing):
            assert verifier_for(filed.authority, WIKI).verify(forged).subject == "local|alice"
        with broken(key_book, "proved_key", believing):
            assert len(filed.open().jwks()["keys"]) == 2
    assert code_of(lambda: verifier.verify(forged)) == "unknown_key"
    assert not filed.authority.introspect(forged).active
    assert [key["kid"] for key in filed.authority.jwks()["keys"]] == [filed.engine.parts.keys.signer().kid]
    events = filed.records(type="key.refused")
    assert len(events) == 1
    assert events[0]["outcome"] == "denied"
    assert root.delegate("reader").access("crm", ["crm:read"])  # and nobody else is kept from working


def test_with_the_anchor_none_a_key_row_with_its_proof_is_the_authoritys_as_far_as_anybody_can_see(
    filed: Any, sql: Sql, code_of: Any
) -> None:
    """What is not caught: whoever writes the file can publish a key of his own, and verifiers take its tokens.

    What is: there is no session, grant or record behind such a token, so the authority itself says inactive, and
    its `rec` names no record of the log.
    """
    root, mine = filed.root(), generate()
    publish(sql, filed, mine)
    forged = forged_access(filed, root, mine)
    assert verifier_for(filed.authority, WIKI).verify(forged).subject == "local|alice"
    assert not filed.authority.introspect(forged).active
    leaves = filed.engine.parts.store.read(lambda tx: tx.leaves(0, tx.size()))
    assert len(leaves) == len(filed.authority.audit)
    assert filed.records(token="forgedforgedforg") == []
    filed.authority.revoke(key=mine.kid, reason="nobody here made it")
    assert code_of(lambda: verifier_for(filed.authority, WIKI).verify(forged)) == "token_revoked"


# --- sessions and grants


def insert_session(sql: Sql, pattern: Any, **changes: Any) -> str:
    """A copy of a session's row with another ceiling, under a new id."""
    columns = "data, state, children, task, task_digest, sid, txn, sub, agent, exp, leaf"
    (row,) = sql(f"select {columns} from sessions where sid = ?", pattern.id)  # noqa: S608  # names
    data = {**orjson.loads(row[0]), "sid": "INTRUDERINTRUDER", **changes}
    values = (orjson.dumps(data).decode(), *row[1:5], data["sid"], *row[6:9], data["exp"], data["leaf"])
    marks = ", ".join("?" * len(values))
    sql(f"insert into sessions ({columns}) values ({marks})", *values)  # noqa: S608  # names
    return str(data["sid"])


@pytest.mark.requirement("I12")
@pytest.mark.parametrize("leaf", ["none", "another session's", "no opening's"])
def test_a_session_row_without_the_record_that_made_it_is_refused(
    filed: Any, sql: Sql, broken: Any, code_of: Any, leaf: str
) -> None:
    child = filed.root().delegate("reader")
    other = filed.records(type="identity.issued")[0]["seq"]
    seq = {"none": 10**6, "another session's": child.node.leaf, "no opening's": other}[leaf]
    wide = f"{CRM} crm:read crm:write\n{WIKI} wiki:read\nurn:deputize:tools tool:search"
    sid = insert_session(sql, child, leaf=seq, ceiling=wide)
    token = filed.forged(child, sid=sid)
    from deputize.store.read import SqlRead

    with broken(SqlRead, "has_record", lambda *_, **__: True):
        assert filed.access("reader", token, "wiki:read").token
    for attempt in (
        lambda: filed.access("reader", token),
        lambda: filed.call("reader", token),
        lambda: filed.hand_off("reader", token, filed.identity("writer"), "writer"),
    ):
        assert code_of(attempt) == "integrity_error"
    assert not filed.authority.introspect(token).active


@pytest.mark.requirement("I12")
def test_a_key_that_is_pointed_at_an_inserted_or_foreign_session_opens_neither(
    filed: Any, sql: Sql, broken: Any, code_of: Any
) -> None:
    """The row of a repeat is rewritten so that the same request finds another session."""
    own = filed.root(key="mine")
    foreign = filed.root(user="bob", key="his")
    digests = "select key, digest from remembered where sid = ?"
    ((key, digest),) = sql(digests, own.id)
    inserted = insert_session(sql, own, leaf=10**6)
    from deputize.authority import opening

    for sid in (inserted, foreign.id):
        sql("update remembered set sid = ? where key = ?", sid, key)
        if sid == foreign.id:
            assert code_of(lambda: filed.root(key="mine")) == "idempotency_mismatch"  # digests hang on the tree's key
            with broken(opening, "recall", lambda tx, key, _: tx.remembered(key)):
                assert code_of(lambda: filed.root(key="mine")) == "integrity_error"
        else:
            assert code_of(lambda: filed.root(key="mine")) == "integrity_error"
    sql("update remembered set sid = ? where key = ?", own.id, key)
    assert filed.root(key="mine").id == own.id
    assert digest


@pytest.mark.requirement("I8")
def test_a_grant_row_that_was_changed_is_not_signed_again(filed: Any, sql: Sql, code_of: Any) -> None:
    child = filed.root().delegate("reader")
    first = child.access("crm", ["crm:read"], key="k")
    changes = {
        "scope": "crm:read crm:write",
        "sub": "local|bob",
        "resource": WIKI,
        "agent": AGENT + "boss",
        "mode": "impersonation",
        "sid": child.root,
    }
    for column, value in changes.items():
        ((before,),) = sql(f"select {column} from grants where jti = ?", first.id)  # noqa: S608  # names
        sql(f"update grants set {column} = ? where jti = ?", value, first.id)  # noqa: S608  # names
        assert code_of(lambda: child.access("crm", ["crm:read"], key="k")) == "integrity_error"
        sql(f"update grants set {column} = ? where jti = ?", before, first.id)  # noqa: S608  # names
    assert child.access("crm", ["crm:read"], key="k").id == first.id


@pytest.mark.requirement("I8")
def test_a_token_whose_grant_or_record_is_gone_is_inactive(filed: Any, sql: Sql) -> None:
    child = filed.root().delegate("reader")
    first, second = child.access("crm", ["crm:read"]), child.access("crm", ["crm:read"])
    sql("delete from grants where jti = ?", first.id)
    sql("delete from records where jti = ?", second.id)
    assert not filed.authority.introspect(first.reveal()).active
    assert not filed.authority.introspect(second.reveal()).active


def test_a_ceiling_that_was_widened_counts_after_a_restart_and_the_log_tells_what_it_was(filed: Any, sql: Sql) -> None:
    """What is not caught at once: rows are state, and whoever writes the file writes the state.

    A running process goes on with what it read; another one believes the row. The record of the opening holds the
    true ceiling, and the log is what a checkpoint protects.
    """
    root = filed.root(key="k", scopes=["crm:read"], resources=["crm"])
    (text,) = sql("select data from sessions where sid = ?", root.id)[0]
    data = {**orjson.loads(text), "ceiling": f"{CRM} crm:read crm:write"}
    sql("update sessions set data = ? where sid = ?", orjson.dumps(data).decode(), root.id)
    assert {right.scope for right in root.delegate("writer").rights} == {"crm:read"}
    filed.reopen()
    again = filed.root(key="k", scopes=["crm:read"], resources=["crm"])
    assert {right.scope for right in again.delegate("writer").rights} == {"crm:read", "crm:write"}
    opened = filed.records(session=root.id, type="session.opened")[0]
    assert opened["detail"]["ceiling"] == [[CRM, "crm:read"]]


@pytest.mark.requirement("I10")
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("data", "{"),
        ("data", "{}"),
        ("data", "[]"),
        ("data", b"\xff"),
        ("data", ""),
        ("state", "alive"),
        ("ceiling", 5),
        ("path", None),
        ("exp", "soon"),
        ("exp", 1e400),
        ("mode", "god"),
        ("sid", "XXXXXXXXXXXXXXXX"),
    ],
)
def test_a_row_that_no_session_was_written_as_is_an_error_of_ours_and_opens_nothing(
    filed: Any, sql: Sql, column: str, value: Any
) -> None:
    root = filed.root()
    child = root.delegate("reader")
    if column in {"data", "state"}:
        sql(f"update sessions set {column} = ? where sid = ?", value, child.id)  # noqa: S608  # names
    else:
        (text,) = sql("select data from sessions where sid = ?", child.id)[0]
        damaged = {**orjson.loads(text), column: value if value != 1e400 else "1e400"}
        sql("update sessions set data = ? where sid = ?", orjson.dumps(damaged).decode(), child.id)
    for attempt in (
        lambda: child.access("crm", ["crm:read"]),
        lambda: child.delegate("writer"),
        lambda: child.state,
        root.tree,
        child.close,
    ):
        try:
            attempt()
        except DeputizeError as error:
            assert error.code in {"row_damaged", "integrity_error"}  # noqa: PT017  # a clean row of others may do
    with pytest.raises(DeputizeError):
        child.access("crm", ["crm:read"])
    assert filed.root(user="bob").delegate("reader").access("crm", ["crm:read"])


# --- revocations, policy, the whole file


@pytest.mark.requirement("I7")
def test_what_is_seen_of_a_revocation_that_was_taken_back(filed: Any, sql: Sql, code_of: Any) -> None:
    """A session's revocation stands in its row as well; a user's stands in one row alone, and in the log."""
    root = filed.root()
    child = root.delegate("reader")
    token = child.access("wiki", ["wiki:read"]).reveal()
    verifier = verifier_for(filed.authority, WIKI)
    child.revoke("stop")
    sql("delete from revocations")
    assert code_of(lambda: child.access("crm", ["crm:read"])) == "session_revoked"
    assert not filed.authority.introspect(token).active

    other = root.delegate("reader")
    second = other.access("wiki", ["wiki:read"]).reveal()
    assert verifier.verify(second)
    filed.authority.revoke(user="alice", reason="left")
    assert code_of(lambda: verifier.verify(second)) == "token_revoked"
    sql("delete from revocations")
    assert filed.authority.introspect(second).active  # not caught: state is what the file says
    assert code_of(lambda: verifier.verify(second)) == "token_revoked"  # a verifier that was told does not forget
    assert [record["sub"] for record in filed.records(type="user.revoked")] == ["local|alice"]


def test_another_policy_that_is_named_in_the_file_stops_this_process(filed: Any, sql: Sql, code_of: Any) -> None:
    child = filed.root().delegate("reader")
    sql("update meta set value = ? where name = 'policy.active'", "0" * 64)
    assert code_of(lambda: child.access("crm", ["crm:read"])) == "authority_unavailable"
    assert code_of(filed.root) == "authority_unavailable"


@pytest.mark.requirement("I14")
def test_records_that_were_changed_or_removed_are_named_even_without_a_checkpoint(filed: Any, sql: Sql) -> None:
    filed.root().delegate("reader").access("crm", ["crm:read"])
    filed.authority.audit.checkpoint()
    assert filed.authority.audit.verify().ok
    sql("update records set body = replace(body, 'alice', 'mallo') where seq = 3")
    sql("delete from records where seq = 4")
    kinds = {finding.kind for finding in filed.authority.audit.verify().findings if finding.breaks}
    assert {Kind.CHANGED, Kind.REMOVED} <= kinds


@pytest.mark.requirement("I14")
def test_an_older_copy_of_the_file_is_seen_by_a_checkpoint_that_was_kept_elsewhere_and_by_nothing_else(
    filed: Any, tmp_path: Path
) -> None:
    sid = filed.root(key="k").id
    filed.authority.close()
    copy = tmp_path / "older"
    shutil.copyfile(filed.database, copy)
    authority = filed.reopen()
    authority.revoke(session=sid, reason="stop")
    kept = authority.audit.checkpoint()
    authority.close()
    copy.replace(filed.database)
    again = filed.reopen()
    assert again.audit.verify().ok
    assert filed.root(key="k").id == sid  # not caught: the revocation is not in this file
    report = again.audit.verify(against=kept)
    assert not report.ok
    assert report.about(Kind.TRUNCATED) or report.about(Kind.REWRITTEN)


def test_a_file_that_is_replaced_under_a_running_process_stops_it(filed: Any, tmp_path: Path, code_of: Any) -> None:
    child = filed.root().delegate("reader")
    copy = tmp_path / "copy"
    copy.write_bytes(filed.database.read_bytes())
    copy.replace(filed.database)
    assert code_of(lambda: child.access("crm", ["crm:read"])) == "store_moved"


@pytest.mark.requirement("I9")
def test_the_file_is_for_its_owner_alone(filed: Any) -> None:
    filed.root()
    modes = {oct(file.stat().st_mode & 0o777) for file in filed.database.parent.glob("deputize.db*")}
    assert modes == {"0o600"}
