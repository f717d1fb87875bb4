"""One authority in the forms that a host meets: in its own process over a file, and at a URL; sync and async."""

import hashlib
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deputize import Authority
from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.client.evidence import Join
from deputize.config import from_mappings
from deputize.facade.audit_log import AuditLog
from deputize.keys.anchor import SeedAnchor
from deputize.model.rules import AttestationRule
from deputize.testing import FakeClock
from deputize.testing.serving import serving
from packages.langchain_plugin.tests.shapes.kit import Stage

CREW = "spiffe://local/workload/crew"
SEED = hashlib.sha256(b"no secret: a seed for tests").digest()


@pytest.fixture(params=["embedded", "remote"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def waits(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def stage(form: str, waits: bool, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """`stage(agents=…, delegations=…)`: as `Authority` takes them."""
    with ExitStack() as stack:

        def build(**mappings: Any) -> Stage:
            mappings["store"] = str(tmp_path / "deputize.db")
            authority, log = (_embedded if form == "embedded" else _remote)(mappings, stack)
            return Stage(authority=authority, find=log.find, waits=waits)

        yield build


def _embedded(mappings: Mapping[str, Any], stack: ExitStack) -> tuple[Authority, AuditLog]:
    configuration = replace(from_mappings(**mappings), durability="normal")
    authority = Authority.from_configuration(configuration, clock=FakeClock())
    stack.callback(authority.close)
    assert isinstance(authority.audit, AuditLog)
    return authority, authority.audit


def _remote(mappings: Mapping[str, Any], stack: ExitStack) -> tuple[Authority, AuditLog]:
    clock = FakeClock()
    held = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    url = f"http://127.0.0.1:{held.getsockname()[1]}"
    plain = from_mappings(**mappings)
    hosts = AttestationRule(method="join", workload=CREW, agents=tuple(plain.registry.agents))
    configuration = replace(plain, durability="normal", issuer=url, attestation_rules=(hosts,))
    engine = Engine(configuration, store=store_of(configuration), clock=clock, anchor=SeedAnchor(SEED), follows=True)
    stack.callback(engine.close)
    stack.enter_context(serving(engine, held))
    authority = Authority.connect(url, attestor=Join(enroll(engine.parts, "crew", by="test").token), clock=clock)
    stack.callback(authority.close)
    return authority, AuditLog(engine.parts)
