"""Records as people read them: one line each. What a record says is data, so nothing in it moves the cursor."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from deputize.model.event import Json
from deputize.model.identity import short_name

MAX_WORD: Final = 96  # characters of one text in a line

# {name} stands for a member of the body, of its detail, or for a word made below.
_WORDS: Final = {
    "session.opened": "{opened}",
    "session.reissued": "got a new token of its session",
    "session.closed": "session closed",
    "session.suspended": "session waits to be resumed",
    "session.resumed": "session resumed",
    "session.reentered": "went on in its session",
    "session.returned": "was handed the task back",
    "session.revoked": "session revoked: {reason}",
    "session.denied": "was refused a session",
    "token.revoked": "token revoked: {reason}",
    "agent.revoked": "agent suspended: {reason}",
    "agent.resumed": "agent resumed: {reason}",
    "operator.denied": "was refused as an operator",
    "user.revoked": "user cut off: {reason}",
    "key.revoked": "key {kid} revoked: {reason}",
    "key.published": "key published: {key}",
    "key.renewed": "key renewed: {key}",
    "policy.applied": "policy set {set} became active",
    "policy.failed": "a policy could not be evaluated, which denies",
    "identity.denied": "was refused an identity",
    "key.refused": "key {kid} refused: its row does not hold",
    "identity.issued": "got its identity",
    "identity.renewed": "renewed its identity",
    "exchange.permitted": "got {scopes} at {resource}",
    "exchange.reissued": "got {scopes} at {resource} once more",
    "exchange.denied": "asked for {scopes} at {resource}",
    "handoff.announced": "will hand off to {to}",
    "handoff.taken": "handed off to {to}",
    "handoff.not_taken": "did not hand off to {to} after all",
    "handoff.denied": "asked to hand off to {to}",
    "tool.started": "started {tool}",
    "tool.finished": "finished {tool}",
    "tool.failed": "failed in {tool}",
    "tool.suspended": "suspended {tool}",
    "tool.denied": "asked for {tool}",
    "tool.unguarded": "ran {tool} without a guard",
    "resource.call_started": "started {tool} at {resource}, as that server reports",
    "resource.call_finished": "finished {tool} at {resource}, as that server reports",
    "resource.call_failed": "failed in {tool} at {resource}, as that server reports",
    "resource.call_denied": "was refused {tool} by {resource}, as that server reports",
}
_OPENED: Final = {
    "root": "started a session",
    "child": "took over from {before}",
    "link": "started on its own behalf inside the task",
}


@dataclass(frozen=True, slots=True)
class Line:
    """The parts of a record's line, safe to print."""

    time: str
    who: str
    what: str
    outcome: str
    why: str


def line_of(time: int, kind: str, body: Mapping[str, Json]) -> Line:
    """Who did what for whom, how it ended and by which policy."""
    words = _words(body)
    pattern = _WORDS.get(kind)
    what = pattern.format_map(words) if pattern is not None else printable(str(kind))
    policies = ", ".join(texts(body, "policies"))
    why = [part for part in (text(body, "code"), f"by {policies}" if policies else "", _reference(body)) if part]
    return Line(moment(time), _who(body), what, text(body, "outcome") or "erased", "; ".join(why))


def printable(value: str, limit: int = MAX_WORD) -> str:
    """One harmless word: control, format and separator characters are written out, and it is cut to `limit`."""
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in value[:limit])
    return shown + ("..." if len(value) > limit else "")


def moment(millis: object) -> str:
    """A time of the log in UTC, or what stands there where it is none."""
    try:
        seconds = int(str(millis)) / 1000
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
    except (ValueError, OverflowError, OSError):
        return printable(str(millis))


def text(body: Mapping[str, Json], name: str) -> str:
    """A member that should be text, as a harmless word."""
    value = body.get(name)
    return printable(value) if isinstance(value, str) else ""


def texts(body: Mapping[str, Json], name: str) -> list[str]:
    """A member that should be a list of texts."""
    value = body.get(name)
    return [printable(item) for item in value if isinstance(item, str)] if isinstance(value, list) else []


class _Words(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "?"


def _words(body: Mapping[str, Json]) -> _Words:
    detail = body.get("detail")
    inner: Mapping[str, Json] = detail if isinstance(detail, dict) else {}
    chain = texts(body, "chain")
    before = short_name(chain[1]) if len(chain) > 1 else "another agent"
    words = _Words(
        tool=text(body, "tool") or "a tool",
        resource=text(body, "resource") or "a resource",
        scopes=" ".join(texts(body, "scopes")) or "access",
        set=printable(str(body.get("policy_set", "?")), 12),
        reason=text(inner, "reason") or "no reason given",
        to=short_name(text(inner, "to")) or "another agent",
        kid=text(inner, "kid"),
        key=text(inner, "vkey") or text(inner, "kid"),
    )
    words["opened"] = _OPENED.get(text(inner, "kind"), "opened a session").format(before=before)
    return words


def _who(body: Mapping[str, Json]) -> str:
    agent, sub = short_name(text(body, "agent")), text(body, "sub")
    above = [short_name(actor) for actor in texts(body, "chain")[1:]]
    via = f" (via {' < '.join(above)})" if above else ""
    whom = f" for {sub}" if sub and sub != text(body, "agent") else ""
    return f"{agent or '-'}{via}{whom}"


def _reference(body: Mapping[str, Json]) -> str:
    reference = text(body, "reference")
    return f"ref {reference}" if reference else ""
