"""Items of many threads are executed together, and each caller gets its own answer."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from local.waiting import wait_until
from shared import batcher as module
from shared.batcher import Batcher, Batching, in_requests
from shared.errors import FirepostError, Unavailable
from shared.firestore.database import Stale
from tests.assembly import collected
from tests.patience import patience

PATIENCE = patience(5)
#: Longer than any test: a caller that waits this long has been forgotten.
LONG = 60.0


class Line:
    """Executes items, one request at a time if held, and records the requests."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.answer: Callable[[Sequence[str]], Sequence[str | FirepostError]] = lambda items: [f"{i}!" for i in items]
        self._free = threading.Event()
        self._free.set()

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def execute(self, items: Sequence[str]) -> Sequence[str | FirepostError]:
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


def behind_one(line: Line, threads: ThreadPoolExecutor, batcher: Batcher[str, str], items: str) -> list[Future[str]]:
    """One request in flight, `0`, and the items submitted one after the other behind it."""
    line.hold()
    futures = [threads.submit(batcher.submit, "0")]
    line.under_way(1)
    for number, item in enumerate(items, 1):
        futures.append(threads.submit(batcher.submit, item))
        collected(batcher, number)
    return futures


def test_a_single_item_is_executed_at_once(line: Line) -> None:
    batcher = Batcher(line.execute, Batching(100, LONG))
    assert [batcher.submit(item) for item in "ab"] == ["a!", "b!"]
    assert line.requests == [["a"], ["b"]]


def test_items_that_arrive_during_a_batch_form_the_next_one(line: Line, threads: ThreadPoolExecutor) -> None:
    futures = behind_one(line, threads, Batcher(line.execute, Batching(100, LONG)), "abcd")
    line.release()
    assert [future.result(PATIENCE) for future in futures] == ["0!", "a!", "b!", "c!", "d!"]
    assert line.requests == [["0"], ["a", "b", "c", "d"]]


def test_no_item_waits_longer_than_the_limit(line: Line, threads: ThreadPoolExecutor) -> None:
    batcher = Batcher(line.execute, Batching(100, 0.01))
    line.hold()
    threads.submit(batcher.submit, "0")
    line.under_way(1)
    threads.submit(batcher.submit, "a")
    line.under_way(2)
    line.release()


def test_a_full_request_leaves_and_the_next_one_begins(line: Line, threads: ThreadPoolExecutor) -> None:
    batcher = Batcher(line.execute, Batching(3, LONG))
    line.hold()
    futures = [threads.submit(batcher.submit, item) for item in "0"]
    line.under_way(1)
    futures += [threads.submit(batcher.submit, item) for item in "abcdef"]
    line.under_way(3)
    line.release()
    assert {future.result(PATIENCE) for future in futures} == {f"{item}!" for item in "0abcdef"}
    assert [len(request) for request in line.requests] == [1, 3, 3]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        pytest.param("k", "k", False, id="same key"),
        pytest.param("k", "other", True, id="another key"),
        pytest.param(None, None, True, id="no key"),
    ],
)
def test_two_items_with_the_same_key_go_one_after_the_other(
    line: Line, threads: ThreadPoolExecutor, first: str | None, second: str | None, together: bool
) -> None:
    batcher = Batcher(line.execute, Batching(100, LONG))
    behind_one(line, threads, batcher, "")
    futures = [threads.submit(batcher.submit, "a", first)]
    collected(batcher, 1)
    futures.append(threads.submit(batcher.submit, "b", second))
    if not together:
        line.under_way(2)  # the first batch is full, so it leaves
    else:
        collected(batcher, 2)
    line.release()
    assert [future.result(PATIENCE) for future in futures] == ["a!", "b!"]
    assert line.requests == ([["0"], ["a", "b"]] if together else [["0"], ["a"], ["b"]])


def test_a_batch_that_follows_a_larger_one_waits_a_moment_for_others(
    line: Line, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = Batcher(line.execute, Batching(2, LONG))
    futures = behind_one(line, threads, batcher, "")
    futures += [threads.submit(batcher.submit, item) for item in "ab"]
    line.under_way(2)
    line.release()
    assert [future.result(PATIENCE) for future in futures] == ["0!", "a!", "b!"]
    monkeypatch.setattr(module, "_LINGER_SECONDS", LONG)
    futures = [threads.submit(batcher.submit, "c")]
    collected(batcher, 1)
    futures.append(threads.submit(batcher.submit, "d"))
    assert [future.result(PATIENCE) for future in futures] == ["c!", "d!"]
    assert line.requests[2:] == [["c", "d"]]


def test_a_batch_of_one_does_not_wait(line: Line, threads: ThreadPoolExecutor) -> None:
    batcher = Batcher(line.execute, Batching(1, LONG))
    line.hold()
    futures = [threads.submit(batcher.submit, item) for item in "ab"]
    line.under_way(2)
    line.release()
    assert [future.result(PATIENCE) for future in futures] == ["a!", "b!"]


@pytest.mark.parametrize(
    ("sizes", "requests"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([module.MAX_REQUEST_BYTES - 1, 1], [2], id="just-not-too-many-bytes"),
        pytest.param([module.MAX_REQUEST_BYTES, 1, 1], [1, 2], id="too-many-bytes"),
        pytest.param([1, module.MAX_REQUEST_BYTES + 1, 1], [1, 1, 1], id="one-too-large-to-share"),
        pytest.param([1] * 5, [5], id="just-not-too-many-items"),
        pytest.param([1] * 11, [5, 5, 1], id="too-many-items"),
    ],
)
def test_items_share_as_few_requests_as_possible(sizes: list[int], requests: list[int]) -> None:
    assert [len(request) for request in in_requests(sizes, lambda size: size, most=5)] == requests


def test_an_error_among_the_answers_is_raised_to_its_own_caller(line: Line, threads: ThreadPoolExecutor) -> None:
    line.answer = lambda items: [Stale(item) if item == "b" else item for item in items]
    futures = behind_one(line, threads, Batcher(line.execute, Batching(100, LONG)), "abc")
    line.release()
    assert [_outcome(future) for future in futures] == ["0", "a", "Stale: b", "c"]


def test_a_request_that_fails_fails_for_its_own_callers(line: Line, threads: ThreadPoolExecutor) -> None:
    def answer(items: Sequence[str]) -> Sequence[str]:
        if "a" in items:
            raise Unavailable("down")
        return items

    line.answer = answer
    batcher = Batcher(line.execute, Batching(100, LONG))
    futures = behind_one(line, threads, batcher, "abc")
    line.release()
    assert [_outcome(future) for future in futures] == ["0", *["Unavailable: down"] * 3]
    assert len({id(future.exception()) for future in futures[1:]}) == 3, "a traceback belongs to one thread"
    assert batcher.submit("d") == "d"


def test_a_leader_that_fails_does_not_block_the_others(line: Line, threads: ThreadPoolExecutor) -> None:
    def die(items: Sequence[str]) -> Sequence[str]:
        raise SystemExit

    batcher = Batcher(line.execute, Batching(100, LONG))
    leader, led, *_ = behind_one(line, threads, batcher, "ab")[1:]
    line.answer = die
    line.release()
    assert isinstance(leader.exception(PATIENCE), SystemExit)
    assert _outcome(led) == "Unavailable: The request was interrupted."
    line.answer = list
    assert batcher.submit("c") == "c"


@pytest.mark.parametrize("seed", range(5))
def test_each_of_many_threads_gets_exactly_its_own_answer(threads: ThreadPoolExecutor, seed: int) -> None:
    """Whether all requests, some of their items, or none succeed."""
    chance, carried = random.Random(seed), list[str]()

    def is_stale(item: str) -> bool:
        return int(item.strip("<>")) % 3 == 0

    def execute(items: Sequence[str]) -> Sequence[str | FirepostError]:
        carried.extend(items)
        if chance.random() < 0.2:
            raise Unavailable(" ".join(items))
        return [Stale(item) if is_stale(item) else item for item in items]

    batcher = Batcher(execute, Batching(7, 0.001))
    items = [f"<{number}>" for number in range(2000)]
    for item, outcome in zip(items, threads.map(lambda i: _outcome_of(batcher, i), items), strict=True):
        expected = f"Stale: {item}" if is_stale(item) else item
        assert outcome == expected or (outcome.startswith("Unavailable") and item in outcome)
    assert sorted(carried) == sorted(items), "each is executed once"


def _outcome(future: Future[str]) -> str:
    error = future.exception(PATIENCE)
    return f"{type(error).__name__}: {error}" if error else str(future.result())


def _outcome_of(batcher: Batcher[str, str], item: str) -> str:
    try:
        return batcher.submit(item)
    except FirepostError as error:
        return f"{type(error).__name__}: {error}"
