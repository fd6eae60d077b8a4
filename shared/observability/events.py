"""What the services say about their work: log entries in a fixed vocabulary, which metrics are made of.

An entry about work has the field `event`, one of `Event`'s words, and beside it the fields that `FIELDS` gives that
word, and no others. Those that do not apply are left out, or null where the absence itself is the answer. Times are
in milliseconds. `docs/logs.md` describes the same for people.
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
    Event.RECONCILER_RUN: ("examined", "due", "stranded", "lease-expired", "complete", "duration_ms"),
    Event.CONNECTION: ("server", "duration_ms", "replaced"),
}


def log_event(
    log: logging.Logger, event: Event, text: str, fields: Mapping[str, object], level: int = logging.INFO
) -> None:
    """Log that `event` has happened. `text` is for people, and holds as little of a mail as the fields do."""
    log.log(level, "%s", text, extra={"fields": {"event": event, **fields}})


def millis(seconds: float) -> float:
    """Seconds as an entry says them."""
    return round(seconds * 1000, 1)
