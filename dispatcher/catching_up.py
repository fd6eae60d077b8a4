"""Publishes what waited while mail was paused: in the order of age, and no faster than `resume --rate` says.

First, what senders have put off because its transport or lane was paused is made due. Then, what is due since before
the resumption is published. Nothing here has to be done at once or by one process: a run uses its share of the rate,
and the next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

from shared.delivery.machine import after_pause, on_reconcile
from shared.delivery.model import Changes, Decision, Reason
from shared.delivery.pause import AFTERMATH, Pause, Resumed, caught_up, control_path, gathered, share
from shared.delivery.policy import Policy
from shared.firestore.database import Database, Found, Snapshot

#: Due documents that share requests: as many messages as Pub/Sub takes at once.
BULK: Final = 1_000

#: The decision about a document at a time (UTC).
Decide = Callable[[Found, datetime], Decision]


class CatchingUp:
    """Finds the documents that have waited."""

    def __init__(self, database: Database, policy: Policy, collection: str, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._policy = policy
        self._collection = collection
        self._path = control_path(collection)
        self._clock = clock

    def pages(self, resumed: Resumed) -> Iterator[tuple[Sequence[Found], Decide]]:
        """What a run does about the documents that wait since before `resumed`. Raises `Unavailable`."""
        if not resumed.gathered:
            yield from self._put_off(resumed)
            self._control(lambda pause, now: (None, gathered(pause, resumed, now)), nothing=None)
        yield from self._due(resumed, self._control(share, nothing=0))

    def _put_off(self, resumed: Resumed) -> Iterator[tuple[Sequence[Found], Decide]]:
        now = self._clock()
        for page in self._database.due(self._collection, now + self._policy.longest_pause, BULK, after=now):
            yield [found for found in page if self._was_put_off(found, resumed, now)], self._on_put_off

    def _due(self, resumed: Resumed, left: int | None) -> Iterator[tuple[Sequence[Found], Decide]]:
        """At most so many of the documents that are due; after the last of all, the control document says so."""
        if left == 0:
            return
        for page in self._database.due(self._collection, resumed.time, min(left or BULK, BULK)):
            yield page[:left], self._on_due
            if left is not None:
                left -= len(page)
                if left <= 0:
                    return
        self._control(lambda pause, _: (None, caught_up(pause, resumed)), nothing=None)

    def _was_put_off(self, found: Found, resumed: Resumed, now: datetime) -> bool:
        """Whether it was put off before the resumption; what was put off later waits for another part."""
        return found.updated < resumed.time + AFTERMATH and self._on_put_off(found, now).reason is Reason.RESUMED

    def _on_due(self, found: Found, now: datetime) -> Decision:
        return on_reconcile(found.known, found.updated, now, self._policy)

    def _on_put_off(self, found: Found, now: datetime) -> Decision:
        return after_pause(found.known, found.updated, now, self._policy)

    def _control(
        self, decide: Callable[[Pause, datetime], tuple[int | None, Changes | None]], nothing: int | None
    ) -> int | None:
        """Read the control document, decide and write, in one transaction; `nothing` if it makes no sense."""

        def in_transaction(found: Snapshot | None) -> tuple[int | None, Changes | None]:
            try:
                pause = Pause.of(found.fields if found else None)
            except ValueError:  # `Control` has logged it
                return nothing, None
            return decide(pause, self._clock())

        return self._database.transact(self._path, in_transaction)[0]
