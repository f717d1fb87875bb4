"""Revocations that name agents and users by digest alone refuse what plain names would."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deputize.model.revocation import Kind, RevocationEntry
from deputize.verifier import RevocationSet
from deputize.verifier.hashed import HashedRevocationSet
from deputize.wire.feed import name_digest

ISSUER = "https://sts.example"
NAMES = ["a", "b", "c"]


def digest(name: str) -> str:
    return name_digest(ISSUER, name)


ENTRIES = st.lists(
    st.builds(
        lambda kind, name, before: RevocationEntry(kind=kind, id=name, at=0, until=0, before=before),
        st.sampled_from(list(Kind)),
        st.sampled_from(NAMES),
        st.none() | st.integers(0, 4),
    ),
    max_size=6,
)
ASKED = st.fixed_dictionaries(
    {
        "sids": st.tuples(st.sampled_from(NAMES)),
        "jti": st.sampled_from(NAMES),
        "agents": st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)),
        "sub": st.sampled_from(NAMES),
        "iat": st.integers(0, 5),
        "kid": st.sampled_from(NAMES),
    }
)


@pytest.mark.requirement("I13")
@given(entries=ENTRIES, asked=ASKED)
def test_digests_refuse_exactly_what_names_refuse(entries: list[RevocationEntry], asked: Any) -> None:
    plain, hashed = RevocationSet(), HashedRevocationSet(digest)
    for entry in entries:
        plain.add(entry)
        name = digest(entry.id) if entry.kind in {Kind.AGENT, Kind.USER} else entry.id
        hashed.add(RevocationEntry(kind=entry.kind, id=name, at=0, until=0, before=entry.before))
    assert (plain.refuses(**asked) is None) == (hashed.refuses(**asked) is None)


def test_nothing_is_hashed_while_nobody_is_suspended() -> None:
    def never(_: str) -> str:
        raise AssertionError

    hashed = HashedRevocationSet(never)
    hashed.add(RevocationEntry(kind=Kind.SESSION, id="s", at=0, until=0))
    assert hashed.refuses(sids=("t",), jti="j", agents=("a",), sub="u", iat=0, kid="k") is None
