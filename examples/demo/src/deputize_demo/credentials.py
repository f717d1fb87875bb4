"""Calling an MCP server by hand, with any credentials: what a thief does."""

import asyncio
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from deputize import Authority

_REVISION: Final = "2026-07-28"  # of MCP
_OK: Final = 200
_LATE: Final = 100  # looks at the log, 30 ms apart: a server records after it has answered


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. `reason` is empty where it let the call through."""

    status: int
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.status} {self.reason or 'accepted'}"


class Thief:
    """Holds a token that is not its own, and a key that is."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._key = ec.generate_private_key(ec.SECP256R1())

    def headers(self, url: str) -> dict[str, str]:
        """The token, with a proof (RFC 9449 §4.2) that is right in everything but the key."""
        point = self._key.public_key().public_numbers()
        jwk = {"kty": "EC", "crv": "P-256", "x": _base64(_bytes(point.x)), "y": _base64(_bytes(point.y))}
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}
        claims = {
            "htm": "POST",
            "htu": url,
            "iat": int(time.time()),  # noqa: TID251  # a thief has the clock of the machine
            "jti": secrets.token_urlsafe(12),
            "ath": _base64(sha256(self._token.encode()).digest()),
        }
        signed = f"{_base64(json.dumps(header).encode())}.{_base64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return {"Authorization": f"DPoP {self._token}", "DPoP": f"{signed}.{_base64(_bytes(r) + _bytes(s))}"}


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(number: int) -> bytes:
    return number.to_bytes(32, "big")


async def present(url: str, headers: Mapping[str, str], tool: str, **arguments: object) -> Answer:
    """Call a tool with these credentials, past every client library."""
    client_says = {
        "io.modelcontextprotocol/protocolVersion": _REVISION,
        "io.modelcontextprotocol/clientInfo": {"name": "by hand", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, "_meta": client_says},
    }
    routing = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": _REVISION,
        "mcp-method": "tools/call",
        "mcp-name": tool,
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(url, json=message, headers={**routing, **headers})
    if response.status_code == _OK:
        return Answer(_OK)
    return Answer(response.status_code, str(json.loads(response.content)["error"]["data"]["error"]))


async def rejected(authority: Authority, url: str, headers: Mapping[str, str], tool: str) -> Answer:
    """`present`, with the reason of a 401. It stands in the Authority's log alone: whoever presents is told nothing."""
    before = len(authority.audit)
    answer = await present(url, headers, tool)
    for _ in range(_LATE):
        newest = authority.audit.find(type="resource.rejected", limit=1)
        if newest and int(str(newest[0]["seq"])) >= before:
            return Answer(answer.status, str(newest[0]["code"]))
        await asyncio.sleep(0.03)
    return answer
