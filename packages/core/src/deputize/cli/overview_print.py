"""Printing what operators see of sessions, agents and revocations, in words or as data; wherever it came from."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from deputize.authority.joining import JoinToken
from deputize.authority.revocation import Revocation
from deputize.cli.audit_print import data, say, write_out
from deputize.model.failure import plain
from deputize.model.identity import short_name
from deputize.model.overview import AgentRow, SessionRow
from deputize.model.revocation import Kind

_STYLES = {"open": "green", "active": "green", "revoked": "red", "suspended": "red"}
_COUNTED = {Kind.SESSION.value, Kind.USER.value, Kind.AGENT.value}


def print_sessions(rows: Sequence[SessionRow], *, json: bool) -> None:
    """One a line: id, state, for whom through whom."""
    if json:
        data([_session(row) for row in rows])
        return
    for row in rows:
        chain = " > ".join((row.subject, *(short_name(actor) for actor in reversed(row.actors))))
        _print(Text.assemble(f"{row.sid}  ", (f"{row.state:8}", _STYLES.get(row.state, "dim")), f"  {plain(chain)}"))
    if not rows:
        say("no such session")


def print_revoked(done: Revocation, *, json: bool) -> None:
    """What a revocation did."""
    count = done.sessions
    if json:
        data({"kind": done.kind, "target": done.target, "sessions": count, "effective_by": done.effective_by})
        return
    killed = "dead now"
    if done.kind in _COUNTED:
        plural = "session" if count == 1 else "sessions"
        killed = f"{count} {plural} dead now" if count else "nothing lived there any more"
    lag = done.effective_by - done.at
    name = plain(short_name(done.target))
    _print(Text(f"revoked {done.kind} {name}: {killed}; every verifier refuses within {lag} s"))


def print_agents(rows: Sequence[AgentRow], *, json: bool) -> None:
    """One a line: name, state, what it may use."""
    if json:
        data([_agent(row) for row in rows])
        return
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        opens = "opens  " if row.opens else "       "
        state = (f"{row.state:9}", _STYLES.get(row.state, "dim"))
        _print(Text.assemble(f"{row.name:{width}}  ", state, f"  {opens}{', '.join(row.use)}"))
    if not rows:
        say("no agent is registered")


def print_agent(row: AgentRow, *, json: bool) -> None:
    """Everything that is known of one."""
    if json:
        data(_agent(row))
        return
    why = f": {plain(row.reason)}" if row.reason else ""
    since = f" since {datetime.fromtimestamp(row.since, UTC):%Y-%m-%d %H:%M:%S}{why}" if row.since is not None else ""
    lines = [
        ("agent", row.id),
        ("state", f"{row.state}{since}"),
        ("opens", "yes" if row.opens else "no"),
        ("use", ", ".join(row.use)),
        ("delegate", ", ".join(row.delegate)),
        ("to", ", ".join(short_name(name) for name in row.delegate_to)),
        ("groups", ", ".join(row.groups)),
        ("workloads", ", ".join(row.workloads)),
    ]
    for name, words in lines:
        if words:
            _print(Text.assemble((f"{name:10}", "bold"), words))


def print_join(made: JoinToken, *, json: bool) -> None:
    """The token on standard output, once; what it is for beside it."""
    if json:
        data({"token": made.token, "workload": made.workload, "expires": made.expires})
        return
    write_out(f"{made.token}\n")
    until = datetime.fromtimestamp(made.expires, UTC)
    say(f"lets {made.workload} join once until {until:%Y-%m-%d %H:%M:%S}Z; it is not shown again")


def _session(row: SessionRow) -> dict[str, object]:
    return {
        "sid": row.sid,
        "root": row.root,
        "agent": short_name(row.agent),
        "subject": row.subject,
        "state": row.state,
        "mode": row.mode,
        "depth": row.depth,
        "created": row.created,
        "expires": row.expires,
    }


def _agent(row: AgentRow) -> dict[str, object]:
    return {
        "agent": row.name,
        "id": row.id,
        "state": row.state,
        "since": row.since,
        "reason": row.reason,
        "opens": row.opens,
        "use": row.use,
        "delegate": row.delegate,
        "delegate_to": [short_name(name) for name in row.delegate_to],
        "groups": row.groups,
        "workloads": row.workloads,
    }


def _print(text: Text) -> None:
    Console(highlight=False, soft_wrap=True).print(text)
