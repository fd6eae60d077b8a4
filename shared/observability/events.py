"""The services' log entries: a fixed vocabulary from which metrics are made.

An entry about work has the field `event`, one of `Event`'s words, and only the fields that `FIELDS` lists for that
word. Fields that don't apply are left out, or null if the absence itself is the answer. Durations are in milliseconds.
`docs/logs.md` describes the same for people.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from shared.delivery.model import DocumentState, State


class Event(StrEnum):
    """What has happened."""

    CHANGE = "change"
    IGNORED = "ignored"
    ATTEMPT = "attempt"
    MESSAGE = "message"
    DEFERRAL = "deferral"
    REFUSAL = "refusal"
    DEAD_LETTER = "dead-letter"
    RECONCILIATION = "reconciliation"
    RECONCILER_RUN = "reconciler-run"
    CONNECTION = "connection"
    CONNECTION_LIMIT = "connection-limit"
    BREAKER = "breaker"
    FAILOVER = "failover"
    SHADOW = "shadow"


#: What a decision saw of the document's times: `sight`.
_SIGHT: Final = ("lease_ms", "unsent", "attempts", "due_ms", "expires_ms")
#: What the end of an attempt found if the document had changed since the claim, and the state that it left.
_CONFLICT: Final = ("found", "found_attempt", "held", "left")

FIELDS: Final[Mapping[Event, tuple[str, ...]]] = {
    Event.CHANGE: (
        "document",
        "reason",
        "before",
        "after",
        *_SIGHT,
        "published",
        "refused",
        "written",
        "marked_after_ms",
        "duration_ms",
    ),
    Event.IGNORED: ("reason", "count"),
    Event.ATTEMPT: (
        "document",
        "attempt",
        "before",
        *_SIGHT,
        "continued",
        "outage_ms",
        "after",
        "reason",
        "unsettled",
        "outage",
        "next_ms",
        "expired",
        "written",
        *_CONFLICT,
        "duration_ms",
        "claim_ms",
        "compose_ms",
        "send_ms",
        "finish_ms",
        "begun_ms",
        "accepted_after_ms",
        "rejected",
        "pending",
    ),
    Event.MESSAGE: ("document", "reason", "acknowledged", "before", *_SIGHT),
    Event.DEFERRAL: (
        "document",
        "attempt",
        "before",
        *_SIGHT,
        "continued",
        "outage_ms",
        "reason",
        "written",
        *_CONFLICT,
        "retry_after_ms",
    ),
    Event.REFUSAL: ("message_id", "reason"),
    Event.DEAD_LETTER: ("document", "message_id", "reason", "before", *_SIGHT),
    Event.RECONCILIATION: ("document", "reason", "before", "after", *_SIGHT, "marked_after_ms"),
    Event.RECONCILER_RUN: (
        "examined",
        "due",
        "stranded",
        "lease-expired",
        "expired",
        "invalid",
        "scheduled",
        "unscheduled",
        "paused",
        "resumed",
        "pause",
        "complete",
        "duration_ms",
    ),
    Event.CONNECTION: ("server", "duration_ms", "replaced", "connections"),
    Event.CONNECTION_LIMIT: ("server", "reason", "connections"),
    Event.BREAKER: ("server", "reason", "retry_after_ms"),
    Event.FAILOVER: ("transport", "failover", "reason"),
    Event.SHADOW: (
        "document",
        "reason",
        "old_state",
        "old_error",
        "recipients",
        "recipients_old",
        "recipients_own",
        "digest",
        "bytes",
        "warnings",
        "duration_ms",
    ),
}


def log_event(
    log: logging.Logger, event: Event, text: str, fields: Mapping[str, object], level: int = logging.INFO
) -> None:
    """Log that `event` has happened. `text` is human-readable and must not contain mail content."""
    log.log(level, "%s", text, extra={"fields": {"event": event, **fields}})


def sight(known: DocumentState, now: datetime) -> dict[str, object]:
    """What a decision at `now` saw of times: until when a lease ran, the mail was to wait, and it could be sent.

    `unsent` is true if nothing had been sent under the lease, and `attempts` is the number of the attempt that had it.
    """
    delivery = known.delivery
    lease_end, next_attempt = (delivery.lease_expire_time, delivery.next_attempt_time) if delivery else (None, None)
    due = max((time for time in (known.send_at, next_attempt) if time is not None), default=None)
    times = {"lease_ms": lease_end, "due_ms": due, "expires_ms": known.expires_at}
    seen: dict[str, object] = {
        name: millis((time - now).total_seconds()) for name, time in times.items() if time is not None
    }
    if delivery is not None and delivery.state is State.PROCESSING:
        seen["attempts"] = delivery.attempts
    return seen | {"unsent": True} if delivery is not None and delivery.surely_unsent else seen


def millis(seconds: float) -> float:
    """Seconds as the milliseconds of a log entry."""
    return round(seconds * 1000, 1)
