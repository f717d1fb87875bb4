"""`deputize policy apply | history | rollback | show | diff`: roll a policy set out, look back, roll back."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from deputize.authority import rollout
from deputize.authority.engine import claim
from deputize.authority.policy_diff import diff as difference
from deputize.authority.policy_sets import active_text, reproducible
from deputize.authority.rules import rules_of
from deputize.authority.stores import store_of
from deputize.cli.open_store import DEFAULT_CONFIG, ConfigOption, JsonOption
from deputize.cli.reaching import UrlOption, chosen, me, remote
from deputize.cli.rollout_print import print_difference, print_history, print_moved, print_texts
from deputize.config import Bundle, Configuration, load, parse_bundle
from deputize.model.failure import ConfigurationError, InvalidRequest
from deputize.store.protocol import Store
from deputize.system import SystemClock

AssertedOption = Annotated[
    bool | None,
    typer.Option("--asserted/--no-asserted", help="whether a process may name its users; by default as it is now"),
]
ReasonOption = Annotated[str, typer.Option(help="why; it stands in the log")]
FILE = "file"  # in place of a digest: the configuration file as it is now
_CONFLICT = 1


def add(app: typer.Typer) -> None:
    """Put these commands beside the others of `deputize policy`."""
    for name, command in (
        ("apply", apply_policy),
        ("history", show_history),
        ("rollback", roll_back),
        ("show", show_set),
        ("diff", diff_sets),
    ):
        app.command(name)(command)


def apply_policy(
    *,
    reason: ReasonOption = "",
    expect: Annotated[str | None, typer.Option(help="only if this set decides now")] = None,
    asserted: AssertedOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Make the store decide by this file. Servers load it from the store; a process embedded in a program refuses."""
    configuration = _loaded(config)
    if url is not None:  # the file is what is sent there; the environment alone sends nothing
        bundle = _bundle_of(_with(configuration, asserted=bool(asserted)))
        with remote(url) as operator, _conflict_is_an_answer():
            digest = operator.apply(bundle, reason=reason, expected=expect)
        print_moved(digest, json=json)
        return
    with _store(configuration, create=True) as store:
        claim(store, configuration)
        configuration = _in_mode(store, configuration, asserted)
        with _conflict_is_an_answer():
            digest = rollout.apply(store, SystemClock(), configuration, by=me(), reason=reason, expected=expect)
    print_moved(digest, json=json)


def show_history(*, config: ConfigOption = DEFAULT_CONFIG, url: UrlOption = None, json: JsonOption = False) -> None:
    """Every set that this store decided by, oldest first: when, by whom, why."""
    server = chosen(url, config)
    if server is not None:
        with remote(server) as operator:
            moves = operator.history()
    else:
        with _store(_loaded(config)) as store:
            moves = rollout.history(store)
    print_history(moves, json=json)


def roll_back(
    digest: Annotated[str | None, typer.Argument(metavar="[DIGEST]", help="left out: the set before this one")] = None,
    *,
    reason: ReasonOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Make the store decide by a set again that was applied before. Needs the store; the file is not changed."""
    server = chosen(url, config)
    if server is not None:
        with remote(server) as operator, _conflict_is_an_answer():
            found = operator.rollback(digest, reason=reason)
        print_moved(found, json=json)
        return
    with _store(_loaded(config), readonly=False) as store, _conflict_is_an_answer():
        found = rollout.rollback(store, SystemClock(), digest, by=me(), reason=reason)
    print_moved(found, json=json)


def show_set(
    digest: Annotated[str | None, typer.Argument(metavar="[DIGEST]", help="left out: the active set")] = None,
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """The texts of a set, file by file."""
    server = chosen(url, config)
    if server is not None:
        with remote(server) as operator:
            found, bundle = operator.policy(digest)
    else:
        with _store(_loaded(config)) as store:
            found = rollout.resolve(store, digest)
            bundle = rollout.show(store, found)
    print_texts(found, bundle, json=json)


def diff_sets(
    old: Annotated[str, typer.Argument(metavar="A", help="digest, `active` or `file`")] = "active",
    new: Annotated[str, typer.Argument(metavar="B", help="digest, `active` or `file`")] = FILE,
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """What B decides otherwise than A; by default the file otherwise than the store."""
    configuration = _loaded(config)
    if url is not None:  # the file is one of the two
        served = _with(configuration, asserted=False)
        with remote(url) as operator:
            sets = [_set(served, name, lambda digest: operator.policy(digest)[1]) for name in (old, new)]
    else:
        with _store(configuration) as store:
            configuration = _in_mode(store, configuration, None)
            sets = [_set(configuration, name, lambda digest: rollout.show(store, digest)) for name in (old, new)]
    print_difference(difference(*sets), json=json)


def _set(configuration: Configuration, name: str, kept: Callable[[str | None], Bundle]) -> Bundle:
    if name == FILE and configuration.bundle is not None:
        return configuration.bundle
    return kept(None if name == "active" else name)


def _bundle_of(configuration: Configuration) -> Bundle:
    """What is sent to a server; compiled here first, so that a mistake is told with its file and line."""
    rules = rules_of(configuration)
    return reproducible(rules)


def _in_mode(store: Store, configuration: Configuration, asserted: bool | None) -> Configuration:  # noqa: FBT001  # a choice of the command line
    """The file as a server reads it, or a process that embeds the authority: as the active set was, unless it is said.

    A store that decides by no set yet is prepared for servers: a process in a program brings its own.
    """
    if asserted is None:
        text = store.read(active_text)[1]
        asserted = parse_bundle(text).asserted if text is not None else False
    return _with(configuration, asserted=asserted)


def _with(configuration: Configuration, *, asserted: bool) -> Configuration:
    bundle = configuration.bundle
    kept = None if bundle is None else replace(bundle, asserted=asserted)
    return replace(configuration, asserted=asserted, bundle=kept)


def _loaded(config: Path) -> Configuration:
    return load(str(config), environ=os.environ)


@contextlib.contextmanager
def _store(configuration: Configuration, *, create: bool = False, readonly: bool = True) -> Iterator[Store]:
    if ":memory:" in configuration.store_url:
        message = "the store is in memory: no other process can look into it"
        raise ConfigurationError(message, path=configuration.path, key="store.url")
    store = store_of(configuration, create=create, readonly=readonly and not create)
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def _conflict_is_an_answer() -> Iterator[None]:
    """Somebody else was first: exit status 1, not that of a wrong command line."""
    try:
        yield
    except InvalidRequest as error:
        if error.code != "policy_conflict":
            raise
        typer.echo(str(error), err=True)
        raise typer.Exit(_CONFLICT) from None
