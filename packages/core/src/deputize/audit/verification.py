"""Is the log what it was? Needs no trust in its writer, given a checkpoint that left the machine.

Every leaf is made anew from its record, the tree from its leaves, and both are held against the checkpoint.
A writer of the store who rewrote everything consistently is seen by a checkpoint from outside alone: `Report.notes`.
"""

from deputize.audit.checkpoint import Checkpoint, VerifierKey
from deputize.audit.checkpoint import verify as verify_checkpoint
from deputize.audit.findings import Finding, Kind, Report, collapse
from deputize.audit.log import stored_checkpoint, tree_size
from deputize.audit.naming import name_records
from deputize.audit.protocol import LogReader
from deputize.audit.scan import Scan, covered, entry, full_tile, scan
from deputize.audit.tree import TILE_WIDTH, fold, root
from deputize.model.failure import IntegrityError

_OUTSIDE = "the checkpoint"
_STORED = "the store's own last checkpoint"


def verify(
    log: LogReader,
    *,
    against: Checkpoint | None = None,
    trusted: VerifierKey | None = None,
    origin: str | None = None,
) -> Report:
    """Verify the whole log on one consistent view.

    `against`: a checkpoint kept outside. `trusted`: the key that must have signed it; without one the caller
    vouches for the file. `origin`: the name of this log, so that another log's checkpoint is told from a rewrite.
    Findings, not exceptions, tell what is wrong with the log; StoreError passes where it can't be read.
    """
    findings: list[Finding] = []
    outside, signed = _usable(against, trusted, origin, findings)
    size = _tree_size(log, findings)
    heads = {_OUTSIDE: outside, _STORED: _stored(log, findings)}
    sizes = {label: head.size for label, head in heads.items() if head is not None}
    found = scan(log, size, tuple(sizes.values()))
    proved = outside.size if outside is not None and found.root(outside.size) == outside.root else 0

    def tree_wrong(seq: int) -> bool:
        index = seq // TILE_WIDTH
        return seq < proved or (index in found.nodes and found.nodes[index] == entry(log, 1, index))

    findings += _tree_findings(log, size, found)
    findings += name_records(found, size=size, end=max(sizes.values(), default=0), tree_wrong=tree_wrong)
    for label, head in heads.items():
        if head is not None:
            findings += _against(log, found, head, label)
    findings += _harmless(found, size)
    return Report(
        records=found.count,
        tree_size=size,
        root=_tree_root(log, size),
        against=against,
        compared=outside is not None,
        signature_checked=signed,
        findings=tuple(collapse(findings)),
    )


def _usable(
    against: Checkpoint | None, trusted: VerifierKey | None, origin: str | None, findings: list[Finding]
) -> tuple[Checkpoint | None, bool]:
    """The checkpoint if it may be held against this log, and whether a trusted key signed it."""
    if against is None:
        return None, False
    if trusted is not None:
        try:
            verify_checkpoint(against, [trusted])
        except IntegrityError as error:
            kind = Kind.FORGED if error.code == "checkpoint_forged" else Kind.FOREIGN
            findings.append(Finding(kind, f"{error}; nothing was held against it"))
            return None, False
    if origin is not None and against.origin != origin:
        findings.append(Finding(Kind.FOREIGN, "the checkpoint is of another log; nothing was held against it"))
        return None, False
    return against, trusted is not None


def _tree_size(log: LogReader, findings: list[Finding]) -> int:
    """How many leaves the tree holds in fact."""
    try:
        size = tree_size(log)
    except IntegrityError as error:
        findings.append(Finding(Kind.TREE, str(error)))
        return 0
    held = covered(log, size)
    if held < size:
        message = "the tree's leaves from here on are missing; these records were held against no tree"
        findings.append(Finding(Kind.TREE, message, held, size - held))
    return held


def _stored(log: LogReader, findings: list[Finding]) -> Checkpoint | None:
    try:
        return stored_checkpoint(log)
    except IntegrityError:
        findings.append(Finding(Kind.FORGED, f"{_STORED} cannot be read"))
        return None


def _tree_root(log: LogReader, size: int) -> bytes | None:
    try:
        return root(size, log)
    except (IntegrityError, TypeError):
        return None


def _tree_findings(log: LogReader, size: int, found: Scan) -> list[Finding]:
    """Do the inner tiles follow from the leaves that the tree holds, or at least from the records?"""
    findings: list[Finding] = []
    level, count = 1, size // TILE_WIDTH
    while count:
        for index in range(count):
            above = entry(log, level, index)
            if level == 1 and above is not None and found.nodes.get(index) == above:
                continue
            below = full_tile(log, level - 1, index)
            if below is None or above != fold(below):
                span = TILE_WIDTH**level
                message = f"the tree does not hold together over these records (level {level})"
                findings.append(Finding(Kind.TREE, message, index * span, span))
        level, count = level + 1, count // TILE_WIDTH
    return findings


def _against(log: LogReader, found: Scan, head: Checkpoint, label: str) -> list[Finding]:
    """A head that neither the records nor the tree give; where the tree gives it, the records are named already."""
    if found.root(head.size) == head.root:
        return []
    made = _tree_root(log, head.size)
    if made == head.root or (made is None and found.end < head.size):
        return []
    message = (
        f"neither records nor tree give the root of {label} at {head.size} records: history before it was rewritten. "
        "It says that this happened, not to which record"
    )
    return [Finding(Kind.REWRITTEN, message, 0, head.size)]


def _harmless(found: Scan, size: int) -> list[Finding]:
    findings = [
        Finding(
            Kind.ERASED,
            "content erased; its place, time and type are proved" if proved else
            "content erased; its place is proved, its time and type no longer are",
            seq,
        )
        for seq, proved in found.erased
    ]  # fmt: skip
    if found.end > size:
        message = "not in the tree yet: the next checkpoint takes them in"
        findings.append(Finding(Kind.PENDING, message, size, found.end - size))
    return findings
