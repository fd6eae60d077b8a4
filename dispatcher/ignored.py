"""Events that call for nothing, counted: three of a mail's four are, and a log entry for each would say nothing new."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from shared.delivery.model import Reason
from shared.observability.events import Event, log_event

_log = logging.getLogger("firepost.dispatcher")

#: Seconds for which events are counted before the log says how many there were.
PERIOD = 10.0


class IgnoredEvents:
    """Counts by reason; called by many threads.

    A count is logged with the first ignored event after its period, and by `flush`. A process that dies takes at most
    one period's counts with it; the documents don't depend on them.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._counts = Counter[Reason]()
        self._since = monotonic()

    def count(self, reason: Reason) -> None:
        """One more."""
        with self._lock:
            self._counts[reason] += 1
            is_over = self._monotonic() - self._since >= PERIOD
        if is_over:
            self.flush()

    def flush(self) -> None:
        """Log what has been counted, an entry for each reason."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            self._since = self._monotonic()
        for reason, count in counts.items():
            fields = {"reason": reason, "count": count}
            log_event(_log, Event.IGNORED, f"{count} events ignored: {reason}", fields)
