"""Measures the steps of an attempt, for its log entry and its trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from shared.delivery.model import DocumentState
from shared.observability.events import millis
from shared.observability.tracing import Tracer


class Timings:
    """Measures an attempt and its steps; each step is also a span."""

    def __init__(self, monotonic: Callable[[], float], tracer: Tracer) -> None:
        """Start measuring. `monotonic` returns seconds."""
        self._monotonic = monotonic
        self._tracer = tracer
        self._started = monotonic()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the block, even if it raises."""
        started = self._monotonic()
        try:
            with self._tracer.span(name):
                yield
        finally:
            self._seconds[name] = self._monotonic() - started

    def millis(self) -> dict[str, float]:
        """Log fields, in milliseconds: the attempt's duration until now, and that of each step."""
        steps = {f"{name}_ms": millis(seconds) for name, seconds in self._seconds.items()}
        return {"duration_ms": millis(self._monotonic() - self._started), **steps}


def waited(known: DocumentState, claimed: datetime, accepted: datetime) -> timedelta | None:
    """The time from queueing until the server accepted the mail (`accepted`).

    It starts when the mail was queued (or `claimed`, if that is not recorded), but not before `sendAt`. `known` is the
    document as the claim found it. None if the document was in a final state before: the time at which a user asked for
    the resend is not recorded.
    """
    delivery = known.delivery
    if delivery is not None and delivery.end_time is not None:
        return None
    start = delivery.start_time if delivery and delivery.start_time else claimed
    return accepted - max(start, known.send_at or start)
