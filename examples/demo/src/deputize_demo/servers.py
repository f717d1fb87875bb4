"""The two MCP servers, as processes of their own."""

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import httpx

from deputize_demo.failures import ServerFailed

_PATIENCE: Final = 20.0  # seconds that a server may take to start
_FAREWELL: Final = 3.0  # seconds that it may take to end
_METADATA: Final = "/.well-known/oauth-protected-resource"


class Server:
    """One server process. It ends when `stop` is called, or when this process ends in whatever way."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        self._errors = folder / f"{name}.err"
        self._read = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"{self.origin}/mcp"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, authority: Path, database: Path) -> None:
        """Start it; `wait` until it answers. Ctrl-C reaches this process alone, which then stops the server."""
        listening = self._socket.fileno()
        command = [sys.executable, "-m", f"deputize_demo.{self.name}", "--authority", str(authority)]
        command += ["--url", self.url, "--database", str(database), "--socket", str(listening)]
        with self._log.open("wb") as out, self._errors.open("wb") as err:
            self._process = subprocess.Popen(  # noqa: S603  # our own module
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                pass_fds=(listening,),
                start_new_session=True,
            )
        self._socket.close()

    def wait(self) -> None:
        """Until it answers. Raises ServerFailed."""
        deadline = time.monotonic() + _PATIENCE
        with httpx.Client(timeout=_PATIENCE, trust_env=False) as client:
            while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
                with contextlib.suppress(httpx.TransportError):
                    if client.get(self.origin + _METADATA).is_success:
                        return
                time.sleep(0.05)
        errors = self._errors.read_text(encoding="utf-8", errors="replace")
        raise ServerFailed(f"the {self.name} server did not start:\n{errors[-2000:]}")

    def said(self) -> list[str]:
        """The lines that it printed since this was asked last."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            whole = log.read().rpartition(b"\n")[0]
        self._read += len(whole) + 1 if whole else 0
        return whole.decode("utf-8", "replace").splitlines()

    def everything(self) -> list[str]:
        """All lines that it ever printed."""
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()

    def hang_up(self) -> None:
        """Ask it to end, without waiting."""
        self._socket.close()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.terminate()

    def stop(self) -> None:
        """End it: by asking, and if that is not enough, by force."""
        self.hang_up()
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
