"""An authority with a rule of every method, issuers on the loopback, and workloads that come from outside."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deputize.authority import client_auth, visible, workloads
from deputize.authority.engine import Engine
from deputize.authority.evidence_keys import EvidenceKeys
from deputize.authority.stores import store_of
from deputize.authority.subject import Tokens
from deputize.config import load
from deputize.model.event import Record
from deputize.model.request import Client, PeerCredentials, WorkloadEvidence
from deputize.testing import FakeClock, FakeIssuer
from deputize.wire import base64url, client_assertion, jws
from deputize.wire.alg import LocalKey, generate
from deputize.wire.client_assertion import Credentials

AUTHORITY = "https://sts.example"
DOMAIN = "prod.example"
CONFIGURATION = """
version = 1
[authority]
issuer = "https://sts.example"
trust_domain = "example.org"
[store]
url = "sqlite:deputize.db"
durability = "normal"
[agents.supervisor]
open = true
[agents.researcher]
[agents.auditor]
attestation = ["spiffe"]
[agents.builder]
[agents.local]
attestation = ["in_process"]
[[attestation]]
method = "kubernetes"
issuer = "{cluster}"
audience = "https://sts.example"
workload = "churn"
agents = ["supervisor", "researcher", "auditor"]
match."kubernetes.io".namespace = "churn"
match."kubernetes.io".serviceaccount.name = "agents"
[[attestation]]
method = "oidc"
issuer = "{ci}"
audience = "https://sts.example"
workload = "ci"
agents = ["builder"]
match = {{ repository = "acme/agents", ref = "refs/heads/main", sub = "repo:acme/agents:*" }}
[[attestation]]
method = "spiffe"
issuer = "spiffe://prod.example"
audience = "https://sts.example"
jwks = "{bundle}"
workload = "mesh"
agents = ["auditor", "researcher"]
match = {{ sub = "spiffe://prod.example/ns/churn/*" }}
[[attestation]]
method = "unix"
workload = "host"
agents = ["supervisor"]
match = {{ uid = "1000" }}
[[attestation]]
method = "join"
workload = "edge"
agents = ["researcher", "local"]
[[attestation]]
method = "kubernetes"
issuer = "{cluster}"
audience = "https://sts.example"
single_use = false
workload = "pool"
agents = ["researcher"]
match."kubernetes.io".namespace = "pool"
[[attestation]]
method = "join"
workload = "crm-server"
agents = []
"""


class Site:
    """The authority's side and, in `workload`, `agent` and `ask`, what a well-behaved client does."""

    def __init__(self, folder: Path, cluster: FakeIssuer, ci: FakeIssuer, clock: FakeClock) -> None:
        self.clock, self.cluster, self.ci, self.folder = clock, cluster, ci, folder
        self.svid_key = generate()
        self.path = folder / "deputize.toml"
        self.bundle = folder / "bundle.json"
        self.publish(self.svid_key)
        self.configure()
        self.engines: list[Engine] = []
        self.engine = self.replica()
        self.keys = EvidenceKeys(clock=clock)
        self.tokens = Tokens()

    @property
    def parts(self) -> Any:
        return self.engine.parts

    def configure(self, *changes: tuple[str, str]) -> None:
        text = CONFIGURATION.format(cluster=self.cluster.url, ci=self.ci.url, bundle=self.bundle)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.path.write_text(text, encoding="utf-8")

    def apply(self, old: str, new: str, more: tuple[str, str] = ("", "")) -> None:
        """A new configuration in the running authority: the one above with these changes."""
        self.configure((old, new), more)
        self.engine.apply(load(self.path, environ={}))

    def replica(self) -> Engine:
        """One more authority over the same file, as another process would have it."""
        configuration = load(self.path, environ={})
        made = Engine(configuration, store=store_of(configuration), clock=self.clock)
        self.engines.append(made)
        return made

    def publish(self, key: LocalKey, **members: object) -> None:
        jwk = {**key.public_jwk(), "kid": key.kid, "use": "jwt-svid", **members}
        shown = {name: value for name, value in jwk.items() if value is not None}
        self.bundle.write_text(json.dumps({"keys": [shown], "spiffe_sequence": 1}), encoding="utf-8")

    def pod(self, namespace: str = "churn", account: str = "agents", **changes: object) -> str:
        """A projected service account token, as an API server writes them."""
        now = int(self.clock.now())
        claims: dict[str, object] = {
            "aud": [AUTHORITY],
            "exp": now + 3607,
            "iat": now,
            "jti": base64url.encode(generate().kid.encode())[:36],
            "kubernetes.io": {
                "namespace": namespace,
                "node": {"name": "node-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
                "pod": {"name": f"{account}-6f7d", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
                "serviceaccount": {"name": account, "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
            },
            "nbf": now,
            "sub": f"system:serviceaccount:{namespace}:{account}",
        }
        return self.cluster.mint({**claims, **changes}, typ=None)

    def job(self, repository: str = "acme/agents", ref: str = "refs/heads/main", **changes: object) -> str:
        """A job's token, as a CI provider writes them."""
        claims: dict[str, object] = {
            "jti": base64url.encode(generate().kid.encode())[:36],
            "sub": f"repo:{repository}:ref:{ref}",
            "aud": AUTHORITY,
            "ref": ref,
            "sha": "0f1e2d3c4b5a69788796a5b4c3d2e1f001122334",
            "repository": repository,
            "repository_owner": repository.partition("/")[0],
            "run_id": "1234567890",
            "run_attempt": "1",
            "actor": "octo",
            "workflow": "release",
            "event_name": "push",
            "ref_type": "branch",
            "job_workflow_ref": f"{repository}/.github/workflows/release.yml@{ref}",
            "runner_environment": "hosted",
            "exp": int(self.clock.now()) + 300,
        }
        return self.ci.mint({**claims, **changes})

    def svid(self, sub: str = "spiffe://prod.example/ns/churn/sa/agents", **options: Any) -> str:
        """A JWT-SVID, as a Workload API hands them out."""
        key, typ = options.pop("key", self.svid_key), options.pop("typ", "JWT")
        header = {"alg": key.alg, "kid": key.kid, **({"typ": typ} if typ else {}), **options.pop("header", {})}
        now = int(self.clock.now())
        claims = {"sub": sub, "aud": [AUTHORITY], "exp": now + 300, "iat": now, **options}
        return jws.sign_with(header, {name: value for name, value in claims.items() if value is not None}, key)

    def attest(self, evidence: WorkloadEvidence, key: LocalKey | None = None) -> workloads.WorkloadIdentity:
        key = key or generate()
        return workloads.attest(self.parts, self.keys, evidence, jwk=key.public_jwk(), jkt=key.kid)

    def jwt(self, token: str, key: LocalKey | None = None) -> workloads.WorkloadIdentity:
        return self.attest(WorkloadEvidence(kind="jwt", token=token), key)

    def hosted(self, found: workloads.WorkloadIdentity) -> tuple[str, ...]:
        client = Client(agent=found.workload, jkt="", workload=found.workload, attestation=found.method)
        return visible.hosted(self.parts, client)

    def peer(self, uid: int, gid: int = 1000) -> workloads.WorkloadIdentity:
        return self.attest(WorkloadEvidence(kind="unix", peer=PeerCredentials(uid=uid, gid=gid, pid=4242)))

    def workload(self, token: str | None = None) -> tuple[LocalKey, workloads.WorkloadIdentity]:
        """A workload with its key; of the cluster, unless its token says else."""
        key = generate()
        return key, self.jwt(token or self.pod(), key)

    def credentials(self, key: LocalKey, identity: str, **changes: Any) -> Credentials:
        sub = json.loads(base64url.decode(identity.split(".")[1].encode()))["sub"]
        given = {"client_id": sub, "issuer": AUTHORITY, "now": self.clock.now(), **changes}
        return Credentials(assertion=client_assertion.encode(key, **given), identity=identity)

    def ask(self, key: LocalKey, identity: str, **changes: Any) -> Client:
        """Authenticate as a client does."""
        return client_auth.client_of(self.parts, self.tokens, self.credentials(key, identity, **changes))

    def agent(self, name: str, key: LocalKey, identity: str) -> tuple[LocalKey, workloads.WorkloadIdentity]:
        own = generate()
        client = self.ask(key, identity)
        return own, workloads.identify(self.parts, client, name, jwk=own.public_jwk(), jkt=own.kid)

    @staticmethod
    def decoded(part: str) -> bytes:
        return base64url.decode(part.encode())

    @staticmethod
    def encoded(raw: bytes) -> str:
        return base64url.encode(raw)

    def records(self, kind: str) -> list[Record]:
        found: list[Record] = self.parts.store.read(lambda tx: tx.find(type=kind))
        return found

    def body(self, kind: str) -> Mapping[str, Any]:
        """The newest record of that type."""
        raw = self.records(kind)[-1].body
        assert raw is not None
        found: Mapping[str, Any] = json.loads(raw)
        return found


@pytest.fixture(scope="session")
def cluster_key() -> LocalKey:
    """API servers sign with RSA, whose keys take their time."""
    return generate("RS256")


@contextmanager
def open_site(folder: Path, cluster_key: LocalKey) -> Iterator[Site]:
    clock = FakeClock()
    with FakeIssuer(clock=clock, path="/cluster") as cluster, FakeIssuer(clock=clock) as ci:
        cluster.key, cluster.published = cluster_key, {cluster_key.kid: cluster_key}
        made = Site(folder, cluster, ci, clock)
        yield made
        for engine in made.engines:
            engine.close()


@pytest.fixture
def site(tmp_path: Path, cluster_key: LocalKey) -> Iterator[Site]:
    with open_site(tmp_path, cluster_key) as made:
        yield made


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, cluster_key: LocalKey) -> Iterator[Site]:
    """One site for many refusals, which leave nothing behind."""
    with open_site(tmp_path_factory.mktemp("standing"), cluster_key) as made:
        yield made


@pytest.fixture
def other_issuer(site: Site) -> Iterator[FakeIssuer]:
    """An issuer that no rule names."""
    with FakeIssuer(clock=site.clock) as made:
        yield made
