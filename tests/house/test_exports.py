"""The public names are those that VERSIONING.md lists, and importing them loads no more than they need."""

import importlib
import re
import subprocess
import sys

import pytest

from tools.tree import ROOT

ROW = re.compile(r"^\| `([a-z_.]+)` \| (`.+) \|$", re.MULTILINE)
DOCUMENTED = {
    module: sorted(re.findall(r"`(\w+)`", names))
    for module, names in ROW.findall((ROOT / "VERSIONING.md").read_text(encoding="utf-8"))
}
PACKAGES = ["deputize", "deputize_mcp", "langchain_deputize"]
HEAVY = {"asyncio", "cedarpy", "cryptography", "httpx", "jwt", "orjson", "pydantic", "rich", "sqlite3", "ssl", "typer"}


def _loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after the statement."""
    script = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, encoding="utf-8", check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_the_page_lists_all_packages() -> None:
    assert set(PACKAGES) <= set(DOCUMENTED)


@pytest.mark.parametrize("module", sorted({*DOCUMENTED, *PACKAGES}))
def test_public_names_are_the_documented_ones_and_resolve(module: str) -> None:
    imported = importlib.import_module(module)
    assert sorted(name for name in imported.__all__ if name != "__version__") == DOCUMENTED[module]
    assert set(imported.__all__) <= set(dir(imported))
    for name in imported.__all__:
        getattr(imported, name)


@pytest.mark.parametrize("module", PACKAGES)
def test_a_name_that_is_not_there_is_an_attribute_error(module: str) -> None:
    assert not hasattr(importlib.import_module(module), "no_such_name")


def test_importing_deputize_loads_nothing_heavy() -> None:
    assert _loaded_by("import deputize") & HEAVY == set()


def test_the_verifier_loads_no_policy_engine_no_http_and_no_event_loop() -> None:
    heavier_than_a_verifier = {"asyncio", "cedarpy", "httpx", "jwt", "pydantic", "rich", "ssl", "typer"}
    assert _loaded_by("import deputize.verifier") & heavier_than_a_verifier == set()


def test_the_runtime_loads_no_framework() -> None:
    assert _loaded_by("import deputize.runtime") & {"langchain_core", "langgraph", "mcp", "starlette"} == set()


def test_the_sources_over_http_load_no_policy_engine_and_no_http_before_they_ask() -> None:
    script = "import deputize; deputize.HttpKeys('https://a.example'); deputize.HttpRevocations('https://a.example')"
    heavier_than_a_source = {"asyncio", "cedarpy", "httpx", "jwt", "pydantic", "rich", "sqlite3", "ssl", "typer"}
    assert _loaded_by(script) & heavier_than_a_source == set()
