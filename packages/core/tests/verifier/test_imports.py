"""What importing the verifier costs: nothing that a resource server does not need."""

import os
import subprocess
import sys
from typing import Any

HEAVY = ("jwt", "pydantic", "httpx", "cedarpy", "asyncio", "ssl", "email", "http.client")
FOREIGN = ("deputize.store", "deputize.authority", "deputize.policy", "deputize.audit", "deputize.facade")


def run(code: str) -> Any:
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_verifier_loads_no_framework_no_http_and_no_policy_engine() -> None:
    loaded = run(f"import sys, deputize.verifier; print([m for m in {HEAVY + FOREIGN!r} if m in sys.modules])")
    assert loaded == "[]"


def test_verifying_loads_nothing_more() -> None:
    code = f"""
import sys
from deputize.verifier import MemoryKeys, Verifier
from deputize.wire import access_token, alg, dpop
from deputize.model.token import AccessClaims, TokenContext
import time
now = int(time.time())
key = alg.generate()
keys = MemoryKeys.from_jwks(__import__("json").dumps({{"keys": [key.public_jwk()]}}).encode())
claims = AccessClaims(iss="https://i.example", aud="https://r.example", sub="local|a", client_id="c", chain=("c",),
    scope=("s",), jti="j", iat=now, exp=now + 60, sid="S" * 16, txn="T" * 16, jkt=key.kid,
    context=TokenContext(mode="on_behalf_of", path=(), rec="R" * 43))
token = access_token.encode(claims, key)
proof = dpop.proof(key, htm="GET", htu="https://r.example", now=now, access_token=token)
Verifier("https://i.example", "https://r.example", keys=keys).verify(
    token, proof=proof, method="GET", url="https://r.example", binding="dpop")
print([m for m in {HEAVY + FOREIGN!r} if m in sys.modules])
"""
    assert run(code) == "[]"
