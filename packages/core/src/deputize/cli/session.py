"""`deputize session`: look at sessions and cut them off, from any process on the same store."""

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from deputize.audit.record import open_body
from deputize.authority.engine import Engine
from deputize.authority.subject import state_of
from deputize.authority.tree import build_tree
from deputize.cli.audit_print import data, say
from deputize.cli.open_store import DEFAULT_CONFIG, ConfigOption, JsonOption, open_engine
from deputize.model.failure import InvalidRequest, NotFound
from deputize.model.identity import local_user, short_name
from deputize.model.revocation import Kind
from deputize.model.session import Node
from deputize.store.protocol import ReadTx

app = typer.Typer(no_args_is_help=True, help="Sessions: list, tree, revoke.")

UserOption = Annotated[str | None, typer.Option(help="`alice`, or `<issuer alias>|<sub>`")]
AgentOption = Annotated[str | None, typer.Option(help="name or SPIFFE ID")]
_STYLES = {"open": "green", "revoked": "red"}
_NAMES = "id of a session, token or tool call, or the reference of a refusal"


@app.command("list")
def list_sessions(
    *,
    user: UserOption = None,
    agent: AgentOption = None,
    live: Annotated[bool, typer.Option("--live", help="only those that are open")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="the newest so many")] = 1000,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """The newest sessions, one a line: id, state, for whom through whom."""
    with open_engine(config) as engine:
        parts = engine.parts
        subject = local_user(user) if user is not None else None
        identifier = _agent_id(engine, agent) if agent is not None else None

        def read(tx: ReadTx) -> list[tuple[Node, str]]:
            now = parts.moment(tx)
            found = tx.sessions(
                sub=subject, agent=identifier, live_at=int(now) if live else None, limit=limit if not live else 100_000
            )
            states = [(node, state_of(tx, tx.line(node), now).value) for node in found]
            return [(node, state) for node, state in states if not live or state == "open"][-limit:]

        table = parts.store.read(read)
    if json:
        data([_row(node, state) for node, state in table])
        return
    console = Console(highlight=False, soft_wrap=True)
    for node, state in table:
        chain = " > ".join((node.sub, *(short_name(actor) for actor in reversed(node.actors))))
        console.print(Text.assemble(f"{node.sid}  ", (f"{state:8}", _STYLES.get(state, "dim")), f"  {chain}"))
    if not table:
        say("no such session")


@app.command()
def tree(
    identifier: Annotated[str, typer.Argument(metavar="ID", help=_NAMES)],
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """A whole delegation tree, from its root."""
    with open_engine(config) as engine:
        root = engine.parts.store.read(lambda tx: tx.session(_node(tx, identifier).txn))
        if root is None:
            raise NotFound("the root of this session's tree is not in the store")
        drawn = build_tree(engine.parts, root)
    if json:
        data(drawn.to_dict())
    else:
        Console(highlight=False, soft_wrap=True).out(str(drawn), highlight=False)


@app.command()
def revoke(
    identifier: Annotated[str | None, typer.Argument(metavar="[ID]", help=_NAMES)] = None,
    *,
    reason: Annotated[str, typer.Option(help="why; it stands in the log")],
    user: UserOption = None,
    agent: AgentOption = None,
    key: Annotated[str | None, typer.Option(help="id of a signing key")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Kill a session, or all of a user, an agent or a key. Everything below is dead when this returns.

    The id of a token kills that token alone; that of a tool call or a refusal, the session that it happened in.
    """
    if sum(target is not None for target in (identifier, user, agent, key)) != 1:
        raise typer.BadParameter("name exactly one: ID, --user, --agent or --key")
    with open_engine(config, readonly=False) as engine:
        kind, target = _target(engine, identifier, user=user, agent=agent, key=key)
        done = engine.revoke(kind, target, reason=reason)
        count = done.sessions
    if json:
        data({"kind": done.kind, "target": done.target, "sessions": count, "effective_by": done.effective_by})
        return
    lag = done.effective_by - done.at
    plural = "session" if count == 1 else "sessions"
    killed = "dead now"
    if kind in {Kind.SESSION, Kind.USER, Kind.AGENT}:
        killed = f"{count} {plural} dead now" if count else "nothing lived there any more"
    Console(highlight=False, soft_wrap=True).print(
        Text(f"revoked {done.kind} {short_name(done.target)}: {killed}; every verifier refuses within {lag} s")
    )


def _target(
    engine: Engine, identifier: str | None, *, user: str | None, agent: str | None, key: str | None
) -> tuple[Kind, str]:
    if user is not None:
        return Kind.USER, local_user(user)
    if agent is not None:
        return Kind.AGENT, _agent_id(engine, agent)
    if key is not None:
        return Kind.KEY, key
    name = identifier or ""

    def find(tx: ReadTx) -> tuple[Kind, str]:
        if tx.session(name) is None and name and tx.find(jti=name, limit=1):
            return Kind.TOKEN, name
        return Kind.SESSION, _node(tx, name).sid

    return engine.parts.store.read(find)


def _node(tx: ReadTx, identifier: str) -> Node:
    """The session that an id of it, of a token or tool call in it, or of a refusal there, stands for."""
    node = tx.session(identifier)
    if node is not None:
        return node
    if identifier:
        records = [
            *tx.find(jti=identifier, limit=100),
            *tx.find(call_id=identifier, limit=100),
            *tx.find(reference=identifier, limit=100),
        ]
        sids = {sid for record in records if isinstance(sid := open_body(record).get("sid"), str)}
        if len(sids) > 1:
            raise InvalidRequest("calls of several sessions have this id; name the session: deputize audit show")
        for sid in sids:
            node = tx.session(sid)
    if node is None:
        raise NotFound("no session, token, tool call or refusal of this store has that id")
    return node


def _agent_id(engine: Engine, name: str) -> str:
    entry = engine.registry.agent(name)
    if entry is None and not name.startswith("spiffe://"):
        raise NotFound(f'no agent "{name[:64]}" is registered')
    return entry.id if entry is not None else name


def _row(node: Node, state: str) -> dict[str, object]:
    return {
        "sid": node.sid,
        "root": node.txn,
        "agent": short_name(node.agent),
        "subject": node.sub,
        "state": state,
        "mode": node.mode.value,
        "depth": node.depth,
        "created": node.created,
        "expires": node.exp,
    }
