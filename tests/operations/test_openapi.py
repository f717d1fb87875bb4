"""The description of the HTTP interface is of what is there, and what is there keeps to it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import Route

from deputize.server.openapi import described
from tests.operations.serving import Site

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for item in node.values():
            yield from references(item)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from references(item)


def test_every_endpoint_is_described_and_nothing_else(site: Site) -> None:
    there = {
        (route.path.replace(":path}", "}"), method.lower())
        for route in site.app.routes
        if isinstance(route, Route)
        for method in (route.methods or ())
        if method != "HEAD"
    }
    paths = site.ask("/openapi.json").json["paths"]
    assert {(path, method) for path, item in paths.items() for method in item} == there


def test_every_reference_leads_somewhere_and_every_operation_says_how_it_refuses() -> None:
    told = json.loads(json.dumps(described("http://127.0.0.1:8400")))
    assert told["openapi"] == "3.1.0"
    for reference in references(told):
        node = told
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    for item in told["paths"].values():
        for operation in item.values():
            assert {"200", "400", "429", "500", "503"} <= operation["responses"].keys()


def fuzzed(site: Site, examples: int, folder: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("st")),
        *("run", f"{site.issuer}/openapi.json", "--checks", CHECKS, "--phases", "coverage,fuzzing"),
        *("--max-examples", str(examples), "--seed", "1", "--generation-deterministic", "--no-color"),
        *("--warnings", "off"),
    ]
    found = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=1000, check=False
    )
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert site.ask("/readyz").status == 200


@pytest.mark.requirement("I10")
def test_no_question_that_fits_or_does_not_fit_the_description_is_a_fault(site: Site, tmp_path: Path) -> None:
    fuzzed(site, 2, tmp_path)


@pytest.mark.deep
@pytest.mark.requirement("I10")
def test_thousands_of_questions_are_no_fault(site: Site, tmp_path: Path) -> None:
    fuzzed(site, 300, tmp_path)
