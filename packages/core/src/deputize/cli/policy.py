"""`deputize policy`: check a configuration, move the store to it, ask what would be decided."""

from typing import Annotated

import orjson
import typer
from rich.console import Console

from deputize.authority.engine import apply_policy_of, rules_of
from deputize.cli.open_store import DEFAULT_CONFIG, ConfigOption, JsonOption, open_authority
from deputize.config import load
from deputize.system import SystemClock

app = typer.Typer(no_args_is_help=True, help="Policy: check, apply, explain, suggest.")
REFUSED = 1


@app.command()
def check(*, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Read and validate the configuration and its policy files; change nothing."""
    rules = rules_of(load(str(config)))
    count = len(rules.registry.agents)
    Console(highlight=False).print(f"{config}: good; {count} agents, policy set {rules.policy.digest[:12]}")


@app.command("apply")
def apply_policy(*, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Make the store decide by this file. Processes that loaded another refuse until they load it too."""
    digest = apply_policy_of(load(str(config)), clock=SystemClock())
    Console(highlight=False).print(f"the store decides by policy set {digest[:12]}")


@app.command()
def explain(
    *,
    chain: Annotated[str, typer.Option(help="agents, first to last, separated by commas")],
    tool: Annotated[str | None, typer.Option(help="a tool's name")] = None,
    resource: Annotated[str | None, typer.Option(help="alias or URL")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="may repeat")] = None,
    user: Annotated[str | None, typer.Option(help="for whom; left out: the first agent itself")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Dry run, hop by hop. Nothing is issued and nothing recorded."""
    with open_authority(config) as authority:
        found = authority.explain(
            chain=[name.strip() for name in chain.split(",")],
            tool=tool,
            scopes=scope or (),
            resource=resource,
            user=user,
        )
    console = Console(highlight=False, soft_wrap=True)
    if json:
        hops = [
            {
                "step": hop.step,
                "resource": hop.right.resource,
                "scope": hop.right.scope,
                "allowed": hop.allowed,
                "policies": hop.policies,
                "enough": hop.enough,
            }
            for hop in found.hops
        ]
        console.out(orjson.dumps({"allowed": found.allowed, "hops": hops}).decode())
    else:
        console.print(str(found), markup=False)
    raise typer.Exit(0 if found.allowed else REFUSED)


@app.command()
def suggest(*, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """TOML that would have allowed every refusal in the log. To be reviewed and cut."""
    with open_authority(config) as authority:
        Console(highlight=False).out(authority.suggest())
