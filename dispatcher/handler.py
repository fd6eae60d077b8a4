"""The dispatcher's reaction to a document's change: decide, publish, then write. It never reads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime

from dispatcher.events import DocumentChange
from dispatcher.ignored import IgnoredEvents
from dispatcher.outbox import Effect, Outbox
from shared.delivery.machine import on_event
from shared.delivery.model import Decision, Reason, state_of
from shared.delivery.policy import Policy
from shared.firestore.database import Unwritable
from shared.observability.events import Event, log_event, millis
from shared.observability.tracing import NO_TRACER, Tracer
from shared.pubsub.publisher import Unpublishable

_log = logging.getLogger("firepost.dispatcher")


class Dispatcher:
    """Turns document changes into messages."""

    def __init__(
        self,
        outbox: Outbox,
        policy: Policy,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """`clock` returns the time in UTC, `monotonic` returns seconds."""
        self._outbox = outbox
        self._policy = policy
        self._clock = clock
        self._monotonic = monotonic
        self._tracer = tracer
        self._ignored = IgnoredEvents(monotonic)

    def log_ignored(self) -> None:
        """Log the counts of ignored events; call this now and then, and after the last event."""
        self._ignored.flush()

    def handle(self, change: DocumentChange) -> Reason:
        """Execute the decision about the change. Raises `Unavailable` if Eventarc should deliver the event again."""
        with self._tracer.span("change", document=change.path) as annotate:
            reason = self._handle(change)
            annotate("reason", reason)
            return reason

    def _handle(self, change: DocumentChange) -> Reason:
        began = self._monotonic()
        now = self._clock()
        decision = on_event(change.old, change.new, now, self._policy)
        published, written = decision.publish, None
        if decision.publish or decision.write is not None:
            try:
                written = self._outbox.execute(Effect.of(decision, change.path, change.version, now))
            except Unpublishable:
                published = False
                _log.error("Pub/Sub refuses the message", extra={"fields": {"document": change.path}})
            except Unwritable:
                _log.error("Firestore refuses to change the document", extra={"fields": {"document": change.path}})
        elif decision.reason is not Reason.UNKNOWN_STATE:
            self._ignored.count(decision.reason)
            _log.debug("event %s", decision.reason, extra={"fields": {"document": change.path}})
            return decision.reason
        self._report(change, decision, published, written, self._monotonic() - began)
        return decision.reason

    def _report(
        self, change: DocumentChange, decision: Decision, published: bool, written: bool | None, seconds: float
    ) -> None:
        fields: dict[str, object] = {
            "document": change.path,
            "reason": decision.reason,
            "before": state_of(change.old),
            "after": state_of(change.new),
        }
        if decision.publish or written is not None:
            fields |= {"published": published, "written": written}
        fields["duration_ms"] = millis(seconds)
        level = logging.WARNING if decision.reason is Reason.UNKNOWN_STATE else logging.INFO
        log_event(_log, Event.CHANGE, f"event {decision.reason}", fields, level)
