"""Transactions with optimistic concurrency: reads are recorded, and must still be valid at commit.

Of two transactions that read what the other writes, the first to commit succeeds and the second is ABORTED.
https://firebase.google.com/docs/firestore/transaction-data-contention
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import grpc

from local.backends.embedded.failure import Failure, invalid, unsupported
from local.backends.embedded.firestore.protos import Document, TransactionOptions
from local.backends.embedded.firestore.store import Documents

#: Google ends a transaction that has been idle for this long.
IDLE_SECONDS = 60.0

#: The current result of a query: the documents' names and update times, comparable.
Finding = tuple[tuple[str, int], ...]
Ask = Callable[[Documents], Iterable[Document]]


@dataclass(slots=True)
class _Transaction:
    used: float
    snapshot: Documents | None  # the documents that a read-only transaction sees
    reads: dict[str, int] = field(default_factory=dict)
    queries: list[tuple[Ask, Finding]] = field(default_factory=list)


class Transactions:
    """The open transactions on one set of documents; `clock` is monotonic, in seconds."""

    def __init__(self, documents: Documents, clock: Callable[[], float]) -> None:
        self._documents = documents
        self._clock = clock
        self._open: dict[bytes, _Transaction] = {}
        self._begun = 0

    def begin(self, options: TransactionOptions) -> bytes:
        """Open a transaction and return its id."""
        if options.read_only.HasField("read_time"):
            raise unsupported("reads in the past (read_time)")
        self._forget_idle()
        self._begun += 1
        transaction_id = self._begun.to_bytes(8, "big")
        snapshot = self._documents.snapshot() if options.HasField("read_only") else None
        self._open[transaction_id] = _Transaction(self._clock(), snapshot)
        return transaction_id

    def read(self, transaction_id: bytes, name: str) -> Document | None:
        """A document as the transaction sees it.

        Raises ABORTED as soon as an earlier read has become invalid: the transaction could not commit any more, and its
        reads would be inconsistent.
        """
        transaction = self._get(transaction_id)
        if transaction.snapshot is not None:
            return transaction.snapshot.get(name)
        self._verify(transaction_id)
        document = self._documents.get(name)
        transaction.reads[name] = _version(document)
        return document

    def query(self, transaction_id: bytes, ask: Ask) -> list[Document]:
        """The documents that `ask` finds, as the transaction sees them. Raises ABORTED as `read` does."""
        transaction = self._get(transaction_id)
        if transaction.snapshot is not None:
            return list(ask(transaction.snapshot))
        self._verify(transaction_id)
        found = list(ask(self._documents))
        transaction.queries.append((ask, _finding(found)))
        return found

    def conclude(self, transaction_id: bytes, writes: bool) -> None:
        """Close a transaction before its writes are applied. Raises ABORTED if they must not be."""
        transaction = self._get(transaction_id)
        if transaction.snapshot is None:
            self._verify(transaction_id)
        del self._open[transaction_id]
        if writes and transaction.snapshot is not None:
            raise invalid("Cannot modify entities in a read-only transaction.")

    def roll_back(self, transaction_id: bytes) -> None:
        """Close a transaction, unless it is closed already."""
        if len(transaction_id) != 8 or not 0 < int.from_bytes(transaction_id, "big") <= self._begun:
            raise invalid("Transaction is invalid or expired.")
        self._open.pop(transaction_id, None)

    def _get(self, transaction_id: bytes) -> _Transaction:
        transaction = self._open.get(transaction_id)
        if transaction is None:
            raise invalid("Transaction is invalid or closed.")
        transaction.used = self._clock()
        return transaction

    def _verify(self, transaction_id: bytes) -> None:
        transaction = self._open[transaction_id]
        unchanged = all(
            _version(self._documents.get(name)) == version for name, version in transaction.reads.items()
        ) and all(_finding(ask(self._documents)) == finding for ask, finding in transaction.queries)
        if not unchanged:
            del self._open[transaction_id]
            raise Failure(
                grpc.StatusCode.ABORTED,
                "Aborted due to cross-transaction contention. This occurs when multiple transactions attempt to "
                "access the same data, requiring Firestore to abort at least one in order to enforce serializability.",
            )

    def _forget_idle(self) -> None:
        oldest = self._clock() - IDLE_SECONDS
        for transaction_id in [key for key, value in self._open.items() if value.used < oldest]:
            del self._open[transaction_id]


def _version(document: Document | None) -> int:
    return 0 if document is None else document.update_time.ToMicroseconds()


def _finding(documents: Iterable[Document]) -> Finding:
    return tuple((document.name, _version(document)) for document in documents)
