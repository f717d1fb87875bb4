"""Sockets that a server listens on, made before any worker is."""

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import Final

from deputize.model.failure import ConfigurationError

BACKLOG: Final = 1024  # connections that wait to be taken
_MODE: Final = 0o660
_MASK: Final = 0o117


def listen(host: str, port: int) -> socket.socket:
    """A TCP socket that listens. Raises ConfigurationError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _refused("server.host", f"{host}:{port} cannot be listened on: {error.strerror}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise _refused("server.port", f"{host}:{port} cannot be listened on: {error.strerror}") from None
    made.set_inheritable(True)
    return made


def listen_unix(path: str) -> socket.socket:
    """A Unix-domain socket of mode 0660 that listens. One that nobody listens on any more is replaced.

    Raises ConfigurationError.
    """
    _clear(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(_MASK)
    try:
        made.bind(path)
    except OSError as error:
        made.close()
        raise _refused("server.unix_socket", f"{path} cannot be listened on: {error.strerror}") from None
    finally:
        os.umask(before)
    Path(path).chmod(_MODE)
    made.listen(BACKLOG)
    made.set_inheritable(True)
    return made


def remove(path: str) -> None:
    """Take the name of a socket away, if it is there."""
    with contextlib.suppress(OSError):
        Path(path).unlink()


def _clear(path: str) -> None:
    try:
        found = Path(path).lstat()
    except OSError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise _refused("server.unix_socket", f"{path} is there, and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        try:
            trial.connect(path)
        except OSError:
            remove(path)
            return
    raise _refused("server.unix_socket", f"{path} is listened on by another process")


def _refused(key: str, message: str) -> ConfigurationError:
    return ConfigurationError(f"{key}: {message}", key=key)
