"""The three wheels: what is in them, and that each imports with its own declared dependencies alone."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.tree import ROOT

PACKAGES = {"core": "deputize", "langchain_plugin": "langchain_deputize", "mcp_plugin": "deputize_mcp"}
CORE = "deputize"
EXTRAS = [
    "deputize.client.spiffe",
    "deputize.server",
    "deputize.store.postgres",
    "deputize.testing.serving",
]  # beginnings of the names of modules that are imported with an extra alone

# Runs with no site-packages; lets through only the distributions that the wheel asks for, and imports every module.
IMPORT_ALL = """
import importlib, importlib.abc, importlib.metadata, json, pkgutil, sys
case = json.loads(sys.argv[1])
class Gate(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in case["forbidden"]:
            raise ModuleNotFoundError(f"{fullname} is not a declared dependency", name=fullname)
sys.meta_path.insert(0, Gate())
sys.path[:0] = case["wheels"]
sys.path.append(case["site"])
package = importlib.import_module(case["package"])
assert package.__file__.startswith(case["wheels"][0]), package.__file__
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not found.name.endswith("__main__") and not found.name.startswith(tuple(case["extras"])):
        importlib.import_module(found.name)
for point in importlib.metadata.Distribution.at(case["metadata"]).entry_points:
    point.load()
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels by package name, built by the locked hatchling with nothing fetched."""
    built = {}
    for folder, package in PACKAGES.items():
        out = tmp_path_factory.mktemp(package)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
        subprocess.run(command, cwd=ROOT / "packages" / folder, check=True, capture_output=True)
        (built[package],) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each wheel, as an installer would lay it out."""
    folders = {}
    for package, wheel in wheels.items():
        folders[package] = tmp_path_factory.mktemp(f"{package}-installed")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folders[package])
    return folders


def _metadata(folder: Path) -> Path:
    (found,) = folder.glob("*.dist-info")
    return found


def _closure(requirements: Iterable[str], own: set[str]) -> set[str]:
    """Names of all distributions that the requirements bring with them here; `own` are those built here."""
    pending, closure = list(requirements), set()
    while pending:
        wanted = Requirement(pending.pop())
        name = canonicalize_name(wanted.name)
        applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if not applies or name in closure or name in own:
            continue
        closure.add(name)
        try:
            pending += distribution(name).requires or []
        except PackageNotFoundError:
            pytest.fail(f"{name} is declared and not installed")
    return closure


@pytest.mark.parametrize("package", PACKAGES.values())
def test_a_wheel_holds_its_package_with_types_and_licence_and_nothing_else(
    wheels: dict[str, Path], package: str
) -> None:
    names = zipfile.ZipFile(wheels[package]).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert f"{package}/py.typed" in names
    assert {top for top in tops if not top.endswith(".dist-info")} == {package}
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")] != []
    suffixes = {Path(name).suffix for name in names if name.startswith(f"{package}/")}
    assert suffixes <= {".py", ".typed", ".cedarschema", ".toml", ".html"}


def _import_all(unpacked: dict[str, Path], package: str) -> subprocess.CompletedProcess[str]:
    """Import everything in the package's wheel (beside the core's, which it asks for) where no more can be imported."""
    installed = [package] if package == CORE else [package, CORE]
    asked = [line for name in installed for line in Distribution.at(_metadata(unpacked[name])).requires or []]
    closure = _closure(asked, {canonicalize_name(name) for name in PACKAGES.values()})
    forbidden = sorted(
        top
        for top, names in packages_distributions().items()
        if top not in installed and not {canonicalize_name(name) for name in names} & closure
    )
    assert {"pytest", "hypothesis"} <= set(forbidden)
    assert package != CORE or {"langchain", "langchain_core", "langgraph", "mcp", "starlette"} <= set(forbidden)
    case = {
        "package": package,
        "wheels": [str(unpacked[name]) for name in installed],
        "metadata": str(_metadata(unpacked[package])),
        "site": str(Path(pytest.__file__).parent.parent),
        "forbidden": forbidden,
        "extras": EXTRAS,
    }
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORT_ALL, json.dumps(case)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("package", PACKAGES.values())
def test_a_wheel_imports_with_its_declared_dependencies_alone(unpacked: dict[str, Path], package: str) -> None:
    done = _import_all(unpacked, package)
    assert done.returncode == 0, done.stderr


def test_a_dependency_that_is_used_and_not_declared_is_noticed(unpacked: dict[str, Path]) -> None:
    planted = unpacked[CORE] / CORE / "a_planted.py"  # the first to be imported
    planted.write_text("import langchain_core\n", encoding="utf-8")
    try:
        done = _import_all(unpacked, CORE)
    finally:
        planted.unlink()
    assert done.returncode != 0
    assert "langchain_core is not a declared dependency" in done.stderr


def _project(folder: str) -> dict[str, Any]:
    path = ROOT / "packages" / folder / "pyproject.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]


def test_the_three_packages_carry_one_version_and_ask_for_exactly_each_other() -> None:
    projects = {folder: _project(folder) for folder in PACKAGES}
    (version,) = {project["version"] for project in projects.values()}
    for folder, project in projects.items():
        assert project["requires-python"] == ">=3.11"
        assert folder == "core" or f"deputize=={version}" in project["dependencies"]


def test_the_licence_is_apache_2_and_the_same_everywhere() -> None:
    text = (ROOT / "LICENSE").read_bytes()
    assert b"Apache License" in text
    assert b"Version 2.0, January 2004" in text
    assert text.splitlines()[-1].strip() == b"limitations under the License."
    for folder in PACKAGES:
        assert (ROOT / "packages" / folder / "LICENSE").read_bytes() == text
        assert _project(folder)["license"] == "Apache-2.0"


@pytest.mark.deep
@pytest.mark.parametrize("package", PACKAGES.values())
def test_a_wheel_installs_into_an_empty_environment_and_imports(
    wheels: dict[str, Path], package: str, tmp_path: Path
) -> None:
    """Fetches from the index that this machine is set up for."""
    uv = str(Path(sys.executable).parent / "uv")
    pins = tmp_path / "pins.txt"
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins.write_text("\n".join(line.rstrip(" \\") for line in lock.splitlines() if "==" in line), encoding="utf-8")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    chosen = [str(wheels[name]) for name in ({CORE, package})]
    command = [uv, "pip", "install", "-q", "--python", str(python), "-c", str(pins), *chosen]
    subprocess.run(command, check=True, env={**os.environ, "UV_SYSTEM_CERTS": "1"})
    subprocess.run([str(python), "-I", "-c", f"import {package}"], check=True)
