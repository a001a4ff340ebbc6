"""One OpenTelemetry span a request, sent where a setting says. Never a text, a tag, a path as sent or a message."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from credence.errors import CredenceError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_NANOSECONDS: Final = 1_000_000_000


class TracingError(CredenceError):
    """Spans cannot be sent; the message says what to install."""


class Tracing:
    """Sends spans in a thread of its own. What cannot be sent is dropped, and no request waits for it."""

    def __init__(self, exporter: "SpanExporter") -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = TracerProvider(resource=Resource({SERVICE_NAME: "credence"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("credence")
        self._read_context = TraceContextTextMapPropagator().extract
        self._kind, self._failed = SpanKind.SERVER, Status(StatusCode.ERROR)

    def record(
        self, headers: Mapping[str, str], fields: Mapping[str, Any], stages: Mapping[str, float], *, ended_ns: int
    ) -> None:
        """Record a request that has ended, by the fields of its log line and the seconds of its stages.

        A ``traceparent`` among the headers makes it a part of the caller's trace (W3C Trace Context).
        """
        carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        started_ns = ended_ns - int(fields["milliseconds"] * _NANOSECONDS / 1000)
        attributes = {
            "http.request.method": fields["method"],
            "http.route": fields["route"],
            "http.response.status_code": fields["status"],
            "credence.request_id": fields["request_id"],
            **{f"credence.{name}": fields[name] for name in ("n_statements", "model_version") if name in fields},
            **{f"credence.{name}_seconds": seconds for name, seconds in stages.items()},
        }
        span = self._tracer.start_span(
            f"{fields['method']} {fields['route']}",
            context=self._read_context(carrier),
            kind=self._kind,
            attributes=attributes,
            start_time=started_ns,
        )
        if fields["status"] >= 500:
            span.set_status(self._failed)
        span.end(ended_ns)

    def close(self) -> None:
        """Send what is left, within a few seconds."""
        self._provider.shutdown()


def open_tracing(endpoint: str | None) -> Tracing | None:
    """Return what sends spans by OTLP over HTTP, or null without an endpoint. Raises ``TracingError``."""
    if endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise TracingError(
            "CREDENCE_OTLP_ENDPOINT is set; install what it needs: pip install 'credence[tracing]'"
        ) from None
    return Tracing(OTLPSpanExporter(endpoint=endpoint))
