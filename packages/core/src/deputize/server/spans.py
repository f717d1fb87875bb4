"""One OpenTelemetry span for each request, where the SDK is installed and the environment asks for it."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from deputize.server.trace import Trace

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

Spans = Callable[[str, Trace], contextlib.AbstractContextManager[Callable[[int], None]]]
_ASKED: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_FAILED: Final = 500


@contextlib.contextmanager
def no_spans(endpoint: str, trace: Trace) -> Iterator[Callable[[int], None]]:
    """Nothing is told."""
    del endpoint, trace
    yield lambda _: None


def spans_of(tracer: "Tracer") -> Spans:
    """Spans by this tracer. Their attributes are ids and codes; never a token, a name of a user or a body."""
    from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415  # comes with an extra

    @contextlib.contextmanager
    def span(endpoint: str, trace: Trace) -> Iterator[Callable[[int], None]]:
        with tracer.start_as_current_span(f"deputize {endpoint}", kind=SpanKind.SERVER) as open_span:

            def told(status: int) -> None:
                open_span.set_attribute("http.route", endpoint)
                open_span.set_attribute("http.response.status_code", status)
                for name in ("id", "txn", "sid", "code"):
                    value = getattr(trace, name)
                    if value is not None:
                        open_span.set_attribute(f"deputize.{'request' if name == 'id' else name}", value)
                if status >= _FAILED:
                    open_span.set_status(StatusCode.ERROR)

            yield told

    return span


def spans_from_environment(environ: Mapping[str, str] = os.environ) -> Spans:
    """Spans over OTLP where `OTEL_*` names an endpoint and the extra `otel` is there; else none."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    if off or not any(environ.get(name) for name in _ASKED):
        return no_spans
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  # an extra
    except ModuleNotFoundError:
        return no_spans
    named = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "deputize"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return spans_of(provider.get_tracer("deputize.server"))
