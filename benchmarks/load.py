"""Requests per second of a server on this machine: `python -m benchmarks.load --workers 1 --connections 16`.

Clients run on the same processors as the server, so the figures are a lower bound of what a machine of its own does.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deputize import Authority, Mode
from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.client.evidence import Join
from deputize.config import Configuration, load
from deputize.system import SystemClock
from deputize.testing.serving import free_port

FILE: Final = """
version = 1
[authority]
issuer = "http://127.0.0.1:{port}"
users = "unrestricted"
[store]
url = "sqlite:deputize.db"
durability = "{durability}"
[server]
port = {port}
rate = "100000/s"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read"]
[agents.worker]
open = true
use = {{ crm = ["crm:read"] }}
[[attestation]]
method = "join"
workload = "load"
agents = ["worker"]
"""


@dataclass
class Run:
    """What one run measured. Times in seconds."""

    times: list[float] = field(default_factory=list)
    took: float = 0.0

    def line(self, name: str) -> str:
        """Requests per second, and the times that half, and 99 of 100, of them stayed below."""
        cuts = statistics.quantiles(self.times, n=100)
        rate, half, most = len(self.times) / self.took, cuts[49] * 1000, cuts[98] * 1000
        return f"{name}: {rate:.0f}/s, p50 {half:.1f} ms, p99 {most:.1f} ms, {len(self.times)} requests"


def main() -> None:
    """Start a server, ask it for access for a while, and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--durability", choices=("full", "normal"), default="full")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        file = Path(folder) / "deputize.toml"
        file.write_text(FILE.format(port=port, durability=args.durability), encoding="utf-8")
        command = [sys.executable, "-c", "from deputize.cli.main import main; main()", "serve", "--config", str(file)]
        server = subprocess.Popen(  # noqa: S603  # our own command
            [*command, "--workers", str(args.workers), "--log-level", "error"], stdout=subprocess.PIPE
        )
        try:
            if server.stdout is None or not server.stdout.readline():
                sys.exit("the server did not start; what it says stands above")
            run = measured(load(file, asserted=False), args.connections, args.seconds)
        finally:
            server.terminate()
            server.wait()
    name = f"access, {args.workers} workers, {args.connections} connections, sqlite {args.durability}"
    sys.stdout.write(run.line(name) + "\n")


def measured(configuration: Configuration, connections: int, seconds: float) -> Run:
    """`connections` threads ask one after another, each over its own connection and for its own session."""
    engine = Engine(configuration, store=store_of(configuration), clock=SystemClock(), follows=True)
    run, lock = Run(), threading.Lock()
    ready = threading.Barrier(connections + 1, timeout=60)

    def ask(token: str) -> None:
        with Authority.connect(configuration.issuer, attestor=Join(token)) as authority:
            session = authority.session(agent="worker", mode=Mode.SELF)
            ready.wait()
            until, times = time.perf_counter() + seconds, []
            while (began := time.perf_counter()) < until:
                session.access("crm", ["crm:read"])
                times.append(time.perf_counter() - began)
        with lock:
            run.times += times

    threads = [
        threading.Thread(target=ask, args=(enroll(engine.parts, "load", by="bench").token,)) for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    run.took = time.perf_counter() - began
    engine.close()
    return run


if __name__ == "__main__":
    main()
