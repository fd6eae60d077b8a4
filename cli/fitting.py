"""The documents that fit a log entry: they differ in what it does not say, as far as decisions depend on it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final

from shared.delivery.model import Delivery, DocumentState, State
from shared.delivery.policy import LONGEST_LEASE_SECONDS

Entry = Mapping[str, Any]

#: Any moment will do: entries have differences only.
NOW: Final = datetime(2000, 1, 1, tzinfo=UTC)
LONG_AGO: Final = NOW - timedelta(days=30)
SECOND: Final = timedelta(seconds=1)
#: Log entries round to tenths of a millisecond.
_ROUNDED_AWAY: Final = timedelta(microseconds=50)

#: Ends of the classes of times, in seconds from now: past, soon, beyond any lease, beyond any pause.
_BOUNDS: Final = (0.0, LONGEST_LEASE_SECONDS + 10.0, 24 * 3600.0)
_REPRESENTATIVES: Final = (-1_000.0, 1_000.0, 3_600_000.0, 9999 * 86_400_000.0)


def representative(millis: float) -> float:
    """One of the few times, in milliseconds from now, that stand for all others that decisions treat alike."""
    return _REPRESENTATIVES[sum(millis / 1000 > bound for bound in _BOUNDS)] if millis else 0.0


def state_of_word(word: object) -> State | None:
    """The state with this name, if there is one."""
    return State(word) if isinstance(word, str) and word in set(State) else None


def documents(
    entry: Entry,
    state: object,
    attempts: tuple[int, ...] = (0,),
    starts: tuple[datetime | None, ...] = (None,),
) -> list[DocumentState]:
    """The documents in this state with the entry's times, and any of these attempts and start times.

    A state that is none stands for a document without `delivery`, and for one with an unknown state.
    """
    found = _documents(state_of_word(state), entry.get("lease_ms"), entry.get("due_ms"), attempts, starts)
    if entry.get("unsent"):
        found = [*map(_unsent, found)]
    return found if entry.get("expires_ms") is None else list(_expiring(found, entry["expires_ms"]))


def _unsent(document: DocumentState) -> DocumentState:
    """The same, with nothing sent under its lease."""
    delivery = document.delivery
    if delivery is None:
        return document
    return replace(document, delivery=replace(delivery, unsent_lease=delivery.lease_expire_time))


def _expiring(found: Iterable[DocumentState], millis: float) -> Iterator[DocumentState]:
    """The same with `expiresAt`; a queued mail that resumes is claimed even after that."""
    for document, expires in product(found, _around(millis)):
        yield replace(document, expires_at=expires)
        if document.delivery is not None:
            yield replace(document, expires_at=expires, delivery=replace(document.delivery, resumes=True))


def _documents(
    state: State | None,
    lease: float | None,
    due: float | None,
    attempts: tuple[int, ...],
    starts: tuple[datetime | None, ...],
) -> list[DocumentState]:
    if state is None:
        return [DocumentState(each, time) for each in (None, Delivery(None)) for time in _around(due)]
    times: list[tuple[datetime | None, datetime | None]] = []
    for time in _around(due):  # the entry has the later of `sendAt` and `nextAttemptTime`, if there is any
        times += [(time, None), (None, time), (time, time), *([(time, LONG_AGO), (LONG_AGO, time)] if time else [])]
    return [
        DocumentState(Delivery(state, attempt, start, None, expires, scheduled), send_at)
        for (send_at, scheduled), expires, attempt, start in product(times, _around(lease), attempts, starts)
    ]


def _around(millis: float | None) -> Sequence[datetime | None]:
    """The times that may have been rounded to `millis` from now."""
    if millis is None:
        return [None]
    ahead = timedelta(milliseconds=representative(millis))
    return [NOW + ahead] if ahead else [NOW - _ROUNDED_AWAY, NOW + _ROUNDED_AWAY]
