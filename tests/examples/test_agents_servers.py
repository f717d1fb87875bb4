"""The servers of examples/agents, asked past every client: without a token that is good for it, no answer."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deputize import Session
from deputize_examples.data_team import seed as orders
from deputize_examples.data_team import warehouse
from deputize_examples.program import opened
from deputize_examples.service import Service
from deputize_examples.support_desk import seed as tickets
from deputize_examples.support_desk import servers


def ask(service: Service, operation: str, headers: dict[str, str], content: bytes = b"{}") -> tuple[int, str]:
    with httpx.Client(trust_env=False, timeout=10) as http:
        response = http.post(f"{service.url}/{operation}", headers=headers, content=content)
    body = response.json()
    return response.status_code, body["error"] if isinstance(body, dict) and "error" in body else ""


def test_a_token_opens_one_server_for_its_scopes_with_its_key_and_while_its_session_lives(tmp_path: Path) -> None:
    database = tmp_path / "support.sqlite"
    tickets.seed(database)
    helpdesk, finance = servers.helpdesk(database), servers.finance(database)
    with opened("support_desk", tmp_path, [helpdesk, finance]) as authority:
        with authority.session(user="alice", agent="desk") as session:
            access = session.delegate("support").access("helpdesk", ["tickets:read"])

            def headers(service: Service, operation: str) -> dict[str, str]:
                return access.headers("POST", f"{service.url}/{operation}")

            assert ask(helpdesk, "list_tickets", headers(helpdesk, "list_tickets")) == (200, "")
            once = headers(helpdesk, "list_tickets")
            assert ask(helpdesk, "list_tickets", once) == (200, "")
            assert ask(helpdesk, "list_tickets", once) == (401, "invalid_token")  # the proof was used
            assert ask(helpdesk, "list_tickets", {}) == (401, "invalid_token")
            assert ask(helpdesk, "list_tickets", {"Authorization": "Bearer x"}) == (401, "invalid_token")
            forged = {**headers(helpdesk, "list_tickets"), "DPoP": "x"}
            assert ask(helpdesk, "list_tickets", forged) == (401, "invalid_token")
            assert ask(finance, "read_invoice", headers(finance, "read_invoice")) == (401, "invalid_token")
            writing = ask(helpdesk, "reply_to_ticket", headers(helpdesk, "reply_to_ticket"))
            assert writing == (403, "insufficient_scope")
            assert ask(helpdesk, "nothing", headers(helpdesk, "nothing")) == (404, "not_found")
            assert ask(helpdesk, "read_ticket", headers(helpdesk, "read_ticket"), b"{") == (400, "invalid_request")
            assert ask(helpdesk, "read_ticket", headers(helpdesk, "read_ticket"), b"{}") == (400, "invalid_request")
            assert ask(helpdesk, "read_ticket", headers(helpdesk, "read_ticket"), b"[]") == (400, "invalid_request")
        assert ask(helpdesk, "list_tickets", headers(helpdesk, "list_tickets")) == (401, "invalid_token")
    assert finance.heard == []


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Session, Path]]:
    folder = tmp_path_factory.mktemp("warehouse")
    database = folder / "warehouse.sqlite"
    orders.seed(database)
    service = warehouse.warehouse(database)
    with (
        opened("data_team", folder, [service]) as authority,
        authority.session(user="alice", agent="lead") as session,
    ):
        yield service, session, database


READING, BEYOND, NONSENSE = (200, ""), (403, "insufficient_scope"), (400, "invalid_request")


@pytest.mark.parametrize(
    ("sql", "analyst", "steward"),
    [
        ("select count(*) from orders", READING, READING),
        ("with recursive n(x) as (select 1 union select x + 1 from n where x < 3) select x from n", READING, READING),
        ("update orders set note = '' where id = 1", BEYOND, READING),
        ("drop table orders", BEYOND, NONSENSE),
        ("create table mine (x)", BEYOND, NONSENSE),
        ("attach database 'other.db' as other", BEYOND, NONSENSE),
        ("pragma writable_schema = on", BEYOND, NONSENSE),
        ("select load_extension('x')", NONSENSE, NONSENSE),
        ("select 1; delete from orders", NONSENSE, NONSENSE),
        ("", READING, READING),
    ],
)
def test_a_statement_may_do_what_its_token_may(
    stocked: tuple[Service, Session, Path], sql: str, analyst: tuple[int, str], steward: tuple[int, str]
) -> None:
    service, session, database = stocked
    for agent, operation, scope, expected in (
        ("analyst", "query", warehouse.READ, analyst),
        ("steward", "execute", warehouse.WRITE, steward),
    ):
        access = session.delegate(agent).access("warehouse", [scope])
        headers = access.headers("POST", f"{service.url}/{operation}")
        content = httpx.Request("POST", service.url, json={"sql": sql}).content
        assert ask(service, operation, headers, content) == expected, agent
    assert warehouse.count(database) == orders.ORDERS
