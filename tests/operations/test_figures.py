"""Figures, readiness, log lines and spans: what operators see, and what nobody does."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deputize import Denied
from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.config import load
from deputize.errors import AuthorityUnavailable
from deputize.keys.anchor import SeedAnchor
from deputize.server.figures import Figures
from deputize.server.limits import Limits
from deputize.server.logs import FIELDS, JsonLines, TextLines
from deputize.server.spans import no_spans, spans_from_environment, spans_of
from deputize.server.trace import Trace
from deputize.testing import FakeClock, postgres
from tests.operations.serving import CONFIGURATION, Site, site_of


def lived(site: Site) -> list[str]:
    """A session, an access and a refusal; the secrets that travelled."""
    secrets = [enroll(site.engine.parts, "churn", by="test").token]
    with site.connect() as authority, authority.session(agent="supervisor", user="alice-canary") as session:
        access = session.access("crm", ["crm:read"])
        secrets.append(access.reveal())
        with pytest.raises(Denied):
            session.access("crm", ["crm:write"])
        secrets += [session.id, "alice-canary"]
    return secrets


def test_figures_count_requests_and_decisions_and_name_nobody(site: Site) -> None:
    secrets = lived(site)
    site.form("/introspect")
    site.ask("/no-such-page")
    site.ask("/agents/secret-agent-name/.well-known/agent-card.json")
    text = site.ask("/metrics").body.decode()
    assert 'deputize_requests_total{code="",endpoint="/token",outcome="ok"}' in text
    assert 'endpoint="/introspect",outcome="refused"' in text
    assert 'endpoint="other",outcome="refused"' in text
    assert "no-such-page" not in text
    assert "secret-agent-name" not in text
    assert 'endpoint="/agents/{name:path}/.well-known/agent-card.json"' in text
    assert 'deputize_decisions_total{decision="denied",endpoint="/token"} 1.0' in text
    assert 'deputize_revocations_total{endpoint="/session/close"} 1.0' in text
    assert "deputize_ready 1.0" in text
    assert f'deputize_policy_info{{digest="{site.engine.parts.rules.policy.digest}"}} 1.0' in text
    for secret in [*secrets, "supervisor", "spiffe:"]:
        assert secret not in text


def test_figures_are_for_the_loopback_and_listed_addresses(tmp_path: Path) -> None:
    assert site_answers(tmp_path / "a", Limits(), "203.0.113.9") == 404  # somebody passes it on
    trusting = Limits(trusted_proxies=("127.0.0.1",))
    assert site_answers(tmp_path / "b", trusting, "203.0.113.9") == 404
    listed = Limits(trusted_proxies=("127.0.0.1",), metrics_from=("203.0.113.0/24",))
    assert site_answers(tmp_path / "c", listed, "203.0.113.9") == 200


def test_a_request_that_came_too_often_counts_as_no_decision() -> None:
    figures = Figures(lambda: "set", lambda: 0)
    figures.tell(Trace(agent="spiffe://local/agent/a", code="rate_limited"), "/calls", 429, 0.001)
    assert "deputize_decisions_total{" not in figures.text().decode()
    figures.tell(Trace(agent="spiffe://local/agent/a", code="access_denied"), "/calls", 400, 0.001)
    assert 'deputize_decisions_total{decision="denied",endpoint="/calls"} 1.0' in figures.text().decode()


def site_answers(folder: Path, limits: Limits, forwarded: str) -> int:
    folder.mkdir()
    with site_of(folder, limits=limits) as site:
        return site.ask("/metrics", headers={"X-Forwarded-For": forwarded}).status


def test_a_process_that_takes_leave_is_not_ready(site: Site) -> None:
    assert site.ask("/readyz").json == {"status": "ready"}
    site.leave()
    answer = site.ask("/readyz")
    assert (answer.status, answer.json["code"]) == (503, "leaving")
    assert answer.headers["connection"] == "close"
    assert site.ask("/healthz").status == 200


def test_a_clock_that_stepped_back_is_not_ready(tmp_path: Path) -> None:
    file = tmp_path / "deputize.toml"
    file.write_text(CONFIGURATION.format(port=1, server="", more=""), encoding="utf-8")
    clock = FakeClock()
    configuration = load(file)
    engine = Engine(configuration, store=store_of(configuration), clock=clock, follows=True)
    engine.check_ready()
    clock.step(-5)
    engine.check_ready()
    clock.step(-1)
    with pytest.raises(AuthorityUnavailable) as error:
        engine.check_ready()
    engine.close()
    assert error.value.code == "clock_off"


@pytest.mark.parametrize("apart", [-6, 6])
def test_a_clock_that_is_off_the_databases_is_not_ready(tmp_path: Path, apart: float) -> None:
    with postgres() as database:
        text = CONFIGURATION.format(port=1, server="", more="").replace("sqlite:deputize.db", database.url())
        (tmp_path / "deputize.toml").write_text(text, encoding="utf-8")
        configuration = load(tmp_path / "deputize.toml")
        store = store_of(configuration)
        clock = FakeClock(store.database_time())  # type: ignore[attr-defined]  # of this engine alone
        anchor = SeedAnchor(bytes(range(32)))
        engine = Engine(configuration, store=store, clock=clock, anchor=anchor, follows=True)
        engine.check_ready()
        clock.step(apart)
        with pytest.raises(AuthorityUnavailable) as error:
            engine.check_ready()
        engine.close()
    assert error.value.code == "clock_off"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What our loggers write, as JSON, with everything on."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("deputize")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.setLevel(before)
    logger.removeHandler(handler)


@pytest.mark.requirement("I9")
def test_log_lines_tell_who_asked_for_what_and_never_a_token(site: Site, lines: io.StringIO) -> None:
    secrets = lived(site)
    site.form("/token", "grant_type=urn:deputize:params:oauth:grant-type:join&join_token=deputize-join-canary")
    site.ask("/session?access_token=query-canary", headers={"Authorization": "DPoP header-canary"})
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    requests = [line for line in found if line["logger"] == "deputize.request"]
    agents = {line.get("agent") for line in requests}
    assert "spiffe://local/agent/supervisor" in agents
    refused = [line for line in requests if line.get("code") == "invalid_scope" or line.get("code") == "access_denied"]
    assert refused
    assert all({"request", "endpoint", "status", "ms", "time", "level"} <= line.keys() for line in requests)
    for secret in (secrets[0], secrets[1], "alice-canary", "join-canary", "query-canary", "header-canary"):
        assert secret not in lines.getvalue()


def test_a_line_for_people_is_one_line_whatever_it_says() -> None:
    record = logging.LogRecord("deputize.x", logging.INFO, "", 0, "a\nb", None, None)
    setattr(record, FIELDS, {"code": "x\r\ny"})
    text = TextLines().format(record)
    assert text.splitlines() == [text]
    assert "info a\\nb code=x\\r\\ny" in text


@pytest.mark.requirement("I9")
def test_a_span_for_each_request_has_ids_and_codes_and_no_name_or_token(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with site_of(tmp_path, spans=spans_of(provider.get_tracer("test"))) as site:
        secrets = lived(site)
        site.form("/introspect")
    spans = exporter.get_finished_spans()
    told = [dict(span.attributes or {}) for span in spans]
    closing = next(attributes for attributes in told if attributes["http.route"] == "/session/close")
    assert closing["deputize.sid"] == closing["deputize.txn"] == secrets[2]
    assert any(attributes.get("deputize.code") for attributes in told)
    text = repr(told)
    for secret in (secrets[0], secrets[1], "alice-canary"):
        assert secret not in text


def test_spans_need_an_endpoint_in_the_environment() -> None:
    assert spans_from_environment({}) is no_spans
    off = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}
    assert spans_from_environment(off) is no_spans
