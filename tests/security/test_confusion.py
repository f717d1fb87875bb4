"""A token of one kind in the place of another, for another audience, or by another issuer."""

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deputize import Authority, DeputizeError
from deputize.model.token import SESSION_TYP
from deputize.runtime import verifier_for
from deputize.wire import base64url, dpop, json_strict, jws

if TYPE_CHECKING:
    from deputize.wire.alg import LocalKey

AGENT = "spiffe://example.org/agent/"
CRM = "https://crm.example/mcp"
ISSUER = "http://127.0.0.1:8400"


def body(token: str) -> dict[str, Any]:
    return json_strict.loads(base64url.decode(token.split(".")[1].encode()))


def kinds(firm: Any) -> dict[str, str]:
    """One live token of each kind that this authority, its agents or a client of it make."""
    child = firm.root().delegate("reader")
    access = child.access("crm", ["crm:read"])
    key: LocalKey = firm.engine.identity(AGENT + "reader").key
    now = int(firm.clock.now())
    about = {"iss": AGENT + "reader", "sub": AGENT + "reader", "aud": ISSUER, "jti": "j" * 22, "iat": now}
    return {
        "session": child.present(),
        "access": access.reveal(),
        "identity": firm.identity("reader"),
        "proof": dpop.proof(key, htm="POST", htu=CRM, access_token=access.reveal(), now=now),
        "assertion": jws.sign("client-authentication+jwt", {**about, "exp": now + 60}, key),
        "plain": jws.sign("jwt", {**body(child.present())}, firm.engine.parts.keys.signer()),
    }


@pytest.mark.requirement("A-09")
@pytest.mark.requirement("JW-03")
def test_every_kind_in_every_slot_and_only_the_right_one_passes(firm: Any) -> None:
    tokens = kinds(firm)
    verifier = verifier_for(firm.authority, CRM)

    def proved(token: str) -> Any:
        key = firm.engine.identity(AGENT + "reader").key
        proof = dpop.proof(key, htm="POST", htu=CRM, access_token=token, now=firm.clock.now())
        return verifier.verify(token, proof=proof, method="POST", url=CRM, binding="dpop")

    access = tokens["access"]
    slots = {
        "subject of an access": ("session", lambda t: firm.access("reader", t)),
        "subject of a hand-off": ("session", lambda t: firm.hand_off("reader", t, firm.identity("writer"), "writer")),
        "subject of a call": ("session", lambda t: firm.call("reader", t)),
        "actor": ("identity", lambda t: firm.hand_off("boss", firm.root().present(), t, "reader")),
        "resource": ("access", proved),
        "proof": (
            "proof",
            lambda t: verifier.verify(access, proof=t, method="POST", url=CRM, binding="dpop"),
        ),
    }
    for (slot, (right, use)), (kind, token) in itertools.product(slots.items(), tokens.items()):
        try:
            use(token)
        except DeputizeError as error:
            assert kind != right, (slot, error)  # noqa: PT017  # that it is refused is what is looked at
        else:
            assert kind == right, (slot, kind)


@pytest.mark.requirement("A-09")
def test_the_kind_is_told_by_typ_and_a_copy_that_ignores_it_takes_an_access_token_for_a_session(
    firm: Any, broken: Any, code_of: Any
) -> None:
    """Same claims, our signature, another `typ`: nothing but the type tells it from a session token."""
    child = firm.root().delegate("reader")
    signer = firm.engine.parts.keys.signer()
    disguised = jws.sign("at+jwt", body(child.present()), signer)
    header = jws._header

    def any_type(head: bytes, algorithms: Any) -> Any:
        return replace(header(head, algorithms), typ=SESSION_TYP)

    with broken(jws, "_header", any_type):
        jws._headers.clear()
        assert firm.access("reader", disguised).grant
    jws._headers.clear()
    firm.engine.forget_inputs()
    assert code_of(lambda: firm.access("reader", disguised)) == "wrong_type"


@pytest.mark.requirement("A-05")
@pytest.mark.requirement("I6")
def test_a_token_is_of_no_use_at_a_resource_that_only_looks_like_its_own(firm: Any, broken: Any, code_of: Any) -> None:
    from deputize.wire import access_token

    child = firm.root().delegate("reader")
    token = child.access("wiki", ["wiki:read"]).reveal()
    alike = ["https://wiki.example/mcp/", "https://wiki.example/mc", "https://wiki.example/mcp.evil", CRM]
    alike += ["https://WIKI.example/mcp", "http://wiki.example/mcp", "https://wiki.example:443/mcp"]

    def prefix(claims: Any, audience: str, *, several: bool) -> None:
        assert audience.startswith(claims["aud"][:16])

    with broken(access_token, "check_audience", prefix):
        assert verifier_for(firm.authority, alike[0]).verify(token)
    for name in alike:
        verifier = verifier_for(firm.authority, name)
        assert code_of(lambda verifier=verifier: verifier.verify(token)) == "wrong_audience"
    assert verifier_for(firm.authority, "https://wiki.example/mcp").verify(token).resource.endswith("/mcp")


@pytest.mark.requirement("A-13")
@pytest.mark.requirement("JW-02")
def test_the_same_key_id_at_two_issuers_is_two_keys(firm: Any, code_of: Any) -> None:
    """A stranger names its own key after ours, in the header: the key that we hold under that name decides."""
    child = firm.root().delegate("reader")
    said = body(child.present())
    ours = firm.engine.parts.keys.signer()
    with Authority(agents={"reader": ["search"]}, clock=firm.clock) as other:
        theirs = other.engine.parts.keys.signer()
        forged = jws.sign_with({"alg": theirs.alg, "kid": ours.kid, "typ": SESSION_TYP}, said, theirs)
        assert code_of(lambda: firm.access("reader", forged)) == "invalid_signature"
        foreign = other.session(user="alice", agent="reader")
        assert code_of(lambda: firm.access("reader", foreign.present())) == "unknown_key"
        assert not firm.authority.introspect(foreign.present()).active


@pytest.mark.requirement("JW-06")
@pytest.mark.parametrize(
    "kid",
    [
        "../../etc/passwd",
        "x' or '1'='1",
        "x; drop table keys",
        "\u2028",
        "file:///dev/null",
        "%00",
        " " * 40,
        "a" * 129,
    ],
)
def test_a_key_id_is_text_that_finds_nothing_and_does_nothing(firm: Any, code_of: Any, kid: str) -> None:
    child = firm.root().delegate("reader")
    signer = firm.engine.parts.keys.signer()
    before = firm.authority.jwks()
    forged = jws.sign_with({"alg": signer.alg, "kid": kid, "typ": SESSION_TYP}, body(child.present()), signer)
    assert code_of(lambda: firm.access("reader", forged)) in {"malformed_token", "unknown_key"}
    assert firm.authority.introspect(forged) == firm.authority.introspect("")
    assert firm.authority.jwks() == before


@pytest.mark.requirement("A-17")
@pytest.mark.requirement("IN-02")
def test_introspection_tells_nothing_about_what_is_not_active(firm: Any) -> None:
    """Unknown, foreign, expired, revoked, altered: one answer for all of them."""
    child = firm.root().delegate("reader")
    revoked, altered = child.access("crm", ["crm:read"]), child.access("crm", ["crm:read"])
    firm.authority.revoke(token=revoked.id, reason="leaked")
    expired = child.access("crm", ["crm:read"], ttl=1)
    with Authority(agents={"reader": ["search"]}, clock=firm.clock) as other:
        foreign = other.session(user="alice", agent="reader").present()
    firm.clock.advance(2)
    head, _, tail = altered.reveal().partition(".")
    told = {
        repr(firm.authority.introspect(token))
        for token in ("", "x", "a.b.c", revoked.reveal(), expired.reveal(), foreign, f"{head}.x{tail}", "\ud800")
    }
    assert told == {repr(firm.authority.introspect("nothing"))}
