"""Every kind of token in every slot of every endpoint: the right one passes, in its own slot, and nothing else does."""

from collections.abc import Callable

import pytest

from deputize.testing import FakeIssuer
from tests.http.raw import ACCESS, ASSERTED, CRM, EXCHANGE, JWT, KIND, LOCAL, SESSION, Cast, World, details

CALL = {"tool": "search", "resource": LOCAL, "scopes": ["tool:search"]}
BOTH = {"authorization_details": details({CRM: ["crm:read"], LOCAL: ["tool:search"]})}
USERS = """
[[users]]
issuer = "{issuer}"
alias = "corp"
audience = ["{audience}"]
tokens = ["access_token", "id_token"]
"""


@pytest.fixture(scope="module")
def firm(tmp_path_factory: pytest.TempPathFactory) -> "Firm":  # type: ignore[misc]  # it is ended below
    with FakeIssuer() as issuer:
        more = USERS.format(issuer=issuer.url, audience="portal")
        world = World.begin(tmp_path_factory.mktemp("confusion"), more=more)
        yield Firm(Cast.of(world), issuer)
        world.end()


class Firm:
    """Those who take part, and one fresh token of each kind."""

    def __init__(self, cast: Cast, issuer: FakeIssuer) -> None:
        self.cast = cast
        self.issuer = issuer

    def tokens(self, path: str, method: str = "POST") -> dict[str, str]:
        """All of them are the reader's own and would each be good in its own place."""
        cast = self.cast
        reader = cast.reader
        session = reader.root(rights=details({CRM: ["crm:read"], LOCAL: ["tool:search"]}))
        return {
            "session": session,
            "access": reader.access(session),
            "identity": reader.identity,
            "workload identity": cast.churn.identity,
            "client assertion": reader.assertion(),
            "subject assertion": reader.names("local|alice"),
            "proof": reader.proof(path, method, token=session),
            "id token": self.issuer.id_token("alice", audience="portal"),
            "user's access token": self.issuer.access_token("alice", audience="portal"),
            "no token": "eyJhbGciOiJub25lIn0.e30.",
        }


Slot = Callable[[Firm, str, dict[str, str]], int]


def _client_assertion(firm: Firm, shown: str, own: dict[str, str]) -> int:
    party = firm.cast.reader
    fields = [(name, shown if name == "client_assertion" else value) for name, value in party.credentials()]
    return party.send("/registry", {}, credentials=fields, proofs=()).status_code


def _identity(firm: Firm, shown: str, own: dict[str, str]) -> int:
    party = firm.cast.reader
    fields = [(name, shown if name == "deputize_identity" else value) for name, value in party.credentials()]
    return party.send("/registry", {}, credentials=fields, proofs=()).status_code


def _subject(kind: str, wanted: str, **more: str | None) -> Slot:
    def slot(firm: Firm, shown: str, own: dict[str, str]) -> int:
        fields = {
            "grant_type": EXCHANGE,
            "subject_token": shown,
            "subject_token_type": kind,
            "requested_token_type": wanted,
            **({"resource": CRM, "scope": "crm:read"} if wanted == ACCESS else {}),
            **more,
        }
        return firm.cast.reader.send("/token", fields).status_code

    return slot


def _actor(firm: Firm, shown: str, own: dict[str, str]) -> int:
    boss, reader = firm.cast.boss, firm.cast.reader
    fields = {**boss.child_fields(boss.root(), reader), "actor_token": shown}
    return boss.send("/token", fields, prover=reader.key).status_code


def _hosting(firm: Firm, shown: str, own: dict[str, str]) -> int:
    from deputize.wire.alg import generate

    fields = {
        "grant_type": EXCHANGE,
        "subject_token": shown,
        "subject_token_type": JWT,
        "requested_token_type": JWT,
        "audience": "reader",
    }
    return firm.cast.churn.send("/token", fields, prover=generate()).status_code


def _held(path: str, body: object | None) -> Slot:
    def slot(firm: Firm, shown: str, own: dict[str, str]) -> int:
        return firm.cast.reader.hold(path, shown, body).status_code

    return slot


def _proof(firm: Firm, shown: str, own: dict[str, str]) -> int:
    return firm.cast.reader.hold("/calls", own["session"], CALL, proofs=[shown]).status_code


def _evidence(firm: Firm, shown: str, own: dict[str, str]) -> int:
    fields = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": shown}
    return firm.cast.reader.send("/token", fields, credentials=()).status_code


SLOTS: dict[str, tuple[Slot, set[str], str]] = {
    "client_assertion": (_client_assertion, {"client assertion"}, "/registry"),
    "deputize_identity": (_identity, {"identity"}, "/registry"),
    "subject_token of access": (_subject(SESSION, ACCESS), {"session"}, "/token"),
    "subject_token of access, named access": (_subject(ACCESS, ACCESS), set(), "/token"),
    "subject_token of access, named JWT": (_subject(JWT, ACCESS), set(), "/token"),
    "subject_token of access, asserted": (_subject(ASSERTED, ACCESS), set(), "/token"),
    "subject_token of a root, asserted": (_subject(ASSERTED, SESSION, **BOTH), {"subject assertion"}, "/token"),
    "subject_token of a root, access": (_subject(ACCESS, SESSION, **BOTH), {"user's access token"}, "/token"),
    "subject_token of a root, ID token": (_subject(KIND + "id_token", SESSION, **BOTH), {"id token"}, "/token"),
    "subject_token of a root, JWT": (_subject(JWT, SESSION, **BOTH), {"user's access token"}, "/token"),
    "actor_token": (_actor, {"identity"}, "/token"),
    "subject_token of an identity": (_hosting, {"workload identity"}, "/token"),
    "authorization of /calls": (_held("/calls", CALL), {"session"}, "/calls"),
    "authorization of /notes": (_held("/notes", {"kind": "tool.finished", "outcome": "done"}), {"session"}, "/notes"),
    "authorization of /session/tree": (_held("/session/tree", None), {"session"}, "/session/tree"),
    "authorization of /session/close": (_held("/session/close", {}), {"session"}, "/session/close"),
    "authorization of /session/revoke": (_held("/session/revoke", {"reason": "x"}), {"session"}, "/session/revoke"),
    "proof": (_proof, {"proof"}, "/calls"),
    "evidence": (_evidence, set(), "/token"),
}


@pytest.mark.requirement("JW-03", "A-09", "TX-06", "WL-04")
@pytest.mark.parametrize("slot", SLOTS)
def test_only_the_right_kind_passes(firm: Firm, slot: str) -> None:
    use, right, path = SLOTS[slot]
    passed = set()
    for kind in firm.tokens(path):
        own = firm.tokens(path, "GET" if path == "/session/tree" else "POST")
        size = firm.cast.world.size()
        status = use(firm, own[kind], own)
        if status == 200:
            passed.add(kind)
        else:
            assert status in {400, 401}, (slot, kind, status)
            outcomes = [one["outcome"] for one in firm.cast.world.since(size) if one["type"] != "session.opened"]
            assert set(outcomes) <= {"denied"}, (slot, kind)
    assert passed == right


@pytest.mark.requirement("JW-03", "IN-02")
def test_introspection_tells_of_tokens_that_the_authority_issued_alone(firm: Firm) -> None:
    reader, told = firm.cast.reader, firm.tokens("/introspect")
    active = {kind for kind, token in told.items() if reader.introspect(token)["active"]}
    assert active == {"session", "access"}


@pytest.mark.requirement("JW-03", "A-13")
def test_a_key_of_one_issuer_signs_nothing_for_another(firm: Firm) -> None:
    """The user's issuer takes the place of the authority, under its own key and the authority's key id."""
    cast, issuer = firm.cast, firm.issuer
    from deputize.wire import jws
    from tests.http.raw import claims

    token = cast.reader.root(rights=details({CRM: ["crm:read"]}))
    kid = jws.peek(token).kid
    head = {"alg": "ES256", "typ": "vnd.deputize.session+jwt", "kid": kid}
    forged = jws.sign_with(head, claims(token), issuer.key)
    own = jws.sign_with({**head, "kid": issuer.key.kid}, claims(token), issuer.key)
    for bad in (forged, own):
        size = cast.world.size()
        cast.refused(cast.reader.send("/token", cast.reader.access_fields(bad)), size, by=cast.reader)
        assert cast.reader.hold("/session", bad).status_code == 401


def test_a_users_token_is_shown_by_whoever_starts_and_names_its_own_subject(firm: Firm) -> None:
    boss = firm.cast.boss
    token = firm.issuer.id_token("alice", audience="portal")
    fields = boss.root_fields(subject_token=token, subject_token_type=KIND + "id_token")
    answer = boss.send("/token", fields)
    assert answer.json()["deputize_session"]["sub"] == "corp|alice"
    for bad in (
        firm.issuer.id_token("alice", audience="somebody"),
        firm.issuer.mint({"sub": "alice", "aud": "portal", "exp": 1}),
        token[:-8] + "AAAAAAAA",
    ):
        size = firm.cast.world.size()
        refused = boss.send("/token", {**fields, "subject_token": bad})
        firm.cast.refused(refused, size, by=boss)
