"""What decisions about concurrent events come to, when they come together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest

from dispatcher.effects import Effects, Order, SharedEffects
from local.waiting import wait_until
from shared.bulk_store import BulkStore
from shared.database import PreparedWrite, Unwritable, Version
from shared.errors import FirepostError, Unavailable
from shared.policy import Policy
from shared.store import MailStore
from tests.fakes import MemoryDatabase, MemoryPublisher

PATIENCE = 10
POLICY = Policy(timedelta(seconds=60))


class Topic(MemoryPublisher):
    """Remembers its requests. `refuses` what it is told to; `on_publish` runs before each."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[int] = []
        self.refuses: set[bytes] = set()
        self.on_publish: Callable[[], object] = lambda: None

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        self.on_publish()
        super().publish(data, attributes)

    def publish_all(self, messages: Sequence[tuple[bytes, Mapping[str, str]]]) -> Sequence[str | Unavailable]:
        self.requests.append(len(messages))
        return [self._outcome(*message) for message in messages]

    def _outcome(self, data: bytes, attributes: Mapping[str, str]) -> str | Unavailable:
        if data in self.refuses:
            return Unavailable("not taken")
        super().publish(data, attributes)
        return "1"


class Database(MemoryDatabase):
    """Has an answer of its own for the writes to some documents."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, FirepostError] = {}

    def write_many(self, writes: Sequence[PreparedWrite]) -> list[Version | FirepostError]:
        return [self.answers.get(write.path) or super(Database, self).write_many([write])[0] for write in writes]


class World:
    """Orders, and threads that have them carried out."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.topic, self.database = Topic(), Database()
        alone = Effects(self.topic, MailStore(self.database, POLICY, sleep=lambda seconds: None))
        store = BulkStore(self.database, POLICY, sleep=lambda seconds: None)
        self.effects = SharedEffects(alone, self.topic, store, most=100, at_once=8, wait_seconds=PATIENCE)
        self._threads = threads

    def order(self, name: str, publish: bool = True, write: bool = True) -> Order:
        version = self.database.put(f"mail/{name}", {"to": "a@b.c"})
        changes = {"delivery": {"state": "PENDING"}} if write else None
        return Order(f"mail/{name}", version, (name.encode(), {}) if publish else None, changes)

    def together(self, orders: Sequence[Order]) -> list[Future[bool | None]]:
        """These orders, all of which come while another one is being carried out."""
        is_under_way, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            is_under_way.set()
            go_on.wait(PATIENCE)

        self.topic.on_publish = wait
        first = self._threads.submit(self.effects.carry_out, self.order("first"))
        assert is_under_way.wait(PATIENCE)
        futures = [self._threads.submit(self.effects.carry_out, order) for order in orders]
        assert wait_until(lambda: self._waiting() == len(orders), PATIENCE, pause=0.001)
        go_on.set()
        assert first.result(PATIENCE) is True
        return futures

    def _waiting(self) -> int:
        batch = self.effects._together._open
        return len(batch.items) if batch else 0

    def published(self) -> list[str]:
        return sorted(data.decode() for data, _ in self.topic.published)

    def is_pending(self, name: str) -> bool:
        return "delivery" in self.database.documents[f"mail/{name}"].fields


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(32) as threads:
        yield World(threads)


def results(futures: Sequence[Future[bool | None]]) -> list[object]:
    return [str(error) if (error := future.exception(PATIENCE)) else future.result() for future in futures]


def test_one_request_publishes_and_one_writes(world: World) -> None:
    assert results(world.together([world.order(name) for name in "abc"])) == [True] * 3
    assert world.topic.requests == [3]
    assert world.published() == ["a", "b", "c", "first"]
    assert all(world.is_pending(name) for name in "abc")


def test_some_have_nothing_to_publish_and_some_nothing_to_write(world: World) -> None:
    orders = [world.order("a", publish=False), world.order("b", write=False), world.order("c")]
    assert results(world.together(orders)) == [True, None, True]
    assert world.published() == ["b", "c", "first"]


def test_where_nothing_is_to_be_published_pubsub_is_not_asked(world: World) -> None:
    orders = [world.order(name, publish=False) for name in "abc"]
    assert results(world.together(orders)) == [True] * 3
    assert world.topic.requests == []


def test_what_could_not_be_published_is_not_marked_and_its_event_comes_again(world: World) -> None:
    world.topic.refuses = {b"b"}
    assert results(world.together([world.order(name) for name in "abc"])) == [True, "not taken", True]
    assert not world.is_pending("b")


def test_a_document_that_has_changed_since_is_left_alone(world: World) -> None:
    orders = [world.order(name) for name in "abc"]
    world.database.edit("mail/b", {"delivery.state": "PROCESSING"})
    assert results(world.together(orders)) == [True, False, True]


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        pytest.param(Unwritable("too large"), "too large", id="never"),
        pytest.param(Unavailable("contention"), True, id="not-this-time"),
    ],
)
def test_a_write_that_is_refused_for_itself_hinders_no_other(
    world: World, answer: FirepostError, result: object
) -> None:
    world.database.answers = {"mail/b": answer}
    assert results(world.together([world.order(name) for name in "abc"])) == [True, result, True]


def test_an_order_without_company_is_carried_out_alone(world: World) -> None:
    assert world.effects.carry_out(world.order("a")) is True
    assert (world.topic.requests, world.published()) == ([], ["a"])
    assert world.is_pending("a")
