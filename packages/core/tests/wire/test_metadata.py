"""The authority's metadata, and what is made of somebody else's."""

import json

import pytest

from deputize.model.failure import InvalidRequest
from deputize.wire import json_strict, metadata

ISSUER = "https://sts.example"
WHOLE = {
    "issuer": "https://sts.example",
    "token_endpoint": "https://sts.example/token",
    "jwks_uri": "https://sts.example/jwks",
    "introspection_endpoint": "https://sts.example/introspect",
    "revocation_endpoint": "https://sts.example/revoke",
    "deputize_revocation_feed": "https://sts.example/revocations",
    "response_types_supported": [],
    "grant_types_supported": [
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "client_credentials",
    ],
    "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
    "authorization_details_types_supported": ["urn:deputize:rights"],
    "token_endpoint_auth_methods_supported": ["private_key_jwt"],
    "token_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
    "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
    "introspection_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
    "revocation_endpoint_auth_methods_supported": ["private_key_jwt"],
    "revocation_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA", "RS256"],
}


@pytest.mark.requirement("MD-02")
@pytest.mark.requirement("DP-11")
def test_the_metadata_names_all_that_is_supported() -> None:
    assert json.loads(metadata.build(ISSUER)) == WHOLE
    assert json.loads(metadata.build(ISSUER, scopes=["b", "a"])) == {**WHOLE, "scopes_supported": ["a", "b"]}


@pytest.mark.requirement("MD-02")
def test_what_was_built_is_read_back() -> None:
    found = metadata.parse(metadata.build(ISSUER, scopes=["a"]), issuer=ISSUER)
    assert found == metadata.Metadata(
        issuer=ISSUER,
        token_endpoint=f"{ISSUER}/token",
        jwks_uri=f"{ISSUER}/jwks",
        introspection_endpoint=f"{ISSUER}/introspect",
        revocation_endpoint=f"{ISSUER}/revoke",
        revocation_feed=f"{ISSUER}/revocations",
        grant_types=metadata.GRANT_TYPES,
        client_authentication=("private_key_jwt",),
        client_algorithms=("ES256", "EdDSA", "RS256"),
        dpop_algorithms=("ES256", "EdDSA", "RS256"),
        scopes=("a",),
    )


@pytest.mark.requirement("MD-03")
def test_none_is_never_announced_and_never_read() -> None:
    assert b"none" not in metadata.build(ISSUER)
    for member in ("token_endpoint_auth_signing_alg_values_supported", "dpop_signing_alg_values_supported"):
        raw = json_strict.dumps({**WHOLE, member: ["ES256", "none"]})
        with pytest.raises(InvalidRequest) as refused:
            metadata.parse(raw, issuer=ISSUER)
        assert refused.value.code == "metadata_malformed"


@pytest.mark.requirement("MD-01")
@pytest.mark.parametrize(
    "issuer",
    ["https://sts.example/", "https://STS.example", "http://sts.example", "https://sts.example.evil", None, 1, ["x"]],
    ids=str,
)
def test_metadata_of_another_issuer_is_not_used(issuer: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        metadata.parse(json_strict.dumps({**WHOLE, "issuer": issuer}), issuer=ISSUER)
    assert refused.value.code == "wrong_issuer"


@pytest.mark.requirement("MD-01")
@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://sts.example", "https://sts.example/.well-known/oauth-authorization-server"),
        ("https://sts.example/", "https://sts.example/.well-known/oauth-authorization-server"),
        ("https://sts.example/a/b", "https://sts.example/.well-known/oauth-authorization-server/a/b"),
        ("https://sts.example/a/", "https://sts.example/.well-known/oauth-authorization-server/a"),
        ("http://127.0.0.1:8400", "http://127.0.0.1:8400/.well-known/oauth-authorization-server"),
        ("http://[::1]:8400/t", "http://[::1]:8400/.well-known/oauth-authorization-server/t"),
    ],
)
def test_the_well_known_part_goes_before_the_path(issuer: str, url: str) -> None:
    assert metadata.well_known_url(issuer) == url


@pytest.mark.parametrize(
    "issuer",
    [
        "http://sts.example", "sts.example", "file:///x", "https://", "https://u:p@sts.example", "https://sts.example?a",
        "https://sts.example#a", "https://sts.example:x", "https://sts.example\\x", "https://sts example",
        "https://sts.example/\n", "https://\u017fts.example", "http://localhost.evil.example", "",
    ],
)  # fmt: skip
def test_an_issuer_is_https_or_on_the_loopback(issuer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        metadata.well_known_url(issuer)
    assert refused.value.code == "invalid_issuer"


@pytest.mark.parametrize(
    "change",
    [
        {"token_endpoint": "http://evil.example"},
        {"jwks_uri": 5},
        {"grant_types_supported": "x"},
        {"scopes_supported": [1]},
        {"jwks_uri": "javascript:x"},
    ],
    ids=str,
)
def test_malformed_metadata_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        metadata.parse(json_strict.dumps({**WHOLE, **change}), issuer=ISSUER)
    assert refused.value.code == "metadata_malformed"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"issuer":"a","issuer":"https://sts.example"}', b" " * 70_000])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        metadata.parse(raw, issuer=ISSUER)
    assert refused.value.code == "metadata_malformed"
