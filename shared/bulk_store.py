"""Claim, finish and mark for many documents at once, as far as nothing is out of the ordinary.

Each document has its own precondition and its own outcome. Whatever does not go straight, because somebody has touched
the document meanwhile or Firestore refuses the write, is left to the caller, to be done alone by `shared.store`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.coalescer import MAX_REQUEST_BYTES
from shared.database import BulkDatabase, PreparedWrite, Stale, Unwritable, Version
from shared.delivery import concluded, on_message
from shared.errors import FirepostError
from shared.policy import Policy
from shared.states import Changes, Decision, Lease, Result
from shared.store import CLAIM_PATIENCE, Claim, begun, known_of, patience

#: A write that is to be made if the document still has this version.
Change = tuple[str, Changes, Version]
#: An attempt, what became of it, when it ended, and the jitter: see `MailStore.finish`.
Ending = tuple[Claim, Result, datetime, float]


@dataclass(frozen=True, slots=True)
class Left:
    """A document that has to be claimed alone; `written` is the lease that may stand in it, if there was no answer."""

    written: Lease | None


class BulkStore:
    """The mail documents, many at a time. Methods raise `Unavailable` as `MailStore`'s do, and then for all."""

    def __init__(
        self,
        database: BulkDatabase,
        policy: Policy,
        finish_patience: float = CLAIM_PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`finish_patience`: seconds for which writing results is repeated while Firestore fails."""
        self._database = database
        self._policy = policy
        self._patiently = patience(CLAIM_PATIENCE, sleep)
        self._most_patiently = patience(finish_patience, sleep)

    def claim_all(self, paths: Sequence[str], now: datetime) -> list[Claim | Decision | Left]:
        """Try to begin an attempt at each document, no two of them the same; see `MailStore.claim`."""
        written: dict[str, Lease] = {}

        def attempt() -> list[Claim | Decision | Left]:
            try:
                snapshots = self._database.get_many(paths)
            except Unwritable:  # one of them can't even be asked for
                return [Left(written.get(path)) for path in paths]
            decisions = [
                on_message(known_of(snapshot), now, self._policy, written.get(path))
                for path, snapshot in zip(paths, snapshots, strict=True)
            ]
            changes = [
                (snapshot.path, decision.write, snapshot.version)
                for snapshot, decision in zip(snapshots, decisions, strict=True)
                if snapshot is not None and decision.write is not None
            ]
            written.update({path: each.lease for path, each in zip(paths, decisions, strict=True) if each.lease})
            outcomes = self._write_all(changes)
            return [
                Left(decision.lease)
                if isinstance(outcome := outcomes.get(path), FirepostError)
                else begun(decision, snapshot, outcome)
                for path, snapshot, decision in zip(paths, snapshots, decisions, strict=True)
            ]

        return self._patiently(attempt)

    def finish_all(self, endings: Sequence[Ending]) -> list[bool]:
        """Write what became of attempts; false for a result that has to be written alone, if at all."""
        changes = [
            (claim.path, concluded(result, claim.lease.attempt, at, self._policy, jitter), claim.version)
            for claim, result, at, jitter in endings
        ]
        outcomes = self._most_patiently(self._write_all, changes)
        return [not isinstance(outcomes[claim.path], FirepostError) for claim, _, _, _ in endings]

    def mark_all(self, changes: Sequence[Change]) -> list[bool | FirepostError]:
        """Write what was decided from events; false for a document that has changed since, which is no error."""
        outcomes = self._patiently(self._write_all, changes)
        return [_mark(outcomes[path]) for path, _, _ in changes]

    def _write_all(self, changes: Iterable[Change]) -> dict[str, Version | FirepostError]:
        """What became of each write, by path."""
        outcomes: dict[str, Version | FirepostError] = {}
        prepared: list[PreparedWrite] = []
        for path, fields, version in changes:
            try:
                prepared.append(self._database.prepare_update(path, fields, version))
            except Unwritable as error:
                outcomes[path] = error
        for request in _requests(prepared):
            try:
                written: Sequence[Version | FirepostError] = self._database.write_many(request)
            except Unwritable as error:  # one of them is at fault; nobody knows which
                written = [error] * len(request)
            outcomes.update(zip((write.path for write in request), written, strict=True))
        return outcomes


def _requests(writes: Iterable[PreparedWrite]) -> Iterator[list[PreparedWrite]]:
    """The writes, shared out among as few requests as their sizes allow."""
    request: list[PreparedWrite] = []
    size = 0
    for write in writes:
        if request and size + write.size > MAX_REQUEST_BYTES:
            yield request
            request, size = [], 0
        request.append(write)
        size += write.size
    if request:
        yield request


def _mark(outcome: Version | FirepostError) -> bool | FirepostError:
    match outcome:
        case Stale():
            return False
        case FirepostError():
            return outcome
    return True
