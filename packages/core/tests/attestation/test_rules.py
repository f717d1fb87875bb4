"""Which claims a rule takes, and that no evidence can be taken for two workloads."""

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deputize.attestation.deciding import decide_claims, decide_peer
from deputize.model.claims_match import check_value, flatten, holds, overlap
from deputize.model.failure import AttestationFailed, InvalidRequest
from deputize.model.request import PeerCredentials
from deputize.model.rules import AttestationRule

NAMES = st.sampled_from(["sub", "ref", "kubernetes.io"])
VALUES = st.sampled_from(["a", "a/b", "a/", "a/b/c", "b", "a:b", "A"])
PATTERNS = st.one_of(VALUES, st.sampled_from(["a/*", "a/b/*", "b/*", "a:*"]))
MATCHES = st.dictionaries(st.tuples(NAMES), PATTERNS, min_size=1, max_size=3)
CLAIMS = st.dictionaries(NAMES, VALUES, max_size=3)


@pytest.mark.parametrize("value", ["a", "a/*", "repo:acme/*", "repo:acme/x:*", "https://x/y", "a b", "é"])
def test_a_value_is_text_with_at_most_a_final_star_behind_a_separator(value: str) -> None:
    assert check_value(value) == value


@pytest.mark.requirement("WL-07")
@pytest.mark.parametrize("value", ["", "*", "a*", "repo:acme*", "*/a", "a/*/b", "a/**", "a\n", "a\x00", "x" * 513])
def test_a_star_elsewhere_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest):
        check_value(value)


def test_a_path_is_spelled_by_tables() -> None:
    table = {"sub": "x", "kubernetes.io": {"serviceaccount": {"name": "agents"}, "namespace": "churn"}}
    assert flatten(table) == {
        ("sub",): "x",
        ("kubernetes.io", "serviceaccount", "name"): "agents",
        ("kubernetes.io", "namespace"): "churn",
    }


@pytest.mark.parametrize("table", [{"a": 1}, {"a": True}, {"a": ["x"]}, {"a": {}}, {"": "x"}, {"a": None}])
def test_a_claim_is_compared_with_text_alone(table: Mapping[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        flatten(table)


def test_a_path_has_a_limit() -> None:
    deep: dict[str, object] = {"a": "x"}
    for _ in range(8):
        deep = {"a": deep}
    with pytest.raises(InvalidRequest):
        flatten(deep)


@pytest.mark.requirement("WL-07")
@pytest.mark.parametrize("value", [None, 7, True, ["a/b"], {"a/b": 1}, "A/b", "a/c", "a/b "])
def test_a_claim_that_is_missing_or_differs_matches_nothing(value: object) -> None:
    assert holds({("sub",): "a/b"}, {"sub": "a/b"})
    assert not holds({("sub",): "a/b"}, {"sub": value})
    assert not holds({("sub",): "a/b"}, {})
    assert not holds({}, {"sub": "a/b"})


@pytest.mark.requirement("WL-07")
@given(one=MATCHES, other=MATCHES, claims=CLAIMS)
def test_what_two_rules_match_is_an_overlap(
    one: dict[tuple[str], str], other: dict[tuple[str], str], claims: dict[str, str]
) -> None:
    """The check at load misses nothing: claims that both match are found, whatever they are."""
    if holds(one, claims) and holds(other, claims):
        assert overlap(one, other)
    assert overlap(one, other) == overlap(other, one)


@given(one=MATCHES, other=MATCHES)
def test_an_overlap_is_a_token_that_both_match(one: dict[tuple[str], str], other: dict[tuple[str], str]) -> None:
    """And it refuses no more than it must: for every overlap there are claims that both match."""
    longest = {
        path: max((rule[path] for rule in (one, other) if path in rule), key=lambda text: (text[-1] != "*", len(text)))
        for path in {**one, **other}
    }
    claims = {path[0]: value.removesuffix("*") for path, value in longest.items()}
    assert overlap(one, other) == (holds(one, claims) and holds(other, claims))


def rule(workload: str, match: Mapping[tuple[str, ...], str], **changes: object) -> AttestationRule:
    given = {"method": "oidc", "issuer": "https://i.example", "audience": "us", "agents": (), **changes}
    return AttestationRule(workload=workload, match=match, **given)  # type: ignore[arg-type]  # values by name


@pytest.mark.requirement("WL-07")
def test_rules_of_two_workloads_that_both_match_prove_nobody_at_run_time() -> None:
    both = [rule("a", {("sub",): "x"}), rule("b", {("ref",): "y"})]
    assert decide_claims(both, ("us",), {"sub": "x"}).workload == "a"
    with pytest.raises(AttestationFailed):
        decide_claims(both, ("us",), {"sub": "x", "ref": "y"})
    with pytest.raises(AttestationFailed):
        decide_claims(
            [rule("a", {("sub",): "x"}), rule("a", {("sub",): "x"}, method="kubernetes")], ("us",), {"sub": "x"}
        )


@pytest.mark.requirement("WL-07")
def test_of_rules_of_one_workload_the_strictest_holds() -> None:
    lax, strict = rule("a", {("sub",): "x"}, single_use=False), rule("a", {("ref",): "y"})
    for order in itertools.permutations([lax, strict]):
        assert decide_claims(order, ("us",), {"sub": "x", "ref": "y"}) is strict


@pytest.mark.requirement("WL-07")
@pytest.mark.parametrize("audience", [(), ("them",), ("us", "them"), ("us", "us"), ("US",)])
def test_the_audience_is_ours_alone(audience: tuple[str, ...]) -> None:
    with pytest.raises(AttestationFailed):
        decide_claims([rule("a", {("sub",): "x"})], audience, {"sub": "x"})


@pytest.mark.parametrize(("uid", "gid"), [(1000, 65534), (65534, 1000), (-1, 1000), (1001, 1000), (0, 0)])
def test_a_peer_of_another_user_or_namespace_proves_nobody(uid: int, gid: int) -> None:
    rules = [rule("a", {("uid",): "1000"}, method="unix", issuer="")]
    assert decide_peer(rules, PeerCredentials(uid=1000, gid=7, pid=1)).workload == "a"
    with pytest.raises(AttestationFailed):
        decide_peer(rules, PeerCredentials(uid=uid, gid=gid, pid=1))
