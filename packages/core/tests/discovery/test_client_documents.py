"""Client metadata documents: what we say of our agents, and what we believe of a client that is not ours."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from deputize import AttestationFailed, Authority, ConfigurationError, InvalidRequest
from deputize.authority.client_documents import note_keys
from deputize.authority.discovery import fetcher_for
from deputize.client.evidence import Oidc
from deputize.config import load
from deputize.issuers.client_documents import fetch_document
from deputize.testing import FakeClock
from deputize.wire import client_metadata, jws
from deputize.wire.alg import LocalKey, generate

URL = "https://partner.example/agent/client.json"
HERE = "http://127.0.0.1:1"  # the issuer of an authority at the loopback
PARTNER = """
[agents.partner]
open = true
use = {{ crm = ["crm:read"] }}
[[attestation]]
method = "client_metadata"
issuer = "{url}/client.json"
audience = "partner-of-ours"
workload = "partner"
agents = ["partner"]
"""


def document(url: str = URL, **more: Any) -> dict[str, Any]:
    return {"client_id": url, "client_name": "Partner", **more}


def keys_of(*keys: LocalKey) -> dict[str, Any]:
    return {"keys": [{**key.public_jwk(), "kid": key.kid, "use": "sig"} for key in keys]}


def parsed(told: Any, url: str = URL, **more: Any) -> Any:
    return client_metadata.parse(json.dumps(told).encode(), url=url, **more)


def refused(attempt: Any) -> str:
    with pytest.raises(InvalidRequest) as error:
        attempt()
    return error.value.code


@pytest.mark.requirement("CI-03", "CI-04")
def test_the_document_of_an_agent_of_ours_is_of_its_own_url_and_holds_no_secret(place: Any, get: Any) -> None:
    url = f"{place.url}/agents/researcher/client.json"
    answer = get(url)
    told = answer.json()
    assert told["client_id"] == url
    assert told["deputize_agent_id"] == "spiffe://example.org/agent/researcher"
    assert told["token_endpoint_auth_method"] == "private_key_jwt"
    assert not any("secret" in name for name in told)
    assert len(answer.content) < client_metadata.MAX_DOCUMENT
    assert get(f"{place.url}/agents/nobody/client.json").status_code == 404


@pytest.mark.requirement("CI-08")
def test_no_client_id_that_we_give_looks_like_the_url_of_a_document(place: Any) -> None:
    assert all(name.startswith("spiffe://") for name in place.engine.registry.agents)


def test_documents_as_client_ids_are_not_announced_since_the_token_endpoint_takes_none(place: Any, get: Any) -> None:
    told = get(f"{place.url}/.well-known/oauth-authorization-server").json()
    assert "client_id_metadata_document_supported" not in told


@pytest.mark.requirement("CI-01")
@pytest.mark.parametrize(
    "url",
    [
        "http://partner.example/c",
        "https://partner.example",
        "https://partner.example/",
        "https://partner.example/a/../c",
        "https://partner.example/a/./c",
        "https://partner.example/a/%2e%2e/c",
        "https://partner.example/a/.%2E/c",
        "https://partner.example/c#f",
        "https://partner.example/c#",
        "https://partner.example/c?q=1",
        "https://user@partner.example/c",
        "https://user:p@partner.example/c",
        "https:///c",
        "https://partner.example/c d",
        "https://partner.example\\c",
        "https://pärtner.example/c",
        "https://partner.example:x/c",
        "ftp://partner.example/c",
        "file:///etc/passwd",
        "http://127.0.0.1/c",
        "",
        "https://partner.example/" + "a" * 3000,
    ],
)
def test_what_can_be_no_clients_name_is_refused(url: str) -> None:
    assert refused(lambda: client_metadata.check_client_id(url)) == "client_metadata_malformed"


@pytest.mark.requirement("CI-03")
@pytest.mark.parametrize(
    "other",
    ["https://partner.example/agent/Client.json", URL + "/", "https://PARTNER.example/agent/client.json", None, 1],
)
def test_a_document_of_another_name_is_refused_and_names_are_compared_as_they_are(other: Any) -> None:
    assert parsed(document()).client_id == URL
    assert refused(lambda: parsed({**document(), "client_id": other})) == "client_metadata_malformed"


@pytest.mark.requirement("CI-04")
@pytest.mark.parametrize(
    "more",
    [
        {"client_secret": "s3cr3t"},
        {"client_secret_expires_at": 0},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": ["none"]},
        {"token_endpoint_auth_method": "none", "jwks": keys_of(generate())},
        {"jwks": {"keys": [{"kty": "oct", "k": "AAAA", "kid": "k"}]}},
        {"jwks": {"keys": []}},
        {"jwks": "keys"},
        {"jwks": keys_of(generate()), "jwks_uri": "https://partner.example/keys"},
    ],
    ids=lambda more: ",".join(sorted(more)),
)
def test_a_client_with_a_shared_secret_or_with_keys_that_it_does_not_use_is_refused(more: dict[str, Any]) -> None:
    assert refused(lambda: parsed(document(**more))) == "client_metadata_malformed"


@pytest.mark.requirement("CI-04")
def test_keys_make_a_client_that_authenticates_by_them() -> None:
    assert parsed(document()).method == "none"
    assert parsed(document(jwks=keys_of(generate()))).method == "private_key_jwt"
    assert parsed(document(jwks_uri="https://partner.example/keys")).jwks_uri == "https://partner.example/keys"


@pytest.mark.requirement("CI-05")
@pytest.mark.parametrize("member", ["jwks_uri", "client_uri", "logo_uri", "tos_uri", "policy_uri"])
@pytest.mark.parametrize(
    "url", ["http://partner.example/x", "http://127.0.0.1/x", "javascript:alert(1)", "file:///x", 1]
)
def test_every_url_in_a_document_is_looked_at(member: str, url: Any) -> None:
    assert refused(lambda: parsed(document(**{member: url}))) == "client_metadata_malformed"


def served(place: Any, status: int, body: bytes, **headers: str) -> Any:
    return place.rogue(more={"/client.json": (status, headers, body)})


@pytest.mark.requirement("CI-02")
def test_only_200_json_of_5_kib_without_redirect_is_taken(place: Any) -> None:
    clock = FakeClock()
    elsewhere = place.rogue()
    answers = [
        (301, b"", {"Location": elsewhere.url + "/client.json"}),
        (302, b"", {"Location": elsewhere.url + "/client.json"}),
        (204, b"", {}),
        (404, b"", {}),
        (200, b"{}", {"Content-Type": "text/html"}),
        (200, b'{"a":"' + b"x" * 5200 + b'"}', {}),
        (200, b"[]", {}),
        (200, b'{"client_id":"a","client_id":"b"}', {}),
        (200, b"{", {}),
    ]
    for status, body, headers in answers:
        rogue = served(place, status, body, **headers)
        with pytest.raises(InvalidRequest):
            fetch_document(fetcher_for(HERE, clock, max_bytes=5 * 1024), rogue.url + "/client.json", loopback=True)
    assert elsewhere.asked == []


@pytest.mark.requirement("CI-06")
def test_a_document_is_kept_as_its_headers_say_and_one_that_does_not_hold_never(place: Any) -> None:
    clock = FakeClock()
    rogue = place.rogue()
    url = rogue.url + "/client.json"
    kept = {"Cache-Control": "max-age=60"}
    fetcher = fetcher_for(HERE, clock, max_bytes=5 * 1024)
    rogue.pages["/client.json"] = (200, kept, json.dumps(document("https://other.example/c")).encode())
    for _ in range(2):
        assert refused(lambda: fetch_document(fetcher, url, loopback=True)) == "client_metadata_malformed"
    assert len(rogue.asked) == 2
    rogue.pages["/client.json"] = (200, kept, json.dumps(document(url)).encode())
    before = len(rogue.asked)
    assert [fetch_document(fetcher, url, loopback=True).name for _ in range(3)] == ["Partner"] * 3
    assert len(rogue.asked) == before + 1
    clock.advance(61)
    assert fetch_document(fetcher, url, loopback=True).name == "Partner"
    assert len(rogue.asked) == before + 2


class Partner:
    """A client that is not ours: a document at its own URL, and the key behind it."""

    def __init__(self, rogue: Any) -> None:
        self.url = rogue.url + "/client.json"
        self.rogue = rogue
        self.number = 0

    def publish(self, *keys: LocalKey, at: str | None = None) -> None:
        told = document(self.url, **({"jwks": keys_of(*keys)} if at is None else {"jwks_uri": at}))
        self.rogue.pages["/client.json"] = (200, {}, json.dumps(told).encode())

    def shows(self, key: LocalKey, place: Any, **more: Any) -> Oidc:
        """Evidence: the client asserts itself, to this authority alone, once."""
        self.number += 1
        now = int(place.engine.parts.now())
        claims = {"iss": self.url, "sub": self.url, "aud": "partner-of-ours", "iat": now, "exp": now + 60}
        header = {"alg": key.alg, "kid": key.kid, "typ": "JWT"}
        token = jws.sign_with(header, {**claims, "jti": f"j{self.number}", **more}, key)
        return Oidc(lambda _: token)


@pytest.fixture
def met(make_place: Any, rogue: Any) -> Iterator[tuple[Any, Partner]]:
    """An authority that knows one client by its document."""
    partner = Partner(rogue)
    with contextlib.closing(make_place(more=PARTNER.format(url=rogue.url))) as place:
        yield place, partner


@pytest.mark.requirement("CI-04")
def test_a_client_is_attested_by_the_key_in_its_document_and_gets_an_identity_of_ours(met: Any) -> None:
    place, partner = met
    key = generate()
    partner.publish(key)
    with Authority.connect(place.url, attestor=partner.shows(key, place)) as client:
        session = client.session(agent="partner", user="alice")
        assert session.node.attestation == "client_metadata"
        assert session.access("crm", ["crm:read"]).bound


@pytest.mark.requirement("CI-04")
def test_another_key_another_subject_and_shown_again_prove_nobody(met: Any) -> None:
    place, partner = met
    key = generate()
    partner.publish(key)
    shown = partner.shows(key, place)
    with Authority.connect(place.url, attestor=shown) as client:
        assert client.session(agent="partner", user="alice")
    others = [
        shown,
        partner.shows(generate(), place),
        partner.shows(key, place, sub="https://other.example/c"),
        partner.shows(key, place, aud=place.url),
        partner.shows(key, place, iss="https://other.example/c"),
    ]
    for attestor in others:
        with pytest.raises((AttestationFailed, InvalidRequest)):
            Authority.connect(place.url, attestor=attestor)


@pytest.mark.requirement("CI-07")
def test_a_change_of_a_clients_keys_is_recorded_once_with_what_they_were(met: Any) -> None:
    place, partner = met
    parts = place.engine.parts
    for digest in ("a" * 64, "a" * 64, "b" * 64, "b" * 64):
        note_keys(parts, partner.url, digest)
    with Authority.open(place.folder / "deputize.toml") as embedded:
        changed = embedded.audit.find(type="client.keys_changed")
        assert len(embedded.audit.find(type="client.keys_seen")) == 1
    assert [record["detail"] for record in changed] == [{"client": partner.url, "keys": "b" * 64, "before": "a" * 64}]


@pytest.mark.requirement("CI-07")
def test_the_keys_of_an_attested_client_are_in_the_log(met: Any) -> None:
    place, partner = met
    key = generate()
    partner.publish(at=partner.rogue.url + "/keys")
    partner.rogue.pages["/keys"] = (200, {}, json.dumps(keys_of(key)).encode())
    with Authority.connect(place.url, attestor=partner.shows(key, place)):
        pass
    assert len(place.engine.parts.store.read(lambda tx: list(tx.find(type="client.keys_seen", limit=9)))) == 1


@pytest.mark.parametrize(
    "lines",
    [
        'issuer = "https://partner.example"\naudience = "a"',
        'issuer = "https://partner.example/c"',
        'audience = "a"',
        'issuer = "http://partner.example/c"\naudience = "a"',
        'issuer = "https://partner.example/c"\naudience = "a"\njwks = "https://evil.example/keys"',
        'issuer = "https://partner.example/c"\naudience = "a"\nprivate_network = true',
        'issuer = "https://partner.example/c"\naudience = "a"\nmatch = { sub = "x" }',
    ],
)
def test_a_rule_that_could_be_mistaken_does_not_start(tmp_path: Any, lines: str) -> None:
    path = tmp_path / "deputize.toml"
    rule = f'[[attestation]]\nmethod = "client_metadata"\nworkload = "w"\nagents = ["a"]\n{lines}\n'
    path.write_text(f"version = 1\n[agents.a]\nopen = true\n{rule}", encoding="utf-8")
    with pytest.raises(ConfigurationError):
        load(str(path))
