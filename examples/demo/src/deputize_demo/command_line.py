"""The `deputize` command, run as anybody else would run it: in a process of its own."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and what it printed."""

    status: int
    output: str

    @property
    def data(self) -> dict[str, object]:
        """What it printed with `--json`; nothing where that is no object."""
        try:
            found = json.loads(self.output)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


async def deputize(*arguments: str | Path) -> Done:
    """Run it to its end. A cancelled run ends the command too."""
    command = Path(sys.executable).with_name("deputize")
    process = await asyncio.create_subprocess_exec(
        command,
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return Done(process.returncode or 0, output.decode("utf-8", "replace").strip())
