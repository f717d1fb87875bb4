"""A server in a thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.serving import Site, site_of


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_of(tmp_path) as found:
        yield found
