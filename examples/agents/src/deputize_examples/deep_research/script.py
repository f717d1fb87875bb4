"""The parts that the scripted model plays."""

import json
import re
from typing import Final

from deputize_examples.deep_research.agents import EDITOR, PLAN, RESEARCHER
from deputize_examples.deep_research.seed import TOPICS
from deputize_examples.scripted import Calls, Turn

_ORDER: Final = re.compile(r"call (\w+) with title=(\w+)")  # an order to a model, wherever it stands


def _plan(turn: Turn) -> str | Calls:
    return [("ConductResearch", {"topic": topic}) for topic in TOPICS if topic in turn.task]


def _researcher(turn: Turn) -> str | Calls:
    match turn.last:
        case "":
            return [("search", {"topic": turn.task})]
        case "search" | "read_document" if turn.refused:
            return f"Nothing could be read of {turn.task}."
        case "search":
            return [("read_document", {"document": json.loads(turn.result("search"))[0]["id"]})]
        case "read_document" if order := turn.order(_ORDER):
            return [(order[1], {"title": order[2], "text": turn.result("read_document")})]
        case _:
            (document,) = json.loads(turn.result("read_document"))
            return f"{document['title']} ({document['year']}): {document['text'].partition(' NOTE')[0]}"


def _editor(turn: Turn) -> str | Calls:
    return turn.task.replace("\n", " ")


PARTS: Final = {PLAN: _plan, RESEARCHER: _researcher, EDITOR: _editor}
