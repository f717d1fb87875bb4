"""The delegation tree as a graph: Mermaid and Graphviz. What a model or a user named is quoted, never syntax."""

from collections.abc import Callable, Iterator
from typing import Final

from deputize.authority.tree import Call, SessionTree
from deputize.model.failure import plain

NODES_MAX: Final = 500  # sessions that are drawn; a graph of more is none to look at
WORD_MAX: Final = 64  # characters
_DENIED: Final = "denied"
# Edges: (from, to); of a refusal the second is its own node.
_Row = tuple[str, str, str, bool]


def mermaid(tree: SessionTree) -> str:
    """A flowchart; refusals are dotted and red."""
    lines = ["flowchart TD", f'  user(["{_mermaid(tree.subject)}"])']
    for above, name, label, denied in _rows(tree, _mermaid, "<br/>"):
        arrow = "-.->" if denied else "-->"
        lines.append(f'  {above} {arrow} {name}["{label}"]{":::denied" if denied else ""}')
    lines.append("  classDef denied stroke:#c62828,color:#c62828,stroke-dasharray:4 3")
    return "\n".join(lines) + "\n"


def dot(tree: SessionTree) -> str:
    """A directed graph."""
    lines = ["digraph deputize {", "  rankdir=TB;", "  node [shape=box, style=rounded];"]
    lines.append(f'  user [label="{_dot(tree.subject)}", shape=oval];')
    for above, name, label, denied in _rows(tree, _dot, "\\n"):
        look = ', color="#c62828", fontcolor="#c62828", style="rounded,dashed"' if denied else ""
        lines.append(f'  {name} [label="{label}"{look}];')
        lines.append(f"  {above} -> {name}{' [style=dashed]' if denied else ''};")
    return "\n".join([*lines, "}"]) + "\n"


def _rows(tree: SessionTree, quote: Callable[[str], str], newline: str) -> Iterator[_Row]:
    """One row for each session and each refusal, from the top; what is too much is one row that says so."""
    waiting: list[tuple[str, SessionTree]] = [("user", tree)]
    drawn = 0
    while waiting:
        above, node = waiting.pop(0)
        if drawn == NODES_MAX:
            yield "user", "more", f"and {len(waiting) + 1} or more sessions", False
            return
        name = f"s{drawn}"
        drawn += 1
        done = [call for call in node.calls if call.outcome != _DENIED]
        told = [quote(node.agent), quote(f"[{node.state}] {', '.join(node.scopes)}")]
        told += [quote(f"{text} x{count}" if count > 1 else text) for text, count in _counted(done)]
        yield above, name, newline.join(told), False
        refused = [call.tool for call in node.calls if call.outcome == _DENIED]
        refused += [entry.what for entry in node.refused]
        for number, what in enumerate(dict.fromkeys(refused)):
            yield name, f"{name}d{number}", quote(f"{what}: denied"), True
        waiting += [(name, child) for child in node.children]


def _counted(calls: list[Call]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for call in calls:
        text = f"{call.tool}: {call.outcome}"
        counts[text] = counts.get(text, 0) + 1
    return list(counts.items())


def _short(text: str) -> str:
    safe = plain(text)
    return safe if len(safe) <= WORD_MAX else f"{safe[:WORD_MAX]}…"


def _mermaid(text: str) -> str:
    """Every character that Mermaid or the HTML in its labels could take for its own, as a numeric entity."""
    return "".join(char if char.isalnum() or char in " ._:/,+-…" else f"#{ord(char)};" for char in _short(text))


def _dot(text: str) -> str:
    return _short(text).replace("\\", "\\\\").replace('"', '\\"')
