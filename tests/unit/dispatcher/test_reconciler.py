"""The reconciler's runs, over documents in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import dispatcher.reconciler as reconciler_module
from dispatcher.reconciler import Reconciler
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.errors import Unavailable
from shared.firestore.values import encode
from tests.assembly import LEASE, DispatcherParts
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher

MINUTE = timedelta(minutes=1)


class World:
    def __init__(self, policy: Policy) -> None:
        # The database dates its writes by its ticks, long before the clock's time.
        self.clock, self.database, self.topic = Clock(), MemoryDatabase(), MemoryPublisher()
        self._parts = DispatcherParts(policy, self.database, self.topic, clock=self.clock)

    def run(self, seconds: float = 40.0) -> dict[str, int | bool]:
        return self.reconciler(seconds).run()

    def reconciler(self, seconds: float = 40.0) -> Reconciler:
        return self._parts.reconciler(seconds)

    def add(self, path: str, **delivery: Any) -> None:
        self.database.put(path, {"to": "a@b.c", "delivery": {"attempts": 1, **delivery}})

    def published(self) -> list[tuple[str, str]]:
        return [(attributes["document"], attributes["reason"]) for _, attributes in self.topic.published]


@pytest.fixture
def world() -> World:
    return World(Policy(LEASE, stranded_after=timedelta(days=20_000)))


def test_due_documents_are_published_once(world: World) -> None:
    world.add("mail/a", state="PENDING", nextAttemptTime=world.clock.now)
    assert world.run()["due"] == 1
    assert world.published() == [("mail/a", "due")]
    assert "due" not in world.run()
    assert len(world.topic.published) == 1


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
    world.run()
    assert not world.topic.published


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


def test_all_pages_are_processed(world: World) -> None:
    for number in range(700):
        world.add(f"mail/{number:03}", state="PENDING")
    assert world.run() == {"examined": 700, "complete": True}


def test_other_collections_are_ignored(world: World) -> None:
    world.add("users/a", state="PENDING", nextAttemptTime=world.clock.now)
    assert world.run() == {"complete": True}


def test_a_run_that_exceeds_its_time_is_reported(world: World) -> None:
    world.add("mail/a", state="PENDING")
    assert world.run(seconds=-1) == {"complete": False}


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
        assert list(reconciler._unwritable) == ["mail/b", "mail/c"]

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
    assert world.run() == {"examined": 1, "complete": True}
