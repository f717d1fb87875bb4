"""A token to search for: where it turns up, tokens leak."""

import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_SIGNED: Final = re.compile(rb"eyJ[\w-]{8,}\.[\w-]+\.[\w-]+")  # a compact JWS, as all tokens of an authority are


class Canary:
    """What `canary()` makes. Callable as `mint` of a `FakeAuthority`: then it is every access token.

    `token` is its text.
    """

    def __init__(self) -> None:
        self.token = f"canary-{secrets.token_hex(16)}"
        self.minted: list[tuple[str, frozenset[str]]] = []

    def __call__(self, resource: str, scopes: frozenset[str]) -> str:
        """The token, for any resource and scopes; `minted` keeps for which."""
        self.minted.append((resource, scopes))
        return self.token

    def __repr__(self) -> str:
        return "Canary(***)"

    def found_in(self, **sinks: object) -> list[str]:
        """The names of those that hold it, or any signed token, such as that of a session or an identity.

        A sink is text, bytes, a `Path` (a file, or a folder with all below), a collection of these, or any object: then
        it is what `repr` shows. What is compressed or encrypted is not seen.
        """
        wanted = self.token.encode()
        return [
            name
            for name, sink in sinks.items()
            if any(wanted in piece or _SIGNED.search(piece) is not None for piece in _pieces(sink))
        ]

    def assert_unseen(self, **sinks: object) -> None:
        """Raise AssertionError, with the names of the sinks that hold a token and without the token."""
        if not self.minted:
            raise AssertionError("no access token was minted: nothing could have leaked, and nothing was tested")
        found = self.found_in(**sinks)
        if found:
            raise AssertionError(f"a token was found in: {', '.join(found)}")


def canary() -> Canary:
    """A token that exists once: give it to `FakeAuthority(mint=...)`, run your agents, and search what is kept."""
    return Canary()


def _pieces(sink: object) -> Iterator[bytes]:
    if isinstance(sink, str):
        yield sink.encode("utf-8", "surrogatepass")
    elif isinstance(sink, bytes | bytearray | memoryview):
        yield bytes(sink)
    elif isinstance(sink, Path):
        files = [sink] if sink.is_file() else [path for path in sorted(sink.rglob("*")) if path.is_file()]
        yield from (path.read_bytes() for path in files)
    elif isinstance(sink, dict):
        yield from _pieces([*sink.keys(), *sink.values()])
    elif isinstance(sink, Iterable) and not hasattr(sink, "model_dump"):
        for item in sink:
            yield from _pieces(item)
    else:
        yield repr(sink).encode("utf-8", "surrogatepass")
