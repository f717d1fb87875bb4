"""What a token request says besides its grant: rights, lifetime, task, idempotency key (RFC 6749 §8.2, RFC 9396 §6).

Parameters of ours carry a prefix of ours. Each may stand once; an empty one counts as left out (RFC 6749 §3.1).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deputize.model.failure import InvalidRequest
from deputize.model.resource import Right
from deputize.wire import authorization_details

TTL: Final = "deputize_ttl"  # seconds
TASK: Final = "deputize_task"
KEY: Final = "deputize_key"
TOOL: Final = "deputize_tool"
USER: Final = "deputize_user"
REASON: Final = "deputize_reason"
ONWARD: Final = "deputize_onward"
CONTINUES: Final = "deputize_continues"
RIGHTS: Final = "authorization_details"
MAX_KEY: Final = 256  # characters
MAX_TASK: Final = 4096
MAX_SHORT: Final = 512

_SECONDS: Final = re.compile(r"[1-9][0-9]{0,9}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which terms something is asked for. None: not stated, and never all. `ttl` in seconds."""

    rights: frozenset[Right] | None = None
    ttl: int | None = None
    task: str | None = None
    key: str | None = None
    tool: str | None = None
    user: str | None = None
    reason: str | None = None
    onward: frozenset[Right] = frozenset()
    continues: str | None = None


def parse(items: Sequence[tuple[str, str]]) -> Terms:
    """Read a form. Raises InvalidRequest: `invalid_request`, `invalid_ttl`, `invalid_authorization_details`."""
    fields = {name: value for name, value in items if value}
    rights, onward = fields.get(RIGHTS), fields.get(ONWARD)
    return Terms(
        rights=None if rights is None else authorization_details.decode(rights),
        ttl=_seconds(fields.get(TTL)),
        task=_short(fields.get(TASK), MAX_TASK),
        key=_short(fields.get(KEY), MAX_KEY),
        tool=_short(fields.get(TOOL), MAX_SHORT),
        user=_short(fields.get(USER), MAX_SHORT),
        reason=_short(fields.get(REASON), MAX_SHORT),
        onward=frozenset() if onward is None else authorization_details.decode(onward),
        continues=_short(fields.get(CONTINUES), MAX_SHORT),
    )


def build(terms: Terms) -> list[tuple[str, str]]:
    """The form fields that say `terms`."""
    fields = (
        (RIGHTS, None if terms.rights is None else authorization_details.encode(terms.rights)),
        (TTL, None if terms.ttl is None else str(terms.ttl)),
        (TASK, terms.task),
        (KEY, terms.key),
        (TOOL, terms.tool),
        (USER, terms.user),
        (REASON, terms.reason),
        (ONWARD, authorization_details.encode(terms.onward) if terms.onward else None),
        (CONTINUES, terms.continues),
    )
    return [(name, value) for name, value in fields if value]


def _seconds(value: str | None) -> int | None:
    if value is None:
        return None
    if not _SECONDS.match(value):
        raise InvalidRequest("a lifetime is a whole number of seconds above 0", code="invalid_ttl")
    return int(value)


def _short(value: str | None, limit: int) -> str | None:
    if value is not None and len(value) > limit:
        raise InvalidRequest(f"a parameter is longer than {limit} characters")
    return value
