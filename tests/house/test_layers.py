"""Each import contract of pyproject.toml can break: it names the violations planted in a copy of the sources."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools.tree import ROOT

# By contract: a module of the package on the left imports what stands on the right.
VIOLATIONS = {
    "layers": [
        "deputize.model -> deputize.wire",
        "deputize.model -> deputize.system",
        "deputize.wire -> deputize.store",
        "deputize.store -> deputize.audit",
        "deputize.policy -> deputize.config",
        "deputize.keys -> deputize.authority",
        "deputize.verifier -> deputize.authority",
        "deputize.authority -> deputize.facade",
        "deputize.facade -> deputize.runtime",
        "deputize.runtime -> deputize.server",
        "deputize.server -> deputize.cli",
        "deputize.client -> deputize.facade",
        "deputize.authority -> deputize.client",
        "deputize.issuers -> deputize.authority",
        "deputize.fetch -> deputize.wire",
        "deputize.cli -> deputize.testing",
    ],
    "model-is-pure": [
        "deputize.model -> cryptography",
        "deputize.model -> httpx",
        "deputize.model -> jwt",
        "deputize.model -> os",
        "deputize.model -> pydantic",
        "deputize.model -> sqlite3",
        "deputize.model -> time",
    ],
    "verifier-is-light": [
        "deputize.verifier -> deputize.store",
        "deputize.verifier -> deputize.policy",
        "deputize.verifier -> pydantic",
    ],
    "core-without-frameworks": [
        "deputize.runtime -> langchain_core",
        "deputize.facade -> langgraph",
        "deputize.cli -> mcp",
        "deputize.cli -> deputize_mcp",
        "deputize.cli -> deputize_demo",
        "deputize.facade -> starlette",
        "deputize.authority -> psycopg",
    ],
    "adapters-use-public-names": [
        "langchain_deputize -> deputize.wire",
        "langchain_deputize -> deputize.facade.ambient",
        "deputize_mcp -> deputize.model.failure",
    ],
    "adapters-are-independent": [
        "deputize_mcp -> langchain_deputize",
        "langchain_deputize -> deputize_mcp",
    ],
    "jwt-only-in-wire": [
        "deputize.authority -> jwt",
        "deputize.verifier -> jwt",
        "deputize_mcp -> joserfc",
    ],
}
PERMITTED = [
    "deputize.wire -> jwt",
    "deputize.authority -> deputize.wire",
    "deputize_mcp -> deputize",
    "deputize_mcp -> deputize.runtime",
    "langchain_deputize -> deputize.verifier",
]
_PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = _PYPROJECT["tool"]["importlinter"]["contracts"]


def _plant(folder: Path, arrow: str, name: str) -> str:
    """Write a module that does what the arrow says; the arrow as the linter prints it."""
    package, _, imported = arrow.partition(" -> ")
    path = folder.joinpath(*package.split("."), f"{name}.py")
    path.write_text(f'"""Planted."""\n\nimport {imported}\n', encoding="utf-8")
    return f"{package}.{name} -> {imported} "


def _lint(folder: Path, contract: str) -> tuple[int, str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--cache-dir", "cache"]
    done = subprocess.run(
        [*command, "--contract", contract],
        cwd=folder,
        env={**os.environ, "COLUMNS": "400"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three packages side by side, with the contracts."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for marker in ROOT.glob("packages/*/src/*/py.typed"):
        package = marker.parent
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def planted(copied: Path) -> dict[str, list[str]]:
    """Every violation in a module of its own; the arrows to be found, by contract."""
    for number, arrow in enumerate(PERMITTED):
        _plant(copied, arrow, f"permitted{number}")
    return {
        contract: [_plant(copied, arrow, f"planted_{index}_{number}") for number, arrow in enumerate(arrows)]
        for index, (contract, arrows) in enumerate(VIOLATIONS.items())
    }


def test_every_contract_is_put_to_the_test() -> None:
    assert set(VIOLATIONS) == {contract["id"] for contract in CONTRACTS}


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_planted_violation_breaks_its_contract(copied: Path, planted: dict[str, list[str]], contract: str) -> None:
    status, output = _lint(copied, contract)
    assert status == 1, output
    assert [arrow for arrow in planted[contract] if arrow not in output] == []
    assert "permitted" not in output


def test_a_new_module_of_the_core_must_be_given_a_layer(copied: Path) -> None:
    module = copied / "deputize" / "newcomer.py"
    module.write_text('"""Planted."""\n', encoding="utf-8")
    try:
        status, output = _lint(copied, "layers")
    finally:
        module.unlink()
    assert status == 1
    assert "deputize.newcomer" in output
