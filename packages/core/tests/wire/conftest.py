"""An issuer in miniature: mints every kind of token with one key, and reads it back in every slot."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from deputize.model.token import (
    ACCESS_TYP,
    CONTEXT_CLAIM,
    AccessClaims,
    IdentityClaims,
    SessionClaims,
    SubjectAssertion,
    TokenContext,
)
from deputize.wire import (
    access_token,
    alg,
    base64url,
    client_assertion,
    dpop,
    identity_token,
    json_strict,
    jws,
    jwt_svid,
    session_token,
    subject_assertion,
)

NOW = 1_750_000_000
ISSUER = "https://sts.example"
RESOURCE = "https://crm.example/mcp"
AGENT = "spiffe://example.org/agent/"
CONTEXT = TokenContext(mode="on_behalf_of", path=("P" * 16,), rec="R" * 43)
ACCESS = AccessClaims(
    iss=ISSUER,
    aud=RESOURCE,
    sub="okta|alice",
    client_id=AGENT + "researcher",
    chain=(AGENT + "researcher", AGENT + "supervisor"),
    scope=("crm:read", "crm:write"),
    jti="j" * 22,
    iat=NOW,
    exp=NOW + 300,
    sid="S" * 16,
    txn="T" * 16,
    jkt=None,
    context=CONTEXT,
)


@dataclass
class Issuer:
    key: alg.LocalKey
    holder: alg.LocalKey
    other: dict[str, alg.LocalKey] = field(default_factory=dict)
    now: int = NOW
    iss: str = ISSUER
    resource: str = RESOURCE

    def key_for(self, header: jws.Header) -> alg.VerifyingKey | None:
        return self.key.public if header.kid == self.key.kid else None

    def access_claims(self, **changes: Any) -> AccessClaims:
        return replace(ACCESS, **changes)

    def session_claims(self, **changes: Any) -> SessionClaims:
        kept = {name: getattr(ACCESS, name) for name in ("iss", "sub", "client_id", "chain", "jti", "iat", "exp")}
        more = {"sid": ACCESS.sid, "txn": ACCESS.txn, "context": CONTEXT, "jkt": self.holder.kid}
        return SessionClaims(**{**kept, **more, **changes})

    def identity_claims(self, **changes: Any) -> IdentityClaims:
        base = IdentityClaims(
            iss=ISSUER, sub=AGENT + "researcher", jti="i" * 22, iat=NOW, exp=NOW + 900, jwk=self.holder.public_jwk()
        )
        return replace(base, **changes)

    def access(self, **changes: Any) -> str:
        return access_token.encode(self.access_claims(**changes), self.key)

    def session(self, **changes: Any) -> str:
        return session_token.encode(self.session_claims(**changes), self.key)

    def identity(self, **changes: Any) -> str:
        return identity_token.encode(self.identity_claims(**changes), self.key)

    def proof(self, **changes: Any) -> str:
        return dpop.proof(self.holder, **{"htm": "POST", "htu": RESOURCE, "now": NOW, **changes})

    def read_access(self, token: str, **changes: Any) -> AccessClaims:
        given = {"issuer": ISSUER, "audience": RESOURCE, "key_for": self.key_for, "now": NOW, **changes}
        return access_token.decode(token, **given)

    def read_session(self, token: str, **changes: Any) -> SessionClaims:
        return session_token.decode(token, **{"issuer": ISSUER, "key_for": self.key_for, "now": NOW, **changes})

    def read_identity(self, token: str, **changes: Any) -> IdentityClaims:
        return identity_token.decode(token, **{"issuer": ISSUER, "key_for": self.key_for, "now": NOW, **changes})

    def read_proof(self, proof: str, **changes: Any) -> str:
        given = {"htm": "POST", "htu": RESOURCE, "access_token": None, "jkt": None, "now": NOW, "spend": fresh}
        return dpop.check(proof, **{**given, **changes})

    def assertion(self, **changes: Any) -> str:
        given = {"client_id": AGENT + "researcher", "issuer": ISSUER, "now": NOW, **changes}
        return client_assertion.encode(self.holder, **given)

    def subject(self, **changes: Any) -> str:
        given = {"agent": AGENT + "researcher", "user": "local|alice", "issuer": ISSUER, "now": NOW, **changes}
        return subject_assertion.encode(self.holder, **given)

    def svid(self, **changes: Any) -> str:
        claims = {"sub": "spiffe://prod.example/ns/churn", "aud": [ISSUER], "iat": NOW, "exp": NOW + 300, **changes}
        return jws.sign("JOSE", claims, self.key)

    def read_assertion(self, token: str, **changes: Any) -> object:
        given = {"client_id": AGENT + "researcher", "issuer": ISSUER, "key": self.holder.public, "now": NOW}
        return client_assertion.decode(token, **{**given, **changes})

    def read_subject(self, token: str, **changes: Any) -> SubjectAssertion:
        given = {"agent": AGENT + "researcher", "issuer": ISSUER, "key": self.holder.public, "now": NOW}
        return subject_assertion.decode(token, **{**given, **changes})

    def read_svid(self, token: str, **changes: Any) -> jwt_svid.SvidClaims:
        given = {"trust_domain": "prod.example", "audience": {ISSUER}, "key_for": self.key_for, "now": NOW}
        return jwt_svid.decode(token, **{**given, **changes})

    def slots(self) -> dict[str, Callable[[str], object]]:
        return {
            "identity": self.read_identity,
            "session": self.read_session,
            "access": self.read_access,
            "proof": self.read_proof,
            "assertion": self.read_assertion,
            "subject": self.read_subject,
            "svid": self.read_svid,
        }

    def token_slots(self) -> dict[str, tuple[str, Callable[..., object], dict[str, object]]]:
        """The three kinds that this issuer signs: (typ, reader, claims that are valid there)."""
        made = {"identity": self.identity(), "session": self.session(), "access": self.access(jkt=self.holder.kid)}
        return {kind: (jws.peek(token).typ or "", self.slots()[kind], payload(token)) for kind, token in made.items()}


def fresh(digest: str, until: int) -> bool:
    return True


def payload(token: str) -> dict[str, object]:
    return json_strict.loads(base64url.decode(token.split(".")[1].encode()))


@pytest.fixture(scope="session")
def keys() -> dict[str, alg.LocalKey]:
    return {name: alg.generate(name) for name in sorted(alg.ALGORITHMS)}


@pytest.fixture(scope="session")
def issuer(keys: dict[str, alg.LocalKey]) -> Issuer:
    return Issuer(key=alg.generate(), holder=alg.generate(), other=keys)


@pytest.fixture(scope="session")
def claims_of() -> Callable[[str], dict[str, object]]:
    return payload


@pytest.fixture(scope="session")
def names() -> dict[str, str]:
    return {"context": CONTEXT_CLAIM, "access": ACCESS_TYP}
