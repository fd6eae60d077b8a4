"""Transactions with optimistic concurrency: all reads see one moment, and must still be valid at commit.

Of two transactions that read what the other writes, the first to commit succeeds and the second is ABORTED, there and
nowhere else: the commit is where every client knows to begin again.
https://firebase.google.com/docs/firestore/transaction-data-contention
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from local.backends.embedded.failure import Failure, aborted, invalid
from local.backends.embedded.firestore.documents import View
from local.backends.embedded.firestore.protos import Document, TransactionOptions
from local.backends.embedded.firestore.store import Store

#: Google ends a transaction that has been idle for so many seconds, or open for so many.
IDLE_SECONDS, OPEN_SECONDS = 60.0, 270.0
#: How many transactions that ended against their client's will are remembered.
REMEMBERED = 1000

Ask = Callable[[View], Iterable[Document]]


class Snapshot:
    """All documents as of `time`, and what `get` and `find` have read of them."""

    def __init__(self, view: View, time: Timestamp) -> None:
        self.view = view
        self.time = time
        self._reads: dict[str, Document | None] = {}
        self._queries: list[tuple[Ask, list[Document]]] = []

    def get(self, name: str) -> Document | None:
        """The document with that name, if it existed."""
        self._reads[name] = self.view.get(name)
        return self._reads[name]

    def find(self, ask: Ask) -> list[Document]:
        """The documents that `ask` finds."""
        found = list(ask(self.view))
        self._queries.append((ask, found))
        return found

    def is_still_true_of(self, view: View) -> bool:
        """Whether all reads would find the same there. (Documents are replaced, never modified.)"""
        return all(view.get(name) is document for name, document in self._reads.items()) and all(
            _same(found, list(ask(view))) for ask, found in self._queries
        )


@dataclass(slots=True)
class _Transaction:
    begun: float
    used: float
    is_read_only: bool
    snapshot: Snapshot | None  # None until the first read


class Transactions:
    """The open transactions on one store; `clock` is monotonic, in seconds."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._begun = 0
        self._open: dict[bytes, _Transaction] = {}  # the longest idle first
        self._ended: dict[bytes, Callable[[], Failure]] = {}  # the oldest first

    def begin(self, options: TransactionOptions) -> bytes:
        """Open a transaction and return its id. Raises what `Store.past` raises about a `read_time`."""
        self._end_idle()
        is_read_only, snapshot = options.HasField("read_only"), None
        if is_read_only:
            given = options.read_only.HasField("read_time")
            snapshot = self._snapshot(options.read_only.read_time if given else self._store.clock.tick())
        self._begun += 1
        transaction_id = self._begun.to_bytes(8, "big")
        now = self._clock()
        self._open[transaction_id] = _Transaction(now, now, is_read_only, snapshot)
        return transaction_id

    def snapshot(self, transaction_id: bytes) -> Snapshot:
        """What the transaction reads: if it is read-only, the documents when it began, else at its first read."""
        transaction = self._get(transaction_id)
        if transaction.snapshot is None:
            transaction.snapshot = self._snapshot(self._store.clock.tick())
        return transaction.snapshot

    def conclude(self, transaction_id: bytes, writes: bool) -> None:
        """Close a transaction before its writes are applied. Raises ABORTED if they must not be.

        Without writes, its reads are valid as of their moment, whatever has changed since.
        """
        transaction = self._get(transaction_id)
        if writes and transaction.is_read_only:
            raise invalid("Cannot modify entities in a read-only transaction.")
        del self._open[transaction_id]
        if writes and transaction.snapshot and not transaction.snapshot.is_still_true_of(self._store.documents):
            self._remember(transaction_id, aborted)
            raise aborted()

    def roll_back(self, transaction_id: bytes) -> None:
        """Close a transaction, unless it is closed already."""
        self._check(transaction_id)
        self._open.pop(transaction_id, None)

    def _snapshot(self, time: Timestamp) -> Snapshot:
        return Snapshot(self._store.past(time), time)

    def _get(self, transaction_id: bytes) -> _Transaction:
        self._check(transaction_id)
        self._end_idle()
        now, transaction = self._clock(), self._open.pop(transaction_id, None)
        if transaction is not None and transaction.begun < now - OPEN_SECONDS:
            self._remember(transaction_id, _expired)
        elif transaction is not None:
            transaction.used = now
            self._open[transaction_id] = transaction
            return transaction
        raise self._ended.get(transaction_id, _closed)()

    def _check(self, transaction_id: bytes) -> None:
        if len(transaction_id) != 8 or not 0 < int.from_bytes(transaction_id, "big") <= self._begun:
            raise invalid("Invalid transaction.")

    def _end_idle(self) -> None:
        oldest = self._clock() - IDLE_SECONDS
        while self._open:
            transaction_id, transaction = next(iter(self._open.items()))
            if transaction.used >= oldest:
                break
            del self._open[transaction_id]
            self._remember(transaction_id, _expired)

    def _remember(self, transaction_id: bytes, end: Callable[[], Failure]) -> None:
        self._ended[transaction_id] = end
        if len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]


def _closed() -> Failure:
    return invalid("Transaction is invalid or closed.")


def _expired() -> Failure:
    return invalid("The referenced transaction has expired or is no longer valid.")  # clients look for these words


def _same(found: list[Document], other: list[Document]) -> bool:
    return len(found) == len(other) and all(map(operator.is_, found, other))
