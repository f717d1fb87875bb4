"""The grant jwt-bearer by whom a token is for, and plain http, over HTTP."""

from collections.abc import Iterator

import pytest

from deputize import Authority
from deputize.errors import ConfigurationError
from deputize.testing import FakeIssuer
from deputize.wire.alg import generate
from tests.http.raw import Cast, World

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
RULE = """
[[attestation]]
method = "oidc"
workload = "{name}"
issuer = "{issuer}"
audience = "{audience}"
match = {{ sub = "job-1" }}
agents = ["reader"]
"""
AUTHORITY = "http://127.0.0.1:{port}"  # as the configuration names its issuer: filled in with the rest


@pytest.fixture(scope="module")
def platform() -> Iterator[FakeIssuer]:
    with FakeIssuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def cast(platform: FakeIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """An authority that takes a platform's tokens for its issuer, and for its token endpoint."""
    rules = [(name, AUTHORITY + path) for name, path in (("by-issuer", ""), ("by-endpoint", "/token"))]
    world = World.begin(
        tmp_path_factory.mktemp("grants"),
        more=lambda port: "".join(
            RULE.format(name=name, issuer=platform.url, audience=audience.format(port=port)) for name, audience in rules
        ),
    )
    yield Cast.of(world)
    world.end()


def shown(cast: Cast, token: str) -> tuple[int, object]:
    answer = cast.churn.send(
        "/token", {"grant_type": JWT_BEARER, "assertion": token}, credentials=(), prover=generate()
    )
    return answer.status_code, answer.json()


@pytest.mark.requirement("CA-06", "WL-02", "WL-07")
@pytest.mark.parametrize(("path", "workload"), [("", "by-issuer"), ("/token", "by-endpoint")])
def test_a_platforms_token_for_the_issuer_or_the_token_endpoint_is_taken_once(
    cast: Cast, platform: FakeIssuer, path: str, workload: str
) -> None:
    token = platform.id_token("job-1", audience=cast.world.base + path)
    status, told = shown(cast, token)
    assert status == 200, told
    assert isinstance(told, dict)
    assert told["token_type"] == "N_A"  # a type
    assert workload in str(told)
    assert shown(cast, token) == (400, {"error": "invalid_grant"})


@pytest.mark.requirement("CA-06", "CA-05", "A-05", "A-15")
def test_a_platforms_token_for_another_audience_is_no_grant(cast: Cast, platform: FakeIssuer) -> None:
    base = cast.world.base
    size = cast.world.size()
    for audience in (
        "https://other.example",
        base + "/",
        base + "/introspect",
        base + "/token/",
        base.replace("http", "https"),
        [base, base + "/token"],
        [base, "https://other.example"],
        [],
        "",
        platform.url,
    ):
        token = platform.id_token("job-1", audience=audience)
        assert shown(cast, token) == (400, {"error": "invalid_grant"}), audience
    assert not cast.world.since(size)


@pytest.mark.requirement("TX-21")
@pytest.mark.parametrize("resource", ["http://crm.example/mcp", "http://127.0.0.1.example/mcp", "http://10.0.0.1/mcp"])
def test_no_token_is_given_for_a_resource_in_plain_http(cast: Cast, resource: str) -> None:
    token = cast.reader.root()
    size = cast.world.size()
    answer = cast.reader.send("/token", cast.reader.access_fields(token, resource=resource))
    cast.refused(answer, size, error="invalid_target", by=cast.reader)


@pytest.mark.requirement("TX-21")
@pytest.mark.parametrize(
    "url", ["http://sts.example", "http://10.0.0.1:8443", "http://127.0.0.1.example", "http://[::2]"]
)
def test_no_client_asks_an_authority_in_plain_http_elsewhere(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Authority.connect(url)
