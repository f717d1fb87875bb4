"""Users by the tokens of their issuers: which rule, which kind, who, in which groups, with what cap, signed in when."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deputize.config.load import load
from deputize.issuers.users import SubjectUser, Users
from deputize.issuers.words import MAX_GROUPS
from deputize.model.failure import AuthorityUnavailable, InvalidToken
from deputize.model.resource import Right
from deputize.model.sign_in import MAX_METHODS, SignIn
from deputize.testing import FakeClock, FakeIssuer
from deputize.wire.token_exchange import ACCESS_TOKEN, ID_TOKEN, JWT

CLIENT = "portal"
CRM, WIKI = "https://crm.example/mcp", "https://wiki.example/mcp"
CONFIGURATION = """
version = 1
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write", "shared:read"]
[resources.wiki]
url = "https://wiki.example/mcp"
scopes = ["wiki:read", "shared:read"]
[agents.a]
open = true
use = { crm = ["crm:read"] }
"""
RULE = """
[[users]]
issuer = "{issuer}"
alias = "{alias}"
audience = ["portal", "https://sts.example"]
"""

UsersFor = Callable[..., Users]


@pytest.fixture
def users(tmp_path: Path, clock: FakeClock, issuer: FakeIssuer) -> UsersFor:
    """A configuration with one rule for `issuer`, with more lines in it, and more text behind it."""

    def make(*lines: str, more: str = "") -> Users:
        file = tmp_path / "deputize.toml"
        rule = RULE.format(issuer=issuer.url, alias="corp")
        file.write_text(CONFIGURATION + rule + "\n".join(lines) + more, encoding="utf-8")
        return Users.of(load(file), clock)

    return make


def proved(users: Users, token: str, kind: str = ID_TOKEN, at: float = FakeClock().now()) -> SubjectUser:
    return users.verify(token, kind, at)


def refused(users: Users, token: str, kind: str = ID_TOKEN, at: float = FakeClock().now()) -> str:
    with pytest.raises(InvalidToken) as caught:
        users.verify(token, kind, at)
    assert token not in str(caught.value)
    return caught.value.code


def test_a_user_is_the_alias_of_the_issuer_and_its_subject(users: UsersFor, issuer: Any, clock: Any) -> None:
    now = int(clock.now())
    token = issuer.id_token("u1", CLIENT, groups=["sales", "eu", "sales"], acr="gold", amr=["pwd", "otp"])
    found = proved(users(), token)
    assert found == SubjectUser(
        user="corp|u1",
        alias="corp",
        groups=("sales", "eu"),
        cap=None,
        sign_in=SignIn(auth_time=now, acr="gold", amr=("pwd", "otp")),
        expires=now + 600,
    )


@pytest.mark.parametrize("kind", [ACCESS_TOKEN, JWT])
def test_an_access_token_proves_a_user_too(users: UsersFor, issuer: Any, kind: str) -> None:
    found = proved(users(), issuer.access_token("u1", ["https://sts.example", "x"]), kind)
    assert (found.user, found.groups, found.cap, found.sign_in) == ("corp|u1", (), None, SignIn())


@pytest.mark.requirement("TX-06")
@pytest.mark.requirement("A-09")
@pytest.mark.requirement("JW-03")
def test_a_token_of_one_kind_is_not_taken_as_the_other(users: UsersFor, issuer: Any) -> None:
    rules = users()
    id_token, access_token = issuer.id_token("u1", CLIENT), issuer.access_token("u1", CLIENT)
    assert refused(rules, id_token, ACCESS_TOKEN) == "wrong_type"
    assert refused(rules, id_token, JWT) == "wrong_type"
    assert refused(rules, access_token, ID_TOKEN) == "wrong_type"
    disguised = {"client_id": CLIENT}, {"scope": "a"}, {"scp": ["a"]}, {"events": {}}, {"typ": "Bearer"}, {"typ": 7}
    for claims in disguised:
        assert refused(rules, issuer.id_token("u1", CLIENT, **claims)) == "wrong_token_kind"
    for typ in ("logout+jwt", "wit+jwt", "dpop+jwt", "vnd.deputize.session+jwt", "secevent+jwt"):
        for kind in (ID_TOKEN, ACCESS_TOKEN, JWT):
            assert refused(rules, issuer.mint({"sub": "u1", "aud": CLIENT}, typ=typ), kind) == "wrong_type"
    assert proved(rules, issuer.id_token("u1", CLIENT, typ="ID")).user == "corp|u1"
    assert proved(rules, issuer.mint({"sub": "u1", "aud": CLIENT}, typ=None)).user == "corp|u1"


@pytest.mark.parametrize(
    "kind", ["", "urn:ietf:params:oauth:token-type:refresh_token", "urn:ietf:params:oauth:token-type:saml2", "id_token"]
)
def test_no_other_kind_of_token_proves_a_user(users: UsersFor, issuer: Any, kind: str) -> None:
    assert refused(users(), issuer.id_token("u1", CLIENT), kind) == "wrong_token_kind"


def test_a_kind_that_the_rule_does_not_list_is_refused(users: UsersFor, issuer: Any) -> None:
    rules = users('tokens = ["id_token"]')
    assert refused(rules, issuer.access_token("u1", CLIENT), ACCESS_TOKEN) == "wrong_token_kind"
    assert issuer.requests == []
    assert proved(rules, issuer.id_token("u1", CLIENT)).user == "corp|u1"


@pytest.mark.requirement("WL-06")
def test_an_issuer_that_nobody_listed_is_never_asked_anything(users: UsersFor, issuer: Any, clock: Any) -> None:
    rules = users()
    with FakeIssuer(clock=clock) as mallory:
        assert refused(rules, mallory.id_token("u1", CLIENT)) == "unknown_issuer"
        for wrong in (issuer.url + "/", issuer.url + ".evil.example", issuer.url[:-1], issuer.url.upper(), ""):
            token = mallory.mint({"iss": wrong, "sub": "u1", "aud": CLIENT})
            assert refused(rules, token) in {"unknown_issuer", "malformed_token"}
        assert mallory.requests == []
    assert issuer.requests == []


@pytest.mark.requirement("JW-02")
def test_an_issuer_signs_for_nobody_but_itself(users: UsersFor, issuer: Any, clock: Any, tmp_path: Path) -> None:
    with FakeIssuer(clock=clock) as other:
        rules = users(more=RULE.format(issuer=other.url, alias="other"))
        assert proved(rules, other.id_token("u1", CLIENT)).user == "other|u1"
        assert refused(rules, other.mint({"iss": issuer.url, "sub": "u1", "aud": CLIENT})) == "unknown_key"
        other.published = {issuer.key.kid: other.key, **other.published}
        clock.advance(11)
        forged = other.mint({"iss": issuer.url, "sub": "u1", "aud": CLIENT})
        assert refused(rules, forged, at=clock.now()) == "unknown_key"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"aud": "somebody"}, "wrong_audience"),
        ({"aud": ["a", "b"]}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"exp": 1_750_000_000 - 5}, "token_expired"),
        ({"iat": 1_750_000_006}, "not_yet_valid"),
        ({"nbf": 1_750_000_006}, "not_yet_valid"),
        ({"sub": None}, "malformed_token"),
        ({"sub": "spiffe://local/agent/boss"}, "malformed_claims"),
        ({"sub": "https://evil.example/"}, "malformed_claims"),
        ({"sub": "a b"}, "malformed_claims"),
        ({"sub": "a\nb"}, "malformed_claims"),
        ({"sub": "a" * 201}, "malformed_claims"),
        ({"groups": {"a": 1}}, "malformed_claims"),
        ({"groups": 7}, "malformed_claims"),
        ({"groups": ["a", 7]}, "malformed_claims"),
        ({"groups": [""]}, "malformed_claims"),
        ({"groups": ""}, "malformed_claims"),
        ({"groups": [str(number) for number in range(MAX_GROUPS + 1)]}, "malformed_claims"),
        ({"groups": ["a" * 257]}, "malformed_claims"),
        ({"_claim_names": {"groups": "src1"}}, "malformed_claims"),
        ({"acr": 7}, "malformed_claims"),
        ({"acr": ""}, "malformed_claims"),
        ({"acr": "a" * 257}, "malformed_claims"),
        ({"amr": "pwd"}, "malformed_claims"),
        ({"amr": [7]}, "malformed_claims"),
        ({"amr": ["a"] * (MAX_METHODS + 1)}, "malformed_claims"),
        ({"auth_time": "now"}, "malformed_claims"),
        ({"auth_time": True}, "malformed_claims"),
        ({"auth_time": 1_750_000_006}, "malformed_claims"),
    ],
)
def test_a_claim_in_another_form_refuses_the_user(users: UsersFor, issuer: Any, change: Any, code: str) -> None:
    token = issuer.mint({"sub": "u1", "aud": CLIENT, **change})
    assert refused(users(), token) == code


def test_a_user_may_be_named_by_another_claim(users: UsersFor, issuer: Any) -> None:
    assert proved(users('subject = "oid"'), issuer.id_token("u1", CLIENT, oid="o-7")).user == "corp|o-7"
    assert refused(users('subject = "oid"'), issuer.id_token("u1", CLIENT)) == "malformed_claims"
    assert refused(users('subject = "oid"'), issuer.id_token("u1", CLIENT, oid=7)) == "malformed_claims"


@pytest.mark.parametrize("verified", [None, False, "true", 1])
def test_an_address_that_was_not_verified_names_nobody(users: UsersFor, issuer: Any, verified: Any) -> None:
    token = issuer.id_token("u1", CLIENT, email="ceo@corp.example", email_verified=verified)
    assert refused(users('subject = "email"'), token) == "malformed_claims"
    token = issuer.id_token("u1", CLIENT, email="ceo@corp.example", email_verified=True)
    assert proved(users('subject = "email"'), token).user == "corp|ceo@corp.example"


def test_groups_come_from_the_claim_that_the_rule_names(users: UsersFor, issuer: Any) -> None:
    token = issuer.id_token("u1", CLIENT, groups=["a"], roles="admin")
    assert proved(users('groups = "roles"'), token).groups == ("admin",)
    assert proved(users('groups = ""'), token).groups == ()
    assert proved(users(), issuer.id_token("u1", CLIENT, groups=[])).groups == ()


@pytest.mark.parametrize(
    ("scope", "cap"),
    [
        ("crm:read", {Right(CRM, "crm:read")}),
        ("openid crm:read profile", {Right(CRM, "crm:read")}),
        (["crm:read", "wiki:read"], {Right(CRM, "crm:read"), Right(WIKI, "wiki:read")}),
        ("shared:read", {Right(CRM, "shared:read"), Right(WIKI, "shared:read")}),
        ("", set()),
        ([], set()),
        ("openid", set()),
        ("CRM:READ crm:rea crm:read:x", set()),
    ],
)
@pytest.mark.requirement("TT-02")
def test_a_tokens_scope_caps_at_the_rights_that_it_names(users: UsersFor, issuer: Any, scope: Any, cap: Any) -> None:
    rules = users('scopes = "scope"')
    assert proved(rules, issuer.access_token("u1", CLIENT, scope=scope), ACCESS_TOKEN).cap == cap
    assert proved(rules, issuer.id_token("u1", CLIENT, scope=scope)).cap == cap


def test_without_a_claim_or_without_a_rule_nothing_caps(users: UsersFor, issuer: Any) -> None:
    assert proved(users('scopes = "scope"'), issuer.access_token("u1", CLIENT), ACCESS_TOKEN).cap is None
    assert proved(users(), issuer.access_token("u1", CLIENT, scope="crm:read"), ACCESS_TOKEN).cap is None
    for wrong in (7, {"a": 1}, ["crm:read", 7]):
        token = issuer.access_token("u1", CLIENT, scope=wrong)
        assert refused(users('scopes = "scope"'), token, ACCESS_TOKEN) == "malformed_claims"


def test_a_sign_in_that_is_too_long_ago_is_refused(users: UsersFor, issuer: Any, clock: Any) -> None:
    now = int(clock.now())
    rules = users('max_auth_age = "1h"')
    assert proved(rules, issuer.id_token("u1", CLIENT, auth_time=now - 3600)).sign_in.auth_time == now - 3600
    code = "insufficient_user_authentication"
    assert refused(rules, issuer.id_token("u1", CLIENT, auth_time=now - 3601)) == code
    # Without auth_time the token's own beginning stands for it: the user signed in no later.
    old = {"sub": "u1", "aud": CLIENT, "iat": now - 3601, "exp": now + 60}
    assert refused(rules, issuer.mint(old)) == code
    found = proved(rules, issuer.mint({**old, "iat": now - 3600}))
    assert found.sign_in == SignIn()


def test_a_refreshed_token_does_not_make_the_sign_in_younger(users: UsersFor, issuer: Any, clock: Any) -> None:
    then = int(clock.now()) - 12 * 3600 - 1
    assert refused(users(), issuer.id_token("u1", CLIENT, auth_time=then)) == "insufficient_user_authentication"


def test_keys_that_cannot_be_had_are_no_fault_of_the_token(users: UsersFor, issuer: Any) -> None:
    issuer.down()
    with pytest.raises(AuthorityUnavailable) as caught:
        proved(users(), issuer.id_token("u1", CLIENT))
    assert caught.value.code == "issuer_unavailable"


def test_a_path_of_keys_starts_from_the_configuration(users: UsersFor, issuer: Any, tmp_path: Path) -> None:
    import json

    (tmp_path / "corp.json").write_text(json.dumps({"keys": [issuer.key.public_jwk()]}), encoding="utf-8")
    assert proved(users('jwks = "corp.json"'), issuer.id_token("u1", CLIENT)).user == "corp|u1"
    assert issuer.requests == []
