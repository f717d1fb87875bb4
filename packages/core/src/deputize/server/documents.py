"""What anybody may read of an agent: its A2A card where the operator publishes one, its client metadata document."""

import re
from typing import Final

from starlette.responses import Response

from deputize.authority import cards
from deputize.model.failure import NotFound
from deputize.server import answers
from deputize.server.incoming import Incoming
from deputize.server.service import Service
from deputize.wire.agent_card import WELL_KNOWN
from deputize.wire.client_metadata import SUFFIX

CARD: Final = "/agents/{name:path}" + WELL_KNOWN
CLIENT: Final = "/agents/{name:path}/" + SUFFIX
_MAX_AGE: Final = 300  # seconds
_NAME = re.compile(r".*?/agents/(?P<name>[^%?#]{1,256})/(?:\.well-known/agent-card|client)\.json\Z")
_CACHED: Final = {"Cache-Control": f"public, max-age={_MAX_AGE}"}


def card(service: Service, incoming: Incoming) -> Response:
    """`GET /agents/<name>/.well-known/agent-card.json` (A2A 1.0 §8.2)."""
    return answers.json(service.cards.card(service.engine.parts, _name(incoming)), headers=_CACHED)


def client(service: Service, incoming: Incoming) -> Response:
    """`GET /agents/<name>/client.json`, whose `client_id` is this URL."""
    return answers.json(cards.client_document(service.engine.parts, _name(incoming)), headers=_CACHED)


def _name(incoming: Incoming) -> str:
    found = _NAME.match(incoming.path)
    if found is None:
        raise NotFound("no such agent")
    return found["name"]
