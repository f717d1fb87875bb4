"""The operator's token of this process: from the environment, else the one that `deputize login` keeps.

It lives an hour or so and nothing renews it. It is kept where the system puts what ends with a login
(`XDG_RUNTIME_DIR`), else below `XDG_STATE_HOME`, in a file that its owner alone can read.
"""

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deputize.model.failure import ConfigurationError, InvalidRequest
from deputize.wire.json_strict import dumps, loads

TOKEN_VARIABLE: Final = "DEPUTIZE_TOKEN"  # noqa: S105  # a variable's name
MAX_FILE: Final = 64 * 1024  # bytes
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def operator_token(authority: str, environ: Mapping[str, str], *, now: float) -> str | None:
    """The token for the authority of that URL: the environment's, else one that is kept and has not expired."""
    return environ.get(TOKEN_VARIABLE) or kept(authority, environ, now=now)


def keep(authority: str, token: str, expires: int, environ: Mapping[str, str]) -> Path:
    """Keep a token until `expires` (seconds), for its owner alone. Returns where. Raises ConfigurationError."""
    path = _path(authority, environ)
    fresh = path.with_name(f".{secrets.token_hex(8)}")
    content = dumps({"authority": authority, "expires": expires, "token": token})
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise ConfigurationError(f"the token cannot be kept: {error.strerror}", path=str(path)) from None
    return path


def kept(authority: str, environ: Mapping[str, str], *, now: float) -> str | None:
    """The token that is kept for this authority; one that expired is deleted.

    A file that others may read, or that is somebody else's, is not believed: ConfigurationError.
    """
    path = _path(authority, environ)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"the kept token cannot be read: {error.strerror}", path=str(path)) from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & _OTHERS:
            raise ConfigurationError("the kept token is not in a file of your own alone: log in again", path=str(path))
        content = file.read(MAX_FILE)
    try:
        told = loads(content)
    except InvalidRequest:
        return None
    token, expires = told.get("token"), told.get("expires")
    if told.get("authority") != authority or not isinstance(token, str) or type(expires) is not int:
        return None
    if now >= expires:
        forget(authority, environ)
        return None
    return token


def forget(authority: str, environ: Mapping[str, str]) -> bool:
    """Delete the token of this authority. Whether there was one. Raises ConfigurationError."""
    path = _path(authority, environ)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigurationError(f"the token cannot be deleted: {error.strerror}", path=str(path)) from None
    return True


def _path(authority: str, environ: Mapping[str, str]) -> Path:
    """One file an authority."""
    runtime, state = environ.get("XDG_RUNTIME_DIR", ""), environ.get("XDG_STATE_HOME", "")
    if Path(runtime).is_absolute() and Path(runtime).is_dir():
        folder = Path(runtime)
    elif Path(state).is_absolute():
        folder = Path(state)
    else:
        folder = Path(environ.get("HOME") or "~").expanduser() / ".local" / "state"
    return folder / "deputize" / f"operator-{hashlib.sha256(authority.encode()).hexdigest()[:32]}.json"
