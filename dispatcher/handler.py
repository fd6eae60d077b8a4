"""The dispatcher's reaction to a document's change: decide, publish, then write. It reads no document."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from dispatcher.events import DocumentChange
from dispatcher.ignored import IgnoredEvents
from dispatcher.outbox import Effect, Executed, Outbox
from shared.delivery.lanes import DEFAULT_LANE, NO_LANES, Lanes
from shared.delivery.machine import on_event, while_paused
from shared.delivery.model import Decision, Reason, state_of
from shared.delivery.pause import Pause
from shared.delivery.policy import Policy
from shared.errors import Unavailable
from shared.firestore.database import Unwritable
from shared.observability.events import Event, log_event, millis, sight
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
        pause: Callable[[], Pause],
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer = NO_TRACER,
        lanes: Lanes = NO_LANES,
    ) -> None:
        """`clock` returns the time in UTC, `monotonic` returns seconds; `pause` is `Control.pause`."""
        self._outbox = outbox
        self._pause = pause
        self._policy = policy
        self._clock = clock
        self._monotonic = monotonic
        self._tracer = tracer
        self._lanes = lanes
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
        decided = on_event(change.old, change.new, now, self._policy)
        decision = self._unless_paused(decided, change, now)
        done, refused = Executed(None), False
        if decision.publish or decision.write is not None:
            try:
                lane = self._lanes.of(change.new.traits) if change.new else DEFAULT_LANE
                done = self._outbox.execute(Effect.of(decision, change.path, change.version, now, lane))
                if decision.reason is Reason.PAUSED and not done.written:  # the document has changed: see the machine
                    decision = replace(decided, write=None)
                    done = self._outbox.execute(Effect.of(decision, change.path, change.version, now, lane))
            except Unpublishable:
                refused = True
                _log.error("Pub/Sub refuses the message", extra={"fields": {"document": change.path}})
            except Unwritable:
                _log.error("Firestore refuses to change the document", extra={"fields": {"document": change.path}})
        elif decision.reason is not Reason.UNKNOWN_STATE:
            self._ignored.count(decision.reason)
            _log.debug("event %s", decision.reason, extra={"fields": {"document": change.path}})
            return decision.reason
        fields = _fields(change, decision, now) | _done(decision, done, refused)
        fields["duration_ms"] = millis(self._monotonic() - began)
        level = logging.WARNING if decision.reason is Reason.UNKNOWN_STATE else logging.INFO
        log_event(_log, Event.CHANGE, f"event {decision.reason}", fields, level)
        return decision.reason

    def _unless_paused(self, decision: Decision, change: DocumentChange, now: datetime) -> Decision:
        """What is decided if all mail is paused, which is looked up only if it matters.

        If that can't be read, the mail is published all the same: the sender looks, too.
        """
        if not decision.publish or change.new is None:
            return decision
        try:
            is_paused = self._pause().since is not None
        except Unavailable:
            return decision
        return while_paused(decision, change.new, now, self._policy) if is_paused else decision


def _fields(change: DocumentChange, decision: Decision, now: datetime) -> dict[str, object]:
    return {
        "document": change.path,
        "reason": decision.reason,
        "before": state_of(change.old),
        "after": state_of(change.new),
        **(sight(change.new, now) if change.new else {}),
    }


def _done(decision: Decision, done: Executed, refused: bool) -> dict[str, object]:
    """What was done about the change; `refused`: Pub/Sub never takes the message."""
    fields: dict[str, object] = {}
    if decision.publish or done.written is not None:
        fields |= {"published": decision.publish and not refused, "written": done.written}
    if refused:
        fields["refused"] = True
    if done.marked_after is not None:
        fields["marked_after_ms"] = millis(done.marked_after)
    return fields
