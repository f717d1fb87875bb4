"""Node and npm of the lock's wheel: packages installed from a committed lock file, once for whoever needs them."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

BIN: Final = Path(sys.prefix) / "bin"
_FILES: Final = ("package.json", "package-lock.json", ".npmrc")


def installed(locked: Path) -> Path:
    """A folder with the packages that `locked` names: installed once, and again when its lock changes.

    Raises CalledProcessError where npm cannot.
    """
    digest = hashlib.sha256(b"".join((locked / name).read_bytes() for name in _FILES)).hexdigest()
    folder = Path(sys.prefix) / "interop" / digest[:16]
    if not (folder / "node_modules").is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        half = folder.with_name(f"{folder.name}.{os.getpid()}")
        half.mkdir(parents=True)
        for name in _FILES:
            shutil.copy(locked / name, half / name)
        command = [str(BIN / "npm"), "ci", "--no-progress"]
        subprocess.run(command, cwd=half, env=environment(), check=True, timeout=120, capture_output=True)
        with contextlib.suppress(OSError):  # another process was faster
            half.rename(folder)
        shutil.rmtree(half, ignore_errors=True)
    return folder


def script(locked: Path, source: Path) -> Path:
    """A copy of `source` beside the packages of `locked`: Node looks for them from where a script lies."""
    return Path(shutil.copy(source, installed(locked) / source.name))


def environment() -> dict[str, str]:
    """Node beside Python, and the system's certificates, which Node does not read by itself."""
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    return {"NODE_OPTIONS": "--use-system-ca", **os.environ, "PATH": path}
