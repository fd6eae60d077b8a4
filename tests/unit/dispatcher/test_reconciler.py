"""The reconciler's runs, over documents in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import count
from math import ceil
from typing import Any, NoReturn

import pytest

import dispatcher.reconciler as reconciler_module
from dispatcher.catching_up import BULK
from dispatcher.reconciler import PAGE, Reconciler, position_path
from shared.delivery.lanes import Lanes
from shared.delivery.pause import Pause
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.errors import FirepostError, Unavailable
from shared.firestore.database import Unwritable, Version, Write
from shared.firestore.values import encode
from tests.assembly import COLLECTION, LEASE, DispatcherParts
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher

MINUTE = timedelta(minutes=1)
POSITION = position_path(COLLECTION)


class World:
    def __init__(self, policy: Policy, patience: float = 5.0) -> None:
        # The database dates its writes by its ticks, long before the clock's time.
        self.clock, self.database, self.topic = Clock(), MemoryDatabase(), MemoryPublisher()
        self._parts = DispatcherParts(policy, self.database, self.topic, clock=self.clock, patience=patience)

    def run(self, seconds: float = 40.0, page: int = PAGE) -> dict[str, int | bool]:
        return self.reconciler(seconds, page).run()

    def reconciler(
        self, seconds: float = 40.0, page: int = PAGE, stopping: threading.Event | None = None
    ) -> Reconciler:
        return self._parts.reconciler(seconds, page, stopping)

    def pause(self, pause: Callable[[], Pause]) -> None:
        self._parts.pause = pause

    def monotonic(self, monotonic: Callable[[], float]) -> None:
        self._parts.monotonic = monotonic

    def add(self, path: str, **delivery: Any) -> None:
        self.database.put(path, {"to": "a@b.c", "delivery": {"attempts": 1, **delivery}})

    def schedule(self, number: int, due: datetime) -> None:
        for each in range(number):
            delivery = {"attempts": 1, "state": "PENDING", "nextAttemptTime": due}
            self.database.put(f"mail/{each:05}", {"to": "a@b.c", "sendAt": due, "delivery": delivery})

    def delivery(self, path: str) -> Any:
        return self.database.documents[path].fields["delivery"]

    def published(self) -> list[tuple[str, str]]:
        return [(attributes["document"], attributes["reason"]) for _, attributes in self.topic.published]


@pytest.fixture
def world() -> World:
    return World(Policy(LEASE, stranded_after=timedelta(days=20_000)))


class Stay(threading.Event):
    """A run's stay, in which time passes at once; what `meanwhile` says happens in each second."""

    def __init__(self, world: World, meanwhile: Callable[[float], None] = lambda second: None) -> None:
        super().__init__()
        self.began, self.seconds, self.world, self.meanwhile = world.clock.now, 0.0, world, meanwhile
        world.monotonic(lambda: self.seconds)

    def run(self, seconds: float) -> dict[str, int | bool]:
        return self.world.reconciler(stopping=self).run(seconds)

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout
        self.seconds += timeout
        self.world.clock.now = self.began + timedelta(seconds=self.seconds)
        self.meanwhile(self.seconds)
        return self.is_set()


def later(world: World, seconds: float) -> datetime:
    return world.clock.now + timedelta(seconds=seconds)


def test_a_run_that_stays_publishes_what_becomes_due_in_its_time(world: World) -> None:
    stay = Stay(world)
    for name, seconds in {"now": 0, "soon": 0.5, "same": 1, "later": 30, "too-late": 59}.items():
        world.add(f"mail/{name}", state="PENDING", nextAttemptTime=later(world, seconds))
    assert stay.run(58) == {"examined": 5 + 3, "due": 4, "complete": True}
    assert [path for path, _ in world.published()] == ["mail/now", "mail/soon", "mail/same", "mail/later"]
    assert stay.seconds == 30, "it ends when nothing is due in its time"


def test_it_finds_what_is_scheduled_while_it_stays(world: World) -> None:
    def schedule(second: float) -> None:
        if second == 10:
            world.add("mail/new", state="PENDING", nextAttemptTime=later(world, 2))

    world.add("mail/a", state="PENDING", nextAttemptTime=later(world, 10))
    assert Stay(world, schedule).run(58)["due"] == 2


def test_nothing_is_read_while_nothing_is_due(world: World) -> None:
    world.add("mail/a", state="PENDING", nextAttemptTime=later(world, 59))
    world.run()
    read = world.database.found
    assert "due" not in Stay(world).run(58)
    assert world.database.found - read == 1, "the walk"


def test_a_run_does_not_stay_while_all_mail_is_paused(world: World) -> None:
    for second in range(1, 58):
        world.add(f"mail/{second}", state="PENDING", nextAttemptTime=later(world, second))
    stay = Stay(world)
    world.pause(lambda: Pause(since=world.clock.now) if stay.seconds >= 10 else Pause())
    assert stay.run(58)["due"] == 10
    assert stay.seconds == 10


def test_a_run_that_stays_ends_when_the_process_is_to_end(world: World) -> None:
    stay = Stay(world, lambda second: stay.set())
    for second in range(1, 58):
        world.add(f"mail/{second}", state="PENDING", nextAttemptTime=later(world, second))
    assert "due" not in stay.run(58)


def test_what_fails_while_it_stays_is_left_to_the_next_run(world: World) -> None:
    def fail(second: float) -> None:
        world.topic.broken = True

    stay = Stay(world, fail)
    world.add("mail/a", state="PENDING", nextAttemptTime=later(world, 5))
    with pytest.raises(Unavailable):
        stay.run(58)
    world.topic.broken = False
    assert stay.run(0)["due"] == 1


def test_due_documents_are_published_once(world: World) -> None:
    world.add("mail/a", state="PENDING", nextAttemptTime=world.clock.now)
    assert world.run()["due"] == 1
    assert world.published() == [("mail/a", "due")]
    assert "nextAttemptTime" not in world.delivery("mail/a")
    assert "due" not in world.run()
    assert len(world.topic.published) == 1


@pytest.mark.parametrize(
    ("fields", "lane"), [({"lane": "bulk"}, "bulk"), ({"transport": "b"}, "bulk"), ({"lane": "x"}, None), ({}, None)]
)
@pytest.mark.parametrize("waits", ["due", "stranded"])
def test_a_message_that_is_published_again_is_in_the_documents_lane(
    waits: str, fields: dict[str, Any], lane: str | None
) -> None:
    parts = DispatcherParts(topic=(topic := MemoryPublisher()), lanes=Lanes.parse("bulk=transport:b"))
    times = {"nextAttemptTime": Clock().now} if waits == "due" else {}
    parts.database.put("mail/a", {"to": "a@b.c", **fields, "delivery": {"state": "PENDING", **times}})
    assert parts.reconciler().run()[waits] == 1
    assert [attributes.get("lane") for _, attributes in topic.published] == [lane]


@pytest.mark.parametrize(
    ("delivery", "reasons"),
    [
        pytest.param({"state": "PENDING", "nextAttemptTime": MINUTE}, [], id="due-later"),
        pytest.param({"state": "PENDING"}, [], id="still-queued"),
        pytest.param({"state": "PROCESSING", "leaseExpireTime": MINUTE}, [], id="held"),
        pytest.param(
            {"state": "PROCESSING", "leaseExpireTime": MINUTE, "nextAttemptTime": -MINUTE}, ["processing"], id="due"
        ),
    ],
)
def test_what_is_left_alone_is_logged_only_if_it_is_due(
    world: World, caplog: pytest.LogCaptureFixture, delivery: dict[str, Any], reasons: list[str]
) -> None:
    caplog.set_level(logging.INFO)
    times = {name: world.clock.now + each for name, each in delivery.items() if isinstance(each, timedelta)}
    world.add("mail/a", **delivery | times)
    world.run()
    fields = [vars(record)["fields"] for record in caplog.records]
    assert sorted({each["reason"] for each in fields if each["event"] == "reconciliation"}) == reasons


def test_documents_due_later_are_not_published(world: World) -> None:
    world.add("mail/a", state="RETRY", nextAttemptTime=world.clock.now + MINUTE)
    assert world.run() == {"examined": 1, "complete": True}


def test_deleting_a_scheduled_document_cancels_it(world: World) -> None:
    world.add("mail/a", state="PENDING", nextAttemptTime=world.clock.now + MINUTE)
    world.database.put("mail/a", None)
    world.clock.advance(MINUTE)
    world.run()
    assert not world.topic.published


def test_setting_a_final_state_cancels_a_scheduled_document(world: World) -> None:
    world.add("mail/a", state="ERROR", nextAttemptTime=world.clock.now)
    assert world.run() == {"examined": 1, "unscheduled": 1, "complete": True}
    assert not world.topic.published
    assert world.run() == {"complete": True}


def test_a_document_that_was_put_off_while_queued_waits_without_being_read(world: World) -> None:
    later = world.clock.now + MINUTE
    world.database.put(
        "mail/a", {"to": "a@b.c", "sendAt": later, "delivery": {"state": "PENDING", "nextAttemptTime": world.clock.now}}
    )
    assert world.run()["scheduled"] == 1
    assert world.delivery("mail/a")["nextAttemptTime"] == later
    world.clock.advance(MINUTE)
    assert world.run()["due"] == 1


def test_stranded_documents_are_published_again() -> None:
    world = World(Policy(LEASE, stranded_after=MINUTE))
    world.add("mail/a", state="PENDING")
    world.add("mail/b", state="RETRY")
    assert world.run()["stranded"] == 2
    assert sorted(world.published()) == [("mail/a", "stranded"), ("mail/b", "stranded")]


def test_an_expired_lease_is_concluded(world: World) -> None:
    world.add("mail/a", state="PROCESSING", leaseExpireTime=world.clock.now)
    assert world.run()["lease-expired"] == 1
    assert world.database.documents["mail/a"].fields["delivery"]["errorCode"] == "lease-expired"


def test_an_expired_lease_is_published_if_the_policy_is_to_send_again() -> None:
    world = World(Policy(LEASE, max_attempts=2, lease_expiry=LeaseExpiryPolicy.RETRY))
    world.add("mail/a", state="PROCESSING", leaseExpireTime=world.clock.now)
    world.run()
    assert world.published() == [("mail/a", "lease-expired")]


def test_an_active_lease_is_respected(world: World) -> None:
    world.add("mail/a", state="PROCESSING", leaseExpireTime=world.clock.now + MINUTE)
    assert world.run() == {"examined": 1, "complete": True}


@pytest.mark.slow
def test_all_that_is_due_is_published_at_once_in_as_few_requests_as_possible(world: World) -> None:
    requests: list[int] = []
    publish_all = world.topic.publish_all
    world.topic.publish_all = lambda messages: requests.append(len(messages)) or publish_all(messages)  # type: ignore[func-returns-value, method-assign]
    world.schedule(3 * BULK, world.clock.now)
    assert world.run() == {"examined": 3 * BULK, "due": 3 * BULK, "complete": True}
    assert len({path for path, _ in world.published()}) == len(world.published()) == 3 * BULK
    assert requests == [PAGE, BULK, BULK, BULK - PAGE]


class TestFairness:
    """A run reads a page of the queued documents, and the next run goes on."""

    @pytest.mark.slow
    @pytest.mark.parametrize("stranded", ["mail/", "mail/02500-", "mail/04999-"], ids=["first", "middle", "last"])
    def test_a_stranded_document_is_published_within_the_stated_number_of_runs(self, stranded: str) -> None:
        world = World(Policy(LEASE, stranded_after=MINUTE))
        world.schedule(5_000, world.clock.now + timedelta(days=30))
        stranded += "stranded"
        world.add(stranded, state="PENDING")
        for _ in range(1 + ceil(5_001 / PAGE)):
            world.run()
        assert set(world.published()) == {(stranded, "stranded")}

    @pytest.mark.parametrize("begin", [*"abcdefg", None, "", 5, "no/id", ["a"]])
    @pytest.mark.parametrize("page", [1, 2, 3, 6, 7])
    def test_wherever_the_last_run_stopped_all_are_examined_soon(self, begin: object, page: int) -> None:
        world = World(Policy(LEASE, stranded_after=MINUTE))
        world.database.put(POSITION, {"queued": begin})
        for name in "abcdef":
            world.add(f"mail/{name}", state="PENDING" if name < "d" else "RETRY")
        for _ in range(1 + ceil(6 / page)):
            world.run(page=page)
        assert {path for path, _ in world.published()} == {f"mail/{name}" for name in "abcdef"}

    def test_scheduled_documents_cost_nothing_but_a_page(self, world: World) -> None:
        world.schedule(5_000, world.clock.now + timedelta(days=30))
        world.add("mail/due", state="PENDING", nextAttemptTime=world.clock.now)
        for _ in range(3):
            before = world.database.found
            world.run()
            assert world.database.found - before <= 1 + PAGE

    def test_documents_in_processing_do_not_wait_for_queued_ones(self, world: World) -> None:
        world.schedule(5_000, world.clock.now + timedelta(days=30))
        world.add("mail/z", state="PROCESSING", leaseExpireTime=world.clock.now)
        assert world.run()["lease-expired"] == 1

    def test_documents_in_processing_do_not_wait_for_one_another_for_ever(self, world: World) -> None:
        for number in range(4):
            world.add(f"mail/{number}", state="PROCESSING", leaseExpireTime=world.clock.now + MINUTE)
        world.add("mail/z", state="PROCESSING", leaseExpireTime=world.clock.now)
        reasons = [world.run(page=2).get("lease-expired") for _ in range(1 + ceil(5 / 2))]
        assert 1 in reasons

    def test_a_document_that_always_fails_does_not_keep_the_run_from_others(self) -> None:
        world = World(Policy(LEASE, stranded_after=MINUTE), patience=0)
        _fail_writes_to(world.database, "mail/a")
        world.add("mail/a", state="PENDING", nextAttemptTime=world.clock.now - MINUTE)
        world.add("mail/b", state="PENDING", nextAttemptTime=world.clock.now)
        world.add("mail/c", state="PENDING")
        for _ in range(3):
            with pytest.raises(Unavailable):
                world.run(page=1)
        assert {"mail/b", "mail/c"} <= {path for path, _ in world.published()}

    def test_another_run_may_move_the_position_meanwhile(self) -> None:
        world = World(Policy(LEASE, stranded_after=MINUTE))
        for name in "abcd":
            world.add(f"mail/{name}", state="PENDING")
        world.database.meanwhile = lambda: world.run(page=1)
        world.run(page=1)
        assert world.database.documents[POSITION].fields == {"queued": "a"}
        world.run(page=3)
        assert {path for path, _ in world.published()} == {f"mail/{name}" for name in "abcd"}

    def test_a_position_that_can_not_be_read_fails_the_run(self, world: World) -> None:
        world.database.read = lambda paths: [Unavailable("busy") for _ in paths]  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            world.run()

    def test_a_position_that_can_not_be_kept_fails_the_run(self, world: World) -> None:
        _fail_writes_to(world.database, POSITION)
        world.add("mail/a", state="PENDING")
        with pytest.raises(Unavailable):
            world.run(page=1)

    def test_nothing_is_kept_where_a_page_holds_everything(self, world: World) -> None:
        world.add("mail/a", state="PENDING")
        world.run()
        assert POSITION not in world.database.documents


def test_a_document_that_can_not_be_written_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    _fail_writes_to(world.database, "mail/a", Unwritable("too large"))
    world.add("mail/a", state="PENDING", nextAttemptTime=world.clock.now)
    assert world.run()["due"] == 1
    assert "Firestore refuses to change the document" in caplog.text


def _fail_writes_to(database: MemoryDatabase, path: str, error: FirepostError = Unavailable("busy")) -> None:  # noqa: B008
    write = database.write

    def failing(writes: Sequence[Write]) -> list[Version | FirepostError]:
        return [error if each.path == path else write([each])[0] for each in writes]

    database.write = failing  # type: ignore[method-assign]


def test_other_collections_are_ignored(world: World) -> None:
    world.add("users/a", state="PENDING", nextAttemptTime=world.clock.now)
    assert world.run() == {"complete": True}


def test_a_run_that_exceeds_its_time_is_reported_and_the_next_one_goes_on(world: World) -> None:
    world.schedule(2 * BULK, world.clock.now)
    seconds = count()
    world.monotonic(lambda: float(next(seconds)))
    assert world.run(seconds=2) == {"examined": PAGE + BULK, "due": PAGE + BULK, "complete": False}
    assert world.run() == {"examined": PAGE + BULK - PAGE, "due": BULK - PAGE, "complete": True}


@pytest.mark.parametrize("interference", ["edited", "deleted", "claimed"])
def test_a_concurrently_changed_document_is_not_overwritten(world: World, interference: str) -> None:
    world.add("mail/a", state="PROCESSING", leaseExpireTime=world.clock.now)
    happens: dict[str, Callable[[], object]] = {
        "edited": lambda: world.database.edit("mail/a", {"delivery.state": "RETRY"}),
        "deleted": lambda: world.database.put("mail/a", None),
        "claimed": lambda: world.database.edit("mail/a", {"delivery.attempts": 2}),
    }
    world.database.meanwhile = happens[interference]
    world.run()
    document = world.database.documents.get("mail/a")
    assert document is None or document.fields["delivery"]["state"] != "ERROR"


def test_a_failed_publication_is_not_recorded(world: World) -> None:
    world.add("mail/a", state="PENDING", nextAttemptTime=world.clock.now)
    world.topic.broken = True
    with pytest.raises(Unavailable):
        world.run()
    world.topic.broken = False
    assert world.run()["due"] == 1


class TestUnwritable:
    """Firestore takes no change of the document, not even the note that it was published again."""

    def test_it_is_published_once_and_reported(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        world.add("mail/a", state="PENDING", nextAttemptTime=world.clock.now)
        world.database.most_bytes = 0
        reconciler = world.reconciler()
        for _ in range(5):
            reconciler.run()
            world.clock.advance(MINUTE)
        assert world.published() == [("mail/a", "due")]
        assert [
            (record.levelname, record.getMessage()) for record in caplog.records if record.levelname == "ERROR"
        ] == [("ERROR", "Firestore refuses to change the document")]

    def test_another_version_of_it_is_another_chance(self, world: World) -> None:
        world.add("mail/a", state="PENDING", nextAttemptTime=world.clock.now)
        world.database.most_bytes = 0
        reconciler = world.reconciler()
        reconciler.run()
        world.database.edit("mail/a", {"note": "x"})
        reconciler.run()
        assert len(world.published()) == 2

    def test_a_bounded_number_is_remembered(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reconciler_module, "_REMEMBERED", 2)
        for name in "abc":
            world.add(f"mail/{name}", state="PENDING", nextAttemptTime=world.clock.now)
        world.database.most_bytes = 0
        reconciler = world.reconciler()
        reconciler.run()
        assert len(reconciler._unwritable) == 2

    def test_an_expired_lease_is_concluded_by_its_state_alone(self, world: World) -> None:
        world.add("mail/a", state="PROCESSING", note="x" * 10)
        world.database.most_bytes = encode(world.database.documents["mail/a"].fields).ByteSize()
        assert world.run()["lease-expired"] == 1
        assert world.database.documents["mail/a"].fields["delivery"]["state"] == "ERROR"


def test_a_document_whose_message_pubsub_refuses_for_good_is_an_error(world: World) -> None:
    world.add("mail/a", state="PENDING", nextAttemptTime=world.clock.now)
    world.topic.refusing = True
    assert world.run()["due"] == 1
    delivery = world.database.documents["mail/a"].fields["delivery"]
    assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "dead-letter")
    assert "Pub/Sub refuses the message" in delivery["error"]
    assert world.run() == {"complete": True}


def test_a_walk_that_fails_does_not_hold_up_what_is_due(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add("mail/a", state="PENDING", nextAttemptTime=world.clock.now)

    def fail(*given: object) -> NoReturn:
        raise Unavailable("Firestore answered DEADLINE_EXCEEDED.")

    monkeypatch.setattr(world.database, "in_states", fail)
    with pytest.raises(Unavailable):
        world.run()
    assert world.published() == [("mail/a", "due")]
