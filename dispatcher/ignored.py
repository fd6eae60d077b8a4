"""Counts ignored events: three of a mail's four are, and a log entry for each would say nothing new."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from shared.delivery.model import Reason
from shared.observability.events import Event, log_event

_log = logging.getLogger("firepost.dispatcher")

#: Seconds for which events are counted before the counts are logged.
PERIOD = 10.0


class IgnoredEvents:
    """Counts by reason; thread-safe.

    Counts are logged at the first ignored event after a period, and by `flush`, which the reconciler's runs call: so an
    idle service logs them, too. A process that dies loses the counts since then; no document depends on them.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._counts = Counter[Reason]()
        self._since = monotonic()

    def count(self, reason: Reason) -> None:
        """Count one event."""
        with self._lock:
            self._counts[reason] += 1
            is_over = self._monotonic() - self._since >= PERIOD
        if is_over:
            self.flush()

    def flush(self) -> None:
        """Log the counts, one entry per reason."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            self._since = self._monotonic()
        for reason, count in counts.items():
            fields = {"reason": reason, "count": count}
            log_event(_log, Event.IGNORED, f"{count} events ignored: {reason}", fields)
