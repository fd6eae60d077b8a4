"""The traces that callers name for a request or a message."""

from __future__ import annotations

import pytest

from shared.observability import tracing

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{ID}-{SPAN}-01"
CLOUD = f"{ID}/{int(SPAN, 16)};o=1"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"traceparent": PARENT}, PARENT, id="w3c"),
        pytest.param({"traceparent": f"00-{ID}-{SPAN}-00"}, f"00-{ID}-{SPAN}-00", id="w3c, not sampled"),
        pytest.param({"traceparent": f"01-{ID}-{SPAN}-03-more"}, PARENT, id="w3c of a later version"),
        pytest.param({"X-Cloud-Trace-Context": CLOUD}, PARENT, id="google's"),
        pytest.param({"X-Cloud-Trace-Context": f"{ID.upper()}/7"}, f"00-{ID}-0000000000000007-00", id="no options"),
        pytest.param({"traceparent": PARENT, "X-Cloud-Trace-Context": f"{'1' * 32}/1"}, PARENT, id="both"),
        pytest.param({"traceparent": "?", "X-Cloud-Trace-Context": CLOUD}, PARENT, id="w3c's is malformed"),
        pytest.param({}, None, id="none"),
        pytest.param({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, None, id="no trace id"),
        pytest.param({"traceparent": f"00-{ID}-{'0' * 16}-01"}, None, id="no span id"),
        pytest.param({"traceparent": f"ff-{ID}-{SPAN}-01"}, None, id="version ff"),
        pytest.param({"traceparent": PARENT.upper()}, None, id="capitals"),
        pytest.param({"X-Cloud-Trace-Context": ID}, None, id="google's, no span"),
        pytest.param({"X-Cloud-Trace-Context": f"{ID}/0;o=1"}, None, id="google's, span 0"),
        pytest.param({"X-Cloud-Trace-Context": f"{ID}/{2**64};o=1"}, None, id="google's, span beyond 64 bits"),
    ],
)
def test_headers(headers: dict[str, str], expected: str | None) -> None:
    with tracing.within(tracing.of_request(headers.get)):
        assert tracing.attributes() == ({"traceparent": expected} if expected else {})


def test_a_messages_trace_only_covers_its_handling() -> None:
    with tracing.within(tracing.of_message({"traceparent": PARENT})):
        assert tracing.attributes() == {"traceparent": PARENT}
        with tracing.within(tracing.of_message({})):
            assert tracing.attributes() == {"traceparent": PARENT}, "the push request's, if the message has none"
    assert tracing.attributes() == {}


@pytest.mark.parametrize("malformed", [7, None, ["x"], {"x": 1}, "", "\ud800", "0" * 100_000])
def test_a_message_with_a_malformed_trace_has_none(malformed: object) -> None:
    with tracing.within(tracing.of_message({"traceparent": malformed})):
        assert tracing.current_span() is None


def test_the_next_request_in_a_thread_does_not_inherit_a_trace() -> None:
    tracing.enter(tracing.of_message({"traceparent": PARENT}))
    tracing.enter(tracing.of_request(lambda name: None))
    assert tracing.current_span() is None
