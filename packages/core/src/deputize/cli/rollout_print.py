"""Printing what `deputize policy` found out, in words or as data; wherever it came from."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from deputize.authority.policy_diff import Difference
from deputize.authority.rollout import Applied
from deputize.cli.audit_print import data, say, write_out
from deputize.config import Bundle
from deputize.model.failure import plain

_KEPT = "\n\t"  # of what files hold
SHOWN = 12  # characters of a digest, for people
_STYLES = {"+": "green", "-": "red", "@": "cyan", "~": "yellow"}


def print_moved(digest: str, *, json: bool) -> None:
    """After apply and rollback."""
    if json:
        data({"policy_set": digest})
    else:
        _print(Text(f"the store decides by policy set {digest[:SHOWN]}"))


def print_history(moves: Sequence[Applied], *, json: bool) -> None:
    """One move a line, the active one marked."""
    if json:
        data([move.to_dict() for move in moves])
        return
    newest = {move.digest: move.seq for move in moves}
    for move in moves:
        mark = "*" if move.active and newest[move.digest] == move.seq else " "
        at = datetime.fromtimestamp(move.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        why = f"  {plain(move.reason)}" if move.reason else ""
        _print(Text(f"{mark} {move.digest[:SHOWN]}  {at}  record {move.seq}  {plain(move.by) or '-'}{why}"))
    if not moves:
        say("this store decides by no policy set yet")


def print_texts(digest: str, bundle: Bundle, *, json: bool) -> None:
    """File by file, each under its name."""
    if json:
        files, environment = dict(bundle.files), dict(bundle.environment)
        data({"policy_set": digest, "main": bundle.main, "files": files, "environment": environment})
        return
    write_out(f"# policy set {digest}\n")
    for name in sorted(bundle.files, key=lambda name: (name != bundle.main, name)):
        write_out(f"\n# ---- {plain(name)}\n{plain(bundle.files[name].rstrip(), _KEPT)}\n")
    for name, value in sorted(bundle.environment.items()):
        write_out(f"\n# ---- from the environment\n# {name}={plain(value)}\n")


def print_difference(found: Difference, *, json: bool) -> None:
    """First what decides otherwise, then the lines."""
    if json:
        data({"summary": list(found.summary), "text": list(found.text)})
        return
    for line in found.summary or ("nothing decides otherwise",):
        _print(Text(plain(line, _KEPT), style=_STYLES.get(line[0], "")))
    if found.text:
        _print(Text(""))
    for line in found.text:
        _print(Text(plain(line, _KEPT), style=_STYLES.get(line[0], "dim") if line else ""))


def _print(text: Text) -> None:
    Console(highlight=False, soft_wrap=True).print(text)
