"""What psycopg's errors mean to a caller. The server's own words stay out: they quote rows and values."""

from typing import Final

import psycopg

from deputize.model.failure import InvalidRequest, StoreError
from deputize.store.connection import UNSTORABLE, unstorable

_GONE: Final = ("store_unreachable", "the database can't be reached")
_REFUSED: Final = ("store_unreachable", "the database refused the log-in")
_RIGHTS: Final = ("store_readonly", "the database's role may not do this")
_BUSY: Final = ("store_busy", "the database took too long")
_FULL: Final = ("store_full", "the database's disk or memory is full")
_MOVED: Final = ("store_moved", "the store's tables are not there any more")

# https://www.postgresql.org/docs/current/errcodes-appendix.html; by state, then by class
_STATES: Final = {
    "23505": ("store_conflict", "the row exists"),
    "25006": ("store_readonly", "the database is read-only"),
    "25P03": _BUSY,
    "25P04": _BUSY,
    "3F000": _MOVED,
    "42501": _RIGHTS,
    "42703": _MOVED,
    "42P01": _MOVED,
    "53300": ("store_unreachable", "the database has no connection left"),
    "55P03": _BUSY,
    "57014": _BUSY,
}
_CLASSES: Final = {
    "08": _GONE,
    "23": ("store_conflict", "the row does not fit"),
    "28": _REFUSED,
    "3D": ("store_unreachable", "there is no such database"),
    "40": _BUSY,
    "53": _FULL,
    "57": _GONE,
    "58": ("store_io", "the database's disk failed"),
    "XX": ("store_corrupt", "the database found itself damaged"),
}
_NO_TEXT: Final = frozenset({"22003", "22021", "22P05"})  # number too large, byte or character that no text holds

OUTCOME_UNKNOWN: Final = (
    "the connection was lost while a transaction committed; it counts as refused",
    "store_unknown",
)
STANDBY: Final = ("the database is a standby or read-only; liveness is read from the primary alone", "store_standby")
FULL_HOUSE: Final = ("all connections of this process are in use", "store_busy")


def store_error(error: psycopg.Error) -> StoreError:
    """What went wrong, in our words, with the SQLSTATE where the server gave one."""
    state = error.sqlstate or ""
    code, words = _STATES.get(state) or _CLASSES.get(state[:2]) or ("store_error", "the database failed")
    if not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        code, words = _GONE
    return StoreError(f"{words} ({state})" if state else words, code=code)


def as_ours(error: Exception) -> Exception:
    """An error of the driver as one of ours; every other as it is."""
    if isinstance(error, psycopg.Error):
        return _unstorable(error) or store_error(error)
    return unstorable() if isinstance(error, UNSTORABLE) else error


def _unstorable(error: psycopg.Error) -> InvalidRequest | None:
    no_state = isinstance(error, psycopg.DataError) and error.sqlstate is None
    return unstorable() if no_state or error.sqlstate in _NO_TEXT else None
