"""The writing half of a transaction over PostgreSQL, where it is not SQLite's."""

from deputize.store.postgres_read import PostgresRead
from deputize.store.write import REVOKE, SqlWrite


class PostgresWrite(PostgresRead, SqlWrite):
    """Implements `WriteTx`."""

    __slots__ = ()
    _revoke = REVOKE.replace("max(", "greatest(").replace("min(", "least(")
