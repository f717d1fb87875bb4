"""The feed over HTTP: a verifier that knows only the authority's URL refuses what was revoked, or all."""

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize import Authority, AuthorityUnavailable, DeputizeError, InvalidRequest, Mode, StoreError
from deputize.audit.checkpoint import new_key, parse, parse_key, verify
from deputize.model.revocation import Kind
from deputize.system import SystemClock
from deputize.testing import FakeClock

CRM = "https://crm.example/mcp"
HERE = Path(__file__).parent
READER = {"x-reader": "the reader shows this"}


def token_of(session: Any) -> str:
    return session.access(CRM, ["crm:read"]).reveal()


def code_of(verifier: Any, token: str) -> str:
    try:
        verifier.verify(token)
    except DeputizeError as error:
        return error.code
    return "ok"


@contextlib.contextmanager
def restored(place: Any, folder: Path, kept: bytes) -> Any:
    """The authority again, over a copy of its file that was kept earlier."""
    for name in ("deputize.toml", "links.cedar"):
        shutil.copy(place.folder / name, folder / name)
    (folder / "deputize.db").write_bytes(kept)
    with Authority.open(folder / "deputize.toml", clock=place.clock) as authority:
        yield authority


def backup(place: Any) -> bytes:
    with contextlib.closing(sqlite3.connect(place.folder / "deputize.db")) as db:
        return db.serialize()


@pytest.mark.requirement("I7")
@pytest.mark.parametrize("keyed", [False, True], ids=["any log", "the log's key"])
def test_a_reader_misses_nothing_of_a_log_that_was_restored_and_outgrew_its_cursor(
    place: Any, tmp_path_factory: Any, keyed: bool
) -> None:
    session = place.authority.session(agent="a", user="alice")
    token = token_of(session)
    kept = backup(place)
    for number in range(5):
        place.authority.session(agent="a", user=f"lost{number}")
    place.serve()
    source = place.revocations(**({"log_key": place.vkey} if keyed else {}))
    verifier = place.verifier(revocations=source)
    place.settled(source)
    assert code_of(verifier, token) == "ok"
    place.stop()
    with restored(place, tmp_path_factory.mktemp("restored"), kept) as again:
        sid = session.id
        again.engine.revoke(Kind.SESSION, sid, reason="test", by="test")
        while len(again.audit) <= source.cursor + 1:
            again.session(agent="a", user="bob")
        serving = place.serve(store=again.engine.parts.store)
        missed = serving.hub.feed.read(source.cursor).page
        assert sid not in [entry.id for entry in missed.entries]  # by the cursor alone it would never be heard of
        place.tools.until(lambda: code_of(verifier, token) == "token_revoked")
        if keyed:
            place.tools.until(lambda: getattr(source.failure, "code", "") == "log_inconsistent")
        else:
            place.tools.until(lambda: source.cursor >= len(again.audit))
        place.stop()


@pytest.mark.requirement("I7")
def test_what_is_revoked_is_refused_by_a_verifier_in_another_process(places: Any, tmp_path: Path) -> None:
    place = places(tmp_path, SystemClock())
    place.held.close()
    server = start(place)
    child = subprocess.Popen(
        [sys.executable, str(HERE / "verifying.py"), place.issuer, CRM],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None

    def ask(token: str) -> str:
        child.stdin.write(token + "\n")
        child.stdin.flush()
        return child.stdout.readline().strip()

    try:
        kept, cut = place.authority.session(agent="a", user="alice"), place.authority.session(agent="a", user="bob")
        tokens = token_of(kept), token_of(cut.delegate("b"))
        assert [ask(token) for token in tokens] == ["ok", "ok"]
        done = cut.revoke("test")
        place.tools.until(lambda: ask(tokens[1]) == "token_revoked")
        assert place.clock.now() <= done.effective_by
        assert ask(tokens[0]) == "ok"
        child.stdin.close()
        assert child.stdout.readline().strip() == "[]"
        assert child.wait(10) == 0
    finally:
        child.stdout.close()
        child.kill()
        child.wait(10)
        server.kill()
        server.wait(10)
        place.close()


def start(place: Any) -> "subprocess.Popen[bytes]":
    script = [sys.executable, str(HERE / "feed_server.py"), str(place.folder), str(place.port)]
    server = subprocess.Popen(script, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"serving\n"
    server.stdout.close()
    return server


@pytest.mark.requirement("I7")
def test_while_the_server_is_dead_all_is_refused_and_afterwards_all_is_well(places: Any, tmp_path: Path) -> None:
    place = places(tmp_path, FakeClock(SystemClock().now() + 60))  # the server's own records lie behind it
    place.held.close()
    server = start(place)
    try:
        source = place.revocations()
        verifier = place.verifier(revocations=source)
        session = place.authority.session(agent="a", user="alice")
        token = token_of(session)
        place.settled(source)
        assert code_of(verifier, token) == "ok"
        server.kill()
        server.wait(10)
        place.tools.until(lambda: source.failure is not None)
        assert code_of(verifier, token) == "ok"  # within the bound
        place.clock.advance(10.5)
        assert code_of(verifier, token) == "stale_revocations"
        server = start(place)
        place.tools.until(lambda: code_of(verifier, token) == "ok")
        session.revoke("test")
        place.settled(source)
        assert code_of(verifier, token) == "token_revoked"
    finally:
        server.kill()
        server.wait(10)
        place.close()


def test_before_the_first_heartbeat_all_is_refused(place: Any) -> None:
    token = token_of(place.authority.session(agent="a", user="alice"))
    serving = place.serve()
    serving.app.down = {"/revocations"}
    source = place.revocations()
    verifier = place.verifier(revocations=source)
    assert code_of(verifier, token) == "stale_revocations"
    place.tools.until(lambda: isinstance(source.failure, AuthorityUnavailable))
    assert code_of(verifier, token) == "stale_revocations"


class Failing:
    """A store whose database can go away."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.gone = False

    def __getattr__(self, name: str) -> Any:
        if self.gone and name in {"read", "write", "change_count"}:
            raise StoreError("gone", code="store_unreachable")
        return getattr(self._store, name)


def test_without_the_database_there_is_no_heartbeat_and_the_stream_ends(place: Any) -> None:
    store = Failing(place.parts.store)
    serving = place.serve(store=store)
    source = place.revocations()
    place.settled(source)
    store.gone = True
    place.tools.until(lambda: serving.hub.subscribers == 0 and source.failure is not None)
    place.clock.advance(10.5)
    assert source.age() > source.bound
    answer = place.get("/revocations", headers=READER)
    assert (answer.status_code, answer.json()) == (503, {"error": "temporarily_unavailable"})
    store.gone = False
    place.settled(source)
    assert source.failure is None


@pytest.mark.parametrize("path", ["/revocations", "/revocations?wait=0", "/checkpoint"])
def test_a_stranger_gets_no_byte_of_the_feed(place: Any, path: str) -> None:
    place.authority.session(agent="a", user="alice").revoke("test")
    place.serve()
    for headers in ({}, {"x-reader": "guess"}, {"authorization": "Bearer x", "last-event-id": "1"}):
        answer = place.get(path, headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"})
    assert place.serving.hub.subscribers == 0


def test_a_source_that_is_not_let_in_is_stale(place: Any) -> None:
    place.serve()
    source = place.revocations(auth=lambda: {"reader": "guess"})
    source.view()
    place.tools.until(lambda: source.failure is not None)
    assert source.age() == float("inf")


class Header(httpx.Auth):
    def auth_flow(self, request: httpx.Request) -> Any:
        request.headers.update(READER)
        yield request


def test_an_httpx_auth_serves_as_well(place: Any) -> None:
    place.serve()
    source = place.revocations(auth=Header())
    place.settled(source)


def test_an_auth_that_fails_is_tried_again(place: Any) -> None:
    place.serve()
    answers = [ValueError("no"), RuntimeError("not yet")]

    def form() -> dict[str, str]:
        if answers:
            raise answers.pop()
        return {"reader": "the reader shows this"}

    source = place.revocations(auth=form)
    place.settled(source)


@pytest.mark.requirement("I9")
def test_no_name_of_a_user_or_agent_travels(place: Any) -> None:
    canary = "canary-user-7f3a"
    session = place.authority.session(agent="a", user=canary, task="canary-task-19c2")
    below = session.delegate("b")
    token = token_of(below)
    place.authority.revoke(user=canary, reason="canary-reason-55e1")
    place.authority.revoke(agent="b", reason="canary-reason-55e1")
    place.serve()
    answer = place.get("/revocations?wait=0", headers=READER)
    for word in ("canary", "agent/", "local|", token, token.split(".")[2], "reason"):
        assert word not in answer.text.replace('"kind":"agent"', "")
    kinds = {entry["kind"] for entry in answer.json()["entries"]}
    assert kinds == {"user", "agent", "session"}


def test_wait_0_is_one_answer_with_a_signed_heartbeat(place: Any) -> None:
    place.serve()
    first = place.get("/revocations?wait=0", headers=READER).json()
    assert (first["issuer"], first["first"], first["last"], first["entries"]) == (place.issuer, True, True, [])
    head = parse(first["heartbeat"]["checkpoint"])
    verify(head, [parse_key(place.vkey)])
    session = place.authority.session(agent="a", user="alice")
    session.revoke("test")
    after = {"after": str(first["cursor"]), "wait": "0"}
    answer = place.get("/revocations", params=after, headers=READER).json()
    assert [(entry["kind"], entry["id"]) for entry in answer["entries"]] == [("session", session.id)]
    assert not answer["first"]
    assert answer["cursor"] == answer["heartbeat"]["cursor"] == len(place.authority.audit)
    beyond = place.get("/revocations", params={"after": "999999", "wait": "0"}, headers=READER).json()
    assert beyond["first"]  # no cursor of this log: from the start


@pytest.mark.parametrize(
    "query",
    [
        "after=-1",
        "after=x",
        "after=1&after=2",
        "wait=2",
        "after=99999999999999999",
        "after=\u0661",
        "head=1",
        "head=x.y",
        "head=1.AAAA",
        "head=1.A&head=1.A",
        "head=.",
        "head=-1." + "A" * 43,
    ],
)
def test_a_cursor_that_is_none_is_refused(place: Any, query: str) -> None:
    place.serve()
    answer = place.get(f"/revocations?{query}", headers=READER)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request"})


def test_a_large_snapshot_comes_in_pages_and_is_whole(place: Any) -> None:
    sessions = [place.authority.session(agent="a", user=f"u{number}") for number in range(7)]
    for session in sessions:
        session.revoke("test")
    reads = place.tools.hub_over(place.parts.store, issuer=place.issuer, clock=place.clock, key=place.key).feed
    cursor, seen, pages = 0, [], 0
    while True:
        page = reads.read(cursor, limit=2).page
        seen += [entry.id for entry in page.entries]
        cursor, pages = page.cursor, pages + 1
        if page.last:
            break
    assert seen == [session.id for session in sessions]
    assert pages == 4


def test_what_expired_leaves_the_feed_and_the_reader(place: Any) -> None:
    place.serve()
    source = place.revocations()
    session = place.authority.session(agent="a", user="alice")
    session.close()
    place.settled(source)
    kept = place.get("/revocations?wait=0", headers=READER).json()["entries"]
    assert [(entry["kind"], entry["id"]) for entry in kept] == [("close", session.id)]
    place.clock.advance(300 + 61)
    assert place.get("/revocations?wait=0", headers=READER).json()["entries"] == []
    state = source._state
    assert len(state._entries) == 1
    place.clock.advance(61)
    place.settled(source)
    place.tools.until(lambda: len(state._entries) == 0)
    assert state.view()._sids == {}


def test_the_server_ends_its_streams_when_it_is_stopped(place: Any) -> None:
    place.serve()
    source = place.revocations()
    place.settled(source)
    place.stop()  # asserts that the server came to its end
    place.tools.until(lambda: source.failure is not None)


def test_a_stream_ends_with_its_lifetime_and_its_reader_comes_back_without_a_gap(place: Any) -> None:
    shown = []

    def form() -> dict[str, str]:
        shown.append(1)
        return {"reader": "the reader shows this"}

    place.serve(hub={"lifetime": 0.05})
    source = place.revocations(auth=form)
    place.settled(source)
    place.tools.until(lambda: len(shown) >= 3)
    assert source.age() <= source.bound


def test_a_reader_that_takes_nothing_is_cut_off(place: Any, caplog: Any) -> None:
    serving = place.serve(hub={"kept": 8}, patience=0.2)
    with place.tools.socket.create_connection(("127.0.0.1", place.port)) as slow:
        slow.sendall(b"GET /revocations HTTP/1.1\r\nHost: x\r\nx-reader: the reader shows this\r\n\r\n")
        place.tools.until(lambda: serving.hub.subscribers == 1)
        run, loop = serving.hub._run, serving.hub._task.get_loop()
        more = b": " + b"x" * 400_000 + b"\n"  # in time more than the sockets hold

        def cut_off() -> bool:
            loop.call_soon_threadsafe(lambda: run.publish(0, more, beat=True))
            return bool(run.subscribers == 0)

        place.tools.until(cut_off)
    assert any("takes nothing" in record.message for record in caplog.records)
    place.settled(place.revocations())


def test_a_heartbeat_needs_the_pinned_keys_signature(place: Any) -> None:
    serving = place.serve(key=new_key(place.key.name))
    source = place.revocations(log_key=place.vkey)
    source.view()
    place.tools.until(lambda: getattr(source.failure, "code", "") == "checkpoint_unknown_key")
    assert source.age() == float("inf")
    place.stop()
    del serving
    place.serve()
    place.settled(source)


def test_a_log_that_shrank_is_not_believed(place: Any) -> None:
    place.serve()
    source = place.revocations(log_key=place.vkey)
    place.settled(source)
    state = source._state
    longer = parse(place.get("/checkpoint", headers=READER).text)
    state._head = type(longer)(longer.origin, longer.size + 1, longer.root)
    place.tools.until(lambda: getattr(source.failure, "code", "") == "log_inconsistent")


@pytest.mark.requirement("I7")
def test_a_link_in_a_revoked_users_tree_is_refused_though_it_names_no_user(place: Any) -> None:
    place.serve()
    source = place.revocations()
    verifier = place.verifier(revocations=source)
    root = place.authority.session(agent="a", user="alice")
    token = token_of(root.delegate("b", mode=Mode.SELF))
    place.settled(source)
    assert code_of(verifier, token) == "ok"
    place.authority.revoke(user="alice", reason="test")
    place.settled(source)
    assert code_of(verifier, token) == "token_revoked"


def test_a_source_is_closed_at_once_and_more_than_once(place: Any) -> None:
    place.serve()
    source = place.revocations()
    place.settled(source)
    thread = source._follower._thread
    source.close()
    source.close()
    assert not thread.is_alive()
    place.tools.until(lambda: place.serving.hub.subscribers == 0)
    source.view()
    assert source._follower is None


def test_a_forgotten_source_ends_its_thread(place: Any) -> None:
    place.serve()
    source = place.revocations()
    place.settled(source)
    thread = source._follower._thread
    place.sources.clear()
    del source
    thread.join(5)
    assert not thread.is_alive()


def test_a_forked_child_follows_the_feed_with_a_thread_of_its_own(place: Any) -> None:
    script = HERE / "forked.py"
    place.serve()
    place.authority.session(agent="a", user="alice").revoke("test")
    done = subprocess.run(
        [sys.executable, str(script), place.issuer], capture_output=True, encoding="utf-8", timeout=30, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "parent and child hear"), done.stderr


@pytest.mark.parametrize("issuer", ["http://sts.example", "ftp://x", "https://u@sts.example", "https://sts.example?x"])
def test_plain_http_and_odd_issuers_are_refused(issuer: str) -> None:
    from deputize import HttpKeys, HttpRevocations

    for kind in (HttpKeys, HttpRevocations):
        with pytest.raises(InvalidRequest) as refused:
            kind(issuer)
        assert refused.value.code == "invalid_issuer"


def test_many_subscribers_share_one_look_at_the_store(place: Any) -> None:
    looks: list[int] = []

    class Counted(Failing):
        def __getattr__(self, name: str) -> Any:
            if name == "change_count":
                looks.append(threading.get_ident())
            return super().__getattr__(name)

    serving = place.serve(store=Counted(place.parts.store), hub={"poll": 0.05, "heartbeat": 0.05})
    many = [place.revocations() for _ in range(12)]
    for source in many:
        place.settled(source)
    assert serving.hub.subscribers == 12
    session = place.authority.session(agent="a", user="alice")
    session.revoke("test")
    for source in many:
        place.settled(source)
        assert source.view().refuses(sids=(session.id,), jti="", agents=(), sub="", iat=0, kid="") is not None
    runs = serving.hub._run
    assert runs.subscribers == 12
    assert len(looks) <= runs.next * 8 + 40  # by the time that passed, not by the number of readers


def test_the_jwks_says_how_long_it_holds_and_answers_304(place: Any) -> None:
    token_of(place.authority.session(agent="a", user="alice"))
    place.serve()
    answer = place.get("/jwks")
    assert answer.headers["cache-control"] == "public, max-age=60"
    (key,) = json.loads(answer.text)["keys"]
    assert {"kid", "sign_until", "use", "alg", "x", "y"} <= key.keys()
    assert "d" not in key
    again = place.get("/jwks", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
