"""`deputize session`: look at sessions and cut them off, from any process on the same store."""

from typing import Annotated

import orjson
import typer
from rich.console import Console

from deputize.authority.subject import state_of
from deputize.cli.open_store import DEFAULT_CONFIG, ConfigOption, JsonOption, open_authority
from deputize.facade.authority import Authority
from deputize.facade.tree import build_tree
from deputize.model.failure import NotFound
from deputize.model.identity import short_name
from deputize.model.session import Node

app = typer.Typer(no_args_is_help=True, help="Sessions: list, tree, revoke.")

UserOption = Annotated[str | None, typer.Option(help="`alice`, or `<issuer alias>|<sub>`")]
AgentOption = Annotated[str | None, typer.Option(help="name or SPIFFE ID")]


@app.command("list")
def list_sessions(
    *,
    user: UserOption = None,
    agent: AgentOption = None,
    live: Annotated[bool, typer.Option(help="only those that are open")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """The newest sessions, one a line."""
    with open_authority(config) as authority:
        parts = authority.engine.parts
        subject = authority.user_id(user) if user else None
        identifier = authority.agent_id(agent) if agent else None
        now = parts.store.read(parts.moment)

        def rows() -> list[tuple[Node, str]]:
            def read(node: Node) -> tuple[Node, str]:
                return node, parts.store.read(lambda tx: state_of(tx, tx.line(node), now)).value

            found = parts.store.read(lambda tx: tx.sessions(sub=subject, agent=identifier))
            return [(node, state) for node, state in map(read, found) if not live or state == "open"]

        table = rows()
    console = Console(highlight=False, soft_wrap=True)
    if json:
        data = [
            {"sid": n.sid, "root": n.txn, "agent": short_name(n.agent), "subject": n.sub, "state": s} for n, s in table
        ]
        console.out(orjson.dumps(data).decode())
        return
    for node, state in table:
        chain = " > ".join((node.sub, *(short_name(actor) for actor in reversed(node.actors))))
        console.print(f"{node.sid}  {state:8}  {chain}", markup=False)


@app.command()
def tree(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="id of any session of the tree")],
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """A whole delegation tree, from its root."""
    with open_authority(config) as authority:
        node = _node(authority, identifier)
        root = _node(authority, node.txn)
        drawn = build_tree(authority.engine.parts, root)
    console = Console(highlight=False, soft_wrap=True)
    console.out(orjson.dumps(drawn.to_dict()).decode() if json else str(drawn))


@app.command()
def revoke(
    identifier: Annotated[str | None, typer.Argument(metavar="[ID]", help="id of a session")] = None,
    *,
    reason: Annotated[str, typer.Option(help="why; it stands in the log")],
    user: UserOption = None,
    agent: AgentOption = None,
    key: Annotated[str | None, typer.Option(help="id of a signing key")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Kill a session, or all of a user, an agent or a key. Everything below is dead when this returns."""
    with open_authority(config) as authority:
        done = authority.revoke(session=identifier, user=user, agent=agent, key=key, reason=reason)
        count = done.sessions
    console = Console(highlight=False, soft_wrap=True)
    if json:
        data = {"kind": done.kind, "target": done.target, "sessions": count, "effective_by": done.effective_by}
        console.out(orjson.dumps(data).decode())
        return
    lag = done.effective_by - done.at
    console.print(
        f"revoked {done.kind} {done.target}: {count} session(s) dead now; every verifier refuses within {lag} s",
        markup=False,
    )


def _node(authority: Authority, sid: str) -> Node:
    node = authority.engine.parts.store.read(lambda tx: tx.session(sid))
    if node is None:
        raise NotFound("no such session in this store")
    return node
