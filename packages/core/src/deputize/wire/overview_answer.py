"""Sessions and agents as an operator's answers tell of them: JSON, and back. Times are seconds since the epoch."""

from collections.abc import Mapping

from deputize.model.overview import AgentRow, SessionPage, SessionRow
from deputize.wire.answer import bad_response


def session_members(row: SessionRow) -> dict[str, object]:
    """A session as JSON."""
    return {
        "sid": row.sid,
        "root": row.root,
        "agent": row.agent,
        "subject": row.subject,
        "actors": list(row.actors),
        "state": row.state,
        "mode": row.mode,
        "depth": row.depth,
        "created": row.created,
        "expires": row.expires,
    }


def page_members(page: SessionPage) -> dict[str, object]:
    """Sessions and where the older ones begin."""
    return {"sessions": [session_members(row) for row in page.rows], "cursor": page.cursor}


def agent_members(row: AgentRow) -> dict[str, object]:
    """An agent as JSON."""
    return {
        "id": row.id,
        "name": row.name,
        "opens": row.opens,
        "use": list(row.use),
        "delegate": list(row.delegate),
        "delegate_to": list(row.delegate_to),
        "groups": list(row.groups),
        "workloads": list(row.workloads),
        "state": row.state,
        "since": row.since,
        "reason": row.reason,
    }


def session_from(told: object) -> SessionRow:
    """The inverse of `session_members`. Raises InvalidRequest (`invalid_response`)."""
    members = _object(told)
    return SessionRow(
        sid=text_in(members, "sid"),
        root=text_in(members, "root"),
        agent=text_in(members, "agent"),
        subject=text_in(members, "subject"),
        actors=texts_in(members, "actors"),
        state=text_in(members, "state"),
        mode=text_in(members, "mode"),
        depth=number_in(members, "depth"),
        created=number_in(members, "created"),
        expires=number_in(members, "expires"),
    )


def page_from(members: Mapping[str, object]) -> SessionPage:
    """The inverse of `page_members`. Raises InvalidRequest (`invalid_response`)."""
    rows = tuple(session_from(item) for item in list_in(members, "sessions"))
    return SessionPage(rows=rows, cursor=None if members.get("cursor") is None else number_in(members, "cursor"))


def agent_from(told: object) -> AgentRow:
    """The inverse of `agent_members`. Raises InvalidRequest (`invalid_response`)."""
    members = _object(told)
    return AgentRow(
        id=text_in(members, "id"),
        name=text_in(members, "name"),
        opens=members.get("opens") is True,
        use=texts_in(members, "use"),
        delegate=texts_in(members, "delegate"),
        delegate_to=texts_in(members, "delegate_to"),
        groups=texts_in(members, "groups"),
        workloads=texts_in(members, "workloads"),
        state=text_in(members, "state"),
        since=None if members.get("since") is None else number_in(members, "since"),
        reason=text_in(members, "reason"),
    )


def list_in(members: Mapping[str, object], name: str) -> list[object]:
    """A member that has to be a list. Raises InvalidRequest (`invalid_response`)."""
    value = members.get(name)
    if not isinstance(value, list):
        raise bad_response(f"{name} is no list")
    return value


def text_in(members: Mapping[str, object], name: str) -> str:
    """A member that has to be a text. Raises InvalidRequest (`invalid_response`)."""
    value = members.get(name)
    if not isinstance(value, str):
        raise bad_response(f"{name} is no text")
    return value


def number_in(members: Mapping[str, object], name: str) -> int:
    """A member that has to be a whole number. Raises InvalidRequest (`invalid_response`)."""
    value = members.get(name)
    if type(value) is not int:
        raise bad_response(f"{name} is no whole number")
    return value


def texts_in(members: Mapping[str, object], name: str) -> tuple[str, ...]:
    """A member that has to be a list of texts. Raises InvalidRequest (`invalid_response`)."""
    items = [item for item in list_in(members, name) if isinstance(item, str)]
    if len(items) != len(list_in(members, name)):
        raise bad_response(f"{name} is no list of texts")
    return tuple(items)


def _object(told: object) -> Mapping[str, object]:
    if not isinstance(told, dict):
        raise bad_response("a row is an object")
    return told
