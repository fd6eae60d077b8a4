"""OpenTelemetry traces: the trace that current work belongs to, and spans if the setting `TRACES` asks for them.

The caller's trace is propagated whatever `TRACES` says: Cloud Run gives each request one, log entries name it, and a
message carries it to the sender. The context is OpenTelemetry's, a context variable: one thread handles a request or a
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

#: The header of W3C Trace Context (https://www.w3.org/TR/trace-context/), also used as a message attribute.
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


# The current trace


# OpenTelemetry's propagators are not used: docs/decisions/0016.


def of_request(header: Callable[[str], str | None]) -> Context:
    """The trace in an HTTP request's headers, W3C's before Google's; an empty context if there is none."""
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
    """None if an id is zero or too large. Only the `sampled` flag is kept."""
    span = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & TraceFlags.SAMPLED))
    return trace.set_span_in_context(NonRecordingSpan(span), Context()) if span.is_valid else None


def current() -> Context:
    """The current context, for use with `within` on another thread."""
    return contexts.get_current()


def current_span() -> SpanContext | None:
    """The current span, the caller's or our own; None if there is none."""
    span = trace.get_current_span().get_span_context()
    return span if span.is_valid else None


def enter(context: Context) -> None:
    """Make `context` the current one in this thread, replacing that of the previous request."""
    contexts.attach(context)


@contextmanager
def within(context: Context) -> Iterator[None]:
    """Make `context` the current one within the block."""
    token = contexts.attach(context)
    try:
        yield
    finally:
        contexts.detach(token)


def attributes() -> dict[str, str]:
    """The attributes that carry the current trace in a published message."""
    span = current_span()
    if span is None:
        return {}
    trace_id, span_id = format_trace_id(span.trace_id), format_span_id(span.span_id)
    return {TRACEPARENT: f"00-{trace_id}-{span_id}-{span.trace_flags:02x}"}


# Spans


class Tracer:
    """Records spans with OpenTelemetry's tracer; without a tracer it does nothing, at no cost."""

    def __init__(self, tracer: trace.Tracer | None = None, close: Callable[[], None] = lambda: None) -> None:
        """`close` exports everything recorded so far; nothing is recorded afterwards."""
        self._tracer = tracer
        self.close = close

    def span(self, name: str, **attributes: str) -> AbstractContextManager[Annotate]:
        """A span for the block: a child of the current span, or the root of a new trace.

        It is the current span within the block, so that logs and messages name it. If an error leaves the block, its
        class is recorded, not its text, which may quote the mail. Attributes must be as harmless as log fields.
        """
        return _NO_SPAN if self._tracer is None else _recorded(self._tracer, name, attributes)


def _ignore(name: str, value: str | int) -> None:
    """Used when there is no span to annotate."""


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
    """The tracer that the setting selects, for the service with this name. Call it only after forking.

    Spans are exported in batches, from a thread, by OTLP over gRPC. OpenTelemetry's own variables say where to and how,
    above all `OTEL_EXPORTER_OTLP_ENDPOINT`; `OTEL_SERVICE_NAME` takes precedence over `service`. Raises
    `Misconfigured`. https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
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
    """Imported only when needed, because it belongs to the extra `otel`."""
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError as error:
        raise Misconfigured(f"TRACES=otlp: the extra 'otel' is not installed ({error.name} is missing)") from error
    return OTLPSpanExporter
