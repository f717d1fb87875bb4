"""What errors tell: which check failed and what would be enough; no token, no key, and little of what was given."""

import copy
import pickle  # noqa: TID251  # what others may try
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deputize import Authority, Mode
from deputize.authority import journal
from deputize.model import failure
from deputize.model.failure import Denial, Denied, DeputizeError, InvalidRequest
from deputize.model.resource import Right
from deputize.wire.alg import generate

AGENT = "spiffe://example.org/agent/"
WIDE = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LONG = st.text(min_size=201, max_size=400) | st.text("abcdefgh-./:|", min_size=201, max_size=400)


def windows(text: str) -> set[str]:
    """Every stretch of 201 characters."""
    return {text[start : start + 201] for start in range(len(text) - 200)}


def ways(firm: Any, child: Any, text: str) -> list[Callable[[], object]]:
    """Every way to hand a text to the authority."""
    return [
        lambda: firm.authority.session(agent=text, user="alice"),
        lambda: firm.root(user=text),
        lambda: firm.root(scopes=[text]),
        lambda: firm.root(resources=[text]),
        lambda: firm.root(key=text * 3),
        lambda: firm.root(task=text * 30),
        lambda: child.parent.delegate(text),
        lambda: child.access(text, ["crm:read"]),
        lambda: child.access("crm", [text]),
        lambda: child.access("crm", ["crm:read"], onward=[Right(text, text)]),
        lambda: child.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, reason=text),
        lambda: child.access("crm", ["crm:write"], tool=text),
        lambda: child.tool_call(text).start(),
        lambda: child.tool_call("x", to=[text]).start(),
        lambda: firm.access("reader", text),
        lambda: firm.access("reader", child.present(), scopes=frozenset({text})),
        lambda: firm.engine.open_root(AGENT + "boss", _root_request(text)),
        lambda: firm.hand_off("reader", child.present(), text, "writer"),
        lambda: firm.authority.revoke(session=text, reason="x"),
        lambda: firm.authority.revoke(token="x", reason=text * 3),
        lambda: firm.authority.revoke(agent=text, reason="x"),
        lambda: firm.authority.revoke(key=text, reason="x"),
        lambda: firm.authority.explain(chain=[text]),
        lambda: firm.authority.explain(chain=["boss"], resource=text, scopes=[text]),
        lambda: firm.authority.update(agents={text: [text]}),
        lambda: Authority(agents={text: [text]}),
        lambda: Authority(agents={"a": []}, resources={text: ["b"]}),
        lambda: Authority(agents={"a": []}, delegations={"a": [text]}),
        lambda: Authority(agents={"a": []}, store=text + "\0"),
    ]


def _root_request(text: str) -> Any:
    from deputize.model.request import RootRequest

    return RootRequest(user="local|alice", requested=frozenset({Right(text, text)}))


@pytest.mark.requirement("I9")
@pytest.mark.requirement("I10")
@WIDE
@given(text=LONG)
def test_no_error_repeats_more_than_200_characters_of_what_it_was_given(firm: Any, text: str) -> None:
    child = firm.root(user="bob").delegate("reader")
    parts = windows(text)
    for attempt in ways(firm, child, text):
        try:
            attempt()
        except DeputizeError as error:
            told = str(error)
            told.encode("utf-8")
            assert not any(part in told for part in parts)
            assert all(line.isprintable() for line in told.split("\n"))


@pytest.mark.requirement("I9")
@pytest.mark.requirement("TT-04")
def test_no_error_holds_a_token_or_a_key_wherever_one_was_given(firm: Any, broken: Any) -> None:
    """Somebody passes a token where a name belongs: it is in no message, and only its digest is in a record."""
    child = firm.root(user="bob").delegate("reader")
    access = child.access("crm", ["crm:read"])
    tokens = [child.present(), access.reveal(), firm.identity("reader")]
    pieces = {piece for token in tokens for piece in (token, *token.split(".")) if len(piece) >= 20}

    def told_by(attempts: list[Callable[[], object]]) -> list[str]:
        told = []
        for attempt in attempts:
            try:
                attempt()
            except DeputizeError as error:
                told.append(f"{error} {error!r} {error.args} {vars(error)}")
        return told

    for token in tokens:
        for told in told_by(ways(firm, child, token)):
            assert not any(piece in told for piece in pieces if len(piece) > 200)
    talkative = failure.DeputizeError.__init__

    def leaking(self: Any, message: str, **more: Any) -> None:
        talkative(self, f"{message} {tokens[0]}", **more)

    with broken(failure.DeputizeError, "__init__", leaking):
        assert any(tokens[0] in told for told in told_by(ways(firm, child, tokens[0])[:3]))


@pytest.mark.requirement("I9")
@pytest.mark.requirement("AU-05")
def test_a_token_that_was_passed_where_a_name_belongs_is_not_written_down(firm: Any, broken: Any) -> None:
    child = firm.root(user="bob").delegate("reader")
    token = child.access("crm", ["crm:read"]).reveal()

    def written() -> str:
        uses: list[Callable[[], object]] = [
            *ways(firm, child, token),
            lambda: child.note("odd", tool=token, call_id=token, detail={token: ["said", token]}),
            lambda: child.tool_call("search", call_id=f"call {token}", args={"t": token}).start(),
        ]
        for use in uses:
            with suppress(DeputizeError):
                use()
        return str(list(firm.authority.audit))

    with broken(journal, "_TOKEN", re.compile("never")):
        assert token in written()
    before = len(firm.authority.audit)
    assert written()
    later = str(list(firm.authority.audit)[before:])
    assert "[a token]" in later
    assert not any(piece in later for piece in token.split(".") if len(piece) >= 20)
    assert firm.authority.audit.verify().ok


@pytest.mark.requirement("I9")
def test_a_refusal_tells_a_model_its_code_policy_and_reference_and_nothing_more(firm: Any) -> None:
    child = firm.root().delegate("reader")
    with pytest.raises(Denied) as refused:
        child.tool_call("drop_table").start()
    said = refused.value.denial.for_model()
    assert said.count("\n") == 0
    assert len(said) < 250
    for secret in ("alice", "crm", "reader", "boss", "drop_table", AGENT, firm.authority.issuer, child.id):
        assert secret not in said


@pytest.mark.requirement("A-17")
def test_a_stranger_and_a_wrong_presenter_learn_nothing_of_the_session(firm: Any, code_of: Any) -> None:
    child = firm.root().delegate("reader")
    live, dead = child.present(), firm.root().delegate("reader")
    gone = dead.present()
    dead.close()
    unknown = firm.forged(child, sid="unknownunknownun")
    told = []
    for token in (live, gone):
        with pytest.raises(InvalidRequest) as refused:
            firm.access("writer", token)
        told.append(str(refused.value))
    assert len(set(told)) == 1  # whether it lives is not said to who does not hold it
    assert code_of(lambda: firm.access("writer", unknown)) == "unknown_session"
    for text in told:
        assert not any(word in text for word in ("alice", child.id, "crm", "reader"))


@pytest.mark.requirement("I10")
@given(asked=st.text(max_size=80), enough=st.text(max_size=80), reference=st.text(max_size=200))
def test_a_message_is_what_a_terminal_and_a_log_can_show(asked: str, enough: str, reference: str) -> None:
    denied = Denied(Denial(code="x", policy=None, asked=asked, enough=enough, reference=reference))
    lines = str(denied).split("\n")
    assert len(lines) <= 3
    assert all(line.isprintable() for line in lines)
    assert denied.denial.for_model().isprintable()
    assert len(denied.denial.for_model()) < 250
    plain = str(InvalidRequest(asked))
    assert plain.isprintable()
    plain.encode("utf-8")


# --- what holds a secret shows none and is not carried away


def holders(firm: Any) -> dict[str, Any]:
    child = firm.root().delegate("reader")
    call = child.tool_call("read_customers")
    call.start()
    engine = firm.engine
    return {
        "Authority": firm.authority,
        "Engine": engine,
        "Parts": engine.parts,
        "Session": child,
        "Access": child.access("crm", ["crm:read"]),
        "Access's auth": child.access("crm", ["crm:read"]).auth(),
        "ToolCall": call,
        "Access of a call": call.access(),
        "Identity": engine.identity(AGENT + "reader"),
        "agent's key": engine.identity(AGENT + "reader").key,
        "signing key": engine.parts.keys.signer(),
        "KeyBook": engine.parts.keys,
        "Opened": child._opened,
        "request": child._request,
        "Caller's view": firm.authority.introspect(child.present()),
    }


@pytest.mark.requirement("I9")
def test_nothing_that_holds_a_secret_shows_it(firm: Any) -> None:
    found = holders(firm)
    secrets = {
        piece
        for token in (found["Session"].present(), found["Access"].reveal(), found["Identity"].token)
        for piece in (token, *token.split(".")[1:])
    }
    assert found["Session"].present() in vars(found["Opened"].__class__)["token"].__get__(found["Opened"])
    for name, thing in found.items():
        inside = vars(thing) if hasattr(thing, "__dict__") else {}
        shown = f"{thing!r} {thing!s} {thing} {inside!r} {[thing]!r}"
        assert not any(secret in shown for secret in secrets), name


@pytest.mark.requirement("I9")
def test_nothing_that_holds_a_key_or_a_token_of_the_public_surface_is_pickled_or_copied(firm: Any) -> None:
    found = holders(firm)
    public = {"Authority", "Engine", "Session", "Access", "Access's auth", "ToolCall", "Access of a call"}
    for name in (*public, "Identity", "agent's key", "signing key", "KeyBook"):
        for carry in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError):
                carry(found[name])
    for name in ("Session", "Access", "Access of a call", "agent's key", "signing key"):
        with pytest.raises(TypeError):
            copy.copy(found[name])
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(found[name], protocol)


@pytest.mark.requirement("I9")
def test_a_private_key_has_no_member_that_gives_it_out() -> None:
    for algorithm in ("ES256", "EdDSA", "RS256"):
        key = generate(algorithm)
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key.public_jwk())
        assert [name for name in dir(key) if "private" in name.lower()] == []
        shown = f"{key!r} {key.public!r} {key._sign!r}"
        assert "PRIVATE" not in shown
        assert key.kid in shown
