"""The log, as the owner of an embedded authority reads it."""

from collections.abc import Iterator, Mapping

from deputize.audit.checkpoint import origin_of, parse
from deputize.audit.findings import Report
from deputize.audit.log import Log
from deputize.audit.record import as_data
from deputize.audit.verification import verify
from deputize.authority.log_keys import log_key, publish_log_key
from deputize.authority.log_search import LogSearch
from deputize.authority.naming import agent_named
from deputize.authority.operating import Wanted, matching
from deputize.authority.parts import Parts
from deputize.model.event import Json


class AuditLog(LogSearch):
    """Reads records, signs checkpoints, verifies. `deputize audit` does the same without the authority."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def checkpoint(self) -> str:
        """Sign the head of the log as it is now: a C2SP note. Keep it where a writer of the store can't reach it.

        With an anchor the key is the log's one and only; without, it is marked `unanchored`: its key lives in this
        process alone, so that only a copy kept outside proves anything.
        """
        log = log_key(self._parts.keys.anchor, origin_of(self._parts.issuer))
        publish_log_key(self._parts.store, log, self._parts.clock)
        made = Log(self._parts.store).checkpoint(log.key, origin=log.key.name, unanchored=log.unanchored)
        return str(made)

    def verify(self, against: str | None = None) -> Report:
        """Recompute the log, and compare it with a checkpoint that was kept outside. Findings name each record."""
        head = parse(against.encode()) if against is not None else None
        origin = origin_of(self._parts.issuer)
        return self._parts.store.read(lambda tx: verify(tx, against=head, origin=origin))

    def __len__(self) -> int:
        return self._parts.store.read(lambda tx: tx.size())

    def found(self, wanted: Wanted, limit: int) -> list[Mapping[str, Json]]:
        """See LogSearch."""
        parts = self._parts
        agent = agent_named(parts, wanted.agent) if wanted.agent is not None else None
        records = parts.store.read(lambda tx: matching(tx, wanted, agent=agent, resource=None, limit=limit))
        return [as_data(record) for record in records]

    def __iter__(self) -> Iterator[Mapping[str, Json]]:
        yield from self._parts.store.read(lambda tx: [as_data(record) for record in tx.records()])
