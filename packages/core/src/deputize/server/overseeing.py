"""Operators' endpoints about sessions, revocations, agents and workloads."""

from typing import Final

from starlette.responses import Response

from deputize.authority.joining import TTL
from deputize.authority.operating import MAX_PAGE
from deputize.model.failure import InvalidRequest
from deputize.model.revocation import Kind
from deputize.server import answers
from deputize.server.desk import Asked, Errand, number
from deputize.server.holding import revoked, text
from deputize.wire.json_strict import dumps
from deputize.wire.overview_answer import agent_members, page_members, session_members

PAGE: Final = 100
_KINDS: Final = {kind.value: kind for kind in Kind if kind is not Kind.CLOSE}
_LIVE: Final = {"true": True, "false": False}


def sessions(asked: Asked) -> Response:
    """`GET /sessions`: the newest, oldest first; `cursor` leads to the older ones."""
    told = asked.query("user", "agent", "live", "limit", "cursor")
    live = _LIVE.get(told.get("live", "false"))
    if live is None:
        raise InvalidRequest("live is true or false")
    page = asked.operations.sessions(
        user=told.get("user"),
        agent=told.get("agent"),
        live=live,
        limit=max(number(told, "limit", PAGE, most=MAX_PAGE), 1),
        cursor=number(told, "cursor", None) if "cursor" in told else None,
    )
    return answers.json(dumps(page_members(page)))


def session(asked: Asked) -> Response:
    """`GET /sessions/{id}`: one, by the id of anything in it, and its tree."""
    asked.query()
    row, tree = asked.operations.session(asked.names["id"])
    return answers.json(dumps({"session": session_members(row), "tree": tree}))


def revoke_session(asked: Asked) -> Response:
    """`POST /sessions/{id}/revoke`: what the id stands for; of a token that token alone."""
    told = asked.body("reason")
    return revoked(asked.operations.revoke_named(asked.names["id"], reason=text(told, "reason")))


def revoke(asked: Asked) -> Response:
    """`POST /revocations/new`: a session, token, user, agent or key."""
    told = asked.body("kind", "target", "reason")
    kind = _KINDS.get(text(told, "kind"))
    if kind is None:
        raise InvalidRequest(f"kind is one of {', '.join(_KINDS)}")
    return revoked(asked.operations.revoke(kind, text(told, "target"), reason=text(told, "reason")))


def agents(asked: Asked) -> Response:
    """`GET /agents`."""
    asked.query()
    return answers.members(agents=[agent_members(row) for row in asked.operations.agents()])


def agent(asked: Asked) -> Response:
    """`GET /agents/{name}`."""
    asked.query()
    return answers.json(dumps(agent_members(asked.operations.agent(asked.names["name"]))))


def suspend(asked: Asked) -> Response:
    """`POST /agents/{name}/suspend`: its sessions, all below them and its identities are dead."""
    told = asked.body("reason")
    return revoked(asked.operations.revoke(Kind.AGENT, asked.names["name"], reason=text(told, "reason")))


def resume(asked: Asked) -> Response:
    """`POST /agents/{name}/resume`: for what begins from now on."""
    told = asked.body("reason")
    return answers.json(dumps(agent_members(asked.operations.resume(asked.names["name"], reason=text(told, "reason")))))


def enroll(asked: Asked) -> Response:
    """`POST /workloads/{name}/enroll`: a join token, told once."""
    ttl = asked.body("ttl").get("ttl", TTL)
    if type(ttl) is not int:
        raise InvalidRequest("ttl is whole seconds")
    made = asked.operations.enroll(asked.names["name"], ttl=ttl)
    return answers.members(token=made.token, workload=made.workload, expires=made.expires)


# Whoever takes away is a responder; whoever gives is an admin.
ERRANDS: Final = (
    Errand(path="/sessions", method="GET", role="viewer", run=sessions),
    Errand(path="/sessions/{id:path}/revoke", method="POST", role="responder", run=revoke_session, acts=True),
    Errand(path="/sessions/{id:path}", method="GET", role="viewer", run=session),
    Errand(path="/revocations/new", method="POST", role="responder", run=revoke, acts=True),
    Errand(path="/agents", method="GET", role="viewer", run=agents),
    Errand(path="/agents/{name:path}/suspend", method="POST", role="responder", run=suspend, acts=True),
    Errand(path="/agents/{name:path}/resume", method="POST", role="admin", run=resume, acts=True),
    Errand(path="/agents/{name:path}", method="GET", role="viewer", run=agent),
    Errand(path="/workloads/{name:path}/enroll", method="POST", role="admin", run=enroll, acts=True),
)
