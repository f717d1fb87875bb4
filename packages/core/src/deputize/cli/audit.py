"""`deputize audit`: read the log, verify it, sign checkpoints. Works on the store itself, without an authority."""

import contextlib
import datetime as dt
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from deputize.audit import checkpoint as notes
from deputize.audit.log import Log
from deputize.audit.verification import verify as verify_log
from deputize.authority.log_keys import log_key, publish_log_key, published_log_keys
from deputize.authority.operating import Wanted
from deputize.authority.stores import check_anchor
from deputize.cli.audit_lines import printable
from deputize.cli.audit_print import data, plain, print_record, print_report, say, write_out
from deputize.cli.audit_source import open_source
from deputize.cli.reaching import UrlOption, chosen, remote
from deputize.client.remote_log import RemoteLog, fetch
from deputize.keys.anchor import anchor_from_environment
from deputize.model.failure import IntegrityError, StoreError
from deputize.system import SystemClock

app = typer.Typer(no_args_is_help=True, help="The log: show, verify, checkpoint, key.")

NEGATIVE: Final = 1
_DAMAGED: Final = "store_corrupt"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_UNANCHORED: Final = "unanchored: its key lived in one process alone; only a copy kept outside proves anything"

ConfigOption = Annotated[Path, typer.Option("--config", help="the authority's file")]
StoreOption = Annotated[str | None, typer.Option("--store", help="the store's file or URL, without a configuration")]
JsonOption = Annotated[bool, typer.Option("--json", help="print data instead of words")]
DEFAULT_CONFIG: Final = Path("deputize.toml")


@app.command()
def verify(
    *,
    against: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="a checkpoint kept outside")] = None,
    key: Annotated[str | None, typer.Option(metavar="VKEY", help="the verifier key that must have signed it")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Is the log what it was? Names every record that was changed, removed, moved or cut off."""
    if key is not None and against is None:
        raise typer.BadParameter("--key says who must have signed a checkpoint: give one with --against")
    trusted = notes.parse_key(key) if key is not None else None
    server = chosen(url, config, store)
    with _negative(json=json):
        head = notes.parse(_read(against)) if against is not None else None
        if server is not None:
            with remote(server) as operator:
                kept = str(head) if head is not None else None
                report = RemoteLog(operator, operator.issuer).verify(kept, trusted=trusted)
        else:
            with open_source(config, store, readonly=True) as source:
                origin = source.origin
                report = source.store.read(lambda tx: verify_log(tx, against=head, trusted=trusted, origin=origin))
    if json:
        data(report.to_dict())
    else:
        print_report(report)
    raise typer.Exit(0 if report.ok else NEGATIVE)


@app.command()
def show(
    *,
    session: Annotated[str | None, typer.Option(help="id of a session; of a root: its whole tree")] = None,
    agent: Annotated[str | None, typer.Option(help="name or SPIFFE ID")] = None,
    user: Annotated[str | None, typer.Option(help="`alice`, or `<issuer alias>|<sub>`")] = None,
    tool: Annotated[str | None, typer.Option(help="name of a tool")] = None,
    resource: Annotated[str | None, typer.Option(help="alias or URL")] = None,
    outcome: Annotated[str | None, typer.Option(help="permitted, denied, done, failed or noted")] = None,
    since: Annotated[str | None, typer.Option("--from", help="2026-11-23, 2026-11-23T10:00Z, or 2h for ago")] = None,
    until: Annotated[str | None, typer.Option("--to", help="the same, not included")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="the newest so many")] = 1000,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """What happened, a line for each record: when, who for whom, what, the outcome, the policy."""
    since_ms, until_ms = _instant(since), _instant(until)
    wanted = Wanted(
        session=session,
        agent=agent,
        user=user,
        tool=tool,
        resource=resource,
        outcome=outcome,
        since_ms=since_ms,
        until_ms=until_ms,
    )
    server = chosen(url, config, store)
    if server is not None:
        with remote(server) as operator:
            found = fetch(operator, wanted, limit + 1)
    else:
        with open_source(config, store, readonly=True) as source:
            found = source.find(wanted, limit=limit + 1)
    if json:
        data([plain(record) for record in found[-limit:]])
    else:
        for record in found[-limit:]:
            print_record(record)
    if len(found) > limit:
        say(f"these are the newest {limit}; there are more (--limit, --from, --to)")


@app.command()
def checkpoint(
    *,
    to: Annotated[Path | None, typer.Option("--to", dir_okay=False, help="write it to this file")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Sign the head of the log as it is now. Keep it where a writer of the store can't reach it.

    A checkpoint that the file already holds is replaced only by one that continues it.
    """
    server = chosen(url, config, store)
    with _negative(json=json):
        before = notes.parse(_read(to)) if to is not None and to.exists() else None
        made, vkey = _signed_here(config, store, before) if server is None else _signed_there(server, before)
    if to is not None:
        _write(to, str(made))
    if json:
        data({"origin": made.origin, "size": made.size, "root": made.root.hex(), "key": vkey, "checkpoint": str(made)})
        return
    if to is None:
        write_out(str(made))
    else:
        write_out(f"written  {printable(str(to), 400)}\ncovers   {made.size} records\nkey      {vkey}\n")
    if made.unanchored:
        say(_UNANCHORED)


def _signed_here(config: Path, store: str | None, before: notes.Checkpoint | None) -> tuple[notes.Checkpoint, str]:
    """A checkpoint by this command, and the key that it was signed with."""
    with open_source(config, store, readonly=False) as source:
        anchor = anchor_from_environment(os.environ)
        if source.configuration is not None:
            check_anchor(source.configuration, anchor)
        log = log_key(anchor, source.log_name)
        publish_log_key(source.store, log, SystemClock())
        key, unanchored = log.key, log.unanchored
        made = Log(source.store).checkpoint(key, origin=key.name, unanchored=unanchored, before=before)
    return made, str(notes.verifier_key(key))


def _signed_there(server: str, before: notes.Checkpoint | None) -> tuple[notes.Checkpoint, str]:
    """A checkpoint by the server, proved to continue the one before; its key is the server's word."""
    with remote(server) as operator:
        log = RemoteLog(operator, operator.issuer)
        head = log.continues(str(before)) if before is not None else operator.checkpoint()
    made, vkey = notes.parse(head.note), head.key
    notes.verify(made, [notes.parse_key(vkey)])
    return made, vkey


@app.command()
def key(*, config: ConfigOption = DEFAULT_CONFIG, store: StoreOption = None, json: JsonOption = False) -> None:
    """Print the verifier keys of this log's checkpoints, the newest last: of an anchor, or of those signed so far."""
    anchor = anchor_from_environment(os.environ)
    with open_source(config, store, readonly=True) as source:
        told = published_log_keys(source.store)
        if anchor.name == "none":
            keys = [(item, said == "none") for item, said in told]
        else:  # what the log tells of others is what a writer of the store may have made it tell
            keys = [(notes.verifier_key(log_key(anchor, source.log_name).key), False)]
    if json:
        data([{"key": str(k), "name": k.name, "id": k.id.hex(), "unanchored": alone} for k, alone in keys])
    else:
        write_out("".join(f"{item}\n" for item, _ in keys))
    if not keys:
        say("no checkpoint was signed on this store yet, so that there is no key")
    raise typer.Exit(0 if keys else NEGATIVE)


@contextlib.contextmanager
def _negative(*, json: bool) -> Iterator[None]:
    """A log or checkpoint that does not hold is an answer, not a failure of the command."""
    try:
        yield
    except (IntegrityError, StoreError) as error:
        if isinstance(error, StoreError) and error.code != _DAMAGED:
            raise
        if json:
            data({"ok": False, "code": error.code, "message": str(error)})
        else:
            say(str(error))
        raise typer.Exit(NEGATIVE) from None


def _instant(text: str | None) -> int | None:
    """Milliseconds since the epoch of a date, a time or a span ago; without a zone it is UTC."""
    if text is None:
        return None
    span = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if span is not None:
        return int((SystemClock().now() - int(span[1]) * _UNITS[span[2]]) * 1000)
    try:
        instant = dt.datetime.fromisoformat(text)
        utc = instant.replace(tzinfo=dt.UTC) if instant.tzinfo is None else instant
        return int(utc.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise typer.BadParameter("a time is 2026-11-23, 2026-11-23T10:00Z, or 90s 15m 2h 7d for ago") from None


def _read(path: Path) -> bytes:
    """A checkpoint's file, not more of it than one can be."""
    try:
        with path.open("rb") as file:
            return file.read(notes.MAX_NOTE + 1)
    except OSError as error:
        raise typer.BadParameter(f"{printable(str(path))} cannot be read: {error.strerror}") from None


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise typer.BadParameter(f"{printable(str(path))} cannot be written: {error.strerror}") from None
