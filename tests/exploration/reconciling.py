"""The reconciler among several documents, in pages that are smaller than they are: explored exhaustively.

A world is what each document is to the reconciler, and where its walks stopped. The steps are runs of the real
`Reconciler` over documents in memory, runs that die at an external call or overlap with another one, and what everybody
else may do to a document meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any, Final

from dispatcher.reconciler import position_path
from shared.delivery.model import DELETE, State
from shared.delivery.policy import Policy
from shared.errors import FirepostError
from shared.firestore.database import Found, Snapshot, Stale, Version, Write
from shared.firestore.values import encode_time
from tests.assembly import COLLECTION, LEASE, DispatcherParts
from tests.exploration.checks import Violation
from tests.exploration.explorer import Counterexample
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher

POLICY: Final = Policy(LEASE, stranded_after=timedelta(minutes=15))
NOW: Final = Clock().now
POSITION: Final = position_path(COLLECTION)


class Kind(StrEnum):
    """What a document is to the reconciler."""

    QUEUED = "queued a moment ago"
    STRANDED = "queued for long, and its message lost"
    LATER = "scheduled for later"
    DUE = "scheduled, and its time has come"
    HELD = "in PROCESSING, its lease live"
    EXPIRED = "in PROCESSING, its lease expired"
    ENDED = "in a final state"


#: What becomes of documents without the reconciler.
OTHERS: Final = {
    Kind.QUEUED: (Kind.STRANDED, Kind.HELD),
    Kind.STRANDED: (Kind.HELD,),  # its message was only late
    Kind.LATER: (Kind.DUE, Kind.ENDED),
    Kind.DUE: (Kind.HELD,),
    Kind.HELD: (Kind.ENDED, Kind.EXPIRED, Kind.LATER),
    Kind.EXPIRED: (Kind.ENDED,),
    Kind.ENDED: (Kind.QUEUED,),
}
#: What a run must act on.
WAITING: Final = (Kind.STRANDED, Kind.DUE, Kind.EXPIRED)


@dataclass(frozen=True, slots=True)
class World:
    """The documents, by ascending id, and the fields of the document with the walks' positions."""

    kinds: tuple[Kind, ...]
    positions: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run has done: the world that it left, what it published and wrote, and the world before each call."""

    world: World
    published: frozenset[int]
    written: tuple[tuple[str, dict[str, Any]], ...]
    before: tuple[World, ...]


class Documents(MemoryDatabase):
    """The documents of a world. `at_call` is called right before each external call."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.at_call: Callable[[], object] = lambda: None
        for number, kind in enumerate(world.kinds):
            updated = NOW - POLICY.stranded_after if kind is Kind.STRANDED else NOW
            path = f"{COLLECTION}/{number}"
            self.documents[path] = Snapshot(path, {"delivery": _delivery(kind)}, NOW, encode_time(updated))
        if world.positions:
            self.documents[POSITION] = Snapshot(POSITION, dict(world.positions), NOW, encode_time(NOW))
        self._ticks = int(NOW.timestamp()) - 1_700_000_000  # what is written in a run is written now

    def world(self) -> World:
        paths = [path for path in sorted(self.documents) if path != POSITION]
        kept = self.documents[POSITION].fields if POSITION in self.documents else {}
        return World(tuple(_kind(self.documents[path]) for path in paths), tuple(sorted(kept.items())))

    def write(self, writes: Sequence[Write]) -> list[Version | FirepostError]:
        if writes:
            self.at_call()
        return super().write(writes)


class Topic(MemoryPublisher):
    def __init__(self, documents: Documents) -> None:
        super().__init__()
        self._documents = documents

    def publish_all(self, messages: Sequence[Any]) -> Sequence[Any]:
        self._documents.at_call()
        return super().publish_all(messages)


class Reconciling:
    """Explores all worlds of `documents` documents, with a reconciler whose page is `page`."""

    def __init__(self, documents: int, page: int, database: type[Documents] = Documents) -> None:
        self._start = World((Kind.ENDED,) * documents)
        self._page = page
        self._database = database
        self._came_from: dict[World, tuple[World, str] | None] = {self._start: None}
        self._runs: dict[World, Ran] = {}
        #: Within so many runs, every document that waits is published or concluded.
        self.bound = 1 + ceil(documents / page)

    def run(self) -> int:
        """Explore; returns the number of worlds. Raises `Counterexample`."""
        waiting = deque([self._start])
        while waiting:
            world = waiting.popleft()
            self._check(world)
            for label, following in self._steps(world):
                if following not in self._came_from:
                    self._came_from[following] = (world, label)
                    waiting.append(following)
        return len(self._came_from)

    def _steps(self, world: World) -> Iterator[tuple[str, World]]:
        for number, kind in enumerate(world.kinds):
            for following in OTHERS[kind]:
                kinds = (*world.kinds[:number], following, *world.kinds[number + 1 :])
                yield f"{number}: {following}", replace(world, kinds=kinds)
        ran = self._run_of(world)
        yield "run", ran.world
        for call, left in enumerate(ran.before, 1):
            yield f"run, dies before call {call}", left
            yield f"run, another at call {call}", self._reconcile(world, another_at=call).world

    def _run_of(self, world: World) -> Ran:
        """A run in which nothing else happens."""
        if world not in self._runs:
            self._runs[world] = self._reconcile(world)
        return self._runs[world]

    def _reconcile(self, world: World, another_at: int = 0) -> Ran:
        """A run; another one may happen right before its external call of this number."""
        documents = self._database(world)
        topic, before, written = Topic(documents), list[World](), list[tuple[str, dict[str, Any]]]()

        def at_call() -> None:
            before.append(documents.world())
            if len(before) == another_at:
                for path, fields in self._run_of(before[-1]).written:
                    documents.put(path, fields)

        def on_write(path: str, old: Snapshot | None, new: Snapshot | None) -> None:
            if new is not None:
                written.append((path, new.fields))

        documents.at_call, documents.on_write = at_call, on_write
        DispatcherParts(POLICY, documents, topic).reconciler(page=self._page).run()
        numbers = {int(attributes["document"].rpartition("/")[2]) for _, attributes in topic.published}
        return Ran(documents.world(), frozenset(numbers), tuple(written), tuple(before))

    # Invariants

    def _check(self, world: World) -> None:
        """Check a world in which, from now on, nothing but the reconciler acts."""
        runs = [self._run_of(world)]
        while len(runs) < self.bound:
            runs.append(self._run_of(runs[-1].world))
        for number, kind in enumerate(world.kinds):
            acted = [number in run.published or run.world.kinds[number] is Kind.ENDED for run in runs]
            if kind in WAITING and not any(acted):
                raise self._violated(world, f"document {number} waits for more than {self.bound} runs")
            if kind is Kind.DUE and not acted[0]:
                raise self._violated(world, f"document {number} is due, and a run has left it alone")
            if kind not in WAITING and any(number in run.published for run in runs):
                raise self._violated(world, f"document {number} is published though {kind}")
            if sum(number in run.published for run in runs) > 1:
                raise self._violated(world, f"document {number} is published by several runs")

    def _violated(self, world: World, what: str) -> Counterexample:
        way = []
        while origin := self._came_from[world]:
            world, label = origin
            way.append(label)
        return Counterexample(f"{Violation(what)}, after: {' → '.join(reversed(way))}")


def _delivery(kind: Kind) -> dict[str, Any]:
    soon = NOW + timedelta(seconds=30)
    match kind:
        case Kind.QUEUED | Kind.STRANDED:
            return {"state": State.PENDING}
        case Kind.LATER | Kind.DUE:
            return {"state": State.RETRY, "nextAttemptTime": NOW if kind is Kind.DUE else soon}
        case Kind.HELD | Kind.EXPIRED:
            return {"state": State.PROCESSING, "leaseExpireTime": NOW if kind is Kind.EXPIRED else soon}
        case Kind.ENDED:
            return {"state": State.SUCCESS}


def _kind(document: Snapshot) -> Kind:
    match document.fields["delivery"]:
        case {"state": State.PROCESSING, "leaseExpireTime": datetime() as end}:
            return Kind.HELD if end > NOW else Kind.EXPIRED
        case {"state": State.PENDING | State.RETRY, "nextAttemptTime": datetime() as due}:
            return Kind.LATER if due > NOW else Kind.DUE
        case {"state": State.PENDING | State.RETRY}:
            return Kind.QUEUED if document.version.seconds >= NOW.timestamp() else Kind.STRANDED
    return Kind.ENDED


#: Explorations by description: the documents, the page, and the number of worlds. `LARGE` is for `make explore`.
SMALL: Final[Mapping[str, tuple[int, int, int]]] = {
    "two documents, a page of one": (2, 1, 686),
    "three documents, a page of two": (3, 2, 4_116),
}
LARGE: Final[Mapping[str, tuple[int, int, int]]] = {
    "three documents, a page of one": (3, 1, 7_546),
}


# Wrong reconcilers, as the databases that make a right one behave like them


class _Forgetful(Documents):
    def read(self, paths: Sequence[str]) -> list[Snapshot | FirepostError | None]:
        return [None for _ in paths]


class _OneWay(Documents):
    def write(self, writes: Sequence[Write]) -> list[Version | FirepostError]:
        kept = [each for each in writes if None not in each.changes.values()]
        return super().write(kept) if kept else [Stale() for _ in writes]


class _OneWalk(Documents):
    def due(self, collection: str, now: datetime, limit: int, after: datetime | None = None) -> Iterator[list[Found]]:
        yield from ()


class _StillDue(Documents):
    def write(self, writes: Sequence[Write]) -> list[Version | FirepostError]:
        kept = [
            replace(each, changes={path: value for path, value in each.changes.items() if value is not DELETE})
            for each in writes
        ]
        return super().write(kept)


#: By description (see docs/reliability.md).
MUTATIONS: Final[Mapping[str, type[Documents]]] = {
    "a run of the reconciler begins at the lowest id": _Forgetful,
    "a walk of the reconciler never begins again": _OneWay,
    "what is due is found by the walk alone": _OneWalk,
    "what is due stays due when it is published": _StillDue,
}
