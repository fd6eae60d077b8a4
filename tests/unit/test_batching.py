"""Operations of many threads go together, and nobody notices: each caller gets its own answer, whatever befalls the
others."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from local.waiting import wait_until
from shared import coalescer as module
from shared.batching import BatchingDatabase, batching
from shared.coalescer import Coalescer
from shared.database import PreparedWrite, Snapshot, Stale, Unwritable, Version
from shared.errors import FirepostError, Unavailable
from shared.states import Changes
from tests.fakes import MemoryDatabase

PATIENCE = 5.0
#: Longer than any test: whoever waits for company that long has been forgotten.
LONG = 60.0


class Line:
    """Carries out items, a request at a time if that is asked for, and remembers the requests."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.answer: Callable[[Sequence[str]], Sequence[str | FirepostError]] = lambda items: [f"{i}!" for i in items]
        self._free = threading.Event()
        self._free.set()

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def carry_out(self, items: Sequence[str]) -> Sequence[str | FirepostError]:
        self.requests.append(list(items))
        assert self._free.wait(PATIENCE)
        return self.answer(items)

    def under_way(self, count: int) -> None:
        assert wait_until(lambda: len(self.requests) == count, PATIENCE, pause=0.001), self.requests


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.release()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as threads:
        yield threads


def collected(coalescer: Coalescer[str, str], count: int) -> None:
    """Return when so many items wait for a request that has not left."""

    def waiting() -> bool:
        return coalescer._open is not None and len(coalescer._open.items) == count

    assert wait_until(waiting, PATIENCE, pause=0.001)


def behind_one(
    line: Line, threads: ThreadPoolExecutor, coalescer: Coalescer[str, str], items: str
) -> list[Future[str]]:
    """One request under way, `0`, and the items submitted one after the other behind it."""
    line.hold()
    futures = [threads.submit(coalescer.submit, "0")]
    line.under_way(1)
    for number, item in enumerate(items, 1):
        futures.append(threads.submit(coalescer.submit, item))
        collected(coalescer, number)
    return futures


def test_who_finds_nobody_goes_at_once_and_alone(line: Line) -> None:
    coalescer = Coalescer(line.carry_out, lambda: 100, LONG)
    assert [coalescer.submit(item) for item in "ab"] == ["a!", "b!"]
    assert line.requests == [["a"], ["b"]]


def test_who_comes_while_a_request_is_under_way_goes_with_the_others_when_it_ends(
    line: Line, threads: ThreadPoolExecutor
) -> None:
    futures = behind_one(line, threads, Coalescer(line.carry_out, lambda: 100, LONG), "abcd")
    line.release()
    assert [future.result(PATIENCE) for future in futures] == ["0!", "a!", "b!", "c!", "d!"]
    assert line.requests == [["0"], ["a", "b", "c", "d"]]


def test_nobody_waits_longer_for_company_than_agreed(line: Line, threads: ThreadPoolExecutor) -> None:
    coalescer = Coalescer(line.carry_out, lambda: 100, 0.01)
    line.hold()
    threads.submit(coalescer.submit, "0")
    line.under_way(1)
    threads.submit(coalescer.submit, "a")
    line.under_way(2)
    line.release()


def test_a_full_request_leaves_and_the_next_one_begins(line: Line, threads: ThreadPoolExecutor) -> None:
    coalescer = Coalescer(line.carry_out, lambda: 3, LONG)
    line.hold()
    futures = [threads.submit(coalescer.submit, item) for item in "0"]
    line.under_way(1)
    futures += [threads.submit(coalescer.submit, item) for item in "abcdef"]
    line.under_way(3)
    line.release()
    assert {future.result(PATIENCE) for future in futures} == {f"{item}!" for item in "0abcdef"}
    assert [len(request) for request in line.requests] == [1, 3, 3]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        pytest.param({"key": "k"}, {"key": "k"}, False, id="same key"),
        pytest.param({"key": "k"}, {"key": "other"}, True, id="another key"),
        pytest.param({}, {}, True, id="no key"),
        pytest.param({"size": module.MAX_REQUEST_BYTES}, {"size": 1}, False, id="too many bytes"),
        pytest.param({"size": module.MAX_REQUEST_BYTES - 1}, {"size": 1}, True, id="just not too many"),
    ],
)
def test_what_does_not_fit_goes_in_the_next_request(
    line: Line, threads: ThreadPoolExecutor, first: dict[str, object], second: dict[str, object], together: bool
) -> None:
    coalescer = Coalescer(line.carry_out, lambda: 100, LONG)
    behind_one(line, threads, coalescer, "")
    futures = [threads.submit(coalescer.submit, "a", **first)]  # type: ignore[arg-type]
    collected(coalescer, 1)
    futures.append(threads.submit(coalescer.submit, "b", **second))  # type: ignore[arg-type]
    if not together:
        line.under_way(2)  # the first is as full as it will get, so it leaves
    else:
        collected(coalescer, 2)
    line.release()
    assert [future.result(PATIENCE) for future in futures] == ["a!", "b!"]
    assert line.requests == ([["0"], ["a", "b"]] if together else [["0"], ["a"], ["b"]])


def test_what_is_too_large_for_any_company_goes_alone(line: Line) -> None:
    assert Coalescer(line.carry_out, lambda: 100, LONG).submit("a", size=module.MAX_REQUEST_BYTES + 1) == "a!"


def test_an_error_among_the_answers_is_raised_to_its_own_caller(line: Line, threads: ThreadPoolExecutor) -> None:
    line.answer = lambda items: [Stale(item) if item == "b" else item for item in items]
    futures = behind_one(line, threads, Coalescer(line.carry_out, lambda: 100, LONG), "abc")
    line.release()
    assert [_outcome(future) for future in futures] == ["0", "a", "Stale: b", "c"]


def test_a_request_that_fails_fails_for_its_own_callers(line: Line, threads: ThreadPoolExecutor) -> None:
    def answer(items: Sequence[str]) -> Sequence[str]:
        if "a" in items:
            raise Unavailable("down")
        return items

    line.answer = answer
    coalescer = Coalescer(line.carry_out, lambda: 100, LONG)
    futures = behind_one(line, threads, coalescer, "abc")
    line.release()
    assert [_outcome(future) for future in futures] == ["0", *["Unavailable: down"] * 3]
    assert len({id(future.exception()) for future in futures[1:]}) == 3, "a traceback is one thread's"
    assert coalescer.submit("d") == "d"


def test_when_too_many_requests_are_under_way_the_next_waits_and_grows(line: Line, threads: ThreadPoolExecutor) -> None:
    coalescer = Coalescer(line.carry_out, lambda: 100, 0)
    line.hold()
    for number in range(module.MAX_UNDER_WAY):
        threads.submit(coalescer.submit, "0")
        line.under_way(number + 1)
    futures = [threads.submit(coalescer.submit, item) for item in "ab"]
    collected(coalescer, 2)
    line.release()
    assert [future.result(PATIENCE) for future in futures] == ["a!", "b!"]
    assert sorted(line.requests[-1]) == ["a", "b"]


def test_who_waits_too_long_to_get_through_is_told_and_nothing_is_done(line: Line, threads: ThreadPoolExecutor) -> None:
    coalescer = Coalescer(line.carry_out, lambda: 100, 0, queue_seconds=0.01)
    line.hold()
    for number in range(module.MAX_UNDER_WAY):
        threads.submit(coalescer.submit, "0")
        line.under_way(number + 1)
    with pytest.raises(Unavailable, match="8 batches are under way"):
        coalescer.submit("a")
    line.release()
    assert wait_until(lambda: coalescer._under_way == 0, PATIENCE, pause=0.001)
    assert coalescer.submit("b") == "b!"
    assert ["a"] not in line.requests


def test_a_leader_that_dies_takes_nobody_along(line: Line, threads: ThreadPoolExecutor) -> None:
    def die(items: Sequence[str]) -> Sequence[str]:
        raise SystemExit

    coalescer = Coalescer(line.carry_out, lambda: 100, LONG)
    leader, led, *_ = behind_one(line, threads, coalescer, "ab")[1:]
    line.answer = die
    line.release()
    assert isinstance(leader.exception(PATIENCE), SystemExit)
    assert _outcome(led) == "Unavailable: The request was broken off."
    line.answer = list
    assert coalescer.submit("c") == "c"


def test_who_gets_no_answer_stops_waiting(
    line: Line, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MARGIN_SECONDS", 0.01)
    futures = behind_one(line, threads, Coalescer(line.carry_out, lambda: 100, LONG), "a")
    coalescer = Coalescer(line.carry_out, lambda: 100, LONG, queue_seconds=0, work_seconds=0)
    leader = threads.submit(coalescer.submit, "leads")
    line.under_way(2)
    threads.submit(coalescer.submit, "waits too")
    collected(coalescer, 1)
    with pytest.raises(Unavailable, match="No answer"):
        coalescer.submit("b")
    line.release()
    assert [future.result(PATIENCE) for future in (*futures, leader)] == ["0!", "a!", "leads!"]


@pytest.mark.parametrize("seed", range(5))
def test_each_of_many_threads_gets_exactly_its_own_answer(threads: ThreadPoolExecutor, seed: int) -> None:
    """Whatever the requests come to: all of them, some of their items, or none succeed."""
    chance, carried = random.Random(seed), list[str]()

    def is_stale(item: str) -> bool:
        return int(item.strip("<>")) % 3 == 0

    def carry_out(items: Sequence[str]) -> Sequence[str | FirepostError]:
        carried.extend(items)
        if chance.random() < 0.2:
            raise Unavailable(" ".join(items))
        return [Stale(item) if is_stale(item) else item for item in items]

    coalescer = Coalescer(carry_out, lambda: 7, 0.001)
    items = [f"<{number}>" for number in range(2000)]
    for item, outcome in zip(items, threads.map(lambda i: _outcome_of(coalescer, i), items), strict=True):
        expected = f"Stale: {item}" if is_stale(item) else item
        assert outcome == expected or (outcome.startswith("Unavailable") and item in outcome)
    assert sorted(carried) == sorted(items), "each is carried out once"


class CountingDatabase(MemoryDatabase):
    """Remembers the requests; one of them may be held, so that others collect behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, ...]] = []
        self.refused: set[str] = set()
        self.broken = False
        self.size = 1
        self.held = threading.Event()
        self.held.set()

    def get_many(self, paths: Sequence[str]) -> list[Snapshot | None]:
        self._note("read", *paths)
        return super().get_many(paths)

    def get(self, path: str) -> Snapshot | None:
        if path in self.refused:
            raise Unwritable("refused")
        return super().get(path)

    def prepare_update(self, path: str, changes: Changes, version: Version) -> PreparedWrite:
        return replace(super().prepare_update(path, changes, version), size=self.size)

    def write(self, write: PreparedWrite) -> Version:
        self._note("write", write.path)
        return self._write(write)

    def write_many(self, writes: Sequence[PreparedWrite]) -> list[Version | FirepostError]:
        self._note("write", *(write.path for write in writes))
        if any(write.path in self.refused for write in writes):
            raise Unwritable("one of them")
        return [self._attempt(write) for write in writes]

    def _write(self, write: PreparedWrite) -> Version:
        if write.path in self.refused:
            raise Unwritable("refused")
        return super().write(write)

    def _attempt(self, write: PreparedWrite) -> Version | FirepostError:
        try:
            return self._write(write)
        except FirepostError as error:
            return error

    def _note(self, *request: str) -> None:
        self.requests.append(request)
        assert self.held.wait(PATIENCE)
        if self.broken:
            raise Unavailable("down")


@pytest.fixture
def database() -> Iterator[CountingDatabase]:
    database = CountingDatabase()
    for name in "0abc":
        database.put(f"mail/{name}", {"n": name})
    yield database
    database.held.set()


def updates(database: CountingDatabase, threads: ThreadPoolExecutor, names: str, **versions: Version) -> list[str]:
    """The outcomes of updates that go together."""
    batched = BatchingDatabase(database, 100, LONG)
    database.held.clear()

    def update(name: str) -> Version:
        path = f"mail/{name}"
        return batched.update(path, {"seen": True}, versions.get(name) or database.documents[path].version)

    futures = [threads.submit(update, "0")]
    assert wait_until(lambda: len(database.requests) == 1, PATIENCE, pause=0.001)
    futures += [threads.submit(update, name) for name in names]
    collected(batched._writes, len(names))  # type: ignore[arg-type]
    database.held.set()
    return [_outcome(future) for future in futures[1:]]


def test_updates_go_together_and_a_stale_one_is_told_alone(
    database: CountingDatabase, threads: ThreadPoolExecutor
) -> None:
    outcomes = updates(database, threads, "abc", b=Version(seconds=1))
    assert outcomes[1] == "Stale: changed"
    assert [name for name in "abc" if "seen" in database.documents[f"mail/{name}"].fields] == ["a", "c"]
    assert [sorted(request) for request in database.requests] == [
        ["mail/0", "write"],
        ["mail/a", "mail/b", "mail/c", "write"],
    ]


@pytest.mark.parametrize(
    ("name", "size"),
    [pytest.param("a", 1, id="same document"), pytest.param("b", module.MAX_REQUEST_BYTES, id="too much together")],
)
def test_writes_that_must_not_go_together_do_not(
    database: CountingDatabase, threads: ThreadPoolExecutor, name: str, size: int
) -> None:
    batched = BatchingDatabase(database, 100, LONG)
    database.held.clear()
    futures = [threads.submit(batched.create, "mail/first", {})]
    assert wait_until(lambda: len(database.requests) == 1, PATIENCE, pause=0.001)
    version = database.documents["mail/a"].version
    futures.append(threads.submit(batched.update, "mail/a", {"n": 1}, version))
    collected(batched._writes, 1)  # type: ignore[arg-type]
    database.size = size
    futures.append(threads.submit(batched.update, f"mail/{name}", {"n": 2}, version))
    assert wait_until(lambda: len(database.requests) == 2, PATIENCE, pause=0.001)
    database.held.set()
    for future in futures:
        _outcome(future)
    assert database.requests == [("write", "mail/first"), ("write", "mail/a"), ("write", f"mail/{name}")]


def test_a_request_that_is_refused_is_taken_apart_so_that_only_the_culprit_fails(
    database: CountingDatabase, threads: ThreadPoolExecutor
) -> None:
    database.refused = {"mail/b"}
    assert updates(database, threads, "abc")[1] == "Unwritable: refused"
    assert [name for name in "abc" if "seen" in database.documents[f"mail/{name}"].fields] == ["a", "c"]


def test_a_read_that_is_refused_is_repeated_alone(database: CountingDatabase) -> None:
    database.refused = {"mail/b"}
    batched = BatchingDatabase(database, 100, 0)
    assert batched.get("mail/a") == database.documents["mail/a"]
    with pytest.raises(Unwritable, match="refused"):
        batched.get("mail/b")


def test_a_write_that_finds_no_company_is_a_plain_one(
    database: CountingDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(CountingDatabase, "write_many")
    batched = BatchingDatabase(database, 100, 0)
    version = batched.create("mail/new", {"n": "new"})
    assert batched.update("mail/new", {"seen": True}, version) == database.documents["mail/new"].version
    with pytest.raises(Stale):
        batched.create("mail/new", {})


def test_two_callers_may_read_the_same_document(database: CountingDatabase, threads: ThreadPoolExecutor) -> None:
    batched = BatchingDatabase(database, 100, LONG)
    database.held.clear()
    futures = [threads.submit(batched.get, "mail/0")]
    assert wait_until(lambda: len(database.requests) == 1, PATIENCE, pause=0.001)
    futures += [threads.submit(batched.get, path) for path in ("mail/a", "mail/a", "mail/none")]
    collected(batched._reads, 3)  # type: ignore[arg-type]
    database.held.set()
    assert [future.result(PATIENCE) for future in futures[1:]] == [*[database.documents["mail/a"]] * 2, None]
    assert len(database.requests) == 2


def test_an_unreachable_firestore_is_unavailable_to_all(
    database: CountingDatabase, threads: ThreadPoolExecutor
) -> None:
    database.broken = True
    assert updates(database, threads, "abc") == ["Unavailable: down"] * 3


def test_a_batch_of_one_is_no_batching(database: CountingDatabase) -> None:
    assert batching(database, size=1, wait_ms=5) is database


def _outcome(future: Future[str] | Future[Version]) -> str:
    error = future.exception(PATIENCE)
    return f"{type(error).__name__}: {error}" if error else str(future.result())


def _outcome_of(coalescer: Coalescer[str, str], item: str) -> str:
    try:
        return coalescer.submit(item)
    except FirepostError as error:
        return f"{type(error).__name__}: {error}"
