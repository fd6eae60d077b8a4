"""What no event will do: publish what has become due or got lost, and conclude leases whose holders vanished.

Called every minute. It may run beside itself: publishing twice is harmless, and every write is conditional.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime

from shared import message
from shared.database import Found, MailQueries, Unwritable
from shared.delivery import on_reconcile
from shared.policy import Policy
from shared.pubsub import Publisher
from shared.states import QUEUED, Decision, State
from shared.store import MailStore

_log = logging.getLogger("firepost.reconciler")

_PAGE = 300


class Reconciler:
    """Looks at every document that is queued or being processed, in pages, for a bounded time."""

    def __init__(
        self,
        store: MailStore,
        queries: MailQueries,
        publisher: Publisher,
        policy: Policy,
        collection: str,
        clock: Callable[[], datetime],
        seconds: float = 40.0,
    ) -> None:
        """`seconds` is the time that one run may take: less than the pause between two."""
        self._store = store
        self._queries = queries
        self._publisher = publisher
        self._policy = policy
        self._collection = collection
        self._clock = clock
        self._seconds = seconds

    def run(self) -> dict[str, int | bool]:
        """One run: how many documents were examined, and how many of them met which fate.

        `complete` is false when the time ran out. Those that are due come first, so a backlog delays none of them.
        Raises `Unavailable` when Firestore or Pub/Sub fail; what was done until then stays done.
        """
        end = time.monotonic() + self._seconds
        counts: Counter[str] = Counter()
        for found in self._candidates():
            if time.monotonic() > end:
                return {**counts, "complete": False}
            counts["examined"] += 1
            decision = on_reconcile(found.known, found.updated, self._clock(), self._policy)
            if decision.publish or decision.write is not None:
                self._carry_out(found, decision)
                counts[decision.reason] += 1
        return {**counts, "complete": True}

    def _candidates(self) -> Iterator[Found]:
        """Documents that are due, then all that are queued or in work; some come twice, which does no harm."""
        yield from self._queries.due(self._collection, self._clock(), _PAGE)
        for state in (State.PROCESSING, *QUEUED):
            after = None
            while page := self._queries.in_state(self._collection, state, _PAGE, after):
                yield from page
                after = page[-1].path

    def _carry_out(self, found: Found, decision: Decision) -> None:
        """Publish, then write: the other order could note a message that was never published."""
        if decision.publish:
            self._publisher.publish(*message.encode(found.path, decision.reason))
        fields = {"document": found.path, "reason": decision.reason, "published": decision.publish}
        if decision.write is not None:
            try:
                fields["written"] = self._store.mark(found.path, decision.write, found.version)
            except Unwritable as error:
                _log.error("the document can't be written to: %s", error, extra={"fields": fields})
        _log.info("reconciled %s", decision.reason, extra={"fields": fields})
