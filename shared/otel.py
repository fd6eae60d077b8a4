"""Spans by OpenTelemetry, exported by OTLP over gRPC. Imported only where `TRACES=otlp`: it needs the extra `otel`.

Where to and how is said by OpenTelemetry's own variables, `OTEL_EXPORTER_OTLP_ENDPOINT` first of all:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from shared import trace
from shared.trace import Trace
from shared.tracing import Annotate

_PREFIX = "firepost."


class OtelTracer:
    """`Tracer` over an OpenTelemetry provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("firepost")

    @contextmanager
    def span(self, name: str, **attributes: str) -> Iterator[Annotate]:
        """See `Tracer.span`."""
        said = {_PREFIX + key: value for key, value in attributes.items()}
        span = self._tracer.start_span(name, _below(trace.current()), attributes=said)
        try:
            with trace.following(_of(span.get_span_context())):
                yield lambda key, value: span.set_attribute(_PREFIX + key, value)
        except BaseException as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)  # not its text: it may quote what the mail says
            raise
        finally:
            span.end()

    def close(self) -> None:
        """See `Tracer.close`."""
        self._provider.shutdown()


def connect(service: str) -> OtelTracer:
    """A tracer that exports in batches, from a thread; `OTEL_SERVICE_NAME` goes before `service`."""
    resource = Resource.create({SERVICE_NAME: service}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtelTracer(provider)


def _below(parent: Trace | None) -> Context:
    """OpenTelemetry's context for a span below `parent`. Ours is the only one that counts, so it is made anew."""
    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    context = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(context), Context())


def _of(context: SpanContext) -> Trace:
    return Trace(format_trace_id(context.trace_id), format_span_id(context.span_id), context.trace_flags.sampled)
