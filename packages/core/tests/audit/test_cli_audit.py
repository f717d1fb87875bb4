"""`deputize audit` over a real store: what it prints and answers to whoever can read the file."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from deputize.audit.findings import Kind
from deputize.audit.log import Log
from deputize.audit.record import seal
from deputize.audit.verification import verify
from deputize.cli.main import main
from deputize.model.event import Event
from deputize.store.sqlite import SqliteStore, open_sqlite

A = "spiffe://local/agent/researcher"
B = "spiffe://local/agent/supervisor"
Run = Callable[..., tuple[int, str, str]]

CONFIG = """
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read"]
[agents.supervisor]
open = true
[agents.researcher]
use = { crm = ["crm:read"] }
"""


def events() -> list[Event]:
    base = 1_750_000_000_000
    return [
        Event(type="session.opened", outcome="permitted", time=base, txn="root", sid="root", sub="local|alice",
              agent=B, chain=(B,), policies=("agent.supervisor.open",), detail={"kind": "root"}),
        Event(type="session.opened", outcome="permitted", time=base + 1000, txn="root", sid="child",
              sub="local|alice", agent=A, chain=(A, B), detail={"kind": "child"}),
        Event(type="exchange.permitted", outcome="permitted", time=base + 2000, txn="root", sid="child", jti="j1",
              sub="local|alice", agent=A, chain=(A, B), resource="https://crm.example/mcp", scopes=("crm:read",)),
        Event(type="tool.denied", outcome="denied", time=base + 3000, txn="root", sid="child", sub="local|alice",
              agent=A, chain=(A, B), tool="drop_table", code="access_denied", policies=("default-deny",),
              reference="D-4KQ2M"),
        Event(type="tool.finished", outcome="done", time=base + 4000, txn="root", sid="child", sub="local|alice",
              agent=A, chain=(A, B), tool="\x1b[2J\u2028\u202e[red]evil[/red]\n2026-01-01 forged line"),
        Event(type="session.opened", outcome="permitted", time=base + 5000, txn="other", sid="other",
              sub="local|bob", agent=B, chain=(B,), detail={"kind": "root"}),
    ]  # fmt: skip


def fill(path: Path, *, more: int = 0) -> None:
    store = open_sqlite(path, durability="normal")
    add(
        store, events() + [Event(type="tool.finished", outcome="done", time=1_750_000_009_000 + n) for n in range(more)]
    )
    store.close()


def add(store: SqliteStore, given: list[Event]) -> None:
    def operation(tx: object) -> None:
        for event in given:
            tx.add_record(seal(event, tx.next_seq()))  # type: ignore[attr-defined]  # a WriteTx

    store.write(operation)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "deputize.toml").write_text(CONFIG, encoding="utf-8")
    fill(tmp_path / "deputize.db")
    return tmp_path


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "200")

    def go(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["deputize", "audit", *words])
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        out = capsys.readouterr()
        return status, out.out, out.err

    return go


def tamper(place: Path, sql: str, *values: object) -> None:
    db = sqlite3.connect(place / "deputize.db")
    with db:
        db.execute(sql, values)
    db.close()


def test_a_log_that_is_as_it_was_answers_0_and_says_unanchored(run: Run) -> None:
    status, out, _ = run("verify")
    assert status == 0
    assert "6 records" in out
    assert "unanchored" in out


@pytest.mark.requirement("AU-03")
def test_a_checkpoint_kept_outside_is_verified_with_the_key_that_was_printed(run: Run, place: Path) -> None:
    status, out, err = run("checkpoint", "--to", "kept.txt")
    assert status == 0
    assert "unanchored" in err
    status, keys, _ = run("key")
    vkey = keys.strip()
    assert status == 0
    assert vkey in out
    status, out, _ = run("verify", "--against", "kept.txt", "--key", vkey, "--json")
    report = json.loads(out)
    assert status == 0
    assert (report["ok"], report["signature_checked"], report["against"]["size"]) == (True, True, 7)


@pytest.mark.requirement("I14")
@pytest.mark.parametrize(
    ("sql", "kind", "seq"),
    [
        ("update records set body = replace(body, 'alice', 'bobby') where seq = 1", "changed", 1),
        ("update records set time = time + 1 where seq = 2", "changed", 2),
        ("update records set salt = 'text', leaf = 5 where seq = 2", "changed", 2),
        ("delete from records where seq = 3", "removed", 3),
        ("delete from records where seq >= 5", "truncated", 5),
        ("update records set seq = case seq when 1 then -99 else seq end", "removed", 1),
        ("update tiles set data = zeroblob(32) where level = 0", "tree", 1),
    ],
)
def test_a_writer_of_the_file_is_found_out(run: Run, place: Path, sql: str, kind: str, seq: int) -> None:
    run("checkpoint", "--to", "kept.txt")
    tamper(place, sql)
    status, out, _ = run("verify", "--against", "kept.txt", "--json")
    found = {(item["kind"], item["seq"]) for item in json.loads(out)["findings"]}
    assert status == 1
    assert (kind, seq) in found


def test_a_log_that_was_rolled_back_is_not_signed_over_a_checkpoint_that_was_kept(run: Run, place: Path) -> None:
    shutil.copy(place / "deputize.db", place / "older.db")
    run("checkpoint", "--to", "kept.txt")
    kept = (place / "kept.txt").read_bytes()
    for path in list(place.glob("deputize.db*")):
        path.unlink()
    shutil.move(place / "older.db", place / "deputize.db")
    tamper(place, "delete from records where seq > 2")
    status, _, err = run("checkpoint", "--to", "kept.txt")
    assert status == 1
    assert err
    assert (place / "kept.txt").read_bytes() == kept
    status, out, _ = run("verify", "--against", "kept.txt", "--json")
    assert status == 1
    assert [(item["kind"], item["count"]) for item in json.loads(out)["findings"] if item["breaks"]] == [
        ("truncated", 3)
    ]


def test_checkpoints_of_a_growing_log_replace_each_other_in_one_file(run: Run, place: Path) -> None:
    assert run("checkpoint", "--to", "kept.txt")[0] == 0
    assert run("checkpoint", "--to", "kept.txt")[0] == 0
    status, out, _ = run("verify", "--against", "kept.txt", "--json")
    assert status == 0
    assert json.loads(out)["against"]["size"] == 8


def test_a_checkpoint_goes_to_standard_output_byte_for_byte(run: Run, place: Path) -> None:
    _, out, _ = run("checkpoint")
    (place / "kept.txt").write_text(out, encoding="utf-8")
    assert run("verify", "--against", "kept.txt")[0] == 0


def test_a_file_that_is_no_checkpoint_is_a_negative_answer(run: Run, place: Path) -> None:
    (place / "kept.txt").write_text("nonsense", encoding="utf-8")
    assert run("verify", "--against", "kept.txt")[0] == 1


def test_another_key_than_the_one_that_signed_is_a_negative_answer(run: Run) -> None:
    run("checkpoint", "--to", "kept.txt")
    run("checkpoint", "--to", "later.txt")
    _, keys, _ = run("key")
    other = keys.split()[-1]
    status, out, _ = run("verify", "--against", "kept.txt", "--key", other)
    assert status == 1
    assert "foreign" in out


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("verify", "--key", "nonsense"), 2),
        (("verify", "--against", "missing.txt"), 2),
        (("show", "--from", "yesterday"), 2),
        (("verify", "--config", "missing.toml"), 2),
        (("verify", "--store", "missing.db"), 3),
        (("key",), 1),
    ],
)
def test_exit_codes_are_those_of_the_command_line(run: Run, words: tuple[str, ...], status: int) -> None:
    assert run(*words)[0] == status


def test_reading_needs_no_configuration_but_the_first_checkpoint_does(run: Run, place: Path) -> None:
    (place / "deputize.toml").rename(place / "away.toml")
    assert run("verify", "--store", "deputize.db")[0] == 0
    assert run("checkpoint", "--store", "deputize.db")[0] == 2
    assert run("checkpoint", "--config", "away.toml")[0] == 0
    assert run("checkpoint", "--store", "deputize.db")[0] == 0


def test_verify_and_show_write_nothing(run: Run, place: Path) -> None:
    before = (place / "deputize.db").read_bytes()
    run("verify")
    run("show")
    run("key")
    assert (place / "deputize.db").read_bytes() == before


def test_show_tells_each_record_in_one_line(run: Run) -> None:
    status, out, _ = run("show")
    lines = out.splitlines()
    assert status == 0
    assert len(lines) == 6
    assert lines[0].startswith("2025-06-15 15:06:40.000Z       0  supervisor for local|alice: started a session")
    assert "researcher (via supervisor) for local|alice: took over from supervisor" in lines[1]
    assert "got crm:read at https://crm.example/mcp" in lines[2]
    assert lines[3].endswith("asked for drop_table  denied  access_denied; by default-deny; ref D-4KQ2M")


@pytest.mark.requirement("I10")
def test_nothing_in_a_record_moves_the_cursor_forges_a_line_or_is_markup(run: Run) -> None:
    line = run("show")[1].splitlines()[4]
    assert line.isprintable()
    assert "\\x1b[2J\\u2028\\u202e[red]evil[/red]\\n2026-01-01 forged line" in line


@pytest.mark.parametrize(
    ("words", "seqs"),
    [
        (("--session", "root"), [0, 1, 2, 3, 4]),
        (("--session", "child"), [1, 2, 3, 4]),
        (("--agent", "supervisor"), [0, 5]),
        (("--agent", A), [1, 2, 3, 4]),
        (("--user", "bob"), [5]),
        (("--user", "local|alice", "--outcome", "denied"), [3]),
        (("--tool", "drop_table"), [3]),
        (("--resource", "crm"), [2]),
        (("--resource", "https://crm.example/mcp"), [2]),
        (("--from", "2025-06-15T15:06:42Z"), [2, 3, 4, 5]),
        (("--to", "2025-06-15T15:06:42"), [0, 1]),
        (("--from", "1d"), []),
        (("--limit", "2"), [4, 5]),
        (("--store", "deputize.db", "--agent", "supervisor", "--limit", "1"), [5]),
    ],
)
def test_show_filters_by_the_names_that_people_use(run: Run, words: tuple[str, ...], seqs: list[int]) -> None:
    status, out, _ = run("show", *words, "--json")
    assert status == 0
    assert [item["seq"] for item in json.loads(out)] == seqs


def test_a_record_that_was_tampered_with_says_so_where_it_is_shown(run: Run, place: Path) -> None:
    tamper(place, "update records set body = replace(body, 'alice', 'bobby') where seq = 1")
    tamper(place, "update records set body = 'no json' where seq = 2")
    tamper(place, "update records set type = x'ff', time = 'soon' where seq = 3")
    status, out, _ = run("show", "--json")
    assert status == 0
    assert [item["intact"] for item in json.loads(out)] == [True, False, False, False, True, True]
    assert run("show")[1].count("not as it was recorded") == 3


def test_a_damaged_file_is_a_negative_answer(run: Run, place: Path) -> None:
    path = place / "deputize.db"
    for side in ("deputize.db-wal", "deputize.db-shm"):
        (place / side).unlink(missing_ok=True)
    raw = bytearray(path.read_bytes())
    for at in range(4096, len(raw)):
        raw[at] = 0xAA
    path.write_bytes(bytes(raw))
    status, _, err = run("verify")
    assert status == 1
    assert err


@pytest.mark.requirement("I14")
def test_a_store_in_a_file_is_verified_after_erasure_and_growth(tmp_path: Path) -> None:
    fill(tmp_path / "log.db", more=600)
    store = open_sqlite(tmp_path / "log.db", durability="normal")
    assert Log(store).integrate() == 606
    store.write(lambda tx: tx.erase(5))
    add(store, events())
    report = store.read(verify)
    assert report.ok
    assert [(item.kind, item.seq) for item in report.findings] == [(Kind.ERASED, 5), (Kind.PENDING, 606)]
    store.close()
