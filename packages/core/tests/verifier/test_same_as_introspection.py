"""A verifier with the file and the authority's own introspection say the same of every token (I13)."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize import Authority, DeputizeError, Mode
from deputize.testing import FakeClock
from deputize.verifier import FileSource, Verifier

URL = "https://crm.example/mcp"
AGENTS = ["a", "b", "c"]
CAUSES = st.one_of(
    st.tuples(st.just("session"), st.integers(0, 8)),
    st.tuples(st.just("close"), st.integers(0, 8)),
    st.tuples(st.just("token"), st.integers(0, 8)),
    st.tuples(st.just("agent"), st.sampled_from(AGENTS)),
    st.tuples(st.just("user"), st.sampled_from(["alice", "bob"])),
    st.tuples(st.just("key"), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([1, 30, 59, 60, 300])),
)


class Firm:
    """Three trees in a fresh store, with one token from each session in them."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        path = str(folder / "deputize.db")
        self.authority = Authority(
            agents={name: ["crm:read"] for name in AGENTS},
            resources={URL: ["crm:read"]},
            delegations={"a": AGENTS, "b": ["c"], "c": ["a"]},
            store=path,
            clock=self.clock,
        )
        self.source = FileSource(path, clock=self.clock)
        keys = {"keys": self.source, "revocations": self.source, "clock": self.clock}
        self.verifiers = [Verifier(self.authority.issuer, URL, leeway=0, cache=size, **keys) for size in (0, 64)]
        self.sessions = []
        for options in ({"user": "alice"}, {"user": "bob"}, {"mode": Mode.SELF}):
            root = self.authority.session(agent="a", **options)
            below = root.delegate("b")
            self.sessions += [root, below, below.delegate("c")]
        self.access = [session.access(URL, ["crm:read"]) for session in self.sessions]

    def do(self, kind: str, which: Any) -> None:
        if kind == "wait":
            self.clock.advance(which)
        elif kind == "close":
            self.sessions[which].close()
        elif kind == "key":
            self.authority.revoke(key=self.authority.engine.parts.keys.signer().kid, reason="test")
        else:
            named = {"session": lambda: self.sessions[which].id, "token": lambda: self.access[which].id}
            target = named.get(kind, lambda: which)()
            self.authority.revoke(reason="test", **{kind: target})

    def disagreements(self) -> list[tuple[int, bool, bool]]:
        found = []
        for number, access in enumerate(self.access):
            told = self.authority.introspect(access.reveal())
            for verifier in self.verifiers:
                try:
                    caller = verifier.verify(access.reveal())
                except DeputizeError:
                    caller = None
                if told.active != (caller is not None):
                    found.append((number, told.active, caller is not None))
                if caller is not None:
                    assert (caller.scopes, caller.subject, caller.chain) == (
                        frozenset(told.scope),
                        told.sub,
                        told.chain,
                    )
        return found

    def close(self) -> None:
        self.source.close()
        self.authority.close()


@pytest.mark.requirement("I13")
@pytest.mark.requirement("I7")
@given(causes=st.lists(CAUSES, min_size=1, max_size=4))
@settings(max_examples=10, deadline=None)
def test_after_any_revocations_both_say_the_same(tmp_path_factory: pytest.TempPathFactory, causes: Any) -> None:
    firm = Firm(tmp_path_factory.mktemp("firm"))
    try:
        assert firm.disagreements() == []
        for kind, which in causes:
            try:
                firm.do(kind, which)
            except DeputizeError as refused:
                assert refused.code in {"not_found", "invalid_request"}  # noqa: PT017  # a second end of one session
            assert firm.disagreements() == []
    finally:
        firm.close()


@pytest.mark.requirement("IN-03")
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
def test_each_cause_alone(tmp_path: Path, cause: tuple[str, Any]) -> None:
    firm = Firm(tmp_path)
    try:
        firm.do(*cause)
        assert firm.disagreements() == []
        assert any(not firm.authority.introspect(access.reveal()).active for access in firm.access)
    finally:
        firm.close()
