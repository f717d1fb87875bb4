"""The log, as the owner of an embedded authority reads it."""

from collections.abc import Iterator, Mapping

from deputize.audit.record import open_body
from deputize.authority.parts import Parts
from deputize.model.event import Json, Record


class AuditLog:
    """Reads records; `deputize audit` verifies, and signs checkpoints."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return self._parts.store.read(lambda tx: tx.size())

    def find(
        self,
        *,
        session: str | None = None,
        root: str | None = None,
        agent: str | None = None,
        user: str | None = None,
        tool: str | None = None,
        outcome: str | None = None,
        type: str | None = None,  # noqa: A002  # the record's member, as in Event
        token: str | None = None,
        call_id: str | None = None,
        reference: str | None = None,
        limit: int = 1000,
    ) -> list[Mapping[str, Json]]:
        """The newest `limit` records that match all that was given, oldest first, as plain data."""
        records = self._parts.store.read(
            lambda tx: tx.find(
                sid=session,
                txn=root,
                agent=agent,
                sub=user,
                tool=tool,
                outcome=outcome,
                type=type,
                jti=token,
                call_id=call_id,
                reference=reference,
                limit=limit,
            )
        )
        return [plain(record) for record in records]

    def __iter__(self) -> Iterator[Mapping[str, Json]]:
        yield from self._parts.store.read(lambda tx: [plain(record) for record in tx.records()])


def plain(record: Record) -> Mapping[str, Json]:
    """A record as plain data: seq, time (milliseconds), type and the body's members."""
    return {"seq": record.seq, "time": record.time, "type": record.type, **open_body(record)}
