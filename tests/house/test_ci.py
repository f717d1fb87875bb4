"""What people type: the Makefile's targets, the gate, and what the pages say of both."""

import os
import re
import subprocess

from tools.check import CHECKS
from tools.tree import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_every_target_is_phony_or_a_file() -> None:
    phony = set(re.search(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE)[1].split())
    assert phony == TARGETS


def test_every_target_is_explained_to_contributors() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {target for target in TARGETS if f"`make {target}`" not in page} == set()


def test_every_check_is_explained_to_contributors() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {name for name in CHECKS if f"`{name}`" not in page} == set()


def test_the_gate_runs_checks_and_tests_and_stops_at_errors_of_its_own() -> None:
    gate = ROOT / ".ci" / "run"
    text = gate.read_text(encoding="utf-8")
    assert os.access(gate, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    subprocess.run(["bash", "-n", str(gate)], check=True)
    dry = subprocess.run(
        [str(gate)], env={**os.environ, "MAKEFLAGS": "n"}, capture_output=True, encoding="utf-8", check=True
    )
    lines = dry.stdout.splitlines()
    assert [line for line in lines if "tools.check" in line]
    assert "tools.suites run" in lines[-1]
