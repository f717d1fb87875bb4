"""Which log the `audit` commands speak of: that of a configuration, or of a store alone."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deputize.audit.checkpoint import origin_of
from deputize.audit.log import stored_checkpoint
from deputize.audit.record import open_body
from deputize.authority.operating import Wanted, matching, resource_named
from deputize.authority.stores import store_of
from deputize.config import load
from deputize.config.configuration import Configuration
from deputize.model.event import Record
from deputize.model.failure import ConfigurationError, DeputizeError
from deputize.model.identity import agent_id, short_name
from deputize.store.opening import open_store
from deputize.store.protocol import Store

_ALL = 10_000_000  # records that a search by a short name alone looks through


@dataclass(frozen=True, slots=True)
class Source:
    """An open store, with the configuration that it belongs to where one was named."""

    store: Store
    configuration: Configuration | None

    @property
    def origin(self) -> str | None:
        """The log's name if it is known for certain."""
        return None if self.configuration is None else origin_of(self.configuration.issuer)

    @property
    def log_name(self) -> str:
        """The name to sign under: the configuration's, else that of the last checkpoint.

        Raises ConfigurationError where neither is there.
        """
        last = self.store.read(stored_checkpoint) if self.configuration is None else None
        name = self.origin or (last.origin if last is not None else None)
        if name is None:
            raise ConfigurationError("the first checkpoint of a store needs its configuration: --config")
        return name

    def find(self, wanted: Wanted, *, limit: int) -> list[Record]:
        """The newest `limit` records that match, oldest first."""
        agent = self._agent(wanted.agent)
        unresolved = wanted.agent is not None and agent is None
        many = _ALL if unresolved else limit
        resource = self._resource(wanted.resource)
        found = self.store.read(lambda tx: matching(tx, wanted, agent=agent, resource=resource, limit=many))
        return [record for record in found if not unresolved or _by(record, str(wanted.agent))][-limit:]

    def _agent(self, name: str | None) -> str | None:
        if name is None or name.startswith("spiffe://"):
            return name
        return None if self.configuration is None else agent_id(self.configuration.trust_domain, name)

    def _resource(self, name: str | None) -> str | None:
        return name if self.configuration is None else resource_named(self.configuration.registry, name)


def _by(record: Record, name: str) -> bool:
    try:
        agent = open_body(record).get("agent")
    except DeputizeError:
        return False
    return isinstance(agent, str) and short_name(agent) == name


@contextlib.contextmanager
def open_source(config: Path, store: str | None, *, readonly: bool) -> Iterator[Source]:
    """Open the store that `--store` or the configuration names. Raises ConfigurationError, StoreError."""
    configuration = load(str(config), environ=os.environ) if store is None else None
    if configuration is None:
        opened = open_store(str(store), create=False, readonly=readonly)
    else:
        opened = store_of(configuration, create=False, readonly=readonly)
    try:
        yield Source(opened, configuration)
    finally:
        opened.close()
