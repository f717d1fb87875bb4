"""The anchor: from 32 bytes of the environment, keys that nobody else can make and that nothing shows."""

import base64
import hashlib
import pickle  # noqa: TID251  # that it is refused is the test
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from deputize.errors import ConfigurationError
from deputize.keys.anchor import NoAnchor, SeedAnchor, anchor_from_environment

SEED = hashlib.sha256(b"no secret: a seed for tests").digest()
BASE64URL = base64.urlsafe_b64encode(SEED).decode()
STATEMENT = b"what is endorsed"


def public(anchor: SeedAnchor, origin: str = "sts.example") -> bytes:
    key = anchor.log_key(origin)
    assert key is not None
    return key.public_key().public_bytes_raw()


@pytest.mark.parametrize(
    "text", [SEED.hex(), SEED.hex().upper(), BASE64URL, BASE64URL.rstrip("="), f" {SEED.hex()}\n"], ids=range(5)
)
def test_the_seed_is_read_as_hex_and_as_base64url(text: str) -> None:
    anchor = anchor_from_environment({"DEPUTIZE_ANCHOR": text})
    assert anchor.name == "seed"
    assert anchor.accepts(STATEMENT, SeedAnchor(SEED).endorse(STATEMENT))


@pytest.mark.parametrize("environ", [{}, {"DEPUTIZE_ANCHOR": ""}, {"DEPUTIZE_ANCHOR": "  "}])
def test_without_a_seed_there_is_no_anchor(environ: dict[str, str]) -> None:
    anchor = anchor_from_environment(environ)
    assert isinstance(anchor, NoAnchor)
    assert anchor.endorse(STATEMENT) is None
    assert anchor.log_key("sts.example") is None
    assert anchor.accepts(STATEMENT, None)
    assert not anchor.accepts(STATEMENT, b"")


@pytest.mark.parametrize(
    "text", ["hunter2-hunter2", "00" * 32, "ab" * 32, SEED.hex()[:-2], SEED.hex() + "00", "é" * 43]
)
def test_what_is_no_seed_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        anchor_from_environment({"DEPUTIZE_ANCHOR": text})
    assert text not in str(refused.value)
    assert refused.value.key == "DEPUTIZE_ANCHOR"
    assert refused.value.__cause__ is None


def test_an_endorsement_is_of_one_statement_by_one_seed() -> None:
    anchor, other = SeedAnchor(SEED), SeedAnchor(secrets.token_bytes(32))
    endorsement = anchor.endorse(STATEMENT)
    assert endorsement is not None
    assert anchor.accepts(STATEMENT, endorsement)
    assert not anchor.accepts(STATEMENT + b"!", endorsement)
    assert not other.accepts(STATEMENT, endorsement)
    for no in (None, b"", b"\0" * 64, endorsement[:-1], "text"):
        assert not anchor.accepts(STATEMENT, no)  # type: ignore[arg-type]  # a row may hold anything


def test_the_key_of_a_log_is_the_same_everywhere_and_of_that_log_alone() -> None:
    anchor = SeedAnchor(SEED)
    assert public(anchor) == public(SeedAnchor(SEED))
    assert public(anchor) != public(anchor, "other.example")
    assert public(anchor) != public(SeedAnchor(secrets.token_bytes(32)))


def test_the_key_of_the_log_endorses_nothing() -> None:
    anchor = SeedAnchor(SEED)
    key = anchor.log_key("sts.example")
    assert key is not None
    assert not anchor.accepts(STATEMENT, key.sign(STATEMENT))
    Ed25519PublicKey.from_public_bytes(public(anchor)).verify(key.sign(STATEMENT), STATEMENT)


@pytest.mark.requirement("I9")
def test_an_anchor_shows_nothing_and_is_not_pickled() -> None:
    anchor = SeedAnchor(SEED)
    for shown in (repr(anchor), str(anchor), f"{anchor!r:>40}"):
        assert SEED.hex() not in shown
        assert "SeedAnchor(...)" in shown
    with pytest.raises(TypeError):
        pickle.dumps(anchor)
