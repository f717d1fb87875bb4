"""Checkpoints: signed notes that anybody can keep and nobody can alter."""

from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.audit import checkpoint as notes
from deputize.audit.checkpoint import (
    MAX_LINES,
    MAX_NOTE,
    NoteKey,
    VerifierKey,
    origin_of,
    parse,
    parse_key,
    sign,
    verify,
)
from deputize.model.failure import IntegrityError, InvalidRequest

ORIGIN = "log.example/deputize"
KEY = NoteKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\x07" * 32))
VKEY = notes.verifier_key(KEY)
HEAD = sign(origin=ORIGIN, size=20_852_163, root=bytes(range(32)), key=KEY, unanchored=False)


def refusal(note: bytes | str, keys: tuple[VerifierKey, ...] = (VKEY,)) -> str | None:
    try:
        verify(parse(note), keys)
    except IntegrityError as error:
        return error.code
    return None


@pytest.mark.requirement("AU-03")
def test_a_note_has_origin_size_root_and_a_signature_line_with_an_em_dash() -> None:
    lines = str(HEAD).split("\n")
    assert lines[:4] == [ORIGIN, "20852163", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", ""]
    assert lines[4].startswith(f"\u2014 {ORIGIN} ")
    assert lines[5:] == [""]


def test_the_key_id_follows_the_formula_of_the_specification() -> None:
    assert VKEY.id == sha256(ORIGIN.encode() + b"\n\x01" + KEY.public).digest()[:4]
    assert parse_key(str(VKEY)) == VKEY


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize("unanchored", [True, False])
def test_what_was_signed_is_read_back_and_verified(unanchored: bool) -> None:
    head = sign(origin=ORIGIN, size=0, root=b"\0" * 32, key=KEY, unanchored=unanchored)
    assert parse(str(head)) == parse(str(head).encode()) == head
    assert head.unanchored is unanchored
    assert verify(head, [VKEY]) == VKEY


@pytest.mark.requirement("I14")
@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, len(str(HEAD).encode()) - 1), bit=st.integers(0, 7))
def test_a_note_of_which_any_bit_was_changed_is_refused(at: int, bit: int) -> None:
    note = bytearray(str(HEAD).encode())
    note[at] ^= 1 << bit
    assert refusal(bytes(note)) in {"checkpoint_malformed", "checkpoint_forged", "checkpoint_unknown_key"}


def test_a_removed_unanchored_mark_breaks_the_signature() -> None:
    head = sign(origin=ORIGIN, size=5, root=b"\0" * 32, key=KEY, unanchored=True)
    assert refusal(str(replace(head, extensions=()))) == "checkpoint_forged"


def test_a_signature_by_an_unknown_key_alone_is_refused() -> None:
    other = notes.new_key(ORIGIN)
    assert refusal(str(HEAD), (notes.verifier_key(other),)) == "checkpoint_unknown_key"
    assert refusal(str(HEAD), ()) == "checkpoint_unknown_key"


def test_unknown_signatures_beside_a_good_one_are_ignored() -> None:
    other = sign(origin=ORIGIN, size=HEAD.size, root=HEAD.root, key=notes.new_key("witness.example"), unanchored=False)
    both = replace(HEAD, signatures=(*other.signatures, *HEAD.signatures))
    assert verify(parse(str(both)), [VKEY]) == VKEY


def test_one_false_signature_of_a_known_key_refuses_the_note() -> None:
    false = replace(HEAD.signatures[0], value=b"\0" * 64)
    both = replace(HEAD, signatures=(*HEAD.signatures, false))
    assert refusal(str(both)) == "checkpoint_forged"


def test_a_key_vouches_only_for_the_log_that_bears_its_name() -> None:
    foreign = sign(origin="other.example", size=5, root=b"\0" * 32, key=KEY, unanchored=False)
    assert refusal(str(foreign)) == "checkpoint_unknown_key"


def test_the_same_key_id_under_another_name_is_another_key() -> None:
    renamed = replace(HEAD.signatures[0], name="other.example")
    assert refusal(str(replace(HEAD, signatures=(renamed,)))) == "checkpoint_unknown_key"


GOOD = str(HEAD)
TEXT, SIGNATURE = GOOD.split("\n\n")


@pytest.mark.requirement("I10")
@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        b"\xff" + GOOD.encode(),
        "\ud800" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("20852163", "020852163"),
        GOOD.replace("20852163", "+20852163"),
        GOOD.replace("20852163", "-1"),
        GOOD.replace("20852163", "\u0662\u0660"),
        GOOD.replace("20852163", "9" * 4000),
        GOOD.replace("Hh8=", "Hh8"),
        GOOD.replace("Hh8=", "Hh9="),
        GOOD.replace("Hh8=", "Hh8=="),
        GOOD.replace("\u2014 ", "- "),
        GOOD.replace("\u2014 ", "\u2014"),
        GOOD.replace(f"\u2014 {ORIGIN}", f"\u2014 {ORIGIN}+x"),
        GOOD[:-1],
        GOOD + "\n",
        GOOD + "x",
        GOOD + "\x00",
        f"{TEXT}\n\n",
        f"{ORIGIN}\n5\n\n{SIGNATURE}",
        f"\n{GOOD}",
        f"{TEXT}\n" + "x\n" * MAX_LINES + f"\n{SIGNATURE}",
        f"{TEXT}\n\n" + SIGNATURE * (MAX_LINES + 1),
        f"{TEXT}\n\n\u2014 {ORIGIN} AAAA\n",
        f"{TEXT}\n\n\u2014 {ORIGIN} {'A' * 20_000}\n{SIGNATURE}",
        GOOD + "x" * MAX_NOTE,
        GOOD.encode().replace(b"\xe2\x80\x94", b"\x96"),
    ],
    ids=lambda note: f"{len(note)}-{note[:8]!r}",
)
def test_anything_else_is_no_checkpoint(note: bytes | str) -> None:
    with pytest.raises(IntegrityError) as caught:
        parse(note)
    assert caught.value.code == "checkpoint_malformed"


@pytest.mark.requirement("I10")
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_input_escapes_the_reader(note: bytes | str) -> None:
    with pytest.raises(IntegrityError):
        parse(note)


def test_sixteen_signatures_are_taken() -> None:
    more = tuple(
        sign(
            origin=ORIGIN, size=HEAD.size, root=HEAD.root, key=notes.new_key(f"w{n}.example"), unanchored=False
        ).signatures[0]
        for n in range(15)
    )
    assert verify(parse(str(replace(HEAD, signatures=(*more, *HEAD.signatures)))), [VKEY]) == VKEY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+AAAA",
        str(VKEY).replace("+", "-", 1),
        str(VKEY).upper(),
        str(VKEY)[:-2],
        str(VKEY) + "A",
        str(VKEY).replace(ORIGIN, "other.example"),
        f"two words+{VKEY.id.hex()}+AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH",
        "\x00" * 100,
    ],
)
def test_a_text_that_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_key(text)
    assert caught.value.code == "invalid_key"


@pytest.mark.parametrize(
    ("issuer", "origin"),
    [
        ("http://127.0.0.1:8400", "127.0.0.1:8400"),
        ("https://sts.example/tenant/a/", "sts.example/tenant/a"),
        ("urn:deputize:memory", "urn:deputize:memory"),
        ("https://a+b.example/x y", "a-b.example/x-y"),
    ],
)
def test_a_log_is_named_after_its_issuer(issuer: str, origin: str) -> None:
    assert origin_of(issuer) == origin


@pytest.mark.parametrize("issuer", ["", "https://", "x" * 300, "https://a\x1b[2J"])
def test_an_issuer_that_can_name_no_log_is_refused(issuer: str) -> None:
    with pytest.raises(InvalidRequest):
        origin_of(issuer)


@pytest.mark.requirement("I9")
def test_a_log_key_does_not_show_itself() -> None:
    assert repr(KEY) == f"NoteKey({ORIGIN!r})"


def test_a_key_of_the_wrong_length_verifies_nothing() -> None:
    assert VerifierKey(ORIGIN, b"short").verifies(HEAD.signatures[0].value, HEAD.text.encode()) is False
