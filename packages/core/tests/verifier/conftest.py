"""One issuer, one resource, and a verifier for it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from deputize.model.token import ACCESS_TYP, AccessClaims, TokenContext
from deputize.testing import FakeClock
from deputize.verifier import MemoryKeys, MemoryRevocations, Verifier
from deputize.wire import access_token, alg, base64url, dpop, json_strict, jws

ISSUER = "https://sts.example"
RESOURCE = "https://crm.example/mcp"
AGENT = "spiffe://example.org/agent/"


@dataclass
class World:
    key: alg.LocalKey
    holder: alg.LocalKey
    clock: FakeClock
    revocations: MemoryRevocations
    keys: MemoryKeys

    @property
    def now(self) -> int:
        return int(self.clock.now())

    def claims(self, **changes: Any) -> AccessClaims:
        base = AccessClaims(
            iss=ISSUER,
            aud=RESOURCE,
            sub="okta|alice",
            client_id=AGENT + "researcher",
            chain=(AGENT + "researcher", AGENT + "supervisor"),
            scope=("crm:read", "crm:write"),
            jti="j" * 22,
            iat=self.now,
            exp=self.now + 300,
            sid="S" * 16,
            txn="T" * 16,
            jkt=None,
            context=TokenContext(mode="on_behalf_of", path=("P" * 16, "Q" * 16), rec="R" * 43),
        )
        return replace(base, **changes)

    def token(self, **changes: Any) -> str:
        return access_token.encode(self.claims(**changes), self.key)

    def bound(self, **changes: Any) -> str:
        return self.token(jkt=self.holder.kid, **changes)

    def raw(self, changes: Mapping[str, object]) -> str:
        claims = json_strict.loads(base64url.decode(self.token().split(".")[1].encode()))
        return jws.sign(ACCESS_TYP, {**claims, **changes}, self.key)

    def proof(self, token: str, *, key: alg.LocalKey | None = None, **changes: Any) -> str:
        given = {"htm": "POST", "htu": RESOURCE, "now": self.now, "access_token": token, **changes}
        return dpop.proof(key or self.holder, **given)

    def verifier(self, **changes: Any) -> Verifier:
        given = {"keys": self.keys, "revocations": self.revocations, "clock": self.clock, **changes}
        return Verifier(ISSUER, RESOURCE, **given)


@pytest.fixture(scope="session")
def signing_keys() -> tuple[alg.LocalKey, alg.LocalKey]:
    return alg.generate(), alg.generate()


@pytest.fixture
def world(signing_keys: tuple[alg.LocalKey, alg.LocalKey]) -> World:
    key, holder = signing_keys
    return World(key, holder, FakeClock(), MemoryRevocations(), MemoryKeys([key.public]))


@pytest.fixture
def verifier(world: World) -> Verifier:
    return world.verifier()
