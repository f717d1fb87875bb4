"""The delegation tree as HTML: for notebooks and reports. No script, nothing from elsewhere, every text escaped."""

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from typing import Final

from deputize.authority.tree import Call, Entry, SessionTree
from deputize.model.failure import plain

SESSIONS_MAX: Final = 500  # that are shown; `to_dict` has them all
LINES_MAX: Final = 200  # calls or records of one session
_MILLIS: Final = 1000
# Colours of the notebook's own theme where it has one; else of the page.
_STYLE: Final = """
.deputize{font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);color:var(--jp-content-font-color1,inherit)}
.deputize ul{list-style:none;margin:0 0 0 8px;padding:0 0 0 14px;border-left:1px solid #9996}
.deputize li{margin:2px 0}.deputize summary{cursor:pointer}
.deputize code{font:12px/1.4 var(--jp-code-font-family,ui-monospace,monospace);background:none;padding:0}
.deputize .dim{opacity:.7}.deputize table{font:inherit;color:inherit;border-collapse:collapse;margin:2px 0 6px 16px}
.deputize td{padding:1px 12px 1px 0;text-align:left;vertical-align:top;border:0;white-space:nowrap}
.deputize b.tag{font-weight:600;border-radius:3px;padding:0 5px;color:#fff}
.deputize .ok{background:#2e7d32}.deputize .no{background:#c62828}.deputize .run{background:#1565c0}
.deputize .off{background:#6d6d6d}
"""
_KINDS: Final = {
    "open": "ok",
    "done": "ok",
    "permitted": "ok",
    "running": "run",
    "noted": "off",
    "closed": "off",
    "expired": "off",
    "suspended": "off",
}


def html(tree: SessionTree) -> str:
    """A `<div>` with its own style."""
    left = [SESSIONS_MAX]
    below = "".join(_session(tree, left))
    more = "" if left[0] >= 0 else '<p class="dim">Not all sessions are shown; session.tree().to_dict() has them.</p>'
    head = f"<div>on behalf of <b>{_text(tree.subject)}</b></div>"
    return f'<div class="deputize"><style>{_STYLE}</style>{head}<ul>{below}</ul>{more}</div>'


def _session(node: SessionTree, left: list[int]) -> Iterator[str]:
    left[0] -= 1
    if left[0] < 0:
        return
    scopes = f'<code class="dim">{_text(", ".join(node.scopes))}</code>'
    yield f"<li><b>{_text(node.agent)}</b> {_tag(node.state)} {scopes}<ul>"
    for call in node.calls[:LINES_MAX]:
        yield f"<li><details><summary>{_call_line(call)}</summary>{_call_table(call)}</details></li>"
    for entry in node.refused[:LINES_MAX]:
        yield f"<li>{_text(entry.what)} {_tag(entry.outcome)} {_why(entry.policy, entry.reference)}</li>"
    if node.records:
        yield f"<li>{_records(node)}</li>"
    for child in node.children:
        yield from _session(child, left)
    yield "</ul></li>"


def _call_line(call: Call) -> str:
    return f"<code>{_text(call.tool)}</code> {_tag(call.outcome)} {_why(call.policy, call.reference)}"


def _call_table(call: Call) -> str:
    took = f"{call.ended - call.began} ms" if call.ended else ""
    rows = (
        ("scopes", ", ".join(call.scopes)),
        ("policy", call.policy),
        ("reference", call.reference or ""),
        ("call", call.call_id or ""),
        ("record", "" if call.seq is None else str(call.seq)),
        ("began", _time(call.began)),
        ("took", took),
    )
    cells = "".join(
        f'<tr><td class="dim">{name}</td><td><code>{_text(value)}</code></td></tr>' for name, value in rows if value
    )
    return f"<table>{cells}</table>"


def _records(node: SessionTree) -> str:
    shown = node.records[-LINES_MAX:]
    count = len(node.records) + node.left_out
    cells = "".join(_record(entry) for entry in shown)
    name = "record" if count == 1 else "records"
    head = f'<summary class="dim">{count} more {name} of session <code>{_text(node.sid)}</code></summary>'
    return f"<details>{head}<table>{cells}</table></details>"


def _record(entry: Entry) -> str:
    cells = (str(entry.seq), _time(entry.time), entry.what)
    told = "".join(f"<td>{_text(cell)}</td>" for cell in cells)
    return f"<tr>{told}<td>{_tag(entry.outcome)}</td><td>{_why(entry.policy, entry.reference)}</td></tr>"


def _tag(outcome: str) -> str:
    return f'<b class="tag {_KINDS.get(outcome, "no")}">{_text(outcome)}</b>'


def _why(policy: str | None, reference: str | None) -> str:
    told = [text for text in (policy, reference) if text]
    return f'<span class="dim">{_text(" · ".join(told))}</span>' if told else ""


def _time(millis: int) -> str:
    if not millis:
        return ""
    return datetime.fromtimestamp(millis / _MILLIS, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def _text(text: str) -> str:
    return escape(plain(text), quote=True)
