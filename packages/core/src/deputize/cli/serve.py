"""`deputize serve`: the authority as a server."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from deputize.authority import rollout
from deputize.authority.joining import enroll
from deputize.authority.rules import rules_of
from deputize.authority.stores import check_anchor
from deputize.cli.open_store import DEFAULT_CONFIG, ConfigOption
from deputize.cli.serve_print import Screen, print_screen
from deputize.config import PORT, Configuration, check_serveable, load, starter
from deputize.keys.anchor import anchor_from_environment
from deputize.model.failure import ConfigurationError
from deputize.model.resource import LOOPBACK
from deputize.store.opening import is_postgres

if TYPE_CHECKING:
    from deputize.authority.engine import Engine
    from deputize.server.serving import Serving

NEEDED: Final = ("starlette", "uvicorn", "prometheus_client", "httptools", "uvloop")
DEV_JOIN: Final = """

[[attestation]]
method = "join"
workload = "dev"
agents = [{agents}]
"""
_DEV_BY: Final = "deputize serve --dev"
MAX_PORT: Final = 65_536
_TOKEN_TTL: Final = 86_400  # seconds


def serve(  # options of a command line
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    host: Annotated[str | None, typer.Option(help="to listen on, in place of server.host")] = None,
    port: Annotated[int | None, typer.Option(help="in place of server.port")] = None,
    store: Annotated[str | None, typer.Option(help="in place of store.url")] = None,
    workers: Annotated[int | None, typer.Option(help="processes, in place of server.workers")] = None,
    dev: Annotated[
        bool, typer.Option("--dev", help="on this machine alone: users by name, and a token to join")
    ] = False,
    log_format: Annotated[Literal["json", "text"], typer.Option(help="of the lines on stderr")] = "json",
    log_level: Annotated[Literal["debug", "info", "warning", "error"], typer.Option()] = "info",
) -> None:
    """Run the authority as a server, until SIGTERM or Ctrl-C."""
    _check_installed()
    from deputize.server.logs import set_up  # noqa: PLC0415  # comes with an extra
    from deputize.server.serving import open_sockets  # noqa: PLC0415  # comes with an extra
    from deputize.server.serving import serve as run  # noqa: PLC0415  # comes with an extra

    said = {"SERVER_HOST": host, "SERVER_PORT": port, "STORE_URL": store, "SERVER_WORKERS": workers}
    environ = {**os.environ, **{f"DEPUTIZE_{name}": str(value) for name, value in said.items() if value is not None}}
    configuration = _development(config, environ) if dev else load(str(config), environ=environ, asserted=False)
    if not dev:
        check_serveable(configuration)
    anchor = anchor_from_environment(os.environ)
    check_anchor(configuration, anchor)
    digest = rules_of(configuration).policy.digest
    serving = open_sockets(configuration, anchor)
    set_up(log_format, log_level)
    screen = _screen(serving, digest, dev=dev)

    def opened(engine: "Engine") -> None:
        """Of one process: what only an open store tells."""
        active = engine.parts.rules.policy.digest
        if dev and active != digest:
            rollout.apply(engine.parts.store, engine.parts.clock, configuration, by=_DEV_BY)
        print_screen(screen.of_store(_differs(engine, digest, dev=dev), _tokens(engine) if dev else ()))

    if configuration.server.workers > 1:
        print_screen(screen)
    raise typer.Exit(run(serving, opened=opened))


def _check_installed() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f'the server needs more than is installed: pip install "deputize[server]" ({missing[0]})'
        )


def _development(config: Path, environ: Mapping[str, str]) -> Configuration:
    """The file, or the starter's where there is none, with a workload `dev` that hosts every agent."""
    if not config.exists():
        try:
            config.write_text(starter(_port(environ)), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"cannot be written: {error.strerror}", path=str(config)) from None
    read = load(str(config), environ=environ)
    if read.server.host not in LOOPBACK:
        raise ConfigurationError(
            "--dev believes any process about its user, so it listens on the loopback alone",
            path=read.path,
            key="server.host",
        )
    if read.server.workers > 1:
        raise ConfigurationError("--dev runs one process", path=read.path, key="server.workers")
    if any(rule.method == "join" for rule in read.attestation_rules):
        return read
    names = ", ".join(f'"{entry.name}"' for entry in read.registry.agents.values())
    return load(str(config), environ=environ, added=DEV_JOIN.format(agents=names))


def _port(environ: Mapping[str, str]) -> int:
    """That of the issuer in a file that is not written yet; what is no port is refused when the file is read."""
    text = environ.get("DEPUTIZE_SERVER_PORT", "")
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < MAX_PORT else PORT


def _tokens(engine: "Engine") -> tuple[tuple[str, str], ...]:
    """(workload, token) for each workload that may join."""
    parts = engine.parts
    rules = parts.rules.configuration.attestation_rules
    names = dict.fromkeys(rule.workload for rule in rules if rule.method == "join")
    return tuple((name, enroll(parts, name, by=_DEV_BY, ttl=_TOKEN_TTL).token) for name in names)


def _differs(engine: "Engine", digest: str, *, dev: bool) -> tuple[str, ...]:
    """What keeps this process from deciding by its file."""
    from deputize.server.status import may_decide  # noqa: PLC0415  # comes with an extra

    if not may_decide(engine):
        return ("NOT READY: the store's policy set cannot be loaded here; see: deputize policy history",)
    if engine.parts.rules.policy.digest != digest and not dev:
        return ("the store decides by another policy set than this file: deputize policy diff; deputize policy apply",)
    return ()


def _screen(serving: "Serving", digest: str, *, dev: bool) -> Screen:
    configuration = serving.configuration
    server = configuration.server
    shown = f"[{server.host}]" if ":" in server.host else server.host
    return Screen(
        issuer=configuration.issuer,
        listening=(f"http://{shown}:{serving.port}", *((f"unix:{server.unix_socket}",) if server.unix_socket else ())),
        store=_shown_store(configuration.store_url),
        digest=digest,
        users=_users(configuration),
        anchor=serving.anchor.name,
        workers=server.workers,
        warnings=tuple(_warnings(serving, dev=dev)),
    )


def _shown_store(url: str) -> str:
    """Without what stands behind `?`: connection parameters are nobody's to read."""
    return url.partition("?")[0]


def _users(configuration: Configuration) -> str:
    if configuration.users == "unrestricted":
        return "unrestricted" + (", named by any process (dev)" if configuration.asserted else "")
    return "listed: " + (", ".join(rule.alias for rule in configuration.user_rules) or "by policies alone")


def _warnings(serving: "Serving", *, dev: bool) -> list[str]:
    configuration, server = serving.configuration, serving.configuration.server
    said = []
    if dev:
        said.append("development: any process with the token below acts for any user")
    if ":memory:" in configuration.store_url:
        said.append("the store is in memory: sessions, revocations and the log end with this process")
    if serving.anchor.name == "none" and not is_postgres(configuration.store_url):
        said.append("no anchor: whoever can write the store's file is the authority; its checkpoints prove little")
    if server.host not in LOOPBACK:
        said.append("this port speaks plain HTTP: a proxy that ends TLS belongs in front of it")
    if not dev and not configuration.attestation_rules:
        said.append("no [[attestation]]: no process can get an identity here")
    if configuration.issuer.startswith("http://") and not configuration.issuer.rstrip("/").endswith(f":{serving.port}"):
        said.append("the issuer names another port than this process listens on: clients will not find it")
    return said
