"""Proofs for outsiders: from the authority's log, checked with a checkpoint alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deputize import Authority, DeputizeError, IntegrityError, InvalidRequest, NotFound
from deputize.audit import checkpoint as notes
from deputize.audit import proofs as outside
from deputize.audit.record import rec_claim
from deputize.authority import proofs

CRM = "https://crm.example/mcp"


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    with Authority(agents={"a": ["crm:read"]}, resources={CRM: ["crm:read"]}, store=str(tmp_path / "log.db")) as made:
        for number in range(5):
            made.session(agent="a", user=f"user-{number}").access(CRM, ["crm:read"])
        yield made


def store_of(authority: Authority) -> Any:
    return authority.engine.parts.store


def code(call: Any) -> str:
    with pytest.raises(DeputizeError) as refused:
        call()
    return refused.value.code


@pytest.mark.requirement("AU-03")
def test_every_record_is_proved_to_be_in_a_log_that_was_signed(authority: Authority) -> None:
    head = notes.parse(authority.audit.checkpoint())
    store = store_of(authority)
    for seq in range(head.size):
        found = outside.parse_inclusion(orjson.dumps(proofs.inclusion(store, seq, head.size)))
        for body in (True, False):
            record = outside.parse_record(orjson.dumps(proofs.record(store, seq, body=body)))
            outside.verify_inclusion(found, head, record=record)
            assert (record.body is not None) is body


@pytest.mark.requirement("AU-03")
@pytest.mark.requirement("I14")
def test_a_later_head_is_proved_to_continue_an_older(authority: Authority) -> None:
    older = notes.parse(authority.audit.checkpoint())
    authority.session(agent="a", user="late")
    newer = notes.parse(authority.audit.checkpoint())
    found = outside.parse_consistency(orjson.dumps(proofs.consistency(store_of(authority), older.size, newer.size)))
    outside.verify_consistency(found, older, newer)
    assert code(lambda: outside.verify_consistency(found, newer, newer)) == "proof_foreign"
    forged = replace(older, root=b"x" * 32)
    told = replace(found, first_root=forged.root)
    assert code(lambda: outside.verify_consistency(told, forged, newer)) == "log_inconsistent"


def test_a_record_that_was_altered_does_not_pass(authority: Authority) -> None:
    head = notes.parse(authority.audit.checkpoint())
    store = store_of(authority)
    found = outside.parse_inclusion(orjson.dumps(proofs.inclusion(store, 2, head.size)))
    shown = proofs.record(store, 2, body=True)
    for change in ({"time": 1}, {"type": "x"}, {"body": "{}"}, {"salt": "00" * 16}, {"seq": 3}):
        assert code(lambda change=change: outside.parse_record(orjson.dumps({**shown, **change}))) == "record_changed"
    another = outside.parse_record(orjson.dumps(proofs.record(store, 3, body=True)))
    assert code(lambda: outside.verify_inclusion(found, head, record=another)) == "record_changed"
    assert code(lambda: outside.verify_inclusion(replace(found, seq=3), head)) == "proof_wrong"
    assert code(lambda: outside.verify_inclusion(replace(found, proof=found.proof[:-1]), head)) == "proof_wrong"
    assert code(lambda: outside.verify_inclusion(found, replace(head, root=b"x" * 32))) == "proof_foreign"


@pytest.mark.requirement("I9")
def test_without_permission_a_record_tells_no_name(authority: Authority) -> None:
    store = store_of(authority)
    for seq in range(len(authority.audit)):
        shown = orjson.dumps(proofs.record(store, seq, body=False))
        assert b"user-" not in shown
        assert {"salt", "body"}.isdisjoint(orjson.loads(shown))


def test_an_erased_record_still_has_its_place(authority: Authority) -> None:
    store = store_of(authority)
    head = notes.parse(authority.audit.checkpoint())
    store.write(lambda tx: tx.erase(2))
    record = outside.parse_record(orjson.dumps(proofs.record(store, 2, body=True)))
    found = outside.parse_inclusion(orjson.dumps(proofs.inclusion(store, 2, head.size)))
    outside.verify_inclusion(found, head, record=record)
    assert record.body is None


def test_who_holds_a_token_can_demand_its_record(authority: Authority) -> None:
    from deputize.wire import base64url, json_strict

    access = authority.session(agent="a", user="alice").access(CRM, ["crm:read"])
    claims = json_strict.loads(base64url.decode(access.reveal().split(".")[1].encode()))
    told: Any = claims["urn:deputize:ctx"]
    (seq,) = [record["seq"] for record in authority.audit.find(token=access.id, outcome="permitted")]
    assert isinstance(seq, int)
    record = outside.parse_record(orjson.dumps(proofs.record(store_of(authority), seq, body=False)))
    assert rec_claim(record) == told["rec"]


def test_what_is_not_in_the_log_has_no_proof(authority: Authority) -> None:
    store = store_of(authority)
    size = len(authority.audit)
    for seq in (-1, size, size + 5):
        with pytest.raises(NotFound):
            proofs.inclusion(store, seq, size)
        with pytest.raises(NotFound):
            proofs.record(store, seq, body=True)
    for first, second in ((0, size), (size, size - 1), (1, size + 1), (-1, 1)):
        with pytest.raises(InvalidRequest):
            proofs.consistency(store, first, second)
    with pytest.raises(InvalidRequest):
        proofs.inclusion(store, 0, size + 1)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4) | st.floats(allow_nan=False),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["seq", "size", "root", "leaf", "proof", "first", "body"]), inner)
        ),
        max_leaves=12,
    )
)
def test_whatever_is_served_only_our_error_comes(value: Any) -> None:
    raw = orjson.dumps(value)
    for parse in (outside.parse_inclusion, outside.parse_consistency, outside.parse_record):
        with pytest.raises(IntegrityError) as refused:
            parse(raw)
        assert refused.value.code in {"proof_malformed", "record_changed"}
