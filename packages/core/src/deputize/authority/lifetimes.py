"""Lifetimes, in seconds: an omitted one is cut to what is left, an explicit one above a limit is refused.

A repeat (of a key that was used before) is no new request for time: what it named was granted when more was left.
"""

from deputize.model.failure import InvalidRequest
from deputize.model.limits import Limits
from deputize.model.registry import AgentEntry, Binding
from deputize.model.session import SESSION_EXPIRING, Mode, Node


def root_ttl(limits: Limits, agent: AgentEntry, asked: int | None) -> int:
    """Of a root session."""
    most = limits.session_ttl_max if agent.session_ttl is None else min(limits.session_ttl_max, agent.session_ttl)
    return min(limits.session_ttl, most) if asked is None else _explicit(asked, most, "session_ttl_max")


def child_ttl(
    limits: Limits, parent: Node, agent: AgentEntry, asked: int | None, now: float, *, repeat: bool = False
) -> int:
    """Of a child or link: never past its parent's end (I2)."""
    left = remainder(parent, now)
    most = left if agent.session_ttl is None else min(left, agent.session_ttl)
    if asked is None:
        return max(min(limits.session_ttl, most), 1)
    return _explicit(asked, most, "what the parent session has left", repeat=repeat)


def access_ttl(
    limits: Limits, binding: Binding, mode: Mode, node: Node, asked: int | None, now: float, *, repeat: bool = False
) -> int:
    """Of an access token: short where it is a bearer, shorter where it impersonates."""
    most = limits.access_ttl_bearer if binding == "bearer" else limits.access_ttl
    if mode is Mode.IMPERSONATION:
        most = min(most, limits.impersonation_ttl_max)
    left = remainder(node, now)
    if asked is None:
        return max(min(most, left), 1)
    return _explicit(asked, min(most, left), "this resource's binding or the session's end", repeat=repeat)


def remainder(node: Node, now: float) -> int:
    """What a session has left. Raises InvalidRequest (`session_expiring`) in its last seconds.

    An expired session passes: its own error is the one to be told, and liveness tells it.
    """
    left = node.exp - int(now)
    if now < node.exp and left < SESSION_EXPIRING:
        raise InvalidRequest(
            f"the session ends in {left} s; nothing new is opened in its last {SESSION_EXPIRING} s",
            code="session_expiring",
        )
    return left


def _explicit(asked: int, most: int, what: str, *, repeat: bool = False) -> int:
    if asked < 1:
        raise InvalidRequest("a lifetime is at least 1 second", code="invalid_ttl")
    if repeat:
        return max(min(asked, most), 1)
    if asked > most:
        raise InvalidRequest(f"a lifetime of {asked} s was asked for; {what} allows {most} s", code="ttl_too_long")
    return asked
