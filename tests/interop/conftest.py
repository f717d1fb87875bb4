"""A certified OpenID provider in its own process, under the Node of the lock, and a browser made of requests."""

import base64
import hashlib
import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tools.node import BIN, environment, script

HERE: Final = Path(__file__).parent / "oidc_provider"


@dataclass
class Provider:
    """The running provider; `sign_in` is what a person with a browser would do."""

    process: subprocess.Popen[str]
    issuer: str = ""

    def hear(self) -> None:
        assert self.process.stdout is not None
        self.issuer = json.loads(self.process.stdout.readline())["issuer"]

    def tell(self, command: str) -> None:
        """`rotate` signs with new keys beside the old; `retire` publishes the new ones alone."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        self.hear()

    def sign_in(self, user: str = "u1", alg: str = "ES256", scope: str = "openid crm:read") -> dict[str, Any]:
        """The token endpoint's answer to an authorization code with PKCE, of a client that signs with `alg`."""
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        client = {"client_id": f"portal-{alg}", "redirect_uri": "https://portal.example/back"}
        asked = {
            **client,
            "response_type": "code",
            "scope": scope,
            "login_hint": user,
            "nonce": secrets.token_hex(8),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "claims": json.dumps({"id_token": {"acr": None, "amr": None}}),
        }
        with httpx.Client(base_url=self.issuer, trust_env=False) as browser:
            answer = browser.get("/auth", params=asked)
            while answer.is_redirect and not answer.headers["location"].startswith(client["redirect_uri"]):
                answer = browser.get(answer.headers["location"])
            assert answer.is_redirect, answer.text
            (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
            grant = {**client, "grant_type": "authorization_code", "code": code, "code_verifier": verifier}
            answer = browser.post("/token", data=grant)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="session")
def folder() -> Path:
    return script(HERE, HERE / "server.mjs").parent


@pytest.fixture
def provider(folder: Path) -> Iterator[Provider]:
    process = subprocess.Popen(
        [BIN / "node", "server.mjs"],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
    with process:
        found = Provider(process)
        try:
            found.hear()
            yield found
        finally:
            process.kill()
