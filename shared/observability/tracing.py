"""Traces, by OpenTelemetry: to which one the current work belongs, and spans where the setting `TRACES` wants them.

The caller's trace is carried on whatever `TRACES` says: Cloud Run gives each request one, log entries name it, and a
message takes it to the sender. The context is OpenTelemetry's, a context variable: one thread handles a request or a
message from beginning to end. https://opentelemetry.io/docs/specs/otel/context/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Literal

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags, format_span_id, format_trace_id

from shared.errors import Misconfigured

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

#: The header of W3C's Trace Context (https://www.w3.org/TR/trace-context/), and the attribute of a message.
TRACEPARENT: Final = "traceparent"
_W3C = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")

#: Google's older header, TRACE/SPAN;o=OPTIONS with the span in decimal: https://cloud.google.com/trace/docs/trace-context.
_CLOUD_TRACE: Final = "X-Cloud-Trace-Context"
_CLOUD = re.compile(r"([0-9a-fA-F]{32})/([0-9]{1,20})(?:;o=([0-9]))?")

_PREFIX = "firepost."

#: The setting `TRACES`.
Traces = Literal["off", "otlp"]

#: Adds an attribute to a span.
Annotate = Callable[[str, str | int], None]


# Which trace


# Not by OpenTelemetry's propagators: docs/decisions/0016.


def of_request(header: Callable[[str], str | None]) -> Context:
    """The trace that an HTTP request's headers name, W3C's before Google's; an empty context if none."""
    return _from_w3c(header(TRACEPARENT)) or _from_cloud(header(_CLOUD_TRACE)) or Context()


def of_message(attributes: Mapping[str, object]) -> Context:
    """The trace in which a message was published; the current one if its attributes name none."""
    return _from_w3c(attributes.get(TRACEPARENT)) or contexts.get_current()


def _from_w3c(value: object) -> Context | None:
    if not isinstance(value, str) or (match := _W3C.fullmatch(value.strip())) is None:
        return None
    trace_id, span_id, flags = match.groups()
    return _context(int(trace_id, 16), int(span_id, 16), int(flags, 16))


def _from_cloud(value: str | None) -> Context | None:
    if value is None or (match := _CLOUD.fullmatch(value.strip())) is None:
        return None
    trace_id, span_id, options = match.groups()
    return _context(int(trace_id, 16), int(span_id), int(options or 0))


def _context(trace_id: int, span_id: int, flags: int) -> Context | None:
    """None if an id is zero or too large. Of the flags, only whether the trace is sampled is taken along."""
    span = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & TraceFlags.SAMPLED))
    return trace.set_span_in_context(NonRecordingSpan(span), Context()) if span.is_valid else None


def current() -> Context:
    """The context of the current work, for `within` on another thread."""
    return contexts.get_current()


def current_span() -> SpanContext | None:
    """The span that the current work belongs to, the caller's or one of our own; None if there is none."""
    span = trace.get_current_span().get_span_context()
    return span if span.is_valid else None


def enter(context: Context) -> None:
    """The work that begins now in this thread belongs to `context`, and not to that of the request before."""
    contexts.attach(context)


@contextmanager
def within(context: Context) -> Iterator[None]:
    """Within the block, work belongs to `context`."""
    token = contexts.attach(context)
    try:
        yield
    finally:
        contexts.detach(token)


def attributes() -> dict[str, str]:
    """The attributes that take the current trace along with a published message."""
    span = current_span()
    if span is None:
        return {}
    trace_id, span_id = format_trace_id(span.trace_id), format_span_id(span.span_id)
    return {TRACEPARENT: f"00-{trace_id}-{span_id}-{span.trace_flags:02x}"}


# Spans


class Tracer:
    """Records spans with OpenTelemetry's tracer; none if there is no tracer, and then at no cost."""

    def __init__(self, tracer: trace.Tracer | None = None, close: Callable[[], None] = lambda: None) -> None:
        """`close` exports all that was recorded; nothing is recorded after it."""
        self._tracer = tracer
        self.close = close

    def span(self, name: str, **attributes: str) -> AbstractContextManager[Annotate]:
        """A span for the block: a child of the current one, or else the root of a new trace.

        It is the current span within the block, so that logs and messages name it. Of an error that leaves the block,
        the class is recorded, not the text, which may quote the mail. Attributes are as harmless as log fields must be.
        """
        return _NO_SPAN if self._tracer is None else _recorded(self._tracer, name, attributes)


def _ignore(name: str, value: str | int) -> None:
    """There is no span to annotate."""


_NO_SPAN: Final = nullcontext[Annotate](_ignore)
NO_TRACER: Final = Tracer()


@contextmanager
def _recorded(tracer: trace.Tracer, name: str, attributes: Mapping[str, str]) -> Iterator[Annotate]:
    prefixed = {_PREFIX + key: value for key, value in attributes.items()}
    with tracer.start_as_current_span(
        name, attributes=prefixed, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield lambda key, value: span.set_attribute(_PREFIX + key, value)
        except BaseException as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def check(traces: Traces) -> None:
    """Raises `Misconfigured` if the packages that the setting needs are not installed."""
    if traces == "otlp":
        _exporter()


def connect(service: str, traces: Traces) -> Tracer:
    """The tracer that the setting chooses, for the service of that name. To be called after any fork.

    Spans are exported in batches, from a thread, by OTLP over gRPC; OpenTelemetry's own variables say where to and how,
    `OTEL_EXPORTER_OTLP_ENDPOINT` first of all, and `OTEL_SERVICE_NAME` goes before `service`. Raises `Misconfigured`.
    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    if traces == "off":
        return NO_TRACER
    exporter = _exporter()
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({SERVICE_NAME: service}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter()))
    return Tracer(provider.get_tracer("firepost"), provider.shutdown)


def _exporter() -> type[SpanExporter]:
    """Imported only where it is wanted: it is in the extra `otel`."""
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError as error:
        raise Misconfigured(f"TRACES=otlp: the extra 'otel' is not installed ({error.name} is missing)") from error
    return OTLPSpanExporter
