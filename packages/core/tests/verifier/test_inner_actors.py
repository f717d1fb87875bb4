"""Inner actors are for the record: nothing that they are called, or how many they are, changes a decision."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.model.failure import DeputizeError
from deputize.model.revocation import Kind, RevocationEntry
from deputize.model.token import ACCESS_TYP
from deputize.testing import FakeClock
from deputize.verifier import MemoryKeys, MemoryRevocations, Verifier
from deputize.wire import alg, jws

KEY = alg.generate()
NOW = int(FakeClock().now())
NAMES = st.sampled_from(["a", "b", "okta|alice", "okta|admin", "spiffe://example.org/agent/evil", "x" * 40])
EXTRA = st.dictionaries(
    st.sampled_from(["iss", "sub_profile", "scope", "exp", "aud", "client_id"]), st.text(max_size=8), max_size=3
)
INNER = st.lists(st.tuples(NAMES, EXTRA), max_size=6)
SCOPES = st.lists(st.sampled_from(["read", "write", "admin"]), max_size=3, unique=True)
REVOKED = st.lists(
    st.tuples(st.sampled_from(Kind), st.sampled_from(["a", "b", "outer", "okta|alice", "S" * 16, "P" * 16, "j"])),
    max_size=3,
)


def token(inner: Any) -> Any:
    act = None
    for name, extra in reversed(inner):
        act = {**extra, "sub": name, **({"act": act} if act else {})}
    claims = {
        "iss": "https://sts.example",
        "aud": "https://crm.example",
        "sub": "okta|alice",
        "client_id": "outer",
        "act": {"sub": "outer", **({"act": act} if act else {})},
        "scope": "read write",
        "jti": "j",
        "iat": NOW,
        "exp": NOW + 60,
        "sid": "S" * 16,
        "txn": "T" * 16,
        "urn:deputize:ctx": {"mode": "on_behalf_of", "path": "P" * 16, "rec": "R" * 43},
    }
    return jws.sign(ACCESS_TYP, claims, KEY)


def decide(verifier: Any, presented: Any, scopes: Any) -> Any:
    try:
        caller = verifier.verify(presented, scopes=scopes)
    except DeputizeError as error:
        return error.code
    return caller.subject, caller.agent, caller.client_id, caller.scopes, caller.mode, caller.session


@pytest.mark.requirement("I11")
@pytest.mark.requirement("TX-17")
@given(one=INNER, other=INNER, scopes=SCOPES, revoked=REVOKED)
@settings(max_examples=80)
def test_the_decision_is_the_same_for_any_inner_actors(one: Any, other: Any, scopes: Any, revoked: Any) -> None:
    entries = [RevocationEntry(kind=kind, id=name, at=0, until=2**40) for kind, name in revoked]
    verifier = Verifier(
        "https://sts.example",
        "https://crm.example",
        keys=MemoryKeys([KEY.public]),
        revocations=MemoryRevocations(entries),
        clock=FakeClock(),
    )
    assert decide(verifier, token(one), scopes) == decide(verifier, token(other), scopes)


@pytest.mark.requirement("I11")
def test_the_outermost_actor_does_change_it() -> None:
    verifier = Verifier(
        "https://sts.example",
        "https://crm.example",
        keys=MemoryKeys([KEY.public]),
        revocations=MemoryRevocations([RevocationEntry(kind=Kind.AGENT, id="outer", at=0, until=2**40)]),
        clock=FakeClock(),
    )
    assert decide(verifier, token([]), []) == "token_revoked"
