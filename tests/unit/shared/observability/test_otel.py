"""Spans, exported to a collector with OpenTelemetry's own protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from shared.errors import Misconfigured
from shared.observability import tracing
from tests.otlp import Collector, Span

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        yield collector


def below(caller: str = f"00-{TRACE}-{SPAN}-01") -> AbstractContextManager[None]:
    return tracing.within(tracing.of_message({"traceparent": caller}))


def exported(collector: Collector, tracer: tracing.Tracer) -> list[Span]:
    """All spans: those that have ended are exported when `close` is called."""
    tracer.close()
    return collector.wait_for(lambda spans: True)


def test_spans_hang_below_the_callers_and_below_one_another(collector: Collector) -> None:
    tracer = tracing.connect("sender", "otlp")
    with below(), tracer.span("message", message_id="7") as annotate:
        annotate("reason", "sent")
        with tracer.span("claim"):
            inner = tracing.attributes()
    claim, message = exported(collector, tracer)
    assert (message.name, message.parent, message.service) == ("message", SPAN, "sender")
    assert message.attributes == {"firepost.message_id": "7", "firepost.reason": "sent"}
    assert (claim.name, claim.parent) == ("claim", message.id)
    assert {claim.trace, message.trace} == {TRACE}
    assert inner == {"traceparent": f"00-{TRACE}-{claim.id}-01"}, "logs and messages name the span"


def test_without_a_caller_a_span_begins_a_trace(collector: Collector) -> None:
    tracer = tracing.connect("dispatcher", "otlp")
    with tracer.span("change"):
        pass
    (change,) = exported(collector, tracer)
    assert change.parent == ""
    assert tracing.current_span() is None


def test_a_trace_that_the_caller_does_not_record_is_not_recorded(collector: Collector) -> None:
    tracer = tracing.connect("dispatcher", "otlp")
    with below(f"00-{TRACE}-{SPAN}-00"), tracer.span("change"):
        assert tracing.current_span() is not None, "logs are still correlated"
    assert exported(collector, tracer) == []


def test_of_an_error_its_class_is_recorded_and_not_its_text(collector: Collector) -> None:
    tracer = tracing.connect("sender", "otlp")
    with pytest.raises(ValueError, match="ada"), tracer.span("send"):
        raise ValueError("ada@example.com")
    (span,) = exported(collector, tracer)
    assert span.failure == "ValueError"
    assert "ada@example.com" not in str(span)


def test_without_the_extra_the_start_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(Misconfigured, match=r"TRACES=otlp: .* 'otel' is not installed \(opentelemetry.exporter"):
        tracing.check("otlp")
    tracing.check("off")
