"""What decisions about events come to: a message, then a write; for concurrent events together.

Publishing comes first: a crash before the write repeats the event, and a second message is harmless because a claim is
exclusive. The other order could leave a document PENDING that no message carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shared.bulk_store import BulkStore
from shared.coalescer import Coalescer
from shared.database import Unwritable, Version
from shared.errors import FirepostError
from shared.pubsub import BulkPublisher, Publisher
from shared.states import Changes
from shared.store import MailStore


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
        self._together: Coalescer[Order, bool | None] = Coalescer(
            self._work_off, lambda: most, wait_seconds, at_once=at_once
        )

    def carry_out(self, order: Order) -> bool | None:
        """See `CarryOut`."""
        return self._together.submit(order, key=order.path)

    def _work_off(self, orders: Sequence[Order]) -> Sequence[bool | Exception | None]:
        if len(orders) == 1:
            return [self._alone.carry_out(orders[0])]
        failed = self._publish([order for order in orders if order.message is not None])
        marks = [
            (order.path, order.changes, order.version)
            for order in orders
            if order.changes is not None and order.path not in failed
        ]
        marked = dict(zip((path for path, _, _ in marks), self._store.mark_all(marks), strict=True))
        return [failed.get(order.path) or self._settled(order, marked.get(order.path)) for order in orders]

    def _publish(self, orders: Sequence[Order]) -> dict[str, FirepostError]:
        """What went wrong, by path."""
        answers = self._publisher.publish_all([order.message for order in orders if order.message is not None])
        return {
            order.path: answer
            for order, answer in zip(orders, answers, strict=True)
            if isinstance(answer, FirepostError)
        }

    def _settled(self, order: Order, marked: bool | FirepostError | None) -> bool | Exception | None:
        """What is the order's answer; a write that failed for itself, and not for good, is tried again alone."""
        if not isinstance(marked, FirepostError) or isinstance(marked, Unwritable):
            return marked
        try:
            return self._alone.write(order)
        except FirepostError as error:
            return error
