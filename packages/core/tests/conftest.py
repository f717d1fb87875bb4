"""What suites over several engines share."""

from collections.abc import Iterator

import pytest

from deputize.testing import postgres
from deputize.testing.database import Database


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    """One PostgreSQL for each test process; `database.url()` is a schema of one's own in it."""
    with postgres() as running:
        yield running
