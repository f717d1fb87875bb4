"""Policy sets rolled out one after another as fast as it goes, to be killed in the middle; or a replica that serves."""

import os
from pathlib import Path
from typing import Final

from deputize.authority.engine import Engine, claim
from deputize.authority.policy_sets import move
from deputize.authority.rules import rules_of
from deputize.authority.stores import store_of
from deputize.config import Configuration, load
from deputize.errors import DeputizeError
from deputize.model.request import AccessRequest, RootRequest
from deputize.model.session import Evidence, Mode
from deputize.system import SystemClock

CRM: Final = "https://crm.example/mcp"
AGENT: Final = "spiffe://local/agent/reader"
TEXT: Final = """
[store]
url = "sqlite:deputize.db"
[limits]
session_ttl = "{ttl}m"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
[agents.reader]
open = true
use = {{ crm = ["crm:read"] }}
[agents.spare{number}]
"""


def configuration(folder: Path, number: int) -> Configuration:
    """One of several sets that all permit what the replica asks for, and have limits of their own."""
    path = folder / f"deputize{number}.toml"
    if not path.exists():
        half = path.with_suffix(f".{os.getpid()}")
        half.write_text(TEXT.format(ttl=10 + number, number=number), encoding="utf-8")
        half.rename(path)
    return load(path)


def run(path: str, way: str) -> None:
    """`way`: apply."""
    assert way == "apply"
    sets = [configuration(Path(path), number) for number in range(4)]
    store = store_of(sets[0])
    claim(store, sets[0])
    compiled = [rules_of(one) for one in sets]  # once: what is to be killed is the move
    os.write(1, b"go %d\n" % os.getpid())
    while True:
        for rules in compiled:
            move(store, SystemClock(), rules, by="hammer")
            os.write(1, f"applied {rules.policy.digest}\n".encode())


def serve(path: str) -> None:
    """A replica in a process of its own: exchanges without an end, each outcome told."""
    mine = configuration(Path(path), 0)
    engine = Engine(mine, store=store_of(mine), clock=SystemClock(), follows=True)
    os.write(1, b"go\n")
    while not (Path(path) / "stop").exists():
        try:
            opened = engine.open_root(
                AGENT,
                RootRequest(
                    mode=Mode.ON_BEHALF_OF,
                    user="local|alice",
                    evidence=Evidence.ASSERTED,
                    requested=None,
                    ttl=None,
                    task=None,
                    key=None,
                ),
            )
            engine.access(
                AGENT,
                AccessRequest(
                    subject_token=opened.token,
                    resource=CRM,
                    scopes=frozenset({"crm:read"}),
                    mode=Mode.ON_BEHALF_OF,
                ),
            )
            os.write(1, b"done\n")
        except DeputizeError as error:
            os.write(1, f"failed {error.code}\n".encode())
    engine.close()


if __name__ == "__main__":
    import sys

    serve(sys.argv[1])
