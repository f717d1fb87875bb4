"""An authority over a file, its endpoints on the loopback, and verifiers that know only its URL."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from deputize import Authority, HttpKeys, HttpRevocations
from deputize.audit.checkpoint import new_key, origin_of, verifier_key
from deputize.authority.log_keys import LogKey, publish_log_key
from deputize.testing import FakeClock
from deputize.verifier import Verifier

CRM = "https://crm.example/mcp"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tools = _load("feed_server")


class Place:
    """One authority with a clock that moves by hand. `serve` starts its endpoints, `stop` ends them."""

    tools = tools

    def __init__(self, folder: Path, clock: Any = None) -> None:
        self.folder = folder
        self.clock = clock or FakeClock()
        held = tools.listening()
        self.port = held.getsockname()[1]
        self.held = held
        (folder / "deputize.toml").write_text(tools.CONFIGURATION.format(port=self.port), encoding="utf-8")
        (folder / "links.cedar").write_text(tools.POLICIES, encoding="utf-8")
        self.authority = Authority.open(folder / "deputize.toml", clock=self.clock)
        self.issuer = self.authority.issuer
        self.parts = self.authority.engine.parts
        self.key = new_key(origin_of(self.issuer))
        publish_log_key(self.parts.store, LogKey(self.key, "none"), self.clock)
        self.vkey = str(verifier_key(self.key))
        self.serving: Any = None
        self.sources: list[HttpRevocations] = []

    def serve(self, *, store: Any = None, key: Any = None, hub: Any = None, **options: Any) -> Any:
        hub = tools.hub_over(
            store or self.parts.store, issuer=self.issuer, clock=self.clock, key=key or self.key, **(hub or {})
        )
        held = self.held if self.held.fileno() != -1 else tools.listening(self.port)
        self.serving = tools.Serving(tools.app_of(self.authority, hub, **options), hub, held)
        return self.serving

    def stop(self) -> None:
        serving, self.serving = self.serving, None
        if serving is not None:
            assert serving.stop()

    def revocations(self, **options: Any) -> HttpRevocations:
        given = {"auth": lambda: {"reader": tools.READER}, "clock": self.clock, "first_wait": 0.0}
        source = HttpRevocations(self.issuer, back_off=(0.01, 0.02), **{**given, **options})
        self.sources.append(source)
        return source

    def verifier(self, **options: Any) -> Verifier:
        given = {"keys": HttpKeys(self.issuer, clock=self.clock), "clock": self.clock, "leeway": 0, **options}
        return Verifier(self.issuer, CRM, **given)

    def settled(self, source: HttpRevocations) -> None:
        """Wait until the source has heard of all that is in the log now."""
        source.view()
        size = len(self.authority.audit)
        tools.until(lambda: source.cursor >= size and source.age() <= source.bound)

    def get(self, path: str, **options: Any) -> httpx.Response:
        with httpx.Client(timeout=10) as client:
            return client.get(f"http://127.0.0.1:{self.port}{path}", **options)

    def close(self) -> None:
        for source in self.sources:
            source.close()
        self.stop()
        self.held.close()
        self.authority.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def places() -> type[Place]:
    return Place
