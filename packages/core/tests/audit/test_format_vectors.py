"""The committed vectors: what our code writes, and what an independent reader of docs/formats makes of them."""

import base64
import importlib.util
import json
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from deputize.audit import checkpoint as notes
from deputize.audit import tree
from deputize.audit.record import seal
from deputize.model.event import Event
from deputize.model.failure import IntegrityError

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "requirements.lock").exists())
FOLDER = ROOT / "docs" / "formats" / "vectors"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("format_vectors", ROOT / "tools" / "format_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="ascii"))


@pytest.mark.parametrize("name", ["records.json", "tree.json", "checkpoint.json", "feed.json", "proofs.json"])
def test_the_committed_vectors_are_what_the_code_makes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="ascii") == generator().files()[name]


@pytest.mark.requirement("AU-02")
def test_sealing_the_event_of_a_vector_gives_its_record() -> None:
    for case in read("records.json"):
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in case["event"].items()}
        record = seal(Event(**given), case["seq"], salt=bytes.fromhex(case["salt"]))
        assert record.body is not None
        assert (record.body.decode(), record.leaf.hex()) == (case["body"], case["leaf_hash"])


@pytest.mark.requirement("AU-02")
def test_records_can_be_checked_with_sha_256_and_rfc_8785_alone() -> None:
    for case in read("records.json"):
        body = case["body"].encode()
        assert rfc8785.dumps(json.loads(body)) == body
        digest = sha256(bytes.fromhex(case["salt"]) + body).hexdigest()
        leaf = rfc8785.dumps({"body": digest, "seq": case["seq"], "time": case["time"], "type": case["type"]})
        assert (digest, leaf.decode()) == (case["digest"], case["leaf"])
        hashed = sha256(b"\x00" + leaf).digest()
        assert hashed.hex() == case["leaf_hash"]
        assert base64.urlsafe_b64encode(hashed).decode().rstrip("=") == case["rec"]


@pytest.mark.requirement("AU-03")
def test_roots_and_proofs_of_the_vectors_hold() -> None:
    data = read("tree.json")
    roots = {item["size"]: bytes.fromhex(item["root"]) for item in data["roots"]}
    assert roots[0] == sha256(b"").digest()
    assert roots[1] == sha256(b"\x000").digest()
    for item in data["inclusion"]:
        leaf = sha256(b"\x00%d" % item["index"]).digest()
        proof = [bytes.fromhex(step) for step in item["proof"]]
        assert tree.verify_inclusion(item["index"], item["size"], leaf, proof, roots[item["size"]])
    for item in data["consistency"]:
        proof = [bytes.fromhex(step) for step in item["proof"]]
        size1, size2 = item["size1"], item["size2"]
        assert tree.verify_consistency(size1, size2, roots[size1], roots[size2], proof)


@pytest.mark.requirement("AU-03")
def test_checkpoints_can_be_checked_with_ed25519_and_string_splitting_alone() -> None:
    data = read("checkpoint.json")
    name, key_id, encoded = data["vkey"].split("+", 2)
    public = base64.b64decode(encoded)[1:]
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(data["seed"]))
    assert private.public_key().public_bytes_raw() == public
    assert sha256(name.encode() + b"\n\x01" + public).hexdigest()[:8] == key_id == data["key_id"]
    for case in data["good"]:
        text, _, signatures = case["note"].rpartition("\n\n")
        lines = text.split("\n")
        assert lines[0] == name
        assert int(lines[1]) == case["size"]
        assert base64.b64decode(lines[2]).hex() == case["root"]
        assert ("deputize unanchored" in lines[3:]) is case["unanchored"]
        own = next(line for line in signatures.split("\n") if line.startswith(f"\u2014 {name} "))
        signed = base64.b64decode(own.split(" ")[2])
        assert signed[:4].hex() == key_id
        Ed25519PublicKey.from_public_bytes(public).verify(signed[4:], (text + "\n").encode())


@pytest.mark.requirement("AU-03")
def test_the_bad_checkpoints_of_the_vectors_are_refused_with_their_code() -> None:
    data = read("checkpoint.json")
    key = notes.parse_key(data["vkey"])
    for case in data["bad"]:
        with pytest.raises(IntegrityError) as caught:
            notes.verify(notes.parse(case["note"]), [key])
        assert caught.value.code == case["code"], case["name"]
