"""What decisions about events come to: a message, then a write; for concurrent events together.

Publishing comes first: a crash before the write repeats the event, and a second message is harmless because a claim is
exclusive. The other order could leave a document PENDING that no message carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from shared.bulk_store import BulkStore
from shared.coalescer import REQUEST_SECONDS, Coalescer
from shared.database import Unwritable, Version
from shared.errors import FirepostError
from shared.pubsub import BulkPublisher, Publisher
from shared.states import Changes
from shared.store import CLAIM_PATIENCE, MailStore

#: Seconds that a request to publish and one to write may take, with their repetitions.
_WORK_SECONDS = 2 * (CLAIM_PATIENCE + REQUEST_SECONDS)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done about a document at one version: the message to publish, and the changes to write, if any."""

    path: str
    version: Version
    message: tuple[bytes, Mapping[str, str]] | None
    changes: Changes | None


#: Carries an order out; true if it wrote, false if the document has changed since, None if there was nothing to write.
#: Raises `Unavailable` when the event should be repeated, and `Unwritable` (after publishing) as `MailStore.mark` does.
CarryOut = Callable[[Order], bool | None]


class Effects:
    """Carries orders out one by one."""

    def __init__(self, publisher: Publisher, store: MailStore) -> None:
        self._publisher = publisher
        self._store = store

    def carry_out(self, order: Order) -> bool | None:
        """See `CarryOut`."""
        if order.message is not None:
            self._publisher.publish(*order.message)
        return self.write(order)

    def write(self, order: Order) -> bool | None:
        """The second half, of an order whose message is published."""
        return None if order.changes is None else self._store.mark(order.path, order.changes, order.version)


class _Left(Enum):
    """What an order's caller has to do alone."""

    WRITE = "write"


class SharedEffects:
    """Carries the orders of concurrent events out together: one request publishes, and one writes."""

    def __init__(
        self,
        alone: Effects,
        publisher: BulkPublisher,
        store: BulkStore,
        *,
        most: int,
        at_once: int,
        wait_seconds: float,
    ) -> None:
        """At most so many orders go together, and so many requests at once; none waits longer than `wait_seconds`."""
        self._alone = alone
        self._publisher = publisher
        self._store = store
        self._together: Coalescer[Order, bool | _Left | None] = Coalescer(
            self._work_off, lambda: most, wait_seconds, at_once=at_once, work_seconds=_WORK_SECONDS
        )

    def carry_out(self, order: Order) -> bool | None:
        """See `CarryOut`."""
        written = self._together.submit(order, key=order.path)
        return self._alone.write(order) if isinstance(written, _Left) else written

    def _work_off(self, orders: Sequence[Order]) -> Sequence[bool | _Left | Exception | None]:
        if len(orders) == 1:
            return [self._alone.carry_out(orders[0])]
        failed = self._publish([order for order in orders if order.message is not None])
        marks = [
            (order.path, order.changes, order.version)
            for order in orders
            if order.changes is not None and order.path not in failed
        ]
        marked = dict(zip((path for path, _, _ in marks), self._store.mark_all(marks), strict=True))
        return [failed.get(order.path) or _answer(marked.get(order.path)) for order in orders]

    def _publish(self, orders: Sequence[Order]) -> dict[str, FirepostError]:
        """What went wrong, by path."""
        if not orders:
            return {}
        answers = self._publisher.publish_all([order.message for order in orders if order.message is not None])
        return {
            order.path: answer
            for order, answer in zip(orders, answers, strict=True)
            if isinstance(answer, FirepostError)
        }


def _answer(marked: bool | FirepostError | None) -> bool | _Left | Exception | None:
    """A write that failed for itself, and not for good, is its caller's."""
    is_left = isinstance(marked, FirepostError) and not isinstance(marked, Unwritable)
    return _Left.WRITE if is_left else marked
