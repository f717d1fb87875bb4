"""Which engine a URL names. The driver of PostgreSQL is loaded for its own URLs alone."""

from typing import TYPE_CHECKING, Final

from deputize.model.failure import ConfigurationError
from deputize.store.sqlite import Durability, open_sqlite

if TYPE_CHECKING:
    from deputize.store.protocol import Store

_POSTGRES: Final = ("postgresql:", "postgres:")


def is_postgres(url: str) -> bool:
    """True where the store is a database that machines share."""
    return url.startswith(_POSTGRES)


def open_store(url: str, *, durability: Durability = "full", create: bool = True, readonly: bool = False) -> "Store":
    """Open `sqlite:<path>`, `sqlite::memory:`, a path or `postgresql://user@host/database`.

    `create=False` refuses a store that is not there; `readonly` refuses writes and never changes the schema.
    Raises ConfigurationError, StoreError.
    """
    if not is_postgres(url):
        if "://" in url:
            raise ConfigurationError(
                "a store is sqlite:<path>, sqlite::memory: or postgresql://user@host/database", key="store.url"
            )
        return open_sqlite(url, durability=durability, create=create, readonly=readonly)
    try:
        from deputize.store.postgres import open_postgres  # noqa: PLC0415  # comes with an extra
    except ModuleNotFoundError:
        raise ConfigurationError('a store in PostgreSQL needs "deputize[postgres]"', key="store.url") from None
    return open_postgres(url, durability=durability, create=create, readonly=readonly)
