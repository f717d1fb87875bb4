"""mock_access, assert_denied and canary: each also says no where it should."""

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from deputize import Authority
from deputize.errors import Denied, InvalidRequest, NoSession
from deputize.runtime import current_access, current_call, current_session
from deputize.testing import FakeAuthority, assert_denied, canary, mock_access

CRM = "https://crm.example/mcp"


def read_customers(transport: httpx.BaseTransport) -> str:
    """The body of a tool."""
    with httpx.Client(transport=transport, auth=current_access().auth()) as http:
        return http.get(f"{CRM}/customers").text


def echo(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text=request.headers["Authorization"])


def test_the_body_of_a_tool_finds_its_access_and_sends_the_token() -> None:
    with mock_access(CRM, ["crm:read"], token="t") as access:
        assert read_customers(httpx.MockTransport(echo)) == "Bearer t"
        assert current_access() is access
        assert current_access("crm") is access
        assert access.scopes == {"crm:read"}
    assert current_call() is None
    with pytest.raises(NoSession):
        current_access()


def test_without_a_token_of_the_test_it_looks_real() -> None:
    with mock_access(CRM, ["crm:read"]):
        assert read_customers(httpx.MockTransport(echo)).startswith("Bearer eyJ")


def test_a_mock_refuses_what_an_access_refuses() -> None:
    with mock_access(CRM, ["crm:read"], token="t") as access:
        with pytest.raises(InvalidRequest):
            current_access("https://typing-error.example/mcp")
        with (
            pytest.raises(InvalidRequest),
            httpx.Client(transport=httpx.MockTransport(echo), auth=access.auth()) as http,
        ):
            http.get("https://evil.example/mcp")
        assert "t" not in repr(access).partition("token=")[2].strip(")*")
        with pytest.raises(NoSession):
            current_session()


def test_a_mock_ends_with_the_block_also_by_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), mock_access(CRM, ["crm:read"]):
        raise ZeroDivisionError
    assert current_call() is None


@pytest.fixture
def authority() -> Authority:
    return FakeAuthority(
        agents={"boss": [], "research": ["search"]}, delegations={"boss": ["research"]}, resources={CRM: ["crm:read"]}
    )


def test_a_refused_call_is_found_by_tool_agent_and_policy(authority: Authority) -> None:
    with authority.session(user="alice", agent="boss") as session, session.delegate("research") as child:
        with child.tool_call("search"):
            pass
        with pytest.raises(Denied), child.tool_call("drop_table", scopes=["crm:read"], resource=CRM):
            pass
        call = assert_denied(session, "drop_table", agent="research", policy="session-ceiling")
        assert call.reference is not None
        assert_denied(session.tree(), "drop_table")
        for agent, tool, policy, said in (
            (None, "search", None, "was permitted by agent.research.use"),
            (None, "drop_table", "default-deny", "was refused by session-ceiling, not by default-deny"),
            ("boss", "drop_table", None, "was never called by boss"),
            (None, "delete", None, "was never called by anybody"),
        ):
            with pytest.raises(AssertionError) as failed:
                assert_denied(session, tool, agent=agent, policy=policy)
            assert said in str(failed.value)
            assert "research [open]" in str(failed.value)


def test_a_call_that_was_permitted_once_is_not_denied(authority: Authority) -> None:
    with authority.session(user="alice", agent="research") as session:
        with session.tool_call("search"):
            pass
        authority.update(agents={"boss": [], "research": ["other"]})
        with pytest.raises(Denied), session.tool_call("search"):
            pass
        with pytest.raises(AssertionError) as failed:
            assert_denied(session, "search")
        assert "was permitted" in str(failed.value)


def test_a_canary_is_every_access_token_and_is_found_wherever_it_was_put(tmp_path: Path) -> None:
    bird = canary()
    fake = FakeAuthority(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read"]}, mint=bird)
    with fake.session(user="alice", agent="solo") as session:
        token = session.access(CRM, ["crm:read"]).reveal()
        other = session.present()
    assert (token, bird.minted) == (bird.token, [(CRM, frozenset({"crm:read"}))])
    with closing(sqlite3.connect(tmp_path / "state.db")) as db, db:
        db.execute("create table kept (value blob)")
        db.execute("insert into kept values (?)", (b"\x00\x81" + token.encode(),))
    sinks = {
        "text": f"a {token}",
        "nested": {"k": [("x", token.encode())]},
        "key": {token: 1},
        "file": tmp_path / "state.db",
        "folder": tmp_path,
        "object": ValueError(token),
        "session": other,
        "tree": str(session.tree()),
        "records": list(fake.audit),
        "bird": bird,
    }
    found = ["text", "nested", "key", "file", "folder", "object", "session"]
    assert bird.found_in(**sinks) == found
    with pytest.raises(AssertionError) as failed:
        bird.assert_unseen(text=token, tree=session.tree(), file=tmp_path / "state.db")
    assert str(failed.value).endswith("found in: text, file")
    assert token not in str(failed.value)
    bird.assert_unseen(tree=session.tree(), records=list(fake.audit), nothing=None, empty=tmp_path / "none")


def test_a_canary_that_nobody_was_given_proves_nothing() -> None:
    with pytest.raises(AssertionError) as failed:
        canary().assert_unseen(output="")
    assert "no access token was minted" in str(failed.value)


def test_no_two_canaries_are_the_same() -> None:
    assert canary().token != canary().token
