"""A firm to attack, and a way to break a copy of the rule that stands in the way.

Every attack is shown to work first, with the rule weakened (`broken`), and then to be refused by the defaults: a test
that only sees a refusal does not know what refused it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deputize import Authority, DeputizeError
from deputize.model.request import AccessRequest, CallRequest, HandOffRequest
from deputize.model.token import SessionClaims
from deputize.testing import FakeClock
from deputize.wire import session_token

CRM, WIKI = "https://crm.example/mcp", "https://wiki.example/mcp"
AGENT = "spiffe://example.org/agent/"
CONFIGURATION = f"""
version = 1
[authority]
trust_domain = "example.org"
[limits]
children_max = 40
tree_max = 60
[store]
url = "sqlite:deputize.db"
durability = "normal"
[resources.crm]
url = "{CRM}"
scopes = ["crm:read", "crm:write"]
binding = "dpop"
[resources.crm.tools]
read_customers = ["crm:read"]
[resources.wiki]
url = "{WIKI}"
scopes = ["wiki:read", "wiki:write"]
[agents.boss]
open = true
delegate = {{ crm = ["crm:read", "crm:write"], wiki = ["wiki:read"], local = ["search"] }}
use = {{ local = ["plan"] }}
delegate_to = ["boss", "reader", "writer"]
[agents.reader]
open = true
use = {{ crm = ["crm:read"], wiki = ["wiki:read"], local = ["search"] }}
delegate = {{ crm = ["crm:read"] }}
delegate_to = ["writer"]
[agents.writer]
open = true
use = {{ crm = ["crm:read", "crm:write"], wiki = ["wiki:read", "wiki:write"] }}
[agents.loner]
open = true
use = {{ wiki = ["wiki:read"] }}
[[impersonation]]
agent = "writer"
user = "local|alice"
resource = "crm"
scopes = ["crm:read"]
expires = 2099-01-01T00:00:00Z
reason = "INC-4711"
[policy]
files = ["extra.cedar"]
"""
POLICIES = f"""
@id("writer-may-appear")
permit (principal == Agent::"{AGENT}writer", action == Action::"impersonate", resource);
@id("loner-acts-for-itself")
permit (principal == Agent::"{AGENT}loner", action == Action::"open", resource)
when {{ context.mode == "self" && context has from }};
"""


class Firm:
    """An authority over one kind of store, the clock it reads, and the attacker's tools."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.clock = FakeClock()
        self.path = folder / "deputize.toml"
        self.database = folder / "deputize.db"
        self.path.write_text(CONFIGURATION, encoding="utf-8")
        (folder / "extra.cedar").write_text(POLICIES, encoding="utf-8")
        self._opened: list[Authority] = []
        self.authority = self.open()

    def open(self) -> Authority:
        """One more authority; on a file the same one, as another process would have it."""
        store = "sqlite::memory:" if self.kind == "memory" else None
        authority = Authority.open(self.path, store=store, clock=self.clock)
        self._opened.append(authority)
        return authority

    def reopen(self) -> Authority:
        """Close and open again, as another process would."""
        self.authority.close()
        self.authority = self.open()
        return self.authority

    def close(self) -> None:
        for authority in self._opened:
            authority.close()

    def root(self, **options: Any) -> Any:
        return self.authority.session(**{"user": "alice", "agent": "boss", **options})

    @property
    def engine(self) -> Any:
        return self.authority.engine

    def identity(self, name: str) -> str:
        return str(self.engine.identity(AGENT + name).token)

    def access(self, presenter: str, token: str, scope: str = "crm:read", **more: Any) -> Any:
        """Present any text as a session token, as `presenter`."""
        more = {"resource": "wiki" if scope.startswith("wiki") else "crm", "scopes": frozenset({scope}), **more}
        return self.engine.access(AGENT + presenter, AccessRequest(subject_token=token, **more))

    def hand_off(self, presenter: str, token: str, actor: str, to: str, **more: Any) -> Any:
        """Present any texts as session token and actor token, as `presenter`."""
        request = HandOffRequest(subject_token=token, actor_token=actor, to=to, **more)
        return self.engine.hand_off(AGENT + presenter, request)

    def call(self, presenter: str, token: str, tool: str = "search") -> Any:
        request = CallRequest(subject_token=token, tool=tool, resource="local", scopes=frozenset({f"tool:{tool}"}))
        return self.engine.permit_call(AGENT + presenter, request)

    def claims(self, session: Any) -> SessionClaims:
        """What a session's token says."""
        return session_token.decode(
            session.present(),
            issuer=self.authority.issuer,
            key_for=self.engine.parts.keys.verifying,
            now=self.clock.now(),
        )

    def forged(self, session: Any, **changes: Any) -> str:
        """A session token that says something else under the authority's own signature: a stolen signing key."""
        return session_token.encode(replace(self.claims(session), **changes), self.engine.parts.keys.signer())

    def records(self, **query: Any) -> list[Any]:
        return self.authority.audit.find(**query)


@pytest.fixture
def firm(tmp_path: Path) -> Iterator[Firm]:
    """Over a store in memory."""
    made = Firm("memory", tmp_path)
    yield made
    made.close()


@pytest.fixture
def filed(tmp_path: Path) -> Iterator[Firm]:
    """Over a file."""
    made = Firm("file", tmp_path)
    yield made
    made.close()


@pytest.fixture
def code_of() -> Callable[[Callable[[], object]], str]:
    """The code that an attempt is refused with; fails where it is not refused, or by an error that is not ours."""

    def ask(attempt: Callable[[], object]) -> str:
        with pytest.raises(DeputizeError) as refused:
            attempt()
        return refused.value.code

    return ask


@pytest.fixture
def broken() -> Callable[[object, str, object], AbstractContextManager[None]]:
    """`with broken(module, "rule", weaker):` a copy of the library in which that rule is not what it should be."""

    @contextmanager
    def weaken(owner: object, name: str, weaker: object) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, weaker)
            yield

    return weaken
