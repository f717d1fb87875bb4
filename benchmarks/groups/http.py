"""One exchange over HTTP: what it costs the server's processes, how many a second, and how long they take."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Final

from benchmarks.measure import Case, Group, Sample, looped, shared
from benchmarks.serving.client import Load
from benchmarks.serving.targets import Target, bare, deputize, oidc_provider
from benchmarks.workplace import Workplace, raw_exchange

RAW: Final = "raw: 2 ES256 verifications + 1 signature"
BARE, OURS, PEER = "bare server", "Deputize, NORMAL", "oidc-provider"
OTHERS: Final = ("Deputize, FULL", "Deputize, in memory")  # at the most connections alone
CONNECTIONS: Final = (1, 4, 16)
MOST: Final = CONNECTIONS[-1]
WARM: Final = 2000  # requests before the first round: Node compiles what runs often

Reading = Callable[[Callable[[Load], float]], Sample]


def build(*, quick: bool) -> Group:
    """One server after the other in each round, never two at once. Deputize has 500 policies, both principals asked."""
    stack = ExitStack()
    try:
        targets = {name: stack.enter_context(started) for name, started in _servers(quick=quick).items()}
        for target in targets.values():
            target.loaded(20 if quick else WARM, MOST)
    except BaseException:
        stack.close()
        raise
    count = 32 if quick else 480  # a multiple of every number of connections
    loads = {
        (name, connections): shared(partial(target.loaded, count, connections))
        for name, target in targets.items()
        for connections in CONNECTIONS
        if connections == MOST or name not in OTHERS
    }
    raw = Case(name=RAW, sample=looped(raw_exchange(), 50 if quick else 500, cpu=True))
    return Group(
        name="http",
        title=f"Exchange over HTTP: private_key_jwt, a subject token, one signed token back; {count} a round and row",
        clock="at 1, 4 and 16 connections. CPU: of the server, each request; the rest: wall time at the client",
        unit="us",
        cases=[raw, *_cpu(loads), *_rates(loads), *_times(loads)],
        rounds=2 if quick else 15,
        close=stack.close,
    )


def _servers(*, quick: bool) -> Mapping[str, AbstractContextManager[Target]]:
    ours: dict[str, AbstractContextManager[Target]] = {OURS: _deputize("normal.db")}
    if not quick:
        full, memory = OTHERS
        ours |= {full: _deputize("full.db", full=True), memory: _deputize(":memory:")}
    return {BARE: bare(), **ours, PEER: oidc_provider()}


@contextmanager
def _deputize(name: str, *, full: bool = False) -> Iterator[Target]:
    place = Workplace()
    try:
        with deputize(place, name, policies=500, durability="full" if full else "normal") as target:
            yield target
    finally:
        place.close()


def _cpu(loads: Mapping[tuple[str, int], Reading]) -> Iterator[Case]:
    def case(name: str, connections: int, against: str, *, at_most: float | None = None, beside: str = "") -> Case:
        sample = loads[name, connections](lambda load: load.each(load.server))
        return Case(name=_named("CPU", name, connections) + beside, sample=sample, against=against, at_most=at_most)

    for name, connections in loads:
        yield case(name, connections, RAW, at_most=4.5 if name == OURS else None)
    for connections in CONNECTIONS:
        for other, most in ((BARE, 4.5), (PEER, None)):
            against = _named("CPU", other, connections)
            yield case(OURS, connections, against, at_most=most, beside=f" / {other}")
    yield Case(
        name=_named("CPU of the client", OURS, MOST),
        sample=loads[OURS, MOST](lambda load: load.each(load.client)),
        against=RAW,
    )


def _rates(loads: Mapping[tuple[str, int], Reading]) -> Iterator[Case]:
    for name, connections in loads:
        yield Case(
            name=_named("rate", name, connections),
            sample=loads[name, connections](lambda load: load.rate),
            against=None if name == PEER else _named("rate", PEER, connections),
            unit="requests/s",
        )


def _times(loads: Mapping[tuple[str, int], Reading]) -> Iterator[Case]:
    for (name, connections), reading in loads.items():
        half = _named("p50", name, connections)
        bound = connections == MOST and name not in {BARE, PEER}
        yield Case(name=half, sample=reading(lambda load: load.half), unit="ms")
        yield Case(
            name=_named("p99", name, connections),
            sample=reading(lambda load: load.most),
            against=half,
            at_most=4.0 if bound else None,
            unit="ms",
        )


def _named(what: str, name: str, connections: int) -> str:
    return f"{what} at {connections}: {name}"
