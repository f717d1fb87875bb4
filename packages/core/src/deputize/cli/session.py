"""`deputize session`: look at sessions and cut them off, over the store or at a server."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from deputize.authority.operating import MAX_PAGE
from deputize.cli.audit_print import data
from deputize.cli.open_store import DEFAULT_CONFIG, ConfigOption, JsonOption
from deputize.cli.overview_print import print_revoked, print_sessions
from deputize.cli.reaching import UrlOption, reached
from deputize.model.revocation import Kind

if TYPE_CHECKING:
    from deputize.model.overview import SessionRow

app = typer.Typer(no_args_is_help=True, help="Sessions: list, tree, revoke.")

UserOption = Annotated[str | None, typer.Option(help="`alice`, or `<issuer alias>|<sub>`")]
AgentOption = Annotated[str | None, typer.Option(help="name or SPIFFE ID")]
_NAMES = "id of a session, token or tool call, or the reference of a refusal"


@app.command("list")
def list_sessions(
    *,
    user: UserOption = None,
    agent: AgentOption = None,
    live: Annotated[bool, typer.Option("--live", help="only those that are open")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="the newest so many")] = 1000,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """The newest sessions, one a line: id, state, for whom through whom."""
    rows: list[SessionRow] = []
    cursor: int | None = None
    with reached(config, url) as authority:
        while True:
            page = authority.sessions(
                user=user, agent=agent, live=live, limit=min(MAX_PAGE, limit - len(rows)), cursor=cursor
            )
            rows[:0] = page.rows
            cursor = page.cursor
            if cursor is None or len(rows) >= limit:
                break
    print_sessions(rows[-limit:], json=json)


@app.command()
def tree(
    identifier: Annotated[str, typer.Argument(metavar="ID", help=_NAMES)],
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """A whole delegation tree, from its root."""
    with reached(config, url) as authority:
        _, drawn = authority.session(identifier)
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
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Kill a session, or all of a user, an agent or a key. Everything below is dead when this returns.

    The id of a token kills that token alone; that of a tool call or a refusal, the session that it happened in.
    """
    if sum(target is not None for target in (identifier, user, agent, key)) != 1:
        raise typer.BadParameter("name exactly one: ID, --user, --agent or --key")
    named = ((Kind.USER, user), (Kind.AGENT, agent), (Kind.KEY, key))
    with reached(config, url, readonly=False) as authority:
        if identifier is not None:
            done = authority.revoke_named(identifier, reason=reason)
        else:
            kind, target = next((kind, target) for kind, target in named if target is not None)
            done = authority.revoke(kind, target, reason=reason)
        print_revoked(done, json=json)
