"""An issuer on the loopback, a clock that stands, and keys as the authority holds them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deputize.issuers.keys import IssuerKeys, issuer_keys
from deputize.testing import FakeClock, FakeIssuer


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def issuer(clock: FakeClock) -> Iterator[FakeIssuer]:
    with FakeIssuer(clock=clock) as running:
        yield running


@pytest.fixture
def keys_of(clock: FakeClock) -> Callable[..., IssuerKeys]:
    def make(issuer: FakeIssuer, **named: Any) -> IssuerKeys:
        return issuer_keys(issuer.url, clock=clock, **named)

    return make
