"""What people see: headings, short sentences, aligned lines. Knows how things look and nothing else."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from deputize import SessionTree
from deputize_demo.checks import Check
from deputize_demo.words import person

_WHO: Final = 26  # columns of the live lines, in characters
_TOOL: Final = 17
_SCOPE: Final = 17
_WIDE: Final = 98  # from here on a call fits on one line
_WIDEST: Final = 110  # beyond, lines are hard to read

HAND_OFF: Final = "a hand-off"  # what a call needs that hands work to another agent


class Screen:
    """Writes to a console, at whatever width it has."""

    def __init__(self, console: Console) -> None:
        self._console = console
        console.width = min(console.width, _WIDEST)
        self._yes, self._no, self._below = "✓✗└" if console.encoding.startswith("utf") else "+x-"

    def title(self) -> None:
        """What this is, before anything happens."""
        self._console.rule(Text("Deputize", style="bold"), style="blue")
        self.say(
            "A user, alice, wants a report from three LangChain agents. The customers lie behind an MCP server, a "
            "process of its own. An Authority decides who may do what, on whose behalf."
        )
        self.say(
            "Each line tells who acts for whom, with which tool, what that needs, and which Policy "
            f"allowed {self._yes} or refused {self._no} it."
        )

    def heading(self, title: str, *sentences: str) -> None:
        """A new part, with what it is about."""
        self._console.print()
        self._console.rule(Text(title, style="bold"), align="left", style="blue")
        for sentence in sentences:
            self.say(sentence)
        self._console.print()

    def say(self, sentence: str, *, style: str = "") -> None:
        """A sentence."""
        self._print(Text(sentence, style=style), 2)

    def gap(self) -> None:
        """A blank line."""
        self._console.print()

    def session(self, depth: int, who: str, words: str) -> None:
        """A session begins or ends: a branch of the tree as it grows."""
        line = self._who(depth, who)
        rest = Text(words, style="dim")
        grid = Table.grid()
        grid.add_column(width=_WHO, no_wrap=True)
        grid.add_column()
        grid.add_row(line, rest)
        self._console.print(grid)

    def call(self, depth: int, who: str, tool: str, scope: str, policy: str, *, allowed: bool) -> None:
        """A tool call: what it needs, and which policy allowed or refused it."""
        verdict = self._verdict(policy, allowed=allowed)
        line = self._who(depth, who)
        line.append(tool.ljust(_TOOL)).append(scope.ljust(_SCOPE), style="cyan")
        if self._console.width >= _WIDE:
            line.append_text(verdict)
            self._console.print(line)
        else:
            self._console.print(line)
            self._print(verdict, _WHO)

    def command(self, line: str) -> None:
        """Something typed in another terminal."""
        self._print(Text.assemble(("$ ", "magenta"), (line, "bold")), 6)

    def aside(self, label: str, words: str) -> None:
        """What a server prints, or a log says."""
        self._print(Text.assemble((f"{label} ", "magenta"), words), 6)

    def block(self, label: str, text: str) -> None:
        """A text of several lines as it stands."""
        self._print(Text(label, style="magenta"), 6)
        self._print(Text(text.rstrip(), style="dim"), 6)

    def attempt(self, what: str, answer: str, *, allowed: bool) -> None:
        """Something is tried, and answered."""
        self._console.print(Text(f"  {what:<44}").append_text(self._verdict(answer, allowed=allowed)))

    def tree(self, root: SessionTree) -> None:
        """Who handed on to whom, and what each did."""
        drawn = Tree(Text(f"{person(root.subject)}", style="bold"), guide_style="blue")
        self._node(drawn, root)
        self._console.print(Padding(drawn, (0, 0, 0, 2), expand=False))

    def calls(self, root: SessionTree) -> None:
        """Every call of the tree, one a line."""
        columns = ("  ", "who for whom".ljust(_WHO - 2), "tool".ljust(_TOOL), "needs".ljust(_SCOPE))
        header = Text.assemble(*columns, style="bold")
        self._console.print(header.append("policy") if self._console.width >= _WIDE else header)
        for node in root.walk():
            for call in node.calls:
                who = f"{node.agent} for {person(node.subject)}"
                needs = " ".join(call.scopes) or HAND_OFF
                self.call(0, who, call.tool, needs, call.policy, allowed=call.outcome != "denied")

    def checks(self, done: Sequence[Check]) -> None:
        """Every check, and what was expected where it is not what came out."""
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column()
        table.add_column(ratio=6)
        table.add_column(ratio=7, overflow="fold")
        for check in done:
            observed = Text(check.observed)
            if not check.ok:
                observed.append(f"\nexpected: {check.expected}", style="bold red")
            table.add_row(self._verdict("", allowed=check.ok), check.name, observed)
        self._console.print(Padding(table, (0, 0, 0, 2), expand=False))

    def summary(self, root: SessionTree, done: Sequence[Check], records: int) -> None:
        """The end: the tree, the calls, the checks."""
        self.heading("The tree", "Who handed on to whom, and what each was allowed to do.")
        self.tree(root)
        self.heading("The calls")
        self.calls(root)
        self.heading("The checks")
        self.checks(done)
        self.verdict(done, records)

    def verdict(self, done: Sequence[Check], records: int) -> None:
        """The last line."""
        failed = sum(not check.ok for check in done)
        self._console.print()
        if failed:
            self.say(f"{failed} of {len(done)} checks did not come out as they should.", style="bold red")
        else:
            self.say(
                f"All {len(done)} checks came out as they should. The log has {records} records.", style="bold green"
            )

    def _who(self, depth: int, who: str) -> Text:
        line = Text.assemble("  " * max(depth, 1), (f"{self._below} " if depth else "", "blue"), (who, "bold"))
        line.pad_right(max(_WHO - line.cell_len, 1))
        return line

    def _verdict(self, words: str, *, allowed: bool) -> Text:
        if allowed:
            return Text(f"{self._yes} {words}", style="green")
        return Text(f"{self._no} {words}", style="bold red")

    def _node(self, drawn: Tree, node: SessionTree) -> None:
        label = Text.assemble((node.agent, "bold"), (f"  {', '.join(node.scopes)}", "cyan"), (f"  {node.state}", "dim"))
        below = drawn.add(label)
        for call in node.calls:
            line = self._verdict(call.tool, allowed=call.outcome != "denied")
            below.add(line.append(f"  {call.policy}", style="not bold dim"))
        for child in node.children:
            self._node(below, child)

    def _print(self, text: Text, indent: int) -> None:
        for line in text.wrap(self._console, self._console.width - indent):
            self._console.print(Text(" " * indent).append_text(line))
