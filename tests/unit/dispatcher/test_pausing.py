"""The dispatcher and its reconciler while mail is paused, and afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from dispatcher.app import create_app
from dispatcher.catching_up import BULK
from dispatcher.events import EVENT_TYPE
from shared.delivery.machine import next_look
from shared.delivery.model import DocumentState
from shared.delivery.pause import AFTERMATH, control_path
from shared.delivery.policy import Policy
from shared.errors import Unavailable
from shared.firestore.database import Found, Version, Write
from shared.firestore.values import encode_time
from shared.observability.events import Event
from tests.assembly import COLLECTION, LEASE, DispatcherParts
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher, applied
from tests.unit.dispatcher.test_events import body

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
CONTROL = control_path(COLLECTION)
MAIL = {"to": "a@b.c"}


class Database(MemoryDatabase):
    """Dates its writes by the clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def put(self, path: str, fields: dict[str, Any] | None) -> Any:
        self._ticks += 1
        version = super().put(path, fields)
        now = encode_time(self._clock())
        version.seconds, version.nanos = now.seconds, now.nanos + self._ticks * 1000 % 1_000_000
        return version


class World:
    def __init__(self) -> None:
        self.clock, self.topic = Clock(), MemoryPublisher()
        self.database = Database(self.clock)
        policy = Policy(LEASE, stranded_after=15 * MINUTE)
        self.parts = DispatcherParts(policy, self.database, self.topic, clock=self.clock)

    def control(self, **changes: Any) -> None:
        kept = self.database.documents[CONTROL].fields if CONTROL in self.database.documents else {}
        self.database.put(CONTROL, applied(kept, changes))

    def pause(self) -> None:
        self.control(pausedTime=self.clock.now)

    def resume(self, rate: float | None) -> None:
        now = self.clock.now
        self.database.put(CONTROL, {"resumed": {"time": now, "rate": rate, "granted": now, "gathered": False}})

    def hold(self, name: str, ago: timedelta, **fields: Any) -> None:
        """A mail as it was scheduled during a pause of all mail."""
        since = self.clock.now - ago
        delivery = {"state": "PENDING", "attempts": 0, "startTime": since, "nextAttemptTime": since}
        self.database.put(f"mail/{name}", {**MAIL, "delivery": delivery, **fields})

    def put_off(self, name: str, ago: timedelta, **fields: Any) -> None:
        """A mail as a sender has put it off because its transport is paused."""
        since = self.clock.now - ago
        mail = {**MAIL, "delivery": {"state": "PENDING", "attempts": 0, "startTime": since}, **fields}
        times = [next_look(DocumentState.of(mail), self.clock.now), *filter(None, [fields.get("expiresAt")])]
        self.database.put(f"mail/{name}", applied(mail, {"delivery.nextAttemptTime": min(times)}))

    def run(self, after: timedelta = timedelta(0)) -> list[str]:
        """The names of the mails that a run, so much later, publishes, in order."""
        self.clock.advance(after)
        self.topic.published.clear()
        self.parts.reconciler().run()
        return [attributes["document"].removeprefix("mail/") for _, attributes in self.topic.published]

    def scheduled(self, name: str) -> datetime | None:
        time: datetime | None = self.database.documents[f"mail/{name}"].fields["delivery"].get("nextAttemptTime")
        return time


@pytest.fixture
def world() -> World:
    return World()


def test_a_new_mail_is_scheduled_and_not_published(world: World) -> None:
    world.pause()
    world.database.put("mail/a", MAIL)
    world.database.documents["mail/a"].version.CopyFrom(Version(seconds=1_800_000_000))  # that of the event
    client = create_app(world.parts.handlers(), "mail", verifier=None).test_client()
    headers = {"ce-type": EVENT_TYPE, "Content-Type": "application/protobuf"}
    assert client.post("/", data=body(None, MAIL), headers=headers).text == "paused\n"
    assert not world.topic.published
    assert world.database.documents["mail/a"].fields["delivery"] == {
        "startTime": world.clock.now,
        "state": "PENDING",
        "attempts": 0,
        "error": None,
        "nextAttemptTime": world.clock.now,
    }


def test_a_new_mail_needs_no_read_to_be_published(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.database, "read", lambda paths: [Unavailable("down") for _ in paths])
    world.database.put("mail/a", MAIL)
    client = create_app(world.parts.handlers(), "mail", verifier=None).test_client()
    headers = {"ce-type": EVENT_TYPE, "Content-Type": "application/protobuf"}
    assert client.post("/", data=body(None, MAIL), headers=headers).text == "new\n"
    assert [attributes["document"] for _, attributes in world.topic.published] == ["mail/a"]


def test_a_mail_that_has_changed_since_its_event_is_published_and_the_sender_decides(world: World) -> None:
    """The newer event may be one that is ignored, such as that of a PENDING which a user has written."""
    world.pause()
    world.database.put("mail/a", {**MAIL, "delivery": {"state": "PENDING"}})
    client = create_app(world.parts.handlers(), "mail", verifier=None).test_client()
    headers = {"ce-type": EVENT_TYPE, "Content-Type": "application/protobuf"}
    assert client.post("/", data=body(None, MAIL), headers=headers).text == "new\n"
    assert [attributes["document"] for _, attributes in world.topic.published] == ["mail/a"]


def test_nothing_due_is_published_or_read(world: World) -> None:
    for number in range(3):
        world.hold(f"{number}", MINUTE)
    world.pause()
    assert world.run() == []
    assert world.database.found == 3  # by the walk alone
    world.control(pausedTime=world.clock.now)
    assert world.run(DAY) == []


def test_leases_and_mails_that_have_expired_are_concluded(world: World) -> None:
    lease = {"state": "PROCESSING", "attempts": 1, "leaseExpireTime": world.clock.now}
    world.database.put("mail/dead", {**MAIL, "delivery": lease})
    world.hold("late", MINUTE, expiresAt=world.clock.now)
    world.pause()
    assert world.run() == []
    codes = [world.database.documents[f"mail/{name}"].fields["delivery"]["errorCode"] for name in ("dead", "late")]
    assert codes == ["lease-expired", "expired"]


def test_a_mail_whose_message_was_lost_is_scheduled_once(world: World) -> None:
    since = world.clock.now
    world.database.put("mail/a", {**MAIL, "delivery": {"state": "PENDING", "startTime": since}})
    world.pause()
    assert world.run(15 * MINUTE + SECOND) == []
    assert world.scheduled("a") == since
    version = world.database.documents["mail/a"].version
    assert world.run(DAY) == []
    assert world.database.documents["mail/a"].version == version


def test_what_is_left_alone_is_not_logged_each_minute(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world.hold("a", MINUTE)
    world.pause()
    world.run()
    [entry] = [vars(record)["fields"] for record in caplog.records]
    assert (entry["event"], entry["examined"], entry["pause"]) == (Event.RECONCILER_RUN, 1, "recent")


@pytest.mark.parametrize("rate", [None, 1000.0])
def test_afterwards_everything_is_published_in_the_order_of_age(world: World, rate: float | None) -> None:
    for name, minutes in zip("cadb", (3, 10, 1, 5), strict=True):
        world.hold(name, minutes * MINUTE)
    world.pause()
    world.run()
    world.resume(rate)
    assert world.run(SECOND) == ["a", "b", "c", "d"]
    assert world.run(SECOND) == []


def test_the_rate_holds_whatever_the_runs_do(world: World) -> None:
    for number in range(40):
        world.hold(f"{number:02}", (40 - number) * MINUTE)
    world.resume(rate=0.5)
    published = world.run(SECOND)
    assert published == []  # half a mail
    for pause in (SECOND, 3 * SECOND, 15 * SECOND):
        published += world.run(pause)
    assert published == [f"{number:02}" for number in range(10)]
    published += world.run(10 * MINUTE)
    assert published == [f"{number:02}" for number in range(40)]


def test_what_is_due_since_then_does_not_wait_for_it(world: World) -> None:
    for number in range(5):
        world.hold(f"{number}", MINUTE)
    world.resume(rate=1)
    world.clock.advance(SECOND)
    world.hold("new", timedelta(0))
    world.hold("newer", timedelta(0))
    assert world.run() == ["new", "newer", "0"]


def test_two_runs_at_once_share_the_rate(world: World) -> None:
    for number in range(9):
        world.hold(f"{number}", MINUTE)
    world.resume(rate=3)
    world.clock.advance(SECOND)
    world.topic.published.clear()
    first, second = world.parts.reconciler(), world.parts.reconciler()
    first.run(), second.run()
    assert len(world.topic.published) == 3


def test_a_run_that_dies_has_used_its_share(world: World) -> None:
    for number in range(9):
        world.hold(f"{number}", MINUTE)
    world.resume(rate=3)
    world.topic.broken = True
    with pytest.raises(Unavailable):
        world.run(SECOND)
    world.topic.broken = False
    assert world.run() == []
    assert world.run(SECOND) == ["0", "1", "2"]


class TestAfterATransportWasPaused:
    def test_its_mails_are_published_in_the_order_of_age_and_others_wait(self, world: World) -> None:
        for name, ago in zip("cadb", (3 * MINUTE, 2 * DAY, MINUTE, DAY + MINUTE), strict=True):
            world.put_off(name, ago)
        world.hold("later", timedelta(0), sendAt=world.clock.now + MINUTE)
        world.database.edit("mail/later", {"delivery.nextAttemptTime": world.clock.now + MINUTE})
        world.hold("back-off", MINUTE)
        world.database.edit("mail/back-off", {"delivery.nextAttemptTime": world.clock.now + 2 * MINUTE})
        assert world.run() == []
        world.resume(rate=3)
        assert world.run(SECOND) == ["a", "b", "c"]
        assert world.scheduled("a") is None
        assert world.run(SECOND) == ["d"]
        assert world.run(SECOND) == []

    def test_it_is_due_before_its_message_is_on_its_way(self, world: World) -> None:
        """A sender acknowledges a message about a document that is due later."""
        world.put_off("a", MINUTE)
        world.resume(None)
        due: list[datetime | None] = []
        take = world.topic.publish_all

        def publish_all(messages: Any) -> Any:
            due.append(world.scheduled("a"))
            return take(messages)

        world.topic.publish_all = publish_all  # type: ignore[method-assign]
        assert world.run() == ["a"]
        assert due == [world.clock.now - MINUTE]

    def test_one_that_expires_within_a_day_is_published_too(self, world: World) -> None:
        world.put_off("a", MINUTE, expiresAt=world.clock.now + MINUTE)
        world.resume(None)
        assert world.run() == ["a"]

    def test_one_that_a_user_asked_for_meanwhile_is_published_too(self, world: World) -> None:
        world.put_off("a", MINUTE)
        world.database.edit("mail/a", {"delivery.state": "RETRY"})
        world.resume(None)
        assert world.run() == ["a"]

    def test_what_waits_for_another_transport_is_published_once(self, world: World) -> None:
        """It is known to senders only, which put it off again."""
        world.put_off("a", MINUTE)
        world.resume(rate=100)
        assert world.run(SECOND) == ["a"]
        world.clock.advance(AFTERMATH)
        world.put_off("a", MINUTE + AFTERMATH + SECOND)
        assert world.run(SECOND) == []

    def test_what_a_sender_puts_off_just_after_it_is_published(self, world: World) -> None:
        world.resume(rate=100)
        assert world.run(SECOND) == []
        world.put_off("a", MINUTE)
        assert world.run(SECOND) == ["a"]


def test_the_resumption_ends_when_nothing_waits_any_more(world: World) -> None:
    for number in range(150):
        world.hold(f"{number:03}", MINUTE)
    world.resume(rate=1)
    assert world.run() == []
    assert [len(world.run(MINUTE)) for _ in range(3)] == [60, 60, 30]
    assert world.database.documents[CONTROL].fields == {}


def test_a_control_document_that_makes_no_sense_stops_no_run(world: World) -> None:
    world.hold("a", MINUTE)
    world.control(pausedTime="yes")
    assert world.run() == ["a"]


def test_a_pause_during_a_run_stops_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.control.FRESH_SECONDS", 0)
    for number in range(2 * BULK):
        world.hold(f"{number:04}", MINUTE)
    due = world.database.due

    def pages(*args: Any, **options: Any) -> Iterator[list[Found]]:
        for page in due(*args, **options):
            yield page
            world.pause()

    monkeypatch.setattr(world.database, "due", pages)
    assert len(world.run()) == 500 + BULK


@pytest.mark.parametrize("failing", ["read", "write"])
def test_a_failing_walk_does_not_keep_what_waits(world: World, failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world.hold("a", MINUTE)
    world.resume(None)
    original = getattr(world.database, failing)

    def broken(items: Any) -> Any:
        is_position = any("reconciler" in (each.path if isinstance(each, Write) else each) for each in items)
        return [Unavailable("down")] if is_position else original(items)

    monkeypatch.setattr(world.database, failing, broken)
    if failing == "read":
        with pytest.raises(Unavailable):
            world.run()
        assert [attributes["document"] for _, attributes in world.topic.published] == ["mail/a"]
    else:
        assert world.run() == ["a"]


def test_a_control_document_that_makes_no_sense_after_a_resumption_publishes_nothing_of_what_waits(
    world: World,
) -> None:
    world.hold("a", MINUTE)
    world.resume(None)
    reconciler = world.parts.reconciler()
    reconciler.run()  # it has read the document
    world.hold("b", MINUTE)
    world.control(pausedTime="yes")
    world.clock.advance(SECOND)
    world.hold("c", timedelta(0))
    world.topic.published.clear()
    reconciler.run()
    assert [attributes["document"] for _, attributes in world.topic.published] == ["mail/c"]
