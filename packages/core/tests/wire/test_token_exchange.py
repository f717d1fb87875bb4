"""RFC 8693: the rules of form."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.model.failure import InvalidRequest
from deputize.model.session import Mode
from deputize.testing import vectors
from deputize.wire import token_exchange as tx

URL = "https://crm.example/mcp"
FORM = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token": "subject-canary",
    "subject_token_type": "urn:deputize:params:oauth:token-type:session",
    "resource": URL,
    "scope": "crm:read crm:write",
}


def parse(*extra: Any, **changes: Any) -> Any:
    fields = {**FORM, **changes}
    return tx.parse_form([*((k, v) for k, v in fields.items() if v is not None), *extra])


def code_of(call: Any, *arguments: Any, **named: Any) -> Any:
    with pytest.raises(InvalidRequest) as caught:
        call(*arguments, **named)
    assert "canary" not in str(caught.value)
    return caught.value.code


@pytest.mark.requirement("TX-01")
def test_a_form_says_what_is_asked_for() -> None:
    assert parse() == tx.TokenExchangeRequest(
        subject_token="subject-canary",
        subject_token_type=tx.SESSION,
        resource=URL,
        scope=("crm:read", "crm:write"),
        requested_token_type=tx.ACCESS_TOKEN,
        mode=Mode.ON_BEHALF_OF,
    )


@pytest.mark.requirement("TX-02")
@pytest.mark.parametrize("name", ["grant_type", "subject_token", "subject_token_type"])
@pytest.mark.parametrize("value", [None, ""])
def test_required_fields_are_required(name: str, value: Any) -> None:
    assert code_of(parse, **{name: value}) == "invalid_request"


@pytest.mark.requirement("TX-01")
def test_another_grant_type_is_not_ours() -> None:
    assert code_of(parse, grant_type="client_credentials") == "unsupported_grant_type"
    assert code_of(parse, grant_type=FORM["grant_type"] + " ") == "unsupported_grant_type"


@pytest.mark.requirement("TX-01")
@pytest.mark.parametrize("name", [*(n for n in FORM if n != "resource"), "actor_token", "client_id", "anything"])
def test_a_field_given_twice_is_refused(name: str) -> None:
    assert code_of(parse, (name, "a"), (name, "b")) == "invalid_request"
    assert code_of(parse, (name, ""), (name, "b")) == "invalid_request"


@pytest.mark.requirement("TX-03")
def test_an_actor_token_and_its_type_come_together() -> None:
    assert code_of(parse, actor_token="actor-canary") == "invalid_request"
    assert code_of(parse, actor_token_type=tx.JWT) == "invalid_request"
    both = parse(actor_token="actor-canary", actor_token_type=tx.JWT)
    assert (both.actor_token, both.actor_token_type) == ("actor-canary", tx.JWT)
    assert parse(actor_token="", actor_token_type="").actor_token is None


@pytest.mark.requirement("TX-21")
@pytest.mark.requirement("TX-04")
@pytest.mark.requirement("RI-01")
@pytest.mark.parametrize(
    "resource",
    [
        "crm",
        "/mcp",
        "//crm.example",
        URL + "#part",
        URL + "?x=1",
        "ftp://crm.example",
        "http://crm.example",
        "https://u@crm.example",
        "https://crm.example/a/../b",
        "https://CRM.example",
        "https://crm.example:443/",
        "javascript:alert(1)",
        "https://crm.example/\u00e9",
        "x" * 600,
    ],
)
def test_a_resource_that_is_no_absolute_url_in_its_one_spelling_is_refused(resource: str) -> None:
    assert code_of(parse, resource=resource) == "invalid_target"


@pytest.mark.requirement("TX-04")
def test_a_token_is_asked_for_one_target() -> None:
    assert code_of(parse, ("resource", "https://other.example")) == "invalid_target"
    assert code_of(parse, ("resource", URL)) == "invalid_target"
    assert code_of(parse, ("audience", "crm")) == "invalid_target"
    assert code_of(parse, ("audience", "a"), ("audience", "b"), resource=None) == "invalid_target"
    assert parse(("audience", "crm"), resource=None).audience == "crm"
    assert code_of(parse, ("audience", "a\nb"), resource=None) == "invalid_target"


@pytest.mark.requirement("AT-07")
def test_access_without_a_target_is_refused_and_a_session_needs_none() -> None:
    assert code_of(parse, resource=None) == "invalid_target"
    for kind in (tx.SESSION, tx.JWT):
        assert parse(resource=None, requested_token_type=kind).resource is None


@pytest.mark.requirement("TX-06")
@pytest.mark.parametrize(
    "kind",
    [
        "urn:ietf:params:oauth:token-type:saml2",
        "urn:ietf:params:oauth:token-type:refresh_token",
        "access_token",
        "urn:ietf:params:oauth:token-type:jwt_spiffe",
        "URN:IETF:PARAMS:OAUTH:TOKEN-TYPE:JWT",
    ],
)
@pytest.mark.requirement("TX-13")
def test_unknown_token_types_are_refused_wherever_they_stand(kind: str) -> None:
    assert code_of(parse, subject_token_type=kind) == "invalid_request"
    assert code_of(parse, requested_token_type=kind) == "invalid_request"
    assert code_of(parse, actor_token="a", actor_token_type=kind) == "invalid_request"


@pytest.mark.requirement("TX-13")
@pytest.mark.parametrize("kind", [tx.ACCESS_TOKEN, tx.JWT, tx.SESSION])
def test_the_three_types_that_are_issued_may_be_asked_for(kind: str) -> None:
    assert parse(requested_token_type=kind).requested_token_type == kind


@pytest.mark.requirement("TX-06")
def test_only_an_identity_acts() -> None:
    for kind in (tx.ACCESS_TOKEN, tx.SESSION, tx.ID_TOKEN):
        assert code_of(parse, actor_token="a", actor_token_type=kind) == "invalid_request"


@pytest.mark.requirement("TX-08")
@pytest.mark.parametrize("scope", ["", " ", "a  b", "a a", 'a"', "a\\b", "\u00e9", "a\tb", "x" * 129])
def test_a_scope_that_is_stated_badly_or_emptily_is_refused(scope: str) -> None:
    assert code_of(parse, scope=scope) == "invalid_scope"


def test_a_scope_that_is_not_stated_is_told_apart_from_an_empty_one() -> None:
    assert parse(scope=None).scope is None


@pytest.mark.parametrize("mode", [mode.value for mode in Mode])
def test_a_mode_is_explicit(mode: str) -> None:
    assert parse(deputize_mode=mode).mode is Mode(mode)


@pytest.mark.parametrize("mode", ["Impersonation", "delegated", "self ", "1"])
def test_an_unknown_mode_is_refused_and_never_becomes_another(mode: str) -> None:
    assert code_of(parse, deputize_mode=mode) == "invalid_request"


def test_impersonation_gives_access_and_nothing_else() -> None:
    for kind in (tx.SESSION, tx.JWT):
        assert code_of(parse, deputize_mode="impersonation", requested_token_type=kind) == "invalid_request"


def test_client_authentication_and_extensions_are_passed_over() -> None:
    assert parse(("client_assertion", "x"), ("client_id", "y"), ("vendor_thing", "z")) == parse()


def test_a_form_of_too_many_fields_is_refused() -> None:
    assert code_of(parse, *((f"f{n}", "x") for n in range(65))) == "invalid_request"


def test_a_request_survives_the_wire() -> None:
    for request in (
        parse(),
        parse(actor_token="a", actor_token_type=tx.JWT, requested_token_type=tx.SESSION, scope=None, resource=None),
        parse(deputize_mode="impersonation"),
    ):
        assert tx.parse_form(tx.build_form(request)) == request


@pytest.mark.requirement("TX-01")
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"grant_type":"x"}', "application/json"),
        (b"grant_type=x", "text/plain"),
        (b"grant_type=x", ""),
        (b"grant_type=x", "multipart/form-data"),
        (b"grant_type", tx.FORM),
        (b"a=%ff", tx.FORM),
        (b"a=\xff", tx.FORM),
        (b"&".join(b"a%d=1" % n for n in range(70)), tx.FORM),
    ],
)
def test_what_is_no_form_is_refused(body: Any, kind: str) -> None:
    assert code_of(tx.form_items, body, content_type=kind) == "invalid_request"


def test_a_form_is_read_with_its_empty_and_repeated_fields() -> None:
    read = tx.form_items(b"a=1&b=&a=2&c=%C3%A9+x", content_type="Application/X-WWW-Form-Urlencoded; charset=utf-8")
    assert read == [("a", "1"), ("b", ""), ("a", "2"), ("c", "\u00e9 x")]
    assert tx.form_items(b"", content_type=tx.FORM) == []


@pytest.mark.requirement("TX-11")
def test_a_refresh_token_can_be_neither_sent_nor_asked_for_nor_answered() -> None:
    refresh = "urn:ietf:params:oauth:token-type:refresh_token"
    for field in ("subject_token_type", "requested_token_type"):
        assert code_of(parse, **{field: refresh}) == "invalid_request"
    told = {"access_token": "t", "issued_token_type": tx.SESSION, "token_type": "N_A", "expires_in": 1}
    answer = tx.TokenExchangeResponse.from_json(json.dumps({**told, "refresh_token": "refresh-canary"}).encode())
    assert json.loads(answer.to_json()) == told


@pytest.mark.requirement("TX-09")
def test_an_answer_always_says_what_was_granted() -> None:
    answer = tx.TokenExchangeResponse(
        access_token="token-canary", issued_token_type=tx.ACCESS_TOKEN, token_type="DPoP", expires_in=60, scope=("a",)
    )
    assert json.loads(answer.to_json()) == {
        "access_token": "token-canary",
        "issued_token_type": tx.ACCESS_TOKEN,
        "token_type": "DPoP",
        "expires_in": 60,
        "scope": "a",
    }
    assert tx.TokenExchangeResponse.from_json(answer.to_json()) == answer


@pytest.mark.parametrize(
    "change",
    [
        {"access_token": None},
        {"access_token": ""},
        {"issued_token_type": None},
        {"token_type": "mac"},
        {"token_type": None},
        {"expires_in": "60"},
        {"expires_in": True},
        {"expires_in": -1},
        {"expires_in": None},
        {"scope": ["a"]},
        {"scope": "a  b"},
    ],
)
def test_an_answer_of_another_form_is_refused(change: Any) -> None:
    good = {"access_token": "t", "issued_token_type": tx.SESSION, "token_type": "n_a", "expires_in": 1}
    assert tx.TokenExchangeResponse.from_json(json.dumps(good).encode()).token_type == "N_A"
    assert code_of(tx.TokenExchangeResponse.from_json, json.dumps({**good, **change}).encode()) in {
        "invalid_response",
        "invalid_scope",
    }


@pytest.mark.requirement("I9")
def test_no_token_is_in_a_repr() -> None:
    request = parse(actor_token="actor-canary", actor_token_type=tx.JWT)
    answer = tx.TokenExchangeResponse(
        access_token="token-canary", issued_token_type=tx.SESSION, token_type="N_A", expires_in=1
    )
    assert "canary" not in repr(request) + repr(answer)


NAMES = st.sampled_from(
    [*FORM, "audience", "actor_token", "actor_token_type", "requested_token_type", "deputize_mode", "x"]
)
VALUES = st.sampled_from(["", URL, tx.JWT, tx.SESSION, FORM["grant_type"], "a", "self"]) | st.text(max_size=6)


@pytest.mark.requirement("I10")
@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
@settings(max_examples=150)
def test_no_form_raises_anything_but_our_error(items: Any) -> None:
    try:
        request = tx.parse_form([*FORM.items(), *items])
    except InvalidRequest:
        return
    assert tx.parse_form(tx.build_form(request)) == request


def refuses(name: str, text: str) -> bool:
    try:
        parse(**{name: text})
    except InvalidRequest:
        return True
    return False


@pytest.mark.requirement("I10")
def test_naughty_strings_in_any_field_raise_nothing_but_our_error() -> None:
    for text in json.loads(vectors("naughty_strings").joinpath("blns.json").read_text(encoding="utf-8")):
        for name in ("resource", "scope", "subject_token_type", "deputize_mode", "requested_token_type"):
            said = code_of(parse, **{name: text}) if refuses(name, text) else "invalid_request"
            assert said in {"invalid_target", "invalid_scope", "invalid_request"}
