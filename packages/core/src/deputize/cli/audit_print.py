"""How the `audit` commands print: reports, records and data."""

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deputize.audit.findings import Finding, Report
from deputize.audit.record import holds, open_body
from deputize.cli.audit_lines import line_of, moment, printable
from deputize.model.event import Json, Record
from deputize.model.failure import IntegrityError

_OUT = Console(highlight=False, soft_wrap=True)
_ERR = Console(highlight=False, soft_wrap=True, stderr=True)
_LONG = 400  # characters
_STYLES = {"denied": "red", "failed": "yellow", "permitted": "green", "done": "green"}
_BROKEN = "  [not as it was recorded: deputize audit verify]"


def data(value: object) -> None:
    """One line of JSON."""
    write_out(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE).decode())


def write_out(text: str) -> None:
    """Text as it is, to standard output."""
    _OUT.out(text, highlight=False, end="")


def say(text: str) -> None:
    """A remark, to standard error."""
    _ERR.print(Text(printable(text, _LONG)))


def _print_rows(rows: list[tuple[str, str]], *, alarm: bool) -> None:
    """A table of two columns; `alarm` draws the eye to its first row."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for number, (name, words) in enumerate(rows):
        table.add_row(Text(name, style="bold red" if alarm and number == 0 else "bold"), Text(words))
    _OUT.print(table, soft_wrap=False)


def print_report(report: Report) -> None:
    """What a verification found, and what it means."""
    root = report.root.hex() if report.root is not None else "none: the tree is damaged"
    counts = f"{report.records} records, {report.tree_size} of them in the tree"
    rows = [("verified" if report.ok else "BROKEN", counts), ("root", root)]
    if report.against is not None and report.compared:
        by = "signature checked" if report.signature_checked else "signature not checked"
        rows.append(("against", f"{printable(report.against.origin)}, {report.against.size} records, {by}"))
    rows += [(item.kind.value, _words(item)) for item in report.findings]
    rows += [("note", note) for note in report.notes]
    _print_rows(rows, alarm=not report.ok)


def _words(finding: Finding) -> str:
    if finding.seq is None:
        return printable(finding.message, _LONG)
    last = finding.seq + finding.count - 1
    where = f"record {finding.seq}" if finding.count == 1 else f"records {finding.seq} to {last} ({finding.count})"
    return f"{where}: {printable(finding.message, _LONG)}"


def print_record(record: Record) -> None:
    """One line; one that does not match its leaf says so."""
    body, sound = _opened(record)
    line = line_of(record.time, record.type, body)
    words = Text.assemble(
        (line.time, "dim"),
        f"  {record.seq:>6}  {line.who}: {line.what}  ",
        (line.outcome, _STYLES.get(line.outcome, "")),
        f"  {line.why}" if line.why else "",
    )
    _OUT.print(words if sound else words.append(_BROKEN, style="bold red"))


def plain(record: Record) -> dict[str, Json]:
    """A record as data; `intact`: it is what its leaf says."""
    body, sound = _opened(record)
    own: dict[str, Json] = {"seq": record.seq, "time": moment(record.time), "type": str(record.type)}
    return {**own, "intact": sound, "erased": record.body is None, **body}


def _opened(record: Record) -> tuple[dict[str, Json], bool]:
    try:
        return open_body(record), holds(record)
    except IntegrityError:
        return {}, False
