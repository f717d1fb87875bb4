"""One server for each test process; whoever changes what others need starts another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deputize.testing import postgres
from tests.http.raw import Cast, World

SEED = "00112233445566778899aabbccddeeff" * 2


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The server over a SQLite file."""
    found = World.begin(tmp_path_factory.mktemp("authority"))
    yield found
    found.end()


@pytest.fixture(scope="session")
def cast(world: World) -> Cast:
    """Those who ask it."""
    return Cast.of(world)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Cast]:
    """A server of one test's own."""
    found = World.begin(tmp_path)
    yield Cast.of(found)
    found.end()


@pytest.fixture(scope="module")
def over_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """The same over PostgreSQL."""
    with pytest.MonkeyPatch.context() as patch, postgres() as database:
        patch.setenv("DEPUTIZE_ANCHOR", SEED)
        found = World.begin(tmp_path_factory.mktemp("postgres"), store=database.url())
        yield Cast.of(found)
        found.end()
