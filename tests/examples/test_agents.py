"""The three programs of examples/agents, from their options to their last line."""
# ruff: noqa: ARG002  # the signatures of Wise are LangChain's

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from deputize.errors import Denied
from deputize.testing import FakeAuthority, assert_denied
from deputize_examples.program import Example, run
from tools.tree import ROOT

NAMES = ("support_desk", "data_team", "deep_research")
TOKEN = re.compile(r"eyJ[\w-]{8,}")  # how every token of ours begins
PATIENCE = 120  # seconds

Node = tuple[str, str, list[tuple[str, str, str]], list[Any]]


def _example(name: str) -> Example:
    found = import_module(f"deputize_examples.{name}.__main__").EXAMPLE
    assert isinstance(found, Example)
    return found


@pytest.fixture
def told(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Any:
    """What a program prints with `--json`."""
    assert run(_example(request.param), ["--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert not TOKEN.search(printed.out)
    return json.loads(printed.out)


def _node(node: Mapping[str, Any]) -> Node:
    calls = [(call["tool"], call["outcome"], call["policy"]) for call in node["calls"]]
    return node["agent"], " ".join(node["scopes"]), calls, [_node(child) for child in node["children"]]


@pytest.mark.parametrize("told", ["support_desk"], indirect=True)
def test_the_support_agent_reaches_finance_by_no_tool_and_by_no_hand_off(told: Any) -> None:
    support: Node = (
        "support",
        "tickets:read tickets:write",
        [
            ("list_tickets", "done", "agent.support.use"),
            ("read_ticket", "done", "agent.support.use"),
            ("issue_refund", "denied", "session-ceiling"),
            ("to_accountant", "denied", "parent-ceiling"),
            ("reply_to_ticket", "done", "agent.support.use"),
            ("to_desk", "done", "agent.support.delegate.desk"),
        ],
        [],
    )
    accountant: Node = (
        "accountant",
        "invoices:read",
        [
            ("read_invoice", "done", "agent.accountant.use"),
            ("issue_refund", "denied", "session-ceiling"),
            ("to_desk", "done", "agent.accountant.delegate.desk"),
        ],
        [],
    )
    handed_on = [
        ("to_support", "done", "agent.desk.delegate.support"),
        ("to_accountant", "done", "agent.desk.delegate.accountant"),
    ]
    desk = ("desk", "invoices:read tickets:read tickets:write", handed_on, [support, accountant])
    assert _node(told["tree"]) == desk
    assert told["heard"]["finance"] == ["accountant for alice via desk: read_invoice with invoices:read"]
    assert told["facts"] == {"refunds paid: 0": True, "finance never heard of support": True}


@pytest.mark.parametrize("told", ["data_team"], indirect=True)
def test_the_analyst_modifies_nothing_by_the_wrong_tool_nor_by_the_right_one(told: Any) -> None:
    analyst: Node = (
        "analyst",
        "warehouse:read",
        [
            ("query", "done", "agent.analyst.use"),
            ("query", "done", "agent.analyst.use"),
            ("execute", "denied", "session-ceiling"),
            ("query", "failed", "agent.analyst.use"),
        ],
        [],
    )
    steward: Node = ("steward", "warehouse:read warehouse:write", [("execute", "done", "agent.steward.use")], [])
    handed_on = [
        ("ask_analyst", "done", "agent.lead.delegate.analyst"),
        ("ask_steward", "done", "agent.lead.delegate.steward"),
    ]
    assert _node(told["tree"]) == ("lead", "warehouse:read warehouse:write", handed_on, [analyst, steward])
    assert told["heard"]["warehouse"][3:] == [
        "refused: delete needs warehouse:write",
        "steward for alice via lead: execute with warehouse:write",
    ]
    assert told["facts"] == {
        "orders in the table: 6000 of 6000": True,
        "no token of the analyst's could write": True,
    }


@pytest.mark.parametrize("told", ["deep_research"], indirect=True)
def test_each_unnamed_researcher_has_a_session_of_its_own_and_none_publishes(told: Any) -> None:
    agent, _, calls, below = _node(told["tree"])
    reads = [("search", "done", "agent.researcher.use"), ("read_document", "done", "agent.researcher.use")]
    obeys = [*reads, ("publish", "denied", "readers-do-not-publish")]
    scopes = "documents:read reports:publish"
    researchers: list[Node] = [("researcher", scopes, did, []) for did in (reads, reads, reads, obeys)]
    assert (agent, calls) == ("chief", [])
    assert sorted(below[:4]) == sorted(researchers)  # they start at once, so their order is not told
    assert below[4:] == [("editor", "reports:publish", [("publish", "done", "agent.editor.use")], [])]
    assert told["heard"]["press"] == ["editor for alice via chief: publish with reports:publish"]
    assert all(told["facts"].values())


@pytest.mark.parametrize("name", NAMES)
def test_the_story_fits_a_terminal_and_shows_refusal_and_tree(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    example = _example(name)
    assert run(example, []) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert example.order.partition(". ")[0].split()[0] in shown
    assert re.search(r"access_denied: \w+ may not use \w+ for local\|alice", shown)
    assert shown.index("The calls, in order") < shown.index("What the servers heard") < shown.index("The tree")
    assert "✗" in shown.partition("The tree")[2]
    assert not TOKEN.search(shown)


def test_without_their_registration_the_researchers_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = import_module("deputize_examples.deep_research.__main__")
    monkeypatch.setattr(program, "AGENTS", {"write": "editor"})
    from deputize_examples.scripted import ScriptedModel

    outcome = program.play(ScriptedModel(parts=program.PARTS), tmp_path)
    assert outcome.heard["library"] == []
    assert [child.agent for child in outcome.tree.children] == ["editor"]
    assert [entry.type for entry in outcome.tree.records if entry.type == "agent.unnamed"] == ["agent.unnamed"] * 4


def test_the_steward_changes_nothing_by_a_token_that_could_be_copied(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples/agents/src/deputize_examples/data_team", tmp_path, dirs_exist_ok=True)
    config = tmp_path / "deputize.toml"
    config.write_text(config.read_text("utf-8").replace('"dpop"', '"bearer"'), encoding="utf-8")
    with FakeAuthority(config=config) as authority, authority.session(user="alice", agent="lead") as session:
        steward = session.delegate("steward")
        with pytest.raises(Denied), steward.tool_call("execute"):
            pass
        assert_denied(session, "execute", agent="steward", policy="changes-need-a-bound-token")


class Wise(BaseChatModel):
    """A model of a provider that is too wise to do anything at all."""

    model: str

    @property
    def _llm_type(self) -> str:
        return "wise"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("I would rather not."))])


@pytest.mark.parametrize("name", NAMES)
def test_a_real_model_plays_every_part_and_may_be_wiser_than_that(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    provider = ModuleType("langchain_ollama")
    provider.__spec__ = ModuleSpec("langchain_ollama", None)
    provider.__dict__["ChatOllama"] = Wise
    monkeypatch.setitem(sys.modules, "langchain_ollama", provider)
    assert run(_example(name), ["--model", "ollama:wise"]) == 0
    shown = capsys.readouterr().out
    assert "alice reads: I would rather not." in shown
    assert "Nothing was refused: the model did not try." in shown


def test_a_model_that_nobody_has_is_a_mistake_in_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(_example("data_team"), ["--model", "nobody:nothing"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("--model nobody:nothing: ")


def test_as_a_process_of_its_own_it_says_nothing_else_and_leaves_nothing_behind(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DEPUTIZE_", "LANGSMITH_"))}
    done = subprocess.run(
        [sys.executable, "-m", "deputize_examples.deep_research", "--json"],
        cwd=tmp_path,
        env=kept | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout).keys() == {"answer", "tree", "heard", "facts"}
    assert not any(tmp_path.iterdir())
