"""What is told to the authority after the fact: by a resource server of its calls, by a holder of its session."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deputize.model.event import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What came of something in a session: a tool call, a hand-off. `outcome` is done, failed or noted."""

    kind: str  # the record's type, e.g. "tool.finished"
    outcome: str
    tool: str | None = None
    call_id: str | None = None
    resource: str | None = None
    code: str | None = None
    detail: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One call at a resource: `outcome` is started, done, failed or denied. `agent` is the outermost actor."""

    sid: str
    txn: str
    tool: str
    outcome: str
    resource: str
    sub: str
    agent: str
    jti: str
    call_id: str | None = None
    code: str | None = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejections:
    """Requests at a resource that no caller could be named for: how many, why, and from which address."""

    resource: str
    code: str
    client: str
    count: int
