"""A mail server that is out: mails wait for it, without an attempt, until their patience is over."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from sender.worker.attempt import HandlerResult
from shared.delivery.policy import LONGEST_OUTAGE_PAUSE, Policy
from shared.errors import Deferred, ErrorCode, NotSent, Outage
from shared.pubsub.push import ReceivedMessage
from tests.assembly import LEASE, SenderParts
from tests.fakes import Clock, MemoryDatabase, MemoryTransport

PATIENCE = timedelta(hours=1)
AWAY = Outage(ErrorCode.CONNECTION, "Nobody listens there.")
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


class World:
    """A sender whose mail server is out, and the reconciler that publishes the mail when it is due."""

    def __init__(self, failure: Exception = AWAY, **policy: Any) -> None:
        self.database, self.transport, self.clock = MemoryDatabase(), MemoryTransport(), Clock()
        self.transport.fail = failure
        self.policy = Policy(LEASE, **{"outage_patience": PATIENCE, **policy})
        self.parts = SenderParts(self.policy, self.database, self.transport, clock=self.clock)
        self.database.put("mail/a", {"to": "a@b.c", "message": {"subject": "s", "text": "t"}})

    def handle(self) -> HandlerResult:
        """Handle a message, by a sender that has just been started."""
        pushed = ReceivedMessage(json.dumps({"document": "mail/a"}).encode(), {}, "77")
        return self.parts.sender().handle(pushed)

    def wait(self) -> timedelta:
        """Wait until the mail is due again; returns how long that was."""
        due = self.delivery["nextAttemptTime"]
        pause: timedelta = due - self.clock.now
        self.clock.now = due
        return pause

    @property
    def delivery(self) -> dict[str, Any]:
        delivery: dict[str, Any] = self.database.documents["mail/a"].fields["delivery"]
        return delivery


def test_a_mail_waits_without_an_attempt_and_says_why() -> None:
    world = World()
    began = world.clock.now
    assert world.handle() == HandlerResult(True, "outage")
    assert world.delivery == {
        "state": "PENDING",
        "attempts": 0,
        "startTime": began,
        "leaseExpireTime": None,
        "outageTime": began,
        "error": "Nobody listens there.",
        "errorCode": "connection",
        "nextAttemptTime": began + 30 * SECOND,
    }


@pytest.mark.parametrize("attempts", [1, 5])
def test_after_the_outage_it_is_sent_in_the_first_attempt(attempts: int) -> None:
    world = World(max_attempts=attempts)
    for _ in range(4):
        world.handle()
        world.wait()
    world.transport.fail = None
    assert world.handle() == HandlerResult(True, "sent")
    assert (world.delivery["state"], world.delivery["attempts"], world.delivery["error"]) == ("SUCCESS", 1, None)
    assert {"outageTime", "errorCode"}.isdisjoint(world.delivery)


@pytest.mark.parametrize("attempts", [1, 5])
def test_after_its_patience_it_ends_whatever_max_attempts_is(attempts: int) -> None:
    world = World(max_attempts=attempts)
    began, pauses = world.clock.now, []
    while world.handle().reason == "outage":
        pauses.append(world.wait())
    assert (world.delivery["state"], world.delivery["errorCode"]) == ("ERROR", "connection")
    assert (world.delivery["endTime"] - began, world.delivery["attempts"]) == (PATIENCE, 1)
    assert "outageTime" not in world.delivery
    assert max(pauses) == LONGEST_OUTAGE_PAUSE
    assert pauses[:5] == [30 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 4 * MINUTE]
    assert len(pauses) == 11, "each pause costs three writes and an event each"


@pytest.mark.parametrize(
    ("code", "patience"),
    [
        (ErrorCode.CONNECTION, PATIENCE),
        (ErrorCode.TEMPORARY, PATIENCE),
        (ErrorCode.THROTTLED, PATIENCE),
        (ErrorCode.AUTH, PATIENCE / 12),
        (ErrorCode.REJECTED, PATIENCE / 12),
    ],
)
def test_what_somebody_must_mend_is_waited_out_for_a_shorter_time(code: ErrorCode, patience: timedelta) -> None:
    world = World(Outage(code, "No."))
    began = world.clock.now
    while world.handle().reason == "outage":
        world.wait()
    assert world.clock.now - began == patience
    assert world.delivery["errorCode"] == code


def test_a_pause_that_is_asked_for_counts_up_to_the_patience() -> None:
    failure = Outage(ErrorCode.CONNECTION, "Later.")
    failure.retry_after = 2000.0
    world = World(failure)
    world.handle()
    assert world.wait() == 2000 * SECOND
    world.handle()
    assert world.wait() == 1600 * SECOND


@pytest.mark.parametrize(("attempts", "state"), [(1, "ERROR"), (2, "RETRY")])
def test_without_patience_it_is_a_failed_attempt(attempts: int, state: str) -> None:
    world = World(outage_patience=timedelta(), max_attempts=attempts)
    assert world.handle() == HandlerResult(True, "connection")
    assert (world.delivery["state"], world.delivery["attempts"]) == (state, 1)
    assert "outageTime" not in world.delivery


def test_what_is_the_mails_own_failure_stays_so() -> None:
    world = World(NotSent(ErrorCode.CONNECTION, "Lost."))
    assert world.handle() == HandlerResult(True, "connection")
    assert world.delivery["state"] == "ERROR"


def test_another_deferral_leaves_the_clock_running() -> None:
    world = World()
    world.handle()
    began = world.delivery["outageTime"]
    world.wait()
    world.transport.fail = Deferred(20.0, "The rate is used up.")
    assert world.handle() == HandlerResult(True, "deferred")
    assert world.delivery["outageTime"] == began
    assert (world.delivery["error"], "errorCode" in world.delivery) == (None, False)


def test_an_answer_ends_the_wait_and_the_next_outage_is_another() -> None:
    world = World(max_attempts=2)
    world.handle()
    world.wait()
    world.transport.fail = NotSent(ErrorCode.TEMPORARY, "451 Later")
    assert world.handle() == HandlerResult(True, "temporary")
    assert "outageTime" not in world.delivery
    world.wait()
    world.transport.fail = AWAY
    world.handle()
    assert world.delivery["outageTime"] == world.clock.now


@pytest.mark.parametrize(
    "forged",
    [timedelta(days=9000), timedelta(seconds=1), -timedelta(days=9000), -2 * PATIENCE - SECOND],
    ids=["in the far future", "in the future", "long ago", "before any waiting mail"],
)
def test_a_time_that_nobody_can_have_noted_counts_for_nothing(forged: timedelta) -> None:
    world = World()
    world.handle()
    world.wait()
    world.database.edit("mail/a", {"delivery.outageTime": world.clock.now + forged})
    assert world.handle() == HandlerResult(True, "outage")
    assert world.delivery["outageTime"] == world.clock.now


def test_it_does_not_wait_for_longer_than_it_may_be_sent() -> None:
    world = World()
    fields = world.database.documents["mail/a"].fields
    world.database.put("mail/a", {**fields, "expiresAt": world.clock.now + 10 * SECOND})
    world.handle()
    assert world.wait() == 10 * SECOND
    assert world.handle() == HandlerResult(True, "expired")
