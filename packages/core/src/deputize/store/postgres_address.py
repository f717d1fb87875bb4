"""Which database and schema a URL names. A password is handed over beside it, and is in no text of ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from deputize.model.failure import ConfigurationError

SCHEMA: Final = "deputize"
PASSWORD: Final = "DEPUTIZE_STORE_PASSWORD"  # noqa: S105  # the variable's name

_KEY: Final = "store.url"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")
_SEARCH_PATH = re.compile(r"-c ?search_path=([^\s,]+)\Z")
_HERE: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})
_SECRET: Final = frozenset({"password", "sslpassword"})
# Of libpq's parameters, those that say where the server is and how the way to it is protected.
_TAKEN: Final = frozenset(
    {
        "application_name",
        "channel_binding",
        "dbname",
        "gssencmode",
        "host",
        "hostaddr",
        "passfile",
        "port",
        "require_auth",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslrootcert",
        "user",
    }
)


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """What libpq connects with, password included, and the schema that holds one authority."""

    parameters: Mapping[str, str]
    schema: str

    def __repr__(self) -> str:
        return f"Address(schema={self.schema!r})"


def address_of(url: str, environ: Mapping[str, str]) -> Address:
    """Read `postgresql://user@host[:port][,host...]/database[?schema=name&sslmode=verify-full]`.

    Where the server is on another machine its certificate is verified, unless `sslmode` says otherwise. The password
    is `DEPUTIZE_STORE_PASSWORD` of `environ`, else libpq's own (PGPASSFILE, ~/.pgpass). Raises ConfigurationError,
    also for a URL that holds one.
    """
    try:
        query = urlsplit(url).query
        asked = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        parameters = {name: str(value) for name, value in conninfo_to_dict(url.partition("?")[0]).items()}
    except (ValueError, ProgrammingError):
        raise _refused("is postgresql://user@host/database") from None
    schema = SCHEMA
    for name, value in asked:
        if name in {"schema", "options"}:
            schema = value if name == "schema" else _searched(value)
        elif name in _TAKEN or name in _SECRET:
            parameters[name] = value
        else:
            raise _refused(f'does not take the parameter "{name[:32]}"')
    if _SECRET & parameters.keys():
        raise _refused(f"holds a password; hand it over in {PASSWORD} or PGPASSFILE")
    if not parameters.get("dbname"):
        raise _refused("does not name a database")
    if not _NAME.match(schema) or schema.startswith("pg_") or schema == "information_schema":
        raise _refused("names a schema that is not lower-case letters, digits and underscores, or is the server's own")
    if "sslmode" not in parameters and not environ.get("PGSSLMODE") and not _is_here(parameters, environ):
        parameters["sslmode"] = "verify-full"
    if environ.get(PASSWORD):
        parameters["password"] = environ[PASSWORD]
    return Address(parameters, schema)


def _is_here(parameters: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    """Whether the way to the server stays on this machine: a socket or the loopback."""
    hosts = parameters.get("hostaddr") or parameters.get("host") or environ.get("PGHOST", "")
    return all(host.startswith(("/", "@")) or host in _HERE for host in hosts.split(","))


def _searched(options: str) -> str:
    found = _SEARCH_PATH.match(options)
    if found is None:
        raise _refused('takes of "options" a search path of one schema alone')
    return found[1]


def _refused(message: str) -> ConfigurationError:
    return ConfigurationError(f"store.url {message}", key=_KEY)
