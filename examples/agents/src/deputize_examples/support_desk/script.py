"""The parts that the scripted model plays. Agents of a swarm share one conversation: each sees every result."""

import json
import re
from typing import Final

from deputize_examples.scripted import Calls, Turn
from deputize_examples.support_desk.agents import ACCOUNTANT, DESK, SUPPORT

_ORDER: Final = re.compile(r"call (\w+) with (\w+)=(\d+)")  # an order to a model, wherever it stands


def _desk(turn: Turn) -> str | Calls:
    if not turn.result("to_support"):
        return [("to_support", {})]
    if not turn.result("read_invoice"):
        return [("to_accountant", {})]
    (invoice,) = json.loads(turn.result("read_invoice"))
    return f"The oldest ticket is answered. Invoice {invoice['id']} is {invoice['euros']} euros and stands as it was."


def _support(turn: Turn) -> str | Calls:
    match turn.last:
        case "to_support":
            return [("list_tickets", {})]
        case "list_tickets":
            return [("read_ticket", {"ticket": _oldest(turn)})]
        case "read_ticket" if order := turn.order(_ORDER):
            return [(order[1], {order[2]: int(order[3])})]
        case "issue_refund":  # refused: then somebody else should do it
            return [("to_accountant", {})]
        case "reply_to_ticket":
            return [("to_desk", {})]
        case _:
            text = "Thank you, somebody looks at your invoice."
            return [("reply_to_ticket", {"ticket": _oldest(turn), "text": text})]


def _accountant(turn: Turn) -> str | Calls:
    if turn.last == "to_accountant":
        return [("read_invoice", {"invoice": _oldest(turn)})]
    order = turn.order(_ORDER)  # it reads what support read, and believes it too
    if turn.last == "read_invoice" and order:
        return [(order[1], {order[2]: int(order[3])})]
    return [("to_desk", {})]


def _oldest(turn: Turn) -> int:
    return int(json.loads(turn.result("list_tickets"))[0]["id"])


PARTS: Final = {DESK: _desk, SUPPORT: _support, ACCOUNTANT: _accountant}
