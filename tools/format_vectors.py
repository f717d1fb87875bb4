"""Write the vectors of the audit formats: `python -m tools.format_vectors` after a change that is meant to be one.

The formats are frozen: a changed vector is a new version of a format, not a repair. A test regenerates and compares.
"""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deputize.audit import checkpoint as notes
from deputize.audit import tree
from deputize.audit.record import leaf_bytes, leaf_hash, rec_claim, seal
from deputize.model.event import Event
from tools.feed_vectors import feeds, outsiders

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "formats" / "vectors"
ORIGIN: Final = "log.example/deputize"
SEED: Final = bytes(range(32))  # of a key that signs nothing but these examples
SIZES: Final = (0, 1, 2, 3, 7, 8, 255, 256, 257, 600, 65_536, 70_000)
RESEARCHER: Final = "spiffe://example.org/agent/researcher"
SUPERVISOR: Final = "spiffe://example.org/agent/supervisor"

EVENTS: Final = {
    "least": Event(type="tool.finished", outcome="done", time=0),
    "every member": Event(
        type="exchange.permitted",
        outcome="permitted",
        time=1_750_000_000_123,
        txn="AAAAAAAAAAAAAAAA",
        sid="BBBBBBBBBBBBBBBB",
        jti="CCCCCCCCCCCCCCCC",
        sub="local|alice",
        agent=RESEARCHER,
        chain=(RESEARCHER, SUPERVISOR),
        workload="spiffe://example.org/workload/churn",
        tool="read_customers",
        call_id="call_1",
        resource="https://crm.example/mcp",
        scopes=("crm:read",),
        code="ok",
        policies=("agent.researcher.use", "users.unrestricted"),
        policy_set="7f3c91",
        reference="D-4KQ2M",
        detail={"ttl": 60, "bound": False, "rights": [["https://crm.example/mcp", "crm:read"]], "none": None},
    ),
    "names sort by code unit": Event(
        type="tool.finished", outcome="done", time=1, detail={"b": 1, "a": 2, "B": 3, "aa": 4, "": 5, "a\u0000": 6}
    ),
    "control characters and separators": Event(
        type="tool.\u001b[2J", outcome="done", time=1, tool='\u0000\b\t\n\f\r\u001f\u007f\u0085\u2028\u2029\u202e"\\/'
    ),
    "text beyond the basic plane": Event(type="tool.finished", outcome="done", time=1, tool="é\U0001f600\ufeff"),
    "lone surrogates": Event(
        type="tool.finished", outcome="done", time=1, tool="a\ud800b\udfff", detail={"\ud83d": "\ude00\ud83d"}
    ),
    "names that are not plain ASCII": Event(
        type="tool.finished", outcome="done", time=1, detail={"é": 1, "\\xe9": 2, "\u2028": 3, "\U0001f600": 4}
    ),
    "numbers that are no small integers": Event(
        type="tool.finished",
        outcome="done",
        time=1,
        detail={"largest": 2**53 - 1, "larger": 2**53, "smaller": -(2**70), "huge": 2**5000},
    ),
    "text of 4096 characters": Event(type="tool.finished", outcome="done", time=1, tool="x" * 4096),
    "text of 4097 characters": Event(type="tool.finished", outcome="done", time=1, tool="é" * 4097),
    "type of 129 characters": Event(type="t" * 129, outcome="done", time=1),
}


def records() -> list[dict[str, object]]:
    """One case for each rule of records.md."""
    cases: list[dict[str, object]] = []
    for seq, (name, event) in enumerate(EVENTS.items()):
        record = seal(event, seq, salt=bytes([seq]) * 16)
        assert record.body is not None  # noqa: S101  # a fresh record has one
        assert record.salt is not None  # noqa: S101  # as above
        cases.append(
            {
                "name": name,
                "event": _event(event),
                "seq": seq,
                "time": record.time,
                "type": record.type,
                "salt": record.salt.hex(),
                "body": record.body.decode(),
                "digest": sha256(record.salt + record.body).hexdigest(),
                "leaf": (leaf_bytes(record) or b"").decode(),
                "leaf_hash": record.leaf.hex(),
                "rec": rec_claim(record),
            }
        )
    return cases


def _event(event: Event) -> dict[str, object]:
    """What was given, absent members left out."""
    members = {name: getattr(event, name) for name in event.__dataclass_fields__}
    return {name: value for name, value in members.items() if value not in (None, (), {})}


def trees() -> dict[str, object]:
    """Leaves are the texts of their numbers. Roots at some sizes, tiles of the largest, and proofs."""
    tiles = _Tiles()
    tree.integrate(tiles, 0, [leaf_hash(b"%d" % number) for number in range(max(SIZES))])
    inclusion = [(0, 1), (0, 2), (2, 3), (6, 7), (255, 256), (256, 257), (77, 600), (69_999, 70_000)]
    consistency = [(1, 2), (2, 3), (3, 7), (7, 8), (255, 257), (256, 600), (600, 70_000), (65_536, 70_000)]
    return {
        "leaves": "leaf number n is the decimal text of n; its hash is SHA-256(0x00 || text)",
        "roots": [{"size": size, "root": tree.root(size, tiles).hex()} for size in SIZES],
        "tiles": [
            {"level": level, "index": index, "hashes": len(data) // 32, "sha256": sha256(data).hexdigest()}
            for (level, index), data in sorted(tiles.kept.items())
            if level > 0 or index in {0, 1, 273}
        ],
        "inclusion": [
            {"index": at, "size": size, "proof": [item.hex() for item in tree.inclusion_proof(at, size, tiles)]}
            for at, size in inclusion
        ],
        "consistency": [
            {"size1": old, "size2": new, "proof": [item.hex() for item in tree.consistency_proof(old, new, tiles)]}
            for old, new in consistency
        ],
    }


class _Tiles:
    def __init__(self) -> None:
        self.kept: dict[tuple[int, int], bytes] = {}

    def tile(self, level: int, index: int) -> bytes | None:
        return self.kept.get((level, index))

    def put_tile(self, level: int, index: int, data: bytes) -> None:
        self.kept[level, index] = data


def checkpoints() -> dict[str, object]:
    """Good notes and bad ones with the code of their refusal."""
    key = notes.NoteKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(SEED))
    witness = notes.NoteKey("witness.example", Ed25519PrivateKey.from_private_bytes(SEED[::-1]))
    root = sha256(b"root").digest()
    plain = notes.sign(origin=ORIGIN, size=20_852_163, root=root, key=key, unanchored=False)
    marked = notes.sign(origin=ORIGIN, size=1, root=root, key=key, unanchored=True)
    empty = notes.sign(origin=ORIGIN, size=0, root=tree.EMPTY_ROOT, key=key, unanchored=False)
    cosigned = replace(
        plain,
        signatures=(
            *notes.sign(origin=ORIGIN, size=plain.size, root=root, key=witness, unanchored=False).signatures,
            *plain.signatures,
        ),
    )
    foreign = notes.sign(origin="other.example", size=1, root=root, key=key, unanchored=False)
    good = {"plain": plain, "unanchored": marked, "empty log": empty, "cosigned": cosigned}
    text = str(plain)
    bad = {
        "another size": (text.replace("20852163", "20852164"), "checkpoint_forged"),
        "mark removed": (str(replace(marked, extensions=())), "checkpoint_forged"),
        "signed by a witness alone": (
            str(replace(cosigned, signatures=cosigned.signatures[:1])),
            "checkpoint_unknown_key",
        ),
        "of another log, by this key": (str(foreign), "checkpoint_unknown_key"),
        "size with a zero in front": (text.replace("20852163", "020852163"), "checkpoint_malformed"),
        "carriage returns": (text.replace("\n", "\r\n"), "checkpoint_malformed"),
        "no signature": (plain.text + "\n", "checkpoint_malformed"),
        "hyphen for the dash": (text.replace("\u2014", "-"), "checkpoint_malformed"),
        "text after the signatures": (text + "x", "checkpoint_malformed"),
    }
    return {
        "seed": SEED.hex(),
        "vkey": str(notes.verifier_key(key)),
        "key_id": notes.verifier_key(key).id.hex(),
        "good": [
            {
                "name": name,
                "note": str(head),
                "size": head.size,
                "root": head.root.hex(),
                "unanchored": head.unanchored,
            }
            for name, head in good.items()
        ],
        "bad": [{"name": name, "note": note, "code": code} for name, (note, code) in bad.items()],
    }


def files() -> dict[str, str]:
    """Every vector file by name, as it is to be committed."""
    made = {
        "records.json": records(),
        "tree.json": trees(),
        "checkpoint.json": checkpoints(),
        "feed.json": feeds(),
        "proofs.json": outsiders(),
    }
    return {name: json.dumps(value, indent=1, ensure_ascii=True) + "\n" for name, value in made.items()}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, content in files().items():
        (FOLDER / file).write_text(content, encoding="ascii")
        print(f"wrote {FOLDER / file}")
