"""No registry host, no secret, no path of this machine in a committed file; and the search finds them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tools import hygiene
from tools.tree import ROOT

Search = Callable[[], Sequence[str]]
Plant = Callable[[str, str, Search], list[str]]
HOST = f"files.{hygiene.REGISTRIES[1]}"
PEM = "-----BEGIN {} KEY-----\n{}\n"


@pytest.mark.parametrize("search", [hygiene.registry_hosts, hygiene.secrets, hygiene.machine_paths])
def test_this_repository_is_clean(search: Search) -> None:
    assert list(search()) == []


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """`planted(name, text, search)`: what the search finds in a tree of that one file."""

    def find(name: str, text: str, search: Search) -> list[str]:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        monkeypatch.setattr(hygiene, "committed", lambda: [file])
        monkeypatch.setattr("tools.tree.ROOT", tmp_path)
        return list(search())

    return find


@pytest.mark.parametrize("name", ["requirements.lock", "README.md", ".npmrc"])
def test_a_registry_host_is_found_with_file_and_line(planted: Plant, name: str) -> None:
    found = planted(name, f"first\n--index https://{HOST}/simple\n", hygiene.registry_hosts)
    assert found == [f"{name}:2: a registry's host"]


def test_the_index_that_this_machine_is_set_up_for_is_found_too(
    planted: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert planted("a.txt", "https://packages.corp.example/x", hygiene.registry_hosts) == []
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://packages.corp.example/simple")
    assert planted("a.txt", "https://packages.corp.example/x", hygiene.registry_hosts) != []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("server.pem", ""),
        (".env", "A=1"),
        ("state.db", ""),
        ("a.md", PEM.format("PRIVATE", "M" * 48)),
        ("a.py", f'KEY = """{PEM.format("EC PRIVATE", "M" * 48)}"""'),
        ("a.txt", "AKIA" + "A" * 16),
        ("a.txt", "ghp_" + "a" * 36),
        ("a.txt", "sk-ant-" + "a" * 40),
    ],
)
def test_a_secret_is_found_by_name_or_by_look(planted: Plant, name: str, text: str) -> None:
    assert len(planted(name, text, hygiene.secrets)) == 1


@pytest.mark.parametrize("text", [PEM.format("PUBLIC", "M" * 48), "-----BEGIN PRIVATE KEY----- (the header alone)"])
def test_what_only_speaks_of_keys_is_no_secret(planted: Plant, text: str) -> None:
    assert planted("a.md", text, hygiene.secrets) == []


def test_the_path_of_this_checkout_is_found(planted: Plant) -> None:
    assert len(planted("a.md", f"cd {ROOT}\n", hygiene.machine_paths)) == 1
    assert planted("a.md", f"https://host.example{ROOT}\n", hygiene.machine_paths) == []
