"""Firestore operations of many threads in few requests: see `shared.coalescer` for how they come together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from shared.coalescer import Coalescer
from shared.database import BulkDatabase, Database, Decide, PreparedWrite, Snapshot, Unwritable, Version
from shared.errors import FirepostError
from shared.states import Changes

_T = TypeVar("_T")


def batching(database: BulkDatabase, size: int, wait_ms: int) -> Database:
    """The database as the settings want it used: with a size of 1, every operation goes alone."""
    return BatchingDatabase(database, size, wait_ms / 1000) if size > 1 else database


class BatchingDatabase:
    """A `Database` whose reads, and whose writes, join those of other threads. Transactions go alone.

    A request that finds no company goes as it would without this class. One that is refused because of any of its
    operations is taken apart, so that nobody fails for another's fault.
    """

    def __init__(self, database: BulkDatabase, size: int, wait_seconds: float) -> None:
        """At most `size` documents go in a request; none waits longer than `wait_seconds` for company."""
        self._database = database
        self._reads: Coalescer[str, Snapshot | None] = Coalescer(database.get_many, lambda: size, wait_seconds)
        self._writes = Coalescer(self._write_together, lambda: size, wait_seconds)

    def get(self, path: str) -> Snapshot | None:
        """See `Database.get`."""
        try:
            return self._reads.submit(path)
        except Unwritable:
            return self._database.get(path)

    def create(self, path: str, fields: Changes) -> Version:
        """See `Database.create`."""
        return self._write(self._database.prepare_create(path, fields))

    def update(self, path: str, changes: Changes, version: Version) -> Version:
        """See `Database.update`."""
        return self._write(self._database.prepare_update(path, changes, version))

    def transact(self, path: str, decide: Decide[_T]) -> tuple[_T, Snapshot | None, Version | None]:
        """See `Database.transact`."""
        return self._database.transact(path, decide)

    def _write(self, write: PreparedWrite) -> Version:
        try:
            return self._writes.submit(write, key=write.path, size=write.size)
        except Unwritable:
            return self._database.write(write)

    def _write_together(self, writes: Sequence[PreparedWrite]) -> Sequence[Version | FirepostError]:
        if len(writes) == 1:
            return [self._database.write(writes[0])]
        return self._database.write_many(writes)
