"""`deputize demo` as a newcomer runs it: in processes of their own, with nothing of it replaced."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DEPUTIZE = Path(sys.executable).with_name("deputize")
TOKEN = re.compile(r"eyJ[\w-]{8,}")  # how every token of ours begins
PATIENCE = 120  # seconds

# A package of a provider, as `init_chat_model` finds it, with a model that is too wise to do anything at all.
WISE = """
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

class ChatOllama(BaseChatModel):
    model: str

    @property
    def _llm_type(self):
        return "wise"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=AIMessage("I would rather not."))])
"""


@dataclass(frozen=True)
class Run:
    status: int
    output: str
    errors: str
    left: list[str]  # in its folder for temporary files, and in its working directory

    @property
    def data(self) -> Any:
        return json.loads(self.output)

    @property
    def checks(self) -> dict[str, Any]:
        return {check["name"]: check for check in self.data["checks"]}


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DEPUTIZE_", "LANGSMITH_"))}
    return kept | {"TMPDIR": str(folder), "NO_COLOR": "1", "COLUMNS": "80", "PYTHONPATH": str(folder.parent / "site")}


def _demo(folder: Path, *arguments: str) -> Run:
    temporary, working = folder / "temporary", folder / "working"
    temporary.mkdir()
    working.mkdir()
    done = subprocess.run(
        [DEPUTIZE, "demo", *arguments],
        cwd=working,
        env=_environment(temporary),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    left = [path.name for path in (*temporary.iterdir(), *working.iterdir())]
    return Run(done.returncode, done.stdout, done.stderr, left)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _demo(tmp_path_factory.mktemp("told"), "--json")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """In words, without the house rules, and with a model that leaves everything to the scripted one."""
    folder = tmp_path_factory.mktemp("broken")
    package = folder / "site" / "langchain_ollama"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(WISE, encoding="utf-8")
    return _demo(folder, "--without-rules", "--model", "ollama:wise")


def test_everything_comes_out_as_it_should(told: Run) -> None:
    assert told.status == 0, told.output + told.errors
    assert [check for check in told.data["checks"] if not check["ok"]] == []
    assert len(told.checks) == len(told.data["checks"]) >= 12
    assert told.data["records"] >= 50


def test_data_is_all_that_is_printed_with_json(told: Run) -> None:
    assert told.data.keys() == {"checks", "tree", "records"}
    assert all(check.keys() == {"name", "expected", "observed", "ok"} for check in told.data["checks"])
    assert told.errors == ""


def test_the_tree_is_who_handed_on_to_whom(told: Run) -> None:
    root = told.data["tree"]
    assert (root["agent"], root["subject"], root["state"]) == ("supervisor", "local|alice", "revoked")
    below = [(child["agent"], child["state"], child["children"]) for child in root["children"]]
    # The two of the second run start at once, so their order is not told.
    assert below[:3] == [("researcher", "closed", []), ("writer", "closed", []), ("researcher", "closed", [])]
    assert sorted(below[3:]) == [("researcher", "revoked", []), ("writer", "revoked", [])]


def test_the_tree_tells_each_call_with_its_policy(told: Run) -> None:
    researcher, writer = told.data["tree"]["children"][:2]
    assert _calls(researcher) == [
        ("churn_by_plan", "done", "agent.researcher.use"),
        ("read_customers", "done", "agent.researcher.use"),
        ("drop_table", "denied", "changes-need-a-signed-in-user"),
    ]
    assert _calls(writer) == [
        ("save_report", "done", "agent.writer.use"),
        ("read_salaries", "denied", "session-ceiling"),
    ]


def _calls(node: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [(call["tool"], call["outcome"], call["policy"]) for call in node["calls"]]


def test_three_uses_of_a_stolen_token_are_refused_for_three_reasons(told: Run) -> None:
    reasons = [told.checks[f"a stolen token, {how}"]["observed"] for how in STOLEN]
    assert reasons == ["401 wrong_audience", "401 invalid_dpop_proof", "401 token_revoked"]


STOLEN = ("at another server", "with another key", "after its session closed")


def test_without_its_rule_the_demo_says_what_broke_and_fails(broken: Run) -> None:
    assert broken.status == 1, broken.output + broken.errors
    assert "4 of 26 checks did not come out as they should." in broken.output
    assert re.search(r"✗ +the table is as it was +no table *\n +expected: 6000 rows", broken.output)


def test_what_a_real_model_is_too_wise_for_the_scripted_one_does(broken: Run) -> None:
    assert "supervisor answers: I would rather not." in broken.output
    assert re.search(r"researcher calls drop_table for local\|alice", broken.output)


def test_the_story_is_told_scene_by_scene_in_plain_text_that_fits(broken: Run) -> None:
    headings = re.findall(r"^(\d\. [\w ]+?) ─+$", broken.output, flags=re.MULTILINE)
    assert [heading[0] for heading in headings] == ["1", "2", "3", "4", "5", "6"]
    assert max(map(len, broken.output.splitlines())) <= 80
    assert "\x1b" not in broken.output
    assert "Traceback" not in broken.output + broken.errors
    assert broken.errors == ""


@pytest.mark.requirement("I9")
def test_no_token_is_printed_and_nothing_is_left_behind(told: Run, broken: Run) -> None:
    for run in (told, broken):
        assert not TOKEN.search(run.output + run.errors)
        assert run.left == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_middle_it_takes_its_servers_and_files_with_it(sent: signal.Signals, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        [DEPUTIZE, "demo"],
        cwd=tmp_path,
        env=_environment(temporary),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        assert "Deputize" in process.stdout.readline()  # by now its servers have been started
        process.send_signal(sent)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")
    assert not any(temporary.iterdir())
    processes = subprocess.run(
        ["ps", "-axo", "command"], capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout
    assert str(temporary) not in processes


def test_a_model_that_nobody_has_is_a_mistake_in_usage(tmp_path: Path) -> None:
    run = _demo(tmp_path, "--model", "nobody:nothing")
    assert (run.status, run.output, run.left) == (2, "", [])
    assert run.errors
