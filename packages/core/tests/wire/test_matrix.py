"""Every kind of token in every slot: only the right one passes (RFC 8725 §3.11, §3.12)."""

from typing import Any

import pytest

from deputize.model.failure import InvalidToken
from deputize.wire import jws

KINDS = ["identity", "session", "access", "proof", "assertion", "subject", "plain", "id_token", "status", "svid"]
SLOTS = ["identity", "session", "access", "proof", "assertion", "subject", "svid"]
pytestmark = [pytest.mark.requirement(row) for row in ("JW-03", "DP-02", "AT-01")]


def token_of(issuer: Any, kind: str) -> Any:
    """One token of each kind; those that are not ours to issue carry every claim that any slot could ask for."""
    made = {
        "identity": issuer.identity,
        "session": issuer.session,
        "access": lambda: issuer.access(jkt=issuer.holder.kid),
        "proof": issuer.proof,
        "assertion": issuer.assertion,
        "subject": issuer.subject,
        "svid": issuer.svid,
    }
    if kind in made:
        return made[kind]()
    typ = {
        "plain": "JWT",
        "id_token": "JWT",
        "status": "statuslist+jwt",
    }[kind]
    return jws.sign(typ, everything(issuer), issuer.key)


def everything(issuer: Any) -> Any:
    claims = {}
    for _, _, own in issuer.token_slots().values():
        claims.update(own)
    return {**claims, "htm": "POST", "htu": issuer.resource}


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("kind", KINDS)
def test_only_its_own_slot_takes_a_token(issuer: Any, kind: str, slot: Any) -> None:
    token = token_of(issuer, kind)
    read = issuer.slots()[slot]
    if kind == slot:
        assert read(token)
        return
    with pytest.raises(InvalidToken) as caught:
        read(token)
    if slot == "svid" and kind in {"plain", "id_token"}:
        assert caught.value.code == "malformed_token"  # the same typ: what they say keeps them apart
        return
    assert caught.value.code == ("invalid_dpop_proof" if slot == "proof" else "wrong_type")


@pytest.mark.parametrize("slot", ["identity", "session", "access"])
@pytest.mark.parametrize("kind", ["identity", "session", "access"])
def test_relabelled_claims_still_fit_only_their_own_slot(issuer: Any, kind: str, slot: Any) -> None:
    """The same claims under the slot's `typ`: form keeps the kinds apart even where somebody mislabels one."""
    slots = issuer.token_slots()
    token = jws.sign(slots[slot][0], slots[kind][2], issuer.key)
    if kind == slot:
        assert slots[slot][1](token)
        return
    with pytest.raises(InvalidToken):
        slots[slot][1](token)


@pytest.mark.parametrize("slot", ["identity", "session", "access", "assertion", "subject", "svid"])
def test_a_proof_with_a_kid_and_a_key_is_no_token(issuer: Any, slot: Any) -> None:
    header = {"alg": "ES256", "kid": issuer.key.kid, "typ": "dpop+jwt", "jwk": issuer.key.public_jwk()}
    token = jws.sign_with(header, everything(issuer), issuer.key)
    with pytest.raises(InvalidToken):
        issuer.slots()[slot](token)
