"""The delegation tree as text, HTML, Mermaid and Graphviz: what it tells, and that nothing in it is syntax."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from deputize import Authority, Denied, DeputizeError
from deputize.authority.tree import Call, Entry, SessionTree
from deputize.authority.tree_graph import NODES_MAX
from deputize.authority.tree_html import SESSIONS_MAX

CONFIGURATION = """
version = 1
[store]
url = "sqlite::memory:"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read"]
[agents.supervisor]
open = true
use = { local = ["plan"] }
delegate = { crm = ["crm:read"] }
delegate_to = ["researcher"]
[agents.researcher]
use = { crm = ["crm:read"] }
"""
HOSTILE = '</script><b onclick="x">"]; A-->B \\" \u202e\n#quot;`${x}`'


class Page(HTMLParser):
    """Elements and texts as a browser takes them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    (tmp_path / "deputize.toml").write_text(CONFIGURATION, encoding="utf-8")
    with Authority.open(tmp_path / "deputize.toml") as opened:
        yield opened


@pytest.fixture
def worked(authority: Authority) -> SessionTree:
    with authority.session(user="alice", agent="supervisor") as root:
        with root.tool_call("plan", call_id="c1"):
            pass
        with pytest.raises(Denied), root.tool_call("drop"):
            pass
        child = root.delegate("researcher")
        child.access("crm", ["crm:read"])
        with pytest.raises(DeputizeError):
            child.delegate("supervisor")
        return root.tree()


def test_a_refused_hand_off_stands_in_the_tree_with_its_policy_and_reference(worked: SessionTree) -> None:
    assert re.search(r"hand-off to supervisor: denied \(\S+, ref D-\w+\)", str(worked))
    (child,) = worked.children
    assert [entry.type for entry in child.records] == ["session.opened", "exchange.permitted", "handoff.denied"]
    assert [entry.what for entry in child.refused] == ["hand-off to supervisor"]


def test_a_call_tells_its_record_and_how_long_it_took(worked: SessionTree) -> None:
    plan, drop = worked.calls
    assert (plan.outcome, drop.outcome) == ("done", "denied")
    assert plan.seq is not None
    assert plan.ended >= plan.began > 0
    assert drop.ended == 0


def test_what_travels_is_the_whole_tree(worked: SessionTree) -> None:
    assert SessionTree.from_json(worked.to_json()) == worked


def test_the_html_has_every_session_and_decision_and_no_script(worked: SessionTree) -> None:
    page = Page(worked.to_html())
    text = " ".join(page.texts)
    told = ("local|alice", "supervisor", "researcher", "plan", "done", "drop", "denied", "hand-off to supervisor")
    assert [word for word in told if word not in text] == []
    assert set(page.tags) <= {
        "div",
        "style",
        "ul",
        "li",
        "b",
        "code",
        "span",
        "details",
        "summary",
        "table",
        "tr",
        "td",
    }
    assert page.attributes <= {"class"}
    assert page.tags.count("details") == 4  # two calls, the other records of two sessions
    assert worked._repr_html_() == worked.to_html()


def test_a_session_shows_its_tree_in_a_notebook_and_text_where_that_cannot_be_read(authority: Authority) -> None:
    session = authority.session(user="alice", agent="supervisor")
    shown = session._repr_html_()
    assert shown is not None
    assert "supervisor" in shown
    authority.close()
    assert session._repr_html_() is None
    assert "supervisor" in repr(session)


def hostile() -> SessionTree:
    entry = Entry(
        type="handoff.denied", outcome="denied", what=HOSTILE, seq=1, time=1, policy=HOSTILE, reference=HOSTILE
    )
    call = Call(HOSTILE, HOSTILE, HOSTILE, reference=HOSTILE, scopes=(HOSTILE,), call_id=HOSTILE)
    return SessionTree(HOSTILE, HOSTILE, HOSTILE, [HOSTILE], HOSTILE, calls=[call], records=[entry])


def test_nothing_that_a_model_named_is_markup() -> None:
    page = Page(hostile().to_html())
    assert "script" not in page.tags
    assert page.attributes <= {"class"}
    assert "\u202e" not in hostile().to_html()


def test_nothing_that_a_model_named_is_an_edge_or_ends_a_label() -> None:
    mermaid, dot = hostile().to_mermaid(), hostile().to_dot()
    assert [line.split('["')[0].strip() for line in mermaid.splitlines()[2:4]] == ["user --> s0", "s0 -.-> s0d0"]
    assert all(line.count('"') == 2 for line in mermaid.splitlines() if '["' in line)
    assert "`" not in mermaid
    assert "A-->B" not in mermaid
    inside = re.compile(r'label="(?:[^"\\]|\\.)*"[,\]]')
    assert len(inside.findall(dot)) == 3
    assert "A-->B" not in inside.sub("", dot)


def test_graphs_show_sessions_calls_and_refusals(worked: SessionTree) -> None:
    assert worked.to_mermaid().startswith("flowchart TD\n")
    assert 's0 --> s1["researcher<br/>' in worked.to_mermaid()
    assert "plan#58;" not in worked.to_mermaid()
    assert "drop: denied" in worked.to_mermaid()
    assert "s0 -> s1;" in worked.to_dot()
    assert "s1 -> s1d0 [style=dashed];" in worked.to_dot()


def test_a_tree_that_is_too_large_to_look_at_says_so() -> None:
    wide = SessionTree(
        "a", "s", "u", [], "open", children=[SessionTree("b", f"s{n}", "u", [], "open") for n in range(600)]
    )
    assert "Not all sessions are shown" in wide.to_html()
    assert wide.to_html().count("<b>b</b>") == SESSIONS_MAX - 1
    assert "more sessions" in wide.to_dot()
    assert wide.to_mermaid().count("-->") == NODES_MAX + 1
