"""An Authority for tests: in memory, with a clock that moves by hand. It decides exactly as the real one does."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import Final, NoReturn, cast

from deputize.authority.access import Issued
from deputize.authority.protocol import AuthorityEngine
from deputize.config import from_mappings, load
from deputize.facade.authority import Authority
from deputize.model.failure import AuthorityUnavailable, ConfigurationError
from deputize.model.request import AccessRequest
from deputize.testing.clock import FakeClock

Mint = Callable[[str, frozenset[str]], str]

_MEMORY: Final = "sqlite::memory:"
_KNOWN_HERE: Final = frozenset({"registry", "token_life", "identity", "renew_identities", "close"})


class FakeAuthority(Authority):
    """Give it where your program takes an `Authority`. Policies, sessions, records and revocation are the real ones.

    Args:
        agents: As of `Authority`, like `resources` and `delegations`.
        resources: URL to scopes.
        delegations: To whom each agent may hand on.
        config: A deputize.toml in place of the three, so that your own rules are what is tested. Of its store
            nothing is read or written.
        mint: Makes the text of each access token of (resource, scopes), e.g. a `canary()`. No server accepts it;
            left out, tokens are real ones of this authority.
        clock: Moves time; `clock` of the object where left out.

    Raises ConfigurationError, also where both `config` and mappings are given.
    """

    def __init__(
        self,
        *,
        agents: Mapping[str, Sequence[str]] | None = None,
        resources: Mapping[str, Sequence[str]] | None = None,
        delegations: Mapping[str, Sequence[str]] | None = None,
        config: str | PathLike[str] | None = None,
        mint: Mint | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        given = (agents or {}, resources or {}, delegations or {})
        if config is not None and any(given):
            raise ConfigurationError("config takes the place of agents, resources and delegations")
        self.clock = clock or FakeClock()
        self._mint = mint
        self._reachable = True
        self._store_name = _MEMORY
        if config is not None:
            self._mappings = None
            configuration = replace(load(fspath(config), environ=os.environ), store_url=_MEMORY)
        else:
            self._mappings = given
            configuration = from_mappings(agents=given[0], resources=given[1], delegations=given[2])
        self._start(configuration, self.clock)

    def down(self) -> None:
        """From now on it cannot be asked, as a server that is away: AuthorityUnavailable."""
        self._reachable = False

    def up(self) -> None:
        """It can be asked again."""
        self._reachable = True

    def _hold(self, engine: AuthorityEngine) -> None:
        super()._hold(engine)
        self.engine = cast("AuthorityEngine", _Faked(self, engine))


class _Faked:
    """The real engine, but for the text of access tokens and for the times when it is away."""

    def __init__(self, fake: FakeAuthority, engine: AuthorityEngine) -> None:
        self._fake = fake
        self._engine = engine

    def access(self, agent: str, request: AccessRequest) -> Issued:
        """As the real engine issues it; the token may be another."""
        self._check()
        issued = self._engine.access(agent, request)
        mint = self._fake._mint  # noqa: SLF001  # of the same module
        if mint is None:
            return issued
        return replace(issued, token=mint(issued.grant.resource, issued.grant.scope))

    def __getattr__(self, name: str) -> object:
        if name not in _KNOWN_HERE and not self._fake._reachable:  # noqa: SLF001  # as above
            return self._away
        return getattr(self._engine, name)

    def _away(self, *_: object, **__: object) -> NoReturn:
        self._check()
        raise AssertionError("asked for while it was away, and called after it was back")

    def _check(self) -> None:
        if not self._fake._reachable:  # noqa: SLF001  # as above
            raise AuthorityUnavailable("the authority was taken down by this test")
