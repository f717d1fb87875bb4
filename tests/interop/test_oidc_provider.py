"""Users of a real, certified OpenID provider: its own ID and access tokens, its own metadata, its own rotation."""

import json
from pathlib import Path
from typing import Any

import pytest

from deputize import Authority
from deputize.config.load import load
from deputize.issuers.users import SubjectUser, Users
from deputize.model.failure import InvalidToken
from deputize.model.request import RootRequest
from deputize.model.resource import Right
from deputize.model.session import Evidence
from deputize.system import SystemClock
from deputize.testing import FakeClock
from deputize.wire import base64url
from deputize.wire.token_exchange import ACCESS_TOKEN, ID_TOKEN, JWT

ALGORITHMS = ("ES256", "ES384", "EdDSA", "RS256", "PS256")
CRM, WIKI = "https://crm.example/mcp", "https://wiki.example/mcp"
CONFIGURATION = """
version = 1
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
[resources.wiki]
url = "https://wiki.example/mcp"
scopes = ["wiki:read"]
[agents.boss]
open = true
use = {{ crm = ["crm:read", "crm:write"], wiki = ["wiki:read"] }}
[[users]]
issuer = "{issuer}"
alias = "corp"
audience = {audience}
scopes = "scope"
"""


class Time(FakeClock):
    """The real time, moved by hand from there: the provider's clock is the machine's."""

    def __init__(self) -> None:
        super().__init__(SystemClock().now() + 1)


def configured(folder: Path, issuer: str, *audience: str) -> Path:
    file = folder / "deputize.toml"
    listed = json.dumps(audience or ["https://sts.example", *(f"portal-{alg}" for alg in ALGORITHMS)])
    file.write_text(CONFIGURATION.format(issuer=issuer, audience=listed), encoding="utf-8")
    return file


def refused(users: Users, token: str, kind: str, now: float) -> str:
    with pytest.raises(InvalidToken) as caught:
        users.verify(token, kind, now)
    return caught.value.code


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body, _ = token.split(".")
    return json.loads(base64url.decode(head.encode())), json.loads(base64url.decode(body.encode()))


@pytest.mark.requirement("TX-06")
def test_a_person_who_signed_in_there_is_a_user_here(provider: Any, tmp_path: Path) -> None:
    clock = Time()
    users = Users.of(load(configured(tmp_path, provider.issuer)), clock)
    for alg in ALGORITHMS:
        answer = provider.sign_in("u1", alg)
        assert parts(answer["id_token"])[0]["alg"] == alg
        found = users.verify(answer["id_token"], ID_TOKEN, clock.now())
        assert (found.user, found.groups, found.cap) == ("corp|u1", ("sales", "eu"), None)
        assert (found.sign_in.acr, found.sign_in.amr) == ("gold", ("pwd", "otp"))
        assert abs((found.sign_in.auth_time or 0) - clock.now()) < 30
    header, claims = parts(answer["access_token"])
    assert (header["typ"], claims["aud"]) == ("at+jwt", "https://sts.example")
    for kind in (ACCESS_TOKEN, JWT):
        proved = users.verify(answer["access_token"], kind, clock.now())
        assert proved == SubjectUser(
            user="corp|u1",
            alias="corp",
            groups=(),
            cap=frozenset({Right(CRM, "crm:read")}),
            sign_in=proved.sign_in,
            expires=claims["exp"],
        )


@pytest.mark.requirement("AT-05")
def test_a_session_of_that_person_carries_what_their_provider_said(provider: Any, tmp_path: Path) -> None:
    clock = Time()
    file = configured(tmp_path, provider.issuer)
    found = Users.of(load(file), clock).verify(provider.sign_in("u7")["id_token"], ID_TOKEN, clock.now())
    with Authority.open(file, store="sqlite::memory:", clock=clock) as authority:
        request = RootRequest(
            user=found.user, evidence=Evidence.TOKEN, groups=found.groups, cap=found.cap, sign_in=found.sign_in
        )
        opened = authority.engine.open_root(authority.agent_id("boss"), request)
        assert opened.node.sub == "corp|u7"
        assert authority.engine.introspect(opened.token).sign_in == found.sign_in


def test_its_rotation_is_followed_and_its_retired_keys_are_no_keys(provider: Any, tmp_path: Path) -> None:
    clock = Time()
    users = Users.of(load(configured(tmp_path, provider.issuer)), clock)
    before = provider.sign_in()["id_token"]
    assert users.verify(before, ID_TOKEN, clock.now()).user == "corp|u1"
    provider.tell("rotate")
    after = provider.sign_in()["id_token"]
    assert parts(before)[0]["kid"] != parts(after)[0]["kid"]
    assert refused(users, after, ID_TOKEN, clock.now()) == "unknown_key"  # within the cool-down
    clock.advance(11)
    assert users.verify(after, ID_TOKEN, clock.now()).user == "corp|u1"
    assert users.verify(before, ID_TOKEN, clock.now()).user == "corp|u1"
    provider.tell("retire")
    clock.advance(300)
    assert users.verify(after, ID_TOKEN, clock.now()).user == "corp|u1"
    assert refused(users, before, ID_TOKEN, clock.now()) == "unknown_key"


@pytest.mark.requirement("JW-03")
@pytest.mark.requirement("A-09")
def test_what_its_tokens_are_not_is_refused(provider: Any, tmp_path: Path) -> None:
    clock = Time()
    now = clock.now()
    users = Users.of(load(configured(tmp_path, provider.issuer)), clock)
    answer = provider.sign_in()
    id_token, access_token = answer["id_token"], answer["access_token"]
    assert refused(users, id_token, ACCESS_TOKEN, now) == "wrong_type"
    assert refused(users, access_token, ID_TOKEN, now) == "wrong_type"
    assert refused(users, id_token, ID_TOKEN, now + 700) == "token_expired"
    assert refused(users, id_token, ID_TOKEN, now - 700) == "not_yet_valid"
    head, body, signature = id_token.split(".")
    none = base64url.encode(b'{"alg":"none","typ":"JWT"}')
    for forged in (f"{none}.{body}.", f"{none}.{body}.{signature}"):
        assert refused(users, forged, ID_TOKEN, now) == "unsupported_algorithm"
    other = base64url.encode(json.dumps({**parts(id_token)[1], "sub": "ceo"}).encode())
    assert refused(users, f"{head}.{other}.{signature}", ID_TOKEN, now) == "invalid_signature"
    assert refused(users, f"{head}.{body}.{'A' * len(signature)}", ID_TOKEN, now) == "invalid_signature"


@pytest.mark.requirement("JW-04")
def test_a_token_for_another_client_or_another_issuer_is_refused(provider: Any, tmp_path: Path) -> None:
    clock = Time()
    answer = provider.sign_in(alg="RS256")
    users = Users.of(load(configured(tmp_path, provider.issuer, "portal-ES256")), clock)
    assert refused(users, answer["id_token"], ID_TOKEN, clock.now()) == "wrong_audience"
    assert refused(users, answer["access_token"], ACCESS_TOKEN, clock.now()) == "wrong_audience"
    elsewhere = Users.of(load(configured(tmp_path, provider.issuer + "/x")), clock)
    assert refused(elsewhere, answer["id_token"], ID_TOKEN, clock.now()) == "unknown_issuer"
