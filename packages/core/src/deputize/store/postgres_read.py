"""The reading half of a transaction over PostgreSQL, where it is not SQLite's."""

from collections.abc import Sequence
from typing import Final

from deputize.model.failure import IntegrityError
from deputize.model.revocation import RevocationEntry
from deputize.model.session import Node
from deputize.store import codec
from deputize.store.read import MAX_LINE, REVOCATION, SqlRead

_LINE: Final = f"select {codec.SESSION_COLUMNS} from sessions where sid = any(?)"  # noqa: S608  # joined from constants
_AMONG: Final = REVOCATION + "where id = any(?) order by seq, kind, id"


class PostgresRead(SqlRead):
    """Look-ups of many ids at once are one statement with one array, which is planned once."""

    __slots__ = ()

    def line(self, node: Node) -> list[Node]:
        """See ReadTx."""
        sids = [*node.ancestors, node.sid]
        if len(sids) > MAX_LINE:
            raise IntegrityError("a session has more ancestors than any tree may")
        return self._in_line(sids, self._db.execute(_LINE, (sids,)).fetchall())

    def revoked_among(self, ids: Sequence[str]) -> list[RevocationEntry]:
        """See ReadTx."""
        return [codec.revocation_from(row) for row in self._db.execute(_AMONG, (list(ids),)).fetchall()]
