"""A2A cards: served, signed, fetched with care, and believed by nobody's keys but those of who is trusted."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import rfc8785

from deputize import Authority, InvalidRequest, InvalidToken
from deputize.authority.cards import CARD_LIFE
from deputize.model.revocation import Kind
from deputize.wire import agent_card, base64url
from deputize.wire.alg import LocalKey, generate
from deputize.wire.jwk import verifying_key

DESK = "https://researcher.example/a2a"
NOW = 1_000_000


def url_of(place: Any, name: str = "researcher") -> str:
    return f"{place.url}/agents/{name}/.well-known/agent-card.json"


def served(place: Any) -> dict[str, Any]:
    with httpx.Client(timeout=10) as client:
        return dict(client.get(url_of(place)).raise_for_status().json())


def code_of(attempt: Any) -> str:
    with pytest.raises(InvalidRequest) as refused:
        attempt()
    return refused.value.code


@pytest.mark.requirement("A2-01")
def test_a_card_has_what_a2a_requires(place: Any, get: Any) -> None:
    answer = get(url_of(place))
    assert answer.headers["content-type"] == "application/json"
    assert "max-age" in answer.headers["cache-control"]
    card = answer.json()
    required = ("name", "description", "version", "capabilities", "defaultInputModes", "defaultOutputModes", "skills")
    assert all(card[name] for name in required)
    assert card["supportedInterfaces"] == [{"url": DESK, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]
    assert card["securitySchemes"].keys() == card["securityRequirements"][0]["schemes"].keys()
    assert [skill["id"] for skill in card["skills"]] == ["ask"]
    assert all(skill[name] for skill in card["skills"] for name in ("id", "name", "description", "tags"))


@pytest.mark.requirement("A2-02")
def test_the_signature_is_a_jws_over_the_canonical_card_by_a_key_that_is_served(place: Any, get: Any) -> None:
    card = served(place)
    (signature,) = card.pop("signatures")
    header = json.loads(base64url.decode(signature["protected"].encode()))
    assert header["typ"] == "JOSE"
    assert header["alg"] == "ES256"
    assert "jku" not in header
    (jwk,) = [key for key in get(f"{place.url}/jwks").json()["keys"] if key["kid"] == header["kid"]]
    signed = f"{signature['protected']}.{base64url.encode(rfc8785.dumps(card))}".encode()
    assert verifying_key(jwk).verify(base64url.decode(signature["signature"].encode()), signed)


def empty(value: Any) -> bool:
    if isinstance(value, dict | list):
        return not value or any(empty(item) for item in (value.values() if isinstance(value, dict) else value))
    return value in {"", None, 0} and not isinstance(value, bool)


@pytest.mark.requirement("A2-02")
def test_no_member_of_a_card_of_ours_is_at_its_default_value(place: Any) -> None:
    assert not empty(served(place))


@pytest.mark.requirement("I15")
def test_a_client_and_an_embedded_authority_discover_the_same_agent(place: Any, front: Any) -> None:
    found = front.discover(url_of(place))
    assert asyncio.run(front.adiscover(url_of(place))) == found
    with Authority.open(place.folder / "deputize.toml") as embedded:
        assert embedded.discover(url_of(place)) == found
    assert found.agent == front.agent_id("researcher")
    assert (found.url, found.audience, found.issuer) == (DESK, DESK, place.url)
    assert [skill.name for skill in found.skills] == ["ask"]


def test_what_was_discovered_is_invited(place: Any, front: Any, back: Any) -> None:
    found = front.discover(url_of(place))
    root = front.session(agent="supervisor", user="alice")
    access = root.access(found.audience, ["invoke"], onward=[next(r for r in root.rights if r.scope == "crm:read")])
    assert back.redeem(access.reveal(), agent="researcher").node.parent == root.id


def test_an_agent_that_is_not_published_unknown_or_suspended_has_no_card(place: Any, get: Any) -> None:
    for name in ("supervisor", "nobody", "..", "spiffe://example.org/agent/researcher", "a%2fb"):
        assert get(url_of(place, name)).status_code == 404
    place.engine.revoke(Kind.AGENT, "spiffe://example.org/agent/researcher", reason="owned")
    assert get(url_of(place)).status_code == 404
    assert get(f"{place.url}/agents/researcher/client.json").status_code == 404


@pytest.mark.requirement("A2-02")
@pytest.mark.parametrize("change", ["name", "url", "skill", "added", "removed"])
def test_a_tampered_card_is_refused(place: Any, front: Any, change: str) -> None:
    card = served(place)
    if change == "name":
        card["name"] = "writer"
    elif change == "url":
        card["supportedInterfaces"][0]["url"] = "https://evil.example/a2a"
    elif change == "skill":
        card["skills"][0]["description"] = "needs nothing"
    elif change == "added":
        card["provider"] = {"organization": "Evil", "url": "https://evil.example"}
    else:
        del card["securityRequirements"]
    rogue = place.rogue(more={"/card.json": (200, {}, json.dumps(card).encode())})
    assert code_of(lambda: front.discover(rogue.url + "/card.json")) == "invalid_signature"


@pytest.mark.requirement("A2-02")
def test_an_unsigned_card_and_an_empty_list_of_signatures_are_refused(place: Any, front: Any) -> None:
    card = served(place)
    unsigned = {name: value for name, value in card.items() if name != "signatures"}
    pages = {
        f"/{number}.json": (200, {}, json.dumps(body).encode())
        for number, body in enumerate([unsigned, {**card, "signatures": []}, {**card, "signatures": {}}, []])
    }
    rogue = place.rogue(more=pages)
    codes = [code_of(lambda page=page: front.discover(rogue.url + page)) for page in pages]
    assert codes == ["card_unsigned", "card_unsigned", "card_malformed", "card_malformed"]


@pytest.mark.requirement("A2-02")
@pytest.mark.parametrize("hint", ["kid of ours", "jku", "jwk", "x5c", "none"])
def test_keys_that_a_card_brings_or_names_are_never_used(place: Any, front: Any, hint: str) -> None:
    card = served(place)
    (ours,) = card.pop("signatures")
    kid = json.loads(base64url.decode(ours["protected"].encode()))["kid"]
    key = generate()
    rogue = place.rogue()
    rogue.pages["/jwks"] = (200, {}, json.dumps({"keys": [{**key.public_jwk(), "kid": key.kid}]}).encode())
    header: dict[str, Any] = {"alg": key.alg, "kid": key.kid, "typ": "JOSE"}
    more: dict[str, dict[str, Any]] = {
        "kid of ours": {"kid": kid},
        "jku": {"jku": rogue.url + "/jwks"},
        "jwk": {"jwk": key.public_jwk()},
        "x5c": {"x5c": ["AA=="]},
        "none": {"alg": "none"},
    }
    signed = by(key, card, {**header, **more[hint]})
    rogue.pages["/card.json"] = (200, {}, json.dumps(signed).encode())
    expected = {"kid of ours": "invalid_signature", "none": "unsupported_algorithm"}.get(hint, "unknown_key")
    assert code_of(lambda: front.discover(rogue.url + "/card.json")) == expected
    assert rogue.asked == ["/card.json"]


def by(key: LocalKey, card: dict[str, Any], header: dict[str, Any]) -> dict[str, Any]:
    """The card, signed by any key under any header."""
    protected = base64url.encode(json.dumps(header).encode())
    signature = key.sign(f"{protected}.{base64url.encode(rfc8785.dumps(card))}".encode())
    return {**card, "signatures": [{"protected": protected, "signature": base64url.encode(signature)}]}


def members() -> dict[str, Any]:
    return {
        "name": "r",
        "description": "reads",
        "version": "1",
        "supportedInterfaces": [{"url": DESK, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
        "capabilities": {"streaming": True},
        "skills": [{"id": "s", "name": "s", "description": "does", "tags": ["t"]}],
    }


def checked(card: dict[str, Any], key: LocalKey, *, now: float = NOW, until: int | None = None) -> Any:
    public = key.public if until is None else key.public.until(until)
    return agent_card.verify(json.dumps(card).encode(), issuer="https://sts.example", key_for=lambda _: public, now=now)


@pytest.mark.requirement("A2-02")
def test_an_expired_signature_and_one_of_a_key_that_signed_no_more_are_refused() -> None:
    key = generate()
    header = {"alg": key.alg, "kid": key.kid, "typ": "JOSE", "iat": NOW, "exp": NOW + CARD_LIFE}
    card = by(key, members(), header)
    assert checked(card, key).expires == NOW + CARD_LIFE
    assert checked(card, key).agent is None
    assert code_of(lambda: checked(card, key, now=NOW + CARD_LIFE)) == "token_expired"
    assert code_of(lambda: checked(card, key, until=NOW - 1)) == "key_expired"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"iss": "https://other.example"}, "wrong_issuer"),
        ({"typ": "at+jwt"}, "wrong_type"),
        ({"typ": None}, "malformed_token"),
        ({"crit": ["b64"], "b64": False}, "malformed_token"),
        ({"exp": "soon"}, "card_malformed"),
        ({"exp": True}, "card_malformed"),
    ],
)
def test_a_header_that_says_something_else_is_refused(more: dict[str, Any], code: str) -> None:
    key = generate()
    card = by(key, members(), {"alg": key.alg, "kid": key.kid, "typ": "JOSE", **more})
    assert code_of(lambda: checked(card, key)) == code


def test_one_good_signature_among_others_is_enough_and_too_many_are_refused() -> None:
    key = generate()
    good = by(key, members(), {"alg": key.alg, "kid": key.kid, "typ": "JOSE"})
    bad = {"protected": good["signatures"][0]["protected"], "signature": "AAAA"}
    assert checked({**good, "signatures": [bad, *good["signatures"]]}, key).name == "r"
    assert code_of(lambda: checked({**good, "signatures": [bad] * 9}, key)) == "card_malformed"


def test_a_card_of_another_authoritys_agent_is_refused_also_under_a_good_signature() -> None:
    key = generate()
    card = members()
    told = {"agent": "spiffe://example.org/agent/r", "issuer": "https://other.example"}
    card["capabilities"] = {"extensions": [{"uri": "urn:deputize:agent", "params": told}]}
    assert (
        code_of(lambda: checked(by(key, card, {"alg": key.alg, "kid": key.kid, "typ": "JOSE"}), key)) == "wrong_issuer"
    )


@pytest.mark.requirement("I10")
@pytest.mark.parametrize(
    "change",
    [
        {"supportedInterfaces": []},
        {"supportedInterfaces": "x"},
        {"supportedInterfaces": [{"url": "ftp://x", "protocolBinding": "a", "protocolVersion": "1"}]},
        {"supportedInterfaces": [{"url": "http://x.example", "protocolBinding": "a", "protocolVersion": "1"}]},
        {"skills": [1]},
        {"skills": [{"id": ""}]},
        {"name": None},
        {"name": "x" * 3000},
        {"description": ["x"]},
    ],
)
def test_a_signed_card_of_another_form_is_refused(change: dict[str, Any]) -> None:
    key = generate()
    card = by(key, {**members(), **change}, {"alg": key.alg, "kid": key.kid, "typ": "JOSE"})
    with pytest.raises(InvalidToken):
        checked(card, key)


def test_an_issuer_that_is_trusted_instead_has_its_own_keys_fetched_from_its_own_metadata(
    place: Any, front: Any, tmp_path: Any
) -> None:
    key = generate()
    rogue = place.rogue()
    keys = json.dumps({"keys": [{**key.public_jwk(), "kid": key.kid}]}).encode()
    told = json.dumps({"issuer": rogue.url, "jwks_uri": rogue.url + "/jwks"}).encode()
    rogue.pages["/.well-known/openid-configuration"] = (200, {}, told)
    rogue.pages["/jwks"] = (200, {}, keys)
    signed = by(key, members(), {"alg": key.alg, "kid": key.kid, "typ": "JOSE"})
    rogue.pages["/.well-known/agent-card.json"] = (200, {}, json.dumps(signed).encode())
    assert front.discover(rogue.url, issuer=rogue.url).issuer == rogue.url
    assert code_of(lambda: front.discover(rogue.url)) == "unknown_key"
    assert code_of(lambda: front.discover(url_of(place), issuer=rogue.url)) == "unknown_key"
