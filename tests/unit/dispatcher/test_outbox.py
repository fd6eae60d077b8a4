"""The outbox: execution of concurrent effects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from dispatcher.outbox import Effect, Executed
from shared.errors import FirepostError, Unavailable
from shared.firestore.database import Unwritable, Version, Write
from shared.pubsub.publisher import Message, Unpublishable
from tests.assembly import PATIENCE, DispatcherParts, collected
from tests.fakes import MemoryDatabase, MemoryPublisher


class Topic(MemoryPublisher):
    """Records its requests; `on_publish` runs before each.

    It does not take the messages in `refuses`; those in `refuses_for_good` never.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[int] = []
        self.refuses: set[bytes] = set()
        self.refuses_for_good: set[bytes] = set()
        self.on_publish: Callable[[], object] = lambda: None

    def publish_all(self, messages: Sequence[Message]) -> Sequence[str | Unavailable]:
        self.on_publish()
        self.requests.append(len(messages))
        return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> str | Unavailable:
        data, _ = message
        if data in self.refuses_for_good:
            return Unpublishable("never taken")
        return Unavailable("not taken") if data in self.refuses else super().publish_all([message])[0]


class Database(MemoryDatabase):
    """Returns prepared results for writes to some documents."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, FirepostError] = {}

    def write(self, writes: Sequence[Write]) -> list[Version | FirepostError]:
        return [
            self.answers.pop(write.path) if write.path in self.answers else super(Database, self).write([write])[0]
            for write in writes
        ]


class World:
    """Effects, and threads that execute them."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.topic, self.database = Topic(), Database()
        self.outbox = DispatcherParts(database=self.database, topic=self.topic).outbox()
        self._threads = threads

    def effect(self, name: str, publish: bool = True, write: bool = True) -> Effect:
        version = self.database.put(f"mail/{name}", {"to": "a@b.c"})
        changes = {"delivery": {"state": "PENDING"}} if write else None
        if_refused = {"delivery": {"state": "ERROR"}}
        return Effect(f"mail/{name}", version, (name.encode(), {}) if publish else None, changes, if_refused)

    def together(self, effects: Sequence[Effect]) -> list[Future[Executed]]:
        """Execute these effects, all of which arrive while another one is in progress."""
        is_under_way, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            is_under_way.set()
            go_on.wait(PATIENCE)

        self.topic.on_publish = wait
        first = self._threads.submit(self.outbox.execute, self.effect("first"))
        assert is_under_way.wait(PATIENCE)
        futures = [self._threads.submit(self.outbox.execute, effect) for effect in effects]
        collected(self.outbox._batcher, len(effects))
        self.topic.on_publish = lambda: None
        go_on.set()
        assert first.result(PATIENCE).written is True
        self.topic.requests.remove(1)
        return futures

    def published(self) -> list[str]:
        return sorted(data.decode() for data, _ in self.topic.published)

    def is_pending(self, name: str) -> bool:
        return "delivery" in self.database.documents[f"mail/{name}"].fields


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(32) as threads:
        yield World(threads)


def results(futures: Sequence[Future[Executed]]) -> list[object]:
    return [str(error) if (error := future.exception(PATIENCE)) else future.result().written for future in futures]


def test_one_request_publishes_and_one_writes(world: World) -> None:
    assert results(world.together([world.effect(name) for name in "abc"])) == [True] * 3
    assert world.topic.requests == [3]
    assert world.published() == ["a", "b", "c", "first"]
    assert all(world.is_pending(name) for name in "abc")


def test_effects_without_a_message_or_a_write_share_batches(world: World) -> None:
    effects = [world.effect("a", publish=False), world.effect("b", write=False), world.effect("c")]
    assert results(world.together(effects)) == [True, None, True]
    assert world.published() == ["b", "c", "first"]


def test_pubsub_is_not_called_without_messages(world: World) -> None:
    effects = [world.effect(name, publish=False) for name in "abc"]
    assert results(world.together(effects)) == [True] * 3
    assert world.topic.requests == []


def test_an_unpublished_document_is_not_marked_and_its_event_is_delivered_again(world: World) -> None:
    world.topic.refuses = {b"b"}
    assert results(world.together([world.effect(name) for name in "abc"])) == [True, "not taken", True]
    assert not world.is_pending("b")


def test_a_document_whose_message_is_refused_for_good_says_so(world: World) -> None:
    world.topic.refuses_for_good = {b"b"}
    effects = [world.effect(name) for name in "abc"]
    assert results(world.together(effects)) == [True, "never taken", True]
    assert world.published() == ["a", "c", "first"]
    assert world.database.documents["mail/b"].fields["delivery"] == {"state": "ERROR"}


def test_a_document_that_changed_before_its_message_was_refused_is_left_alone(world: World) -> None:
    """A newer event exists, whose message may be taken."""
    world.topic.refuses_for_good = {b"a"}
    effect = world.effect("a")
    world.database.edit("mail/a", {"note": "x"})
    with pytest.raises(Unpublishable):
        world.outbox.execute(effect)
    assert not world.is_pending("a")


def test_a_refusal_that_cannot_be_written_now_is_repeated_with_its_event(world: World) -> None:
    world.topic.refuses_for_good = {b"a"}
    world.outbox = DispatcherParts(database=world.database, topic=world.topic, patience=0).outbox()
    effect = world.effect("a")
    world.database.answers = {"mail/a": Unavailable("Firestore is down")}
    with pytest.raises(Unavailable, match="Firestore is down"):
        world.outbox.execute(effect)


def test_a_document_that_has_changed_since_is_not_written(world: World) -> None:
    effects = [world.effect(name) for name in "abc"]
    world.database.edit("mail/b", {"delivery.state": "PROCESSING"})
    assert results(world.together(effects)) == [True, False, True]


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        pytest.param(Unwritable("too large"), "too large", id="never"),
        pytest.param(Unavailable("contention"), True, id="not-this-time"),
    ],
)
def test_a_refused_write_does_not_affect_others(world: World, answer: FirepostError, result: object) -> None:
    world.database.answers = {"mail/b": answer}
    assert results(world.together([world.effect(name) for name in "abc"])) == [True, result, True]


def test_a_single_effect_is_executed_at_once(world: World) -> None:
    assert world.outbox.execute(world.effect("a")).written is True
    assert (world.topic.requests, world.published()) == ([1], ["a"])
    assert world.is_pending("a")


@pytest.mark.parametrize(("publish", "write"), [(True, False), (False, True)])
def test_only_a_message_and_a_mark_have_a_time_between_them(world: World, publish: bool, write: bool) -> None:
    both = world.outbox.execute(world.effect("a")).marked_after
    assert both is not None
    assert both > 0
    assert world.outbox.execute(world.effect("b", publish, write)).marked_after is None


def test_a_broken_topic_does_not_affect_writes_without_a_message(world: World) -> None:
    effects = [world.effect("a"), world.effect("b", publish=False)]
    world.topic.refuses = {b"a"}
    assert results(world.together(effects)) == ["not taken", True]
