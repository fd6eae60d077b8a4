"""The services' log entries: a fixed vocabulary from which metrics are made.

An entry about work has the field `event`, one of `Event`'s words, and only the fields that `FIELDS` lists for that
word. Fields that don't apply are left out, or null if the absence itself is the answer. Durations are in milliseconds.
`docs/logs.md` describes the same for people.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import Final


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
    SHADOW = "shadow"


FIELDS: Final[Mapping[Event, tuple[str, ...]]] = {
    Event.CHANGE: ("document", "reason", "before", "after", "published", "written", "duration_ms"),
    Event.IGNORED: ("reason", "count"),
    Event.ATTEMPT: (
        "document",
        "attempt",
        "before",
        "after",
        "reason",
        "written",
        "duration_ms",
        "claim_ms",
        "compose_ms",
        "send_ms",
        "finish_ms",
        "accepted_after_ms",
    ),
    Event.MESSAGE: ("document", "reason"),
    Event.DEFERRAL: ("document", "attempt", "reason", "written", "retry_after_ms"),
    Event.REFUSAL: ("message_id", "reason"),
    Event.DEAD_LETTER: ("document", "message_id", "reason"),
    Event.RECONCILIATION: ("document", "reason", "before", "after"),
    Event.RECONCILER_RUN: (
        "examined",
        "due",
        "stranded",
        "lease-expired",
        "expired",
        "invalid",
        "scheduled",
        "unscheduled",
        "complete",
        "duration_ms",
    ),
    Event.CONNECTION: ("server", "duration_ms", "replaced"),
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


def millis(seconds: float) -> float:
    """Seconds as the milliseconds of a log entry."""
    return round(seconds * 1000, 1)
