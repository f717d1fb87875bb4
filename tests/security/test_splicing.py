"""Whose session it is, who presents it and who acts: chains are not spliced, and actors are not made up."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from deputize.authority import opening, subject
from deputize.model.failure import DeputizeError
from deputize.model.sign_in import SignIn
from deputize.model.token import TokenContext
from deputize.wire import identity_token
from deputize.wire.alg import generate

AGENT = "spiffe://example.org/agent/"
NAMES = ("boss", "reader", "writer")


def two_trees(firm: Any) -> list[Any]:
    """Alice's tree and Bob's, of the same agents: boss > reader > writer."""
    sessions = []
    for user in ("alice", "bob"):
        root = firm.root(user=user)
        middle = root.delegate("reader")
        sessions += [root, middle, middle.delegate("writer")]
    return sessions


@pytest.mark.requirement("A-01")
def test_of_all_pairs_of_presenter_and_subject_only_a_sessions_own_agent_gets_access(firm: Any, code_of: Any) -> None:
    for session, presenter in itertools.product(two_trees(firm), NAMES):
        token = session.present()
        if presenter == session.name == "boss":  # it holds the right and may hand it on, not use it
            assert code_of(lambda token=token: firm.access("boss", token)) == "access_denied"
        elif presenter == session.name:
            assert firm.access(presenter, token).grant.sid == session.id
        else:
            assert code_of(lambda p=presenter, token=token: firm.access(p, token)) == "wrong_presenter"


@pytest.mark.requirement("A-01")
def test_of_all_pairs_of_subject_and_actor_in_two_trees_only_the_right_presenter_extends_its_own_chain(
    firm: Any, code_of: Any
) -> None:
    """An actor token carries no chain, so the one chain that can come out is the subject's with this actor."""
    opened = 0
    for session, presenter, actor in itertools.product(two_trees(firm), NAMES, NAMES):
        for to in NAMES:

            def attempt(session: Any = session, presenter: str = presenter, actor: str = actor, to: str = to) -> Any:
                return firm.hand_off(presenter, session.present(), firm.identity(actor), to)

            try:
                child = attempt().node
            except DeputizeError as error:
                may = (
                    presenter == session.name
                    and actor == to
                    and (session.name, to)
                    in {
                        *itertools.product(["boss"], NAMES),
                        ("reader", "writer"),
                    }
                )
                assert not may, error  # noqa: PT017  # that it is refused is what is looked at
                continue
            opened += 1
            assert presenter == session.name
            assert actor == to
            assert child.chain == (AGENT + to, *session.chain)
            assert (child.txn, child.sub) == (session.root, session.subject)
    assert opened == 2 * (3 + 1)


@pytest.mark.requirement("A-01")
@pytest.mark.requirement("A-12")
def test_a_stolen_session_token_is_worth_nothing_without_its_key(firm: Any, broken: Any, code_of: Any) -> None:
    child = firm.root().delegate("reader")
    token = child.present()

    def by_agent(client: Any, claims: Any, node: Any) -> None:
        """As if any agent could present any session."""

    with broken(subject, "present", by_agent):
        assert firm.access("reader", token).grant
        assert firm.call("writer", token)
    assert code_of(lambda: firm.access("writer", token)) == "wrong_presenter"
    assert code_of(lambda: firm.call("writer", token)) == "wrong_presenter"
    for record in firm.records(outcome="denied"):
        assert (record["agent"], record["code"]) == (AGENT + "writer", "wrong_presenter")


@pytest.mark.requirement("A-12")
def test_the_same_agent_with_another_key_does_not_hold_the_session(firm: Any, broken: Any, code_of: Any) -> None:
    """A second process of the agent, or whoever got its identity: the token is bound to the key, not to the name."""
    child = firm.root().delegate("reader")
    token = child.present()
    held = firm.engine.identity(AGENT + "reader")
    other = replace(held, client=replace(held.client, jkt=generate().kid))
    firm.engine._identities._held[AGENT + "reader"] = other

    def by_name(client: Any, claims: Any, node: Any) -> None:
        assert node.agent == client.agent

    with broken(subject, "present", by_name):
        assert firm.access("reader", token).grant.jkt == other.client.jkt
    assert code_of(lambda: firm.access("reader", token)) == "wrong_presenter"


@pytest.mark.requirement("A-12")
def test_a_parent_cannot_go_on_as_the_child_that_it_opened(firm: Any, code_of: Any) -> None:
    child = firm.root().delegate("reader")
    for token in (child.present(), firm.forged(child, jkt=firm.engine.identity(AGENT + "boss").client.jkt)):
        assert code_of(lambda token=token: firm.access("boss", token)) == "wrong_presenter"
        assert code_of(lambda token=token: firm.hand_off("boss", token, firm.identity("writer"), "writer"))


@pytest.mark.requirement("A-01")
@pytest.mark.requirement("I4")
@pytest.mark.parametrize(
    "changes",
    [
        {"chain": (AGENT + "reader",)},
        {"chain": (AGENT + "reader", AGENT + "boss")},
        {"chain": (AGENT + "reader", AGENT + "boss", AGENT + "writer")},
        {"chain": (AGENT + "reader", AGENT + "boss", AGENT + "boss", AGENT + "boss")},
        {"chain": (AGENT + "boss", AGENT + "reader")},
        {"sub": "local|bob"},
        {"sub": AGENT + "reader"},
        {"txn": "other"},
        {"sid": "other"},
        {"path": "other"},
        {"path": "gone"},
        {"sign_in": SignIn(acr="gold")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_claims_that_differ_from_the_stored_session_are_refused_under_our_own_signature(
    firm: Any, broken: Any, code_of: Any, changes: Any
) -> None:
    """What a stolen signing key could say. The token tells of a session; the session decides."""
    middle = firm.root().delegate("boss")
    child = middle.delegate("reader")
    other = firm.root(user="bob").delegate("reader")
    if "path" in changes:
        context = firm.claims(child).context
        assert context.path == (middle.id,)
        path = (other.id,) if changes["path"] == "other" else ()
        changes = {"context": TokenContext(mode=context.mode, path=path, rec=context.rec)}
    if "txn" in changes:
        changes = {"txn": other.root}
    if "sid" in changes:  # of the same agent in another tree: sid and key fit, the rest tells of this tree
        changes = {"sid": other.id}
    token = firm.forged(child, **changes)

    def trusting(parts: Any, tokens: Any, case: Any, text: str, now: float) -> Any:
        claims, kid = tokens.session(parts, text, now)
        case.node = parts.store.read(lambda tx: tx.session(claims.sid))
        return subject.Presented(claims, kid, case.node)

    with broken(opening, "subject_of", trusting):
        assert firm.hand_off("reader", token, firm.identity("writer"), "writer").token
    assert code_of(lambda: firm.hand_off("reader", token, firm.identity("writer"), "writer")) == "wrong_session"
    assert code_of(lambda: firm.access("reader", token)) == "wrong_session"
    assert code_of(lambda: firm.call("reader", token)) == "wrong_session"


@pytest.mark.requirement("A-03")
def test_an_actor_is_who_its_identity_names_and_not_who_the_request_names(firm: Any, broken: Any, code_of: Any) -> None:
    root = firm.root()
    identity = firm.identity("writer")
    genuine = subject.Tokens.identity

    def renamed(self: Any, parts: Any, token: str, now: float) -> Any:
        claims, kid = genuine(self, parts, token, now)
        return replace(claims, sub=AGENT + "reader"), kid

    with broken(subject.Tokens, "identity", renamed):
        opened = firm.hand_off("boss", root.present(), identity, "reader")
        assert opened.jkt == firm.engine.identity(AGENT + "writer").key.kid  # the reader's session, the writer's key
    assert code_of(lambda: firm.hand_off("boss", root.present(), identity, "reader")) == "wrong_actor"


@pytest.mark.requirement("A-03")
def test_an_identity_that_the_authority_did_not_sign_makes_no_actor(firm: Any, code_of: Any) -> None:
    root = firm.root()
    own = firm.engine.tokens.identity(firm.engine.parts, firm.identity("writer"), firm.clock.now())[0]
    mine = generate()
    stranger = identity_token.encode(replace(own, jwk=mine.public_jwk()), mine)
    assert code_of(lambda: firm.hand_off("boss", root.present(), stranger, "writer")) == "unknown_key"
    expired = replace(own, iat=own.iat - 1000, exp=own.iat - 1)
    late = identity_token.encode(expired, firm.engine.parts.keys.signer())
    assert code_of(lambda: firm.hand_off("boss", root.present(), late, "writer")) == "token_expired"


@pytest.mark.requirement("A-12")
@pytest.mark.requirement("I4")
def test_the_result_of_a_hand_off_is_bound_to_the_actors_key_and_to_no_other(firm: Any) -> None:
    child = firm.root().delegate("reader")
    said = firm.claims(child)
    assert said.jkt == firm.engine.identity(AGENT + "reader").key.kid
    assert said.jkt != firm.engine.identity(AGENT + "boss").key.kid
    granted = child.access("crm", ["crm:read"])
    assert firm.authority.introspect(granted.reveal()).jkt == said.jkt


@pytest.mark.requirement("A-02")
def test_what_the_user_may_and_the_agent_may_not_is_denied(firm: Any, code_of: Any) -> None:
    """The pair decides: alice's authority reaches crm:write, through the writer and not through the reader."""
    root = firm.root()
    writer, reader = root.delegate("writer"), root.delegate("reader")
    assert writer.access("crm", ["crm:write"])
    assert code_of(lambda: reader.access("crm", ["crm:write"])) == "access_denied"
    assert firm.records(type="exchange.permitted", session=reader.id) == []


@pytest.mark.requirement("A-04")
def test_a_session_token_is_of_no_use_once_its_own_session_ended(firm: Any, code_of: Any) -> None:
    root = firm.root()
    first, second = root.delegate("reader"), root.delegate("reader")
    token = first.present()
    first.close()
    assert code_of(lambda: firm.access("reader", token)) == "session_closed"
    assert second.access("crm", ["crm:read"])


@pytest.mark.requirement("I7")
def test_tokens_die_with_the_key_that_signed_them_also_where_they_were_verified_before(
    firm: Any, broken: Any, code_of: Any
) -> None:
    root = firm.root()
    child = root.delegate("reader")
    token, parent, identity = child.present(), root.present(), firm.identity("writer")
    uses = [
        lambda: firm.access("reader", token),
        lambda: firm.call("reader", token),
        lambda: firm.hand_off("reader", token, identity, "writer"),
    ]
    for use in uses:
        assert use()
    firm.authority.revoke(key=firm.engine.parts.keys.signer().kid, reason="leaked")
    with broken(subject.Cuts, "require_key", lambda *_: None):
        assert uses[0]()
    for use in uses:
        assert code_of(use) == "key_revoked"
    fresh = firm.engine.open_root(AGENT + "boss", root._request)  # under a new key, bound to the same
    assert fresh.token != parent
    assert code_of(lambda: firm.hand_off("boss", fresh.token, identity, "writer")) == "key_revoked"


@pytest.mark.requirement("A-16")
@pytest.mark.requirement("AT-04")
def test_no_user_is_named_like_an_agent_and_no_agent_like_a_user(firm: Any, code_of: Any) -> None:
    for name in (AGENT + "reader", AGENT.upper() + "reader", "local|" + AGENT + "reader", "x|spiffe:reader"):
        assert code_of(lambda name=name: firm.root(user=name)) == "invalid_request"
    with firm.authority.session(agent="reader", user="reader") as session:
        assert session.subject == "local|reader"
        assert session.agent == AGENT + "reader"
    for name in ("local|alice", "alice|reader", "reader "):
        assert code_of(lambda name=name: firm.root().delegate(name)) == "unknown_agent"
