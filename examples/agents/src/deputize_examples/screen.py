"""What people see. Knows how things look and nothing else."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from deputize import SessionTree

_WIDEST: Final = 100  # beyond, lines are hard to read
_INDENT: Final = (0, 0, 0, 2)


class Screen:
    """Writes to standard output, at whatever width it has."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(highlight=False, quiet=quiet)
        self._console.width = min(self._console.width, _WIDEST)
        self._yes, self._no = "✓✗" if self._console.encoding.startswith("utf") else "+x"

    def title(self, name: str, about: str) -> None:
        """What this is."""
        self._console.rule(Text(name, style="bold"), style="blue")
        self._say(about)

    def asked(self, asked: str, where: str, order: str) -> None:
        """What the user asks for, and what the data say to a model."""
        self._heading("The task")
        self._say(f"alice asks: {asked}")
        self._say(f"{where} reads:")
        self._print(Text(order, style="italic red"), 6)

    def story(self, root: SessionTree) -> None:
        """Every call in order: who, which tool, what it needs, and which policy allowed or refused it."""
        self._heading("The calls, in order")
        told = [(call.seq or 0, node.agent, call) for node in root.walk() for call in node.calls]
        table = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(3):
            table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for _, agent, call in sorted(told, key=lambda one: one[0]):
            needs = " ".join(call.scopes) or "a hand-off"
            table.add_row(
                Text(agent, style="bold"),
                call.tool,
                Text(needs, style="cyan"),
                self._verdict(call.outcome, call.policy),
            )
        self._console.print(Padding(table, _INDENT, expand=False))

    def refusal(self, refusals: Sequence[str]) -> None:
        """The first refusal, as a developer reads it."""
        self._heading("The first refusal, as it stands in the log")
        told = refusals[0] if refusals else "Nothing was refused: the model did not try."
        for line in told.splitlines():
            self._print(Text(line.strip(), style="dim"), 2 + len(line) - len(line.lstrip()))

    def heard(self, heard: Mapping[str, Sequence[str]]) -> None:
        """What reached the servers: what was refused before is not there."""
        self._heading("What the servers heard")
        for name, lines in heard.items():
            for line, times in Counter(lines or ["nothing"]).items():
                self._print(Text.assemble((f"{name}: ", "magenta"), line, f" x{times}" * (times > 1)), 2)

    def tree(self, root: SessionTree) -> None:
        """Who handed on to whom, with which rights, and what each did."""
        self._heading("The tree")
        drawn = Tree(Text(root.subject.rpartition("|")[2], style="bold"), guide_style="blue")
        self._node(drawn, root)
        self._console.print(Padding(drawn, _INDENT, expand=False))

    def end(self, answer: str, facts: Mapping[str, bool]) -> None:
        """The answer, and what became of the data."""
        self._heading("The end")
        self._say(f"alice reads: {answer}")
        for fact, holds in facts.items():
            self._print(Text(f"{self._yes if holds else self._no} {fact}", style="green" if holds else "bold red"), 2)

    def _node(self, drawn: Tree, node: SessionTree) -> None:
        below = drawn.add(Text.assemble((node.agent, "bold"), (f"  {', '.join(node.scopes)}", "cyan")))
        for call in node.calls:
            below.add(self._verdict(call.outcome, call.tool))
        for child in node.children:
            self._node(below, child)

    def _verdict(self, outcome: str, words: str) -> Text:
        if outcome == "denied":
            return Text(f"{self._no} {words or 'default-deny'}", style="bold red")
        if outcome == "failed":
            return Text(f"! {words}", style="yellow").append(", failed", style="bold")
        return Text(f"{self._yes} {words}", style="green")

    def _heading(self, title: str) -> None:
        self._console.print()
        self._console.rule(Text(title, style="bold"), align="left", style="blue")

    def _say(self, sentence: str) -> None:
        self._print(Text(sentence), 2)

    def _print(self, text: Text, indent: int) -> None:
        for line in text.wrap(self._console, self._console.width - indent):
            self._console.print(Text(" " * indent).append_text(line))
