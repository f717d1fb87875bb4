"""The screen that a server starts with."""

import sys
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What an operator should see. `tokens`: (workload, join token), in development alone."""

    issuer: str
    listening: tuple[str, ...]
    store: str
    digest: str
    users: str
    anchor: str
    workers: int
    warnings: tuple[str, ...] = ()
    tokens: tuple[tuple[str, str], ...] = ()

    def of_store(self, warnings: tuple[str, ...], tokens: tuple[tuple[str, str], ...]) -> "Screen":
        """With what the open store told."""
        return replace(self, warnings=self.warnings + warnings, tokens=tokens)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Label and value."""
        base = self.issuer.rstrip("/")
        return [
            ("issuer", self.issuer),
            ("listens on", ", ".join(self.listening)),
            ("workers", str(self.workers)),
            ("store", self.store),
            ("policy", self.digest[:16]),
            ("users", self.users),
            ("anchor", self.anchor),
            ("metadata", f"{base}/.well-known/oauth-authorization-server"),
            ("token", f"{base}/token"),
            ("description", f"{base}/openapi.json"),
            ("health", "/healthz /readyz /metrics"),
        ]


def print_screen(screen: Screen) -> None:
    """Once, on stdout: a table for people, lines `name: value` in pipes."""
    console = Console(highlight=False, soft_wrap=True)
    if console.is_terminal:
        table = Table.grid(padding=(0, 2))
        for label, value in screen.rows:
            table.add_row(Text(label, style="dim"), Text(value))
        console.print(Text("Deputize", style="bold"), table, sep="\n")
    else:
        console.print(Text("\n".join(f"{label}: {value}" for label, value in screen.rows)))
    for warning in screen.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    for workload, token in screen.tokens:
        console.print(Text(f"\n# one process may join as {workload} with this token, within a day:"))
        console.print(Text(f"export DEPUTIZE_JOIN_TOKEN={token}"))
        program = f"from deputize import Authority; print(Authority.connect({screen.issuer!r}))"
        console.print(Text(f'python -c "{program}"'))
    sys.stdout.flush()
