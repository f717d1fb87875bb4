"""The store that a configuration names, and the anchor that it needs."""

from deputize.config import Configuration
from deputize.keys.anchor import VARIABLE, Anchor
from deputize.model.failure import ConfigurationError
from deputize.store.opening import is_postgres, open_store
from deputize.store.protocol import Store


def store_of(configuration: Configuration, *, create: bool = True, readonly: bool = False) -> Store:
    """Open the store that a configuration names. Raises ConfigurationError, StoreError."""
    try:
        return open_store(
            configuration.store_url, durability=configuration.durability, create=create, readonly=readonly
        )
    except ConfigurationError as error:
        raise ConfigurationError(str(error), path=configuration.path, key=error.key) from None


def check_anchor(configuration: Configuration, anchor: Anchor) -> None:
    """Who can write a database is not the authority: keys on it need an endorsement. Raises ConfigurationError."""
    if anchor.name == "none" and is_postgres(configuration.store_url):
        raise ConfigurationError(
            f"a store in PostgreSQL needs an anchor: hand 32 random bytes to every replica in {VARIABLE}",
            path=configuration.path,
            key="store.url",
        )
