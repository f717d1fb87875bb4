"""What a verification can find, each in words that say what it means."""

import enum
from dataclasses import dataclass
from typing import Final

from deputize.audit.checkpoint import Checkpoint


class Kind(enum.Enum):
    """Every finding has one. All but `ERASED` and `PENDING` mean that the log does not hold."""

    CHANGED = "changed"
    REMOVED = "removed"
    REORDERED = "reordered"
    INSERTED = "inserted"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    TREE = "tree"
    FORGED = "forged"
    FOREIGN = "foreign"
    ERASED = "erased"
    PENDING = "pending"


_UNANCHORED: Final = (
    "unanchored: the log was held against no checkpoint from outside. Whoever can write the store could have "
    "rewritten all of it consistently, and this check would not see that."
)
HARMLESS: Final = frozenset({Kind.ERASED, Kind.PENDING})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `seq` is the first record that it is about, `count` how many in a row."""

    kind: Kind
    message: str
    seq: int | None = None
    count: int = 1

    @property
    def breaks(self) -> bool:
        """True where the log is not what it was."""
        return self.kind not in HARMLESS

    def to_dict(self) -> dict[str, str | int | bool | None]:
        """For `--json`."""
        return {
            "kind": self.kind.value,
            "seq": self.seq,
            "count": self.count,
            "breaks": self.breaks,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a verification. `records` counts those that were read, `tree_size` those in the tree."""

    records: int
    tree_size: int
    root: bytes | None  # of the tree, None where it can't be made
    against: Checkpoint | None
    compared: bool  # the records were held against it
    signature_checked: bool  # by a key that the caller trusts
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True where nothing found breaks the log."""
        return not any(item.breaks for item in self.findings)

    @property
    def unanchored(self) -> bool:
        """True where no signature from outside the store was checked."""
        return not self.signature_checked

    def about(self, kind: Kind) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(item for item in self.findings if item.kind is kind)

    @property
    def notes(self) -> tuple[str, ...]:
        """What this verification can and can't show, in words."""
        if self.against is None or not self.compared:
            return (_UNANCHORED,)
        later = max(self.records - self.against.size, 0)
        alone = f"; {later} later ones hang on the store's word alone" if later else ""
        notes = [f"the checkpoint covers {self.against.size} records{alone}."]
        if not self.signature_checked:
            notes.append(
                "its signature was not checked against a key that you trust (--key): it proves something only "
                "because you kept it where a writer of the store could not reach it."
            )
        elif self.against.unanchored:
            notes.append("it is marked unanchored: its key lived in one process alone and vouches for no more.")
        return tuple(notes)

    def to_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "ok": self.ok,
            "records": self.records,
            "tree_size": self.tree_size,
            "root": None if self.root is None else self.root.hex(),
            "against": None if self.against is None else {"origin": self.against.origin, "size": self.against.size},
            "signature_checked": self.signature_checked,
            "unanchored": self.unanchored,
            "findings": [item.to_dict() for item in self.findings],
            "notes": list(self.notes),
        }


def collapse(findings: list[Finding]) -> list[Finding]:
    """Runs of equal findings about records in a row as one."""
    runs: list[Finding] = []
    for item in findings:
        last = runs[-1] if runs else None
        joins = last is not None and item.kind is last.kind and item.message == last.message
        if last is not None and last.seq is not None and joins and item.seq == last.seq + last.count:
            runs[-1] = Finding(last.kind, last.message, last.seq, last.count + item.count)
        else:
            runs.append(item)
    return runs
