"""A project in a folder, as `deputize init` leaves it, and the commands run in process."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deputize import Authority, Denied
from deputize.cli.main import app, status_of
from deputize.errors import DeputizeError


class Answer:
    """What a command printed, and its exit status as `main` gives it."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Project:
    """A folder with the starter's file; `lived` adds a run of two agents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "deputize.toml"

    def run(self, *arguments: str) -> Answer:
        found = CliRunner().invoke(app, list(arguments))
        error = found.exception
        if isinstance(error, DeputizeError):
            return Answer(status_of(error), found.stdout, str(error))
        assert error is None or isinstance(error, SystemExit), error
        return Answer(found.exit_code, found.stdout, found.stderr)

    def init(self) -> "Project":
        assert self.run("init").status == 0
        return self

    def lived(self) -> dict[str, str]:
        """Ids of what happened: root, child, access, reference. The sessions stay open."""
        with Authority.open(self.file) as authority:
            root = authority.session(user="alice", agent="supervisor", task="churn")
            child = root.delegate("researcher")
            with child.tool_call("search", call_id="call-1"):
                pass
            with pytest.raises(Denied) as refused:
                child.tool_call("drop_table", call_id="call-2").start()
            access = child.access("crm", ["crm:read"])
            return {
                "root": root.id,
                "child": child.id,
                "access": access.id,
                "call": "call-1",
                "reference": str(refused.value.reference),
            }


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


@pytest.fixture
def project(empty: Project) -> Project:
    return empty.init()
