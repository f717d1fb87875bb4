"""What an operator sees of sessions and agents."""

from dataclasses import dataclass

from deputize.model.session import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session in a list. `actors`: outermost first. Times: seconds since the epoch. `state`: ancestors included."""

    sid: str
    root: str
    agent: str
    subject: str
    actors: tuple[str, ...]
    state: str
    mode: str
    depth: int
    created: int
    expires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPage:
    """Sessions, oldest first; `cursor` leads to the older ones, None where there are none."""

    rows: tuple[SessionRow, ...]
    cursor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRow:
    """An agent as it is registered, and whether it is suspended. `use` and `delegate`: `<resource alias> <scope>`.

    `workloads` may host it. `state`: active or suspended; `since` (seconds) and `reason` of the last change of it,
    None and empty where there was none.
    """

    id: str
    name: str
    opens: bool
    use: tuple[str, ...]
    delegate: tuple[str, ...]
    delegate_to: tuple[str, ...]
    groups: tuple[str, ...]
    workloads: tuple[str, ...]
    state: str
    since: int | None = None
    reason: str = ""


def session_row(node: Node, state: str) -> SessionRow:
    """A stored session, and the state that it is in now."""
    return SessionRow(
        sid=node.sid,
        root=node.txn,
        agent=node.agent,
        subject=node.sub,
        actors=node.actors,
        state=state,
        mode=node.mode.value,
        depth=node.depth,
        created=node.created,
        expires=node.exp,
    )
