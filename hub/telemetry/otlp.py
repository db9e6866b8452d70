"""Spans through OpenTelemetry's SDK to a collector, by OTLP over HTTP. Loaded only where it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

if TYPE_CHECKING:
    from hub.telemetry.traces import Span

_TIMEOUT = 10
_DELAY_MS = 1000
_NANO = 1_000_000_000


class _Given(IdGenerator):
    """Ids that follow from what is told, for a hub that starts anew tells of the same trace."""

    trace = 1
    span = 1

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


class OtlpExport:
    """Used from one thread, the event loop's; sending happens in the SDK's own."""

    def __init__(self, endpoint: str, *, hub_id: str) -> None:
        self._ids = _Given()
        resource = Resource.create({"service.name": "axletree-hub", "service.instance.id": hub_id})
        self._provider = TracerProvider(id_generator=self._ids, resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_TIMEOUT)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, schedule_delay_millis=_DELAY_MS, max_queue_size=8192)
        )
        self._tracer = self._provider.get_tracer("axletree")

    def send(self, span: Span) -> None:
        self._ids.trace, self._ids.span = span.trace, span.id
        context = None
        if span.parent:
            parent = SpanContext(
                span.trace, span.parent, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
            )
            context = set_span_in_context(NonRecordingSpan(parent))
        made = self._tracer.start_span(
            span.name, context=context, start_time=int(span.began * _NANO), attributes=span.attributes
        )
        made.end(int(span.ended * _NANO))

    def close(self) -> None:
        self._provider.shutdown()
