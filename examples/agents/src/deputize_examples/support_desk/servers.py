"""Two servers over one database. Each verifies the token of every request, and knows nothing of agents' policies."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from deputize.verifier import Caller
from deputize_examples.service import Arguments, Operation, Service


def helpdesk(database: Path) -> Service:
    """Tickets."""

    def list_tickets(caller: Caller, arguments: Arguments) -> object:
        del caller, arguments
        query = "select id, subject, hours_open from tickets where state = 'open' order by hours_open desc, id limit 3"
        return _rows(database, query)

    def read_ticket(caller: Caller, arguments: Arguments) -> object:
        del caller
        return _rows(database, "select * from tickets where id = ?", arguments["ticket"])

    def reply(caller: Caller, arguments: Arguments) -> object:
        del caller
        change = "update tickets set reply = ?, state = 'waiting' where id = ?"
        return _change(database, change, arguments["text"], arguments["ticket"])

    return Service(
        "helpdesk",
        "http://127.0.0.1:8411",
        {
            "list_tickets": _needs("tickets:read", list_tickets),
            "read_ticket": _needs("tickets:read", read_ticket),
            "reply_to_ticket": _needs("tickets:write", reply),
        },
    )


def finance(database: Path) -> Service:
    """Invoices and refunds."""

    def read_invoice(caller: Caller, arguments: Arguments) -> object:
        del caller
        return _rows(database, "select * from invoices where id = ?", arguments["invoice"])

    def issue_refund(caller: Caller, arguments: Arguments) -> object:
        del caller
        return _change(database, "update invoices set refunded = 1 where id = ?", arguments["invoice"])

    return Service(
        "finance",
        "http://127.0.0.1:8412",
        {
            "read_invoice": _needs("invoices:read", read_invoice),
            "issue_refund": _needs("refunds:write", issue_refund),
        },
    )


def refunds(database: Path) -> int:
    """How many invoices were refunded."""
    with closing(sqlite3.connect(database)) as db:
        (count,) = db.execute("select count(*) from invoices where refunded").fetchone()
        return int(count)


def _needs(scope: str, answer: Callable[[Caller, Arguments], object]) -> Operation:
    return Operation(frozenset({scope}), answer)


def _rows(database: Path, query: str, *values: object) -> list[dict[str, object]]:
    with closing(sqlite3.connect(database)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(query, values)]


def _change(database: Path, statement: str, *values: object) -> dict[str, int]:
    with closing(sqlite3.connect(database)) as db, db:
        return {"changed": db.execute(statement, values).rowcount}
