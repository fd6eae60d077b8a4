"""The dispatcher in shadow mode: it asks a sender to look at each mail of another system, and writes no document.

A sender looks at a mail when it is written and again when the other system has ended it. The first look is for those
that the other system never ends; the second one sees what has become of the mail. So a mail costs two messages, and no
read or write here: there is no connection to Firestore.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from dispatcher.events import DocumentChange
from dispatcher.ignored import IgnoredEvents
from shared.delivery.model import FINAL, QUEUED, Decision, DocumentState, Reason, State, state_of
from shared.observability import tracing
from shared.observability.events import Event, log_event, millis
from shared.observability.tracing import NO_TRACER, Tracer
from shared.pubsub import message
from shared.pubsub.publisher import Publisher, Unpublishable
from shared.pubsub.push import ReceivedMessage

_log = logging.getLogger("firepost.dispatcher")

_SHADOW = "shadow"


def on_event(old: DocumentState | None, new: DocumentState | None) -> Decision:
    """Decide about one document event in shadow mode (first matching row):

    new document        old document              decision
    deleted             any                       ignore (deleted)
    no delivery         none, or with delivery    publish (new)
    no delivery         without delivery          ignore (still-queued)
    unknown state       any                       ignore (unknown-state)
    SUCCESS or ERROR    in another state          publish (final-state)
    SUCCESS or ERROR    none, or the same state   ignore (final-state)
    CANCELLED           any                       ignore (cancelled)
    PENDING or RETRY    none                      publish (new)
    PROCESSING          any                       ignore (processing)
    PENDING or RETRY    any                       ignore (still-queued)
    """
    before = state_of(old)
    if new is None:
        return Decision(Reason.DELETED)
    if new.delivery is None:
        is_new = old is None or old.delivery is not None
        return Decision(Reason.NEW, publish=True) if is_new else Decision(Reason.STILL_QUEUED)
    state = new.delivery.state
    if state is None:
        return Decision(Reason.UNKNOWN_STATE)
    if state in FINAL:
        return Decision(Reason.FINAL_STATE, publish=old is not None and before is not state)
    if state is State.CANCELLED:  # a word for Firepost: the other system may yet end the mail
        return Decision(Reason.CANCELLED)
    if state in QUEUED:
        return Decision(Reason.NEW, publish=True) if old is None else Decision(Reason.STILL_QUEUED)
    return Decision(Reason.PROCESSING)


class Shadow:
    """What the dispatcher's entry points do in shadow mode. Thread-safe."""

    def __init__(
        self, publisher: Publisher, monotonic: Callable[[], float] = time.monotonic, tracer: Tracer = NO_TRACER
    ) -> None:
        """`monotonic` returns seconds."""
        self._publisher = publisher
        self._monotonic = monotonic
        self._tracer = tracer
        self._ignored = IgnoredEvents(monotonic)

    def log_ignored(self) -> None:
        """Log the counts of ignored events."""
        self._ignored.flush()

    def handle(self, change: DocumentChange) -> Reason:
        """Ask for a look at the document, if it is time for one. Raises `Unavailable` if Eventarc must repeat this."""
        with self._tracer.span("change", document=change.path) as annotate:
            began, decision = self._monotonic(), on_event(change.old, change.new)
            annotate("reason", decision.reason)
            if decision.publish:
                published = self._publish(change.path, decision.reason)
                self._report(change, decision.reason, published, self._monotonic() - began)
            else:
                self._ignored.count(decision.reason)
            return decision.reason

    def _publish(self, path: str, reason: Reason) -> bool:
        data, attributes = message.encode(path, reason, message.SHADOW_VERSION)
        try:
            self._publisher.publish(data, attributes | tracing.attributes())
        except Unpublishable:
            _log.error("Pub/Sub refuses the message", extra={"fields": {"document": path}})
            return False
        return True

    def _report(self, change: DocumentChange, reason: Reason, published: bool, seconds: float) -> None:
        fields = {
            "document": change.path,
            "reason": reason,
            "before": state_of(change.old),
            "after": state_of(change.new),
            "published": published,
            "duration_ms": millis(seconds),
        }
        log_event(_log, Event.CHANGE, f"event {reason}, in shadow mode", fields)

    def reconcile(self, stay: float = 0.0) -> Mapping[str, int | bool]:
        """Examine nothing: what is due or stranded is the other system's.

        The run is logged, because an alert rings when there is none.
        """
        log_event(_log, Event.RECONCILER_RUN, "no reconciler run, in shadow mode", {"complete": True, "duration_ms": 0})
        return {"complete": True}

    def dead_letter(self, dead: ReceivedMessage) -> str:
        """Conclude nothing; log that a look has failed, or that a message was refused. Returns the reason word."""
        fields = {"message_id": dead.message_id, "reason": _SHADOW}
        log_event(_log, Event.DEAD_LETTER, "dead letter, in shadow mode", fields, logging.ERROR)
        return _SHADOW
