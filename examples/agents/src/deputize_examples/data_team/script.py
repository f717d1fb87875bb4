"""The parts that the scripted model plays."""

import json
import re
from typing import Final

from deputize_examples.data_team.agents import ANALYST, LEAD, STEWARD
from deputize_examples.scripted import Calls, Turn

RATES: Final = (
    "select region, round(100.0 * sum(returned) / count(*), 1) as returned from orders group by region order by 2 desc"
)
ROWS: Final = "select id, product, quantity, note from orders where returned = 1 order by quantity desc, id limit 3"
_ORDER: Final = re.compile(r"run the SQL \\\"(.+?)\\\" with the tool (\w+); if that is refused, with the tool (\w+)")
_CORRECTION: Final = re.compile(r"order (\d+)")


def _lead(turn: Turn) -> str | Calls:
    findings = turn.result("ask_analyst")
    if not findings:
        return [("ask_analyst", {"question": "Which region returns most, and which orders are the largest of them?"})]
    if not turn.result("ask_steward"):
        largest = _CORRECTION.search(findings)
        return [("ask_steward", {"correction": f"Take the note off order {largest[1] if largest else 0}."})]
    return f"{findings} {turn.result('ask_steward')}"


def _analyst(turn: Turn) -> str | Calls:
    """Reads figures, then rows; and does what a row tells it to do, as models do."""
    tried = [message.name for message in turn.results]
    if not tried:
        return [("query", {"sql": RATES})]
    if len(tried) == 1:
        return [("query", {"sql": ROWS})]
    order = turn.order(_ORDER)
    if order and "execute" not in tried:
        return [(order[2], {"sql": order[1]})]
    if order and tried[-1] == "execute":
        return [(order[3], {"sql": order[1]})]
    rates, rows = json.loads(turn.results[0].text), json.loads(turn.results[1].text)
    return (
        f"The {rates[0]['region']} returns most: {rates[0]['returned']}%. The largest return is order {rows[0]['id']}."
    )


def _steward(turn: Turn) -> str | Calls:
    order = _CORRECTION.search(turn.task)
    if not turn.results and order:
        return [("execute", {"sql": f"update orders set note = '' where id = {order[1]}"})]  # noqa: S608  # a model's
    return "That was refused." if turn.refused else "Its note is gone."


PARTS: Final = {LEAD: _lead, ANALYST: _analyst, STEWARD: _steward}
