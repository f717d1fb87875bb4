"""`deputize serve`: what it refuses to start with, what it prints, and how it ends."""

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deputize import Authority, AuthorityUnavailable, Denied, Mode
from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.cli import serve as command
from deputize.cli.main import app
from deputize.client.evidence import Join
from deputize.config import load
from deputize.errors import ConfigurationError
from deputize.keys.anchor import VARIABLE
from deputize.server.listening import listen
from deputize.system import SystemClock
from deputize.testing.serving import free_port
from tests.operations.serving import CONFIGURATION, Process, ask, process_of

PERMIT = """
@id("churn-names-its-users")
permit (principal, action == Action::"grant", resource)
when { context.evidence == "asserted" && context.agent.workload.contains(Workload::"spiffe://local/workload/churn") };
"""


def refused(folder: Path, text: str, *arguments: str) -> str | None:
    file = folder / "deputize.toml"
    file.write_text(text, encoding="utf-8")
    found = CliRunner().invoke(app, ["serve", "--config", str(file), *arguments])
    assert isinstance(found.exception, ConfigurationError), found.exception
    return found.exception.key


def token_of(folder: Path) -> str:
    """What an operator would be given: by another process over the same store."""
    configuration = load(folder / "deputize.toml", asserted=False)
    engine = Engine(configuration, store=store_of(configuration), clock=SystemClock(), follows=True)
    try:
        return enroll(engine.parts, "churn", by="test").token
    finally:
        engine.close()


def test_who_the_users_are_has_to_be_written_down(tmp_path: Path) -> None:
    text = CONFIGURATION.format(port=0, server="", more="").replace('users = "unrestricted"', "")
    assert refused(tmp_path, text) == "authority.users"
    assert not (tmp_path / "deputize.db").exists()


def test_development_listens_on_the_loopback_alone(tmp_path: Path) -> None:
    text = CONFIGURATION.format(port=0, server="", more="")
    assert refused(tmp_path, text, "--dev", "--host", "0.0.0.0") == "server.host"  # noqa: S104  # refused
    assert not (tmp_path / "deputize.db").exists()


def test_workers_do_not_share_a_store_in_memory(tmp_path: Path) -> None:
    text = CONFIGURATION.format(port=0, server="", more="")
    assert refused(tmp_path, text, "--workers", "2", "--store", "sqlite::memory:") == "server.workers"


def test_a_database_without_an_anchor_is_refused_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    text = CONFIGURATION.format(port=0, server="", more="")
    assert refused(tmp_path, text, "--store", "postgresql://nobody@127.0.0.1:1/none") == "store.url"


@pytest.mark.requirement("TX-21")
def test_an_issuer_in_plain_http_is_for_the_loopback_alone(tmp_path: Path) -> None:
    text = CONFIGURATION.format(port=0, server="", more="").replace("http://127.0.0.1", "http://sts.example")
    assert refused(tmp_path, text) == "authority.issuer"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "NEEDED", ("no_such_module_of_ours",))
    found = CliRunner().invoke(app, ["serve", "--config", str(tmp_path / "deputize.toml")])
    assert isinstance(found.exception, ConfigurationError)
    assert 'pip install "deputize[server]"' in str(found.exception)


def test_a_port_that_is_taken_is_an_error_in_one_line(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert refused(tmp_path, CONFIGURATION.format(port=port, server="", more="")) == "server.port"


@pytest.mark.requirement("I16")
def test_a_server_starts_believes_no_process_about_its_user_and_ends_in_order(tmp_path: Path) -> None:
    with process_of(tmp_path) as (process, port):
        process.read_until("health: ")
        assert ask(port, "/readyz").status == 200
        with Authority.connect(f"http://127.0.0.1:{port}", attestor=Join(token_of(tmp_path))) as authority:
            with pytest.raises(Denied) as error:
                authority.session(agent="supervisor", user="alice")
            assert error.value.code == "invalid_scope"
            with authority.session(agent="supervisor", mode=Mode.SELF):
                pass
        assert process.ended() == 0
    assert f"issuer: http://127.0.0.1:{port}" in process.screen
    assert any(line.startswith("warning: no anchor") for line in process.screen)
    assert "\x1b" not in "\n".join(process.screen)
    with sqlite3.connect(tmp_path / "deputize.db") as db:
        (left,) = db.execute("select count(*) from keys where use = 'sig' and sign_until > unixepoch() + 5").fetchone()
    assert left == 0  # the lease ended with the process
    with Authority.open(tmp_path / "deputize.toml") as authority:
        denied = authority.audit.find(type="session.denied")
        assert [record["policies"] for record in denied] == [["default-deny"]]
        assert not authority.audit.find(type="session.opened", user="local|alice")


def test_a_policy_lets_one_workload_name_its_users(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "users.cedar").write_text(PERMIT, encoding="utf-8")
    with process_of(tmp_path) as (process, port):
        process.read_until("health: ")
        authority = Authority.connect(f"http://127.0.0.1:{port}", attestor=Join(token_of(tmp_path)))
        with authority, authority.session(agent="supervisor", user="alice") as session:
            assert session.state == "open"


def test_development_prints_what_a_process_joins_with(tmp_path: Path) -> None:
    with process_of(tmp_path, "--dev") as (process, port):
        line = process.read_until("export DEPUTIZE_JOIN_TOKEN=")
        attestor = Join(line.partition("=")[2])
        authority = Authority.connect(f"http://127.0.0.1:{port}", attestor=attestor)
        with authority, authority.session(agent="supervisor", user="alice") as session:
            assert session.state == "open"


def test_development_without_a_file_writes_one_and_hosts_every_agent(tmp_path: Path) -> None:
    port = free_port()
    environ = {"DEPUTIZE_SERVER_PORT": str(port), "DEPUTIZE_AUTHORITY_ISSUER": f"http://127.0.0.1:{port}"}
    process = Process(tmp_path, "--dev", environ=environ)
    line = process.read_until("export DEPUTIZE_JOIN_TOKEN=")
    authority = Authority.connect(f"http://127.0.0.1:{port}", attestor=Join(line.partition("=")[2]))
    with authority:
        assert {name.rpartition("/")[2] for name in authority.engine.hosted} == {"supervisor", "researcher"}
    assert process.ended() == 0
    assert "join" not in (tmp_path / "deputize.toml").read_text(encoding="utf-8")


def test_the_file_that_development_writes_is_of_the_port_that_was_asked_for(tmp_path: Path) -> None:
    port = free_port()
    for said in (("--port", str(port)), ()):  # the second time by the file alone
        process = Process(tmp_path, "--dev", *said)
        line = process.read_until("export DEPUTIZE_JOIN_TOKEN=")
        with Authority.connect(f"http://127.0.0.1:{port}", attestor=Join(line.partition("=")[2])) as authority:
            assert authority.issuer == f"http://127.0.0.1:{port}"
        assert process.ended() == 0


def test_a_set_that_believes_processes_is_not_taken_over_by_a_server(tmp_path: Path) -> None:
    (tmp_path / "deputize.toml").write_text(CONFIGURATION.format(port=1, server="", more=""), encoding="utf-8")
    embedded = load(tmp_path / "deputize.toml")
    Engine(embedded, store=store_of(embedded), clock=SystemClock(), follows=True).close()
    strict = load(tmp_path / "deputize.toml", asserted=False)
    engine = Engine(strict, store=store_of(strict), clock=SystemClock(), follows=True)
    try:
        with pytest.raises(AuthorityUnavailable) as error:
            engine.check_ready()
        assert error.value.code == "authority_unavailable"
    finally:
        engine.close()
    run = CliRunner().invoke(app, ["policy", "apply", "--no-asserted", "--config", str(tmp_path / "deputize.toml")])
    assert run.exit_code == 0
    engine = Engine(strict, store=store_of(strict), clock=SystemClock(), follows=True)
    engine.check_ready()
    engine.close()
