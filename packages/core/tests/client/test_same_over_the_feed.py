"""A verifier that has keys and revocations over HTTP says the same as introspection, for every token (I13)."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize import DeputizeError, Mode

CRM = "https://crm.example/mcp"
AGENTS = ["a", "b", "c"]
CAUSES = st.one_of(
    st.tuples(st.just("session"), st.integers(0, 9)),
    st.tuples(st.just("close"), st.integers(0, 9)),
    st.tuples(st.just("token"), st.integers(0, 9)),
    st.tuples(st.just("agent"), st.sampled_from(AGENTS)),
    st.tuples(st.just("user"), st.sampled_from(["alice", "bob"])),
    st.tuples(st.just("key"), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([1, 30, 59, 60, 300])),
)


class Firm:
    """Three trees and a link, one token from each session, and a source that has followed from the beginning."""

    def __init__(self, place: Any) -> None:
        self.place = place
        self.authority = place.authority
        self.sessions = []
        for options in ({"user": "alice"}, {"user": "bob"}, {"mode": Mode.SELF}):
            root = self.authority.session(agent="a", **options)
            below = root.delegate("b")
            self.sessions += [root, below, below.delegate("c")]
        self.sessions.append(self.sessions[0].delegate("b", mode=Mode.SELF))
        self.access = [session.access(CRM, ["crm:read"]) for session in self.sessions]
        place.serve()
        self.sources = [place.revocations()]
        self.verifiers = [place.verifier(revocations=self.sources[0], cache=size) for size in (0, 64)]
        place.settled(self.sources[0])

    def do(self, kind: str, which: Any) -> None:
        if kind == "wait":
            self.place.clock.advance(which)
        elif kind == "close":
            self.sessions[which].close()
        elif kind == "key":
            self.authority.revoke(key=self.place.parts.keys.signer().kid, reason="test")
        else:
            named = {"session": lambda: self.sessions[which].id, "token": lambda: self.access[which].id}
            self.authority.revoke(reason="test", **{kind: named.get(kind, lambda: which)()})

    def late(self) -> None:
        """One more, that knows all from a snapshot alone."""
        source = self.place.revocations()
        self.sources.append(source)
        self.verifiers.append(self.place.verifier(revocations=source))

    def disagreements(self) -> list[tuple[int, bool, bool]]:
        found = []
        for source in self.sources:
            self.place.settled(source)
        for number, access in enumerate(self.access):
            told = self.authority.introspect(access.reveal())
            for verifier in self.verifiers:
                try:
                    caller = verifier.verify(access.reveal())
                except DeputizeError as error:
                    assert error.code != "stale_revocations"  # noqa: PT017  # a refusal for want of news shows nothing
                    caller = None
                if told.active != (caller is not None):
                    found.append((number, told.active, caller is not None))
                if caller is not None:
                    said = (caller.scopes, caller.subject, caller.chain)
                    assert said == (frozenset(told.scope), told.sub, told.chain)
        return found


@pytest.mark.requirement("I13")
@pytest.mark.requirement("I7")
@given(causes=st.lists(CAUSES, min_size=1, max_size=4))
@settings(max_examples=5, deadline=None)
def test_after_any_revocations_both_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, places: Any, causes: Any
) -> None:
    place = places(tmp_path_factory.mktemp("firm"))
    try:
        firm = Firm(place)
        assert firm.disagreements() == []
        for kind, which in causes:
            try:
                firm.do(kind, which)
            except DeputizeError as refused:
                assert refused.code in {"not_found", "invalid_request"}  # noqa: PT017  # a second end of one session
            assert firm.disagreements() == []
        firm.late()
        assert firm.disagreements() == []
    finally:
        place.close()


@pytest.mark.requirement("I13")
@pytest.mark.parametrize(
    "cause",
    [
        *(("session", number) for number in (0, 1, 2, 6)),
        ("close", 1),
        ("token", 2),
        *(("agent", name) for name in AGENTS),
        ("user", "alice"),
        ("key", 0),
        ("wait", 60),
    ],
    ids=str,
)
def test_each_cause_alone(places: Any, tmp_path: Path, cause: tuple[str, Any]) -> None:
    place = places(tmp_path)
    try:
        firm = Firm(place)
        firm.do(*cause)
        firm.late()
        assert firm.disagreements() == []
        assert any(not firm.authority.introspect(access.reveal()).active for access in firm.access)
    finally:
        place.close()
