"""`deputize agent`: what is registered, who is suspended; over the store or at a server."""

from typing import Annotated

import typer

from deputize.authority.joining import TTL, TTL_MAX
from deputize.cli.open_store import DEFAULT_CONFIG, ConfigOption, JsonOption
from deputize.cli.overview_print import print_agent, print_agents, print_join, print_revoked
from deputize.cli.reaching import UrlOption, reached
from deputize.model.revocation import Kind

app = typer.Typer(no_args_is_help=True, help="Agents: list, show, enroll, suspend, resume.")

NameArgument = Annotated[str, typer.Argument(help="name or SPIFFE ID")]
ReasonOption = Annotated[str, typer.Option(help="why; it stands in the log")]


@app.command("list")
def list_agents(*, config: ConfigOption = DEFAULT_CONFIG, url: UrlOption = None, json: JsonOption = False) -> None:
    """Every registered agent, one a line: name, whether it is suspended, what it may use."""
    with reached(config, url) as authority:
        print_agents(authority.agents(), json=json)


@app.command()
def show(
    name: NameArgument, *, config: ConfigOption = DEFAULT_CONFIG, url: UrlOption = None, json: JsonOption = False
) -> None:
    """One agent: what it may, whom it hands on to, which workloads host it, whether it is suspended."""
    with reached(config, url) as authority:
        print_agent(authority.agent(name), json=json)


@app.command()
def enroll(
    workload: Annotated[str, typer.Argument(help="of a rule of the method `join`")],
    *,
    ttl: Annotated[int, typer.Option(min=1, max=TTL_MAX, help="seconds in which it can be used")] = TTL,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """A one-time join token for a workload, and so for the agents that it hosts. It is shown once."""
    with reached(config, url, readonly=False) as authority:
        print_join(authority.enroll(workload, ttl=ttl), json=json)


@app.command()
def suspend(
    name: NameArgument,
    *,
    reason: ReasonOption,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Kill the agent's sessions, all below them and its identities, and let it begin nothing more."""
    with reached(config, url, readonly=False) as authority:
        print_revoked(authority.revoke(Kind.AGENT, name, reason=reason), json=json)


@app.command()
def resume(
    name: NameArgument,
    *,
    reason: ReasonOption,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Let a suspended agent begin again. What was dead stays dead."""
    with reached(config, url, readonly=False) as authority:
        print_agent(authority.resume(name, reason=reason), json=json)
