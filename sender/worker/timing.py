"""How one attempt went, step by step: what its log entry says beside its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from shared.delivery.model import DocumentState
from shared.observability.events import millis
from shared.observability.tracing import Tracer


class Timings:
    """Times the steps of an attempt, and the attempt from its beginning on; each step is a span, too."""

    def __init__(self, monotonic: Callable[[], float], tracer: Tracer) -> None:
        """`monotonic` counts seconds; the attempt begins now."""
        self._monotonic = monotonic
        self._tracer = tracer
        self._began = monotonic()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block, also if it fails."""
        began = self._monotonic()
        try:
            with self._tracer.span(name):
                yield
        finally:
            self._seconds[name] = self._monotonic() - began

    def millis(self) -> dict[str, float]:
        """The time that each step has taken, and the attempt until now, as log fields."""
        steps = {f"{name}_ms": millis(seconds) for name, seconds in self._seconds.items()}
        return {"duration_ms": millis(self._monotonic() - self._began), **steps}


def waited(known: DocumentState, claimed: datetime, accepted: datetime) -> timedelta | None:
    """How long a mail that a server took over at `accepted` has waited for that.

    From when it was queued, or else claimed (`claimed`), on, and not before `sendAt`. `known` is of the document as
    the claim found it. None for a mail that had ended before: when a user asked for it again is not recorded.
    """
    delivery = known.delivery
    if delivery is not None and delivery.end_time is not None:
        return None
    start = delivery.start_time if delivery and delivery.start_time else claimed
    return accepted - max(start, known.send_at or start)
