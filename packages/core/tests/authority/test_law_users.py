"""Users proved by a token: what their issuer said of them holds for the whole tree, and never changes in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize import Authority, Denied
from deputize.model.failure import IntegrityError
from deputize.model.request import AccessRequest, CallRequest, HandOffRequest, RootRequest
from deputize.model.resource import Right
from deputize.model.session import Evidence, Mode
from deputize.model.sign_in import NO_SIGN_IN, SignIn
from deputize.store.codec import SESSION_COLUMNS, session_from, session_row
from deputize.testing import FakeClock
from deputize.verifier import MemoryKeys, Verifier
from deputize.wire import access_token, session_token
from deputize.wire.jws import peek

AGENT = "spiffe://example.org/agent/"
CRM = "https://crm.example/mcp"
CONFIGURATION = """
version = 1
[authority]
trust_domain = "example.org"
users = "listed"
[store]
url = "sqlite:deputize.db"
durability = "normal"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
[resources.crm.tools]
read = ["crm:read"]
[agents.boss]
open = true
delegate = { crm = ["crm:read", "crm:write"] }
use = { crm = ["crm:read"] }
delegate_to = ["boss", "reader", "loner"]
[agents.reader]
use = { crm = ["crm:read", "crm:write"] }
delegate = { crm = ["crm:read"] }
delegate_to = ["reader"]
[agents.loner]
open = true
use = { crm = ["crm:read"] }
[policy]
files = ["extra.cedar"]
"""
POLICIES = f"""
@id("sales-may-be-here")
permit (principal in Group::"sales", action == Action::"grant", resource);
@id("interns-may-not-write")
forbid (principal in Group::"interns", action == Action::"grant", resource) when {{ resource.name == "crm:write" }};
@id("writing-needs-gold")
forbid (principal, action == Action::"use", resource)
when {{ resource.name == "crm:write" && !(context has acr && context.acr == "gold") }};
@id("silver-shows-at-grant")
forbid (principal, action == Action::"grant", resource) when {{ context has acr && context.acr == "tin" }};
@id("loner-links")
permit (principal == Agent::"{AGENT}loner", action == Action::"open", resource)
when {{ context.mode == "self" && context has from }};
"""
GOLD = SignIn(auth_time=1_749_999_000, acr="gold", amr=("pwd", "otp"))
READ, WRITE = Right(CRM, "crm:read"), Right(CRM, "crm:write")


class House:
    def __init__(self, kind: str, folder: Path) -> None:
        self.clock, self.kind = FakeClock(), kind
        self.path = folder / "deputize.toml"
        self.path.write_text(CONFIGURATION, encoding="utf-8")
        (folder / "extra.cedar").write_text(POLICIES, encoding="utf-8")
        self.authority = self._open()

    def _open(self) -> Authority:
        store = "sqlite::memory:" if self.kind == "memory" else None
        return Authority.open(self.path, store=store, clock=self.clock)

    def reopen(self) -> None:
        self.authority.close()
        self.authority = self._open()

    @property
    def engine(self) -> Any:
        return self.authority.engine

    def root(self, **changes: Any) -> Any:
        given = {"user": "corp|u1", "evidence": Evidence.TOKEN, "groups": ("sales",), "sign_in": GOLD, **changes}
        return self.engine.open_root(AGENT + "boss", RootRequest(**given))

    def hand_off(self, presenter: str, opened: Any, to: str, **changes: Any) -> Any:
        actor = self.engine.identity(AGENT + to).token
        request = HandOffRequest(subject_token=opened.token, actor_token=actor, to=AGENT + to, **changes)
        return self.engine.hand_off(AGENT + presenter, request)

    def access(self, presenter: str, opened: Any, scope: str = "crm:read") -> Any:
        request = AccessRequest(subject_token=opened.token, resource="crm", scopes=frozenset({scope}))
        return self.engine.access(AGENT + presenter, request)

    def read(self, opened: Any) -> Any:
        return session_token.decode(
            opened.token, issuer=self.authority.issuer, key_for=self.engine.parts.keys.verifying, now=self.clock.now()
        )


@pytest.fixture(params=["memory", "file"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    made = House(request.param, tmp_path)
    yield made
    made.authority.close()


@pytest.mark.requirement("AT-05")
def test_when_and_how_a_user_signed_in_is_the_same_three_exchanges_later(house: House) -> None:
    root = house.root()
    house.clock.advance(60)
    first = house.hand_off("boss", root, "boss")
    house.clock.advance(60)
    second = house.hand_off("boss", first, "reader")
    house.clock.advance(60)
    third = house.hand_off("reader", second, "reader")
    issued = house.access("reader", third, "crm:read")
    keys = house.engine.parts.keys
    claims = access_token.decode(
        issued.token, issuer=house.authority.issuer, audience=CRM, key_for=keys.verifying, now=house.clock.now()
    )
    assert [house.read(opened).sign_in for opened in (root, first, second, third)] == [GOLD] * 4
    assert claims.sign_in == GOLD
    for token in (third.token, issued.token):
        assert house.engine.introspect(token).sign_in == GOLD
    verifier = Verifier(
        house.authority.issuer, CRM, keys=MemoryKeys([keys.verifying(peek(issued.token))]), clock=house.clock
    )
    caller = verifier.verify(issued.token)
    assert (caller.auth_time, caller.acr, caller.amr) == (GOLD.auth_time, "gold", ("pwd", "otp"))


@pytest.mark.requirement("AT-05")
def test_a_second_sign_in_does_not_refresh_a_session_that_is_there(house: House) -> None:
    house.root(key="k")
    later = SignIn(auth_time=1_750_000_000, acr="silver")
    again = house.root(key="k", sign_in=later)
    assert again.reissued
    assert again.node.sign_in == house.read(again).sign_in == GOLD


def test_a_user_who_is_let_in_by_a_group_stays_in_it_at_hand_off_and_use(house: House) -> None:
    root = house.root()
    child = house.hand_off("boss", root, "reader")
    assert child.node.ceiling == {READ, WRITE}
    if house.kind == "file":
        house.reopen()
        child = house.hand_off("boss", house.root(), "reader")
    assert house.access("reader", child).token
    call = CallRequest(subject_token=child.token, tool="read", resource="crm", scopes=frozenset({"crm:read"}))
    assert house.engine.permit_call(AGENT + "reader", call).policies


def test_groups_come_from_the_store_where_this_process_has_not_seen_the_root(house: House) -> None:
    child = house.hand_off("boss", house.root(), "reader")
    house.engine.parts.nodes.clear()
    assert house.access("reader", child).token


def test_a_user_in_no_group_or_another_is_not_let_in(house: House) -> None:
    for groups in ((), ("Sales",), ("sale",), ("interns",)):
        with pytest.raises(Denied):
            house.root(groups=groups)


def test_a_group_that_is_forbidden_something_is_so_in_the_whole_tree(house: House) -> None:
    root = house.root(groups=("sales", "interns"))
    assert root.node.ceiling == {READ}
    assert house.hand_off("boss", root, "reader").node.ceiling == {READ}


def test_policies_see_how_strongly_a_user_signed_in(house: House) -> None:
    child = house.hand_off("boss", house.root(), "reader")
    assert house.access("reader", child, "crm:write").token
    for weaker in (SignIn(acr="silver"), NO_SIGN_IN):
        child = house.hand_off("boss", house.root(sign_in=weaker), "reader")
        with pytest.raises(Denied) as caught:
            house.access("reader", child, "crm:write")
        assert caught.value.denial.policy == "writing-needs-gold"
    with pytest.raises(Denied):
        house.root(sign_in=SignIn(acr="tin"))


def test_a_link_is_the_agents_own_and_carries_nothing_of_the_user(house: House) -> None:
    link = house.hand_off("boss", house.root(), "loner", mode=Mode.SELF)
    assert link.node.sub == AGENT + "loner"
    assert link.node.sign_in == house.read(link).sign_in == NO_SIGN_IN
    assert house.access("loner", link).token


def test_the_scope_of_a_users_token_caps_the_root(house: House) -> None:
    assert house.root(cap=frozenset({READ})).node.ceiling == {READ}
    assert house.root(cap=None).node.ceiling == {READ, WRITE}
    with pytest.raises(Denied):
        house.root(cap=frozenset())


def test_a_row_from_before_users_had_tokens_still_opens(house: House) -> None:
    node = house.root(sign_in=NO_SIGN_IN, groups=("sales",)).node
    row = session_row(node)[: len(SESSION_COLUMNS.split(","))]
    assert session_from(row) == node
    assert '"sign_in"' not in str(row[0])
    full = house.root().node
    assert session_from(session_row(full)[: len(row)]) == full


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"gold"', "7"),
        ('"pwd"', "7"),
        ("1749999000", '"1749999000"'),
        ("1749999000", "true"),
        ('["pwd","otp"]', "7"),
        ('"gold"', '""'),
        ('"groups":["sales"]', '"groups":[7]'),
    ],
)
def test_a_row_that_says_it_in_another_form_is_damaged(house: House, old: str, new: str) -> None:
    row = session_row(house.root().node)[: len(SESSION_COLUMNS.split(","))]
    assert old in str(row[0])
    with pytest.raises(IntegrityError) as caught:
        session_from((str(row[0]).replace(old, new), *row[1:]))
    assert caught.value.code == "row_damaged"
