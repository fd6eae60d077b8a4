"""A mail that expires while an attempt at it runs: nothing is handed over after that, and what was is told.

The mail server is on a real socket. The document's clock stands still unless a test sets it; deadlines are real.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from local.waiting import wait_until
from sender.transport.envelope import Begin, Envelope, Receipt, Transport, at_once
from sender.transport.rate.transport import RateLimitedTransport
from sender.transport.smtp.transport import SmtpLimits, SmtpTransport
from shared.deadline import NEVER, Deadline
from shared.delivery.policy import Policy
from shared.errors import ErrorCode, NotLoaded, NotSendable, NotSent, OutcomeUnknown
from shared.pubsub.push import ReceivedMessage
from tests.assembly import COMPOSER, LEASE, PATIENCE, POLICY, SenderParts, memory_budget
from tests.fakes import Clock, MemoryDatabase, MemoryTransport
from tests.rate import limited_to
from tests.smtp_server import EXTENSIONS, ScriptedServer, without
from tests.unit.sender.transport.builders import server_at

A, B = "a@b.c", "d@e.f"
#: Time for the steps before the one at which the server stalls.
SOON = timedelta(seconds=0.5)
#: For tests that wait until it is over, however far they get before.
VERY_SOON = timedelta(seconds=0.1)


class World:
    def __init__(self, transport: Transport, policy: Policy = POLICY) -> None:
        self.clock, self.database = Clock(), MemoryDatabase()
        self.parts = SenderParts(policy, self.database, transport, clock=self.clock)

    def write(self, **fields: Any) -> None:
        mail = {"to": [A, B], "message": {"subject": "Your code", "text": "1234"}}
        self.database.put("mail/a", {**mail, "expiresAt": self.clock.now + SOON, **fields})

    def handle(self, **mail: Any) -> str:
        data = {"mail": mail, "id": "a"} if mail else {"document": "mail/a"}
        return self.parts.sender().handle(ReceivedMessage(json.dumps(data).encode(), {}, "77")).reason

    @property
    def delivery(self) -> dict[str, Any]:
        delivery: dict[str, Any] = self.database.documents["mail/a"].fields["delivery"]
        return delivery


@pytest.fixture(params=[EXTENSIONS, without("PIPELINING")], ids=["pipelining", "step-by-step"])
def smtp(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    with ScriptedServer(extensions=request.param) as server:
        yield server


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
def test_nothing_is_begun_after_it(smtp: ScriptedServer, step: str) -> None:
    smtp.when(step).stall()
    with closing(SmtpTransport(server_at(smtp), SmtpLimits(data_margin=0.0))) as transport:
        world = World(transport, Policy(LEASE, max_attempts=3))
        world.write(expiresAt=world.clock.now + VERY_SOON)
        began = time.monotonic()
        assert world.handle() == "expired"
        assert time.monotonic() - began < PATIENCE
    assert not smtp.mails
    assert (world.delivery["state"], world.delivery["errorCode"]) == ("ERROR", "expired")
    assert "'expiresAt'" in world.delivery["error"]


def test_what_was_begun_before_is_sent_even_if_the_answer_comes_later(smtp: ScriptedServer) -> None:
    stall = smtp.when("BODY").stall()
    with (
        closing(SmtpTransport(server_at(smtp), SmtpLimits(data_margin=0.0))) as transport,
        ThreadPoolExecutor(1) as one,
    ):
        world = World(transport)
        world.write()
        over = time.monotonic() + SOON.total_seconds()
        running = one.submit(world.handle)
        assert stall.reached.wait(PATIENCE)
        assert wait_until(lambda: time.monotonic() > over + 0.1, PATIENCE)
        assert not running.done(), "the wait for the answer was cut"
        stall.release()
        assert running.result(PATIENCE) == "sent"
    assert world.delivery["state"] == "SUCCESS"


def test_waiting_for_a_connection_does_not_outlast_it(smtp: ScriptedServer) -> None:
    stall = smtp.when("BODY").stall()
    limits = SmtpLimits(max_connections=1, data_margin=0.0, turn_seconds=60)
    with closing(SmtpTransport(server_at(smtp), limits)) as transport, ThreadPoolExecutor(1) as one:
        first, world = World(transport), World(transport)
        first.write(expiresAt=None)
        running = one.submit(first.handle)
        assert stall.reached.wait(PATIENCE)
        world.write(expiresAt=world.clock.now + VERY_SOON)
        assert world.handle() == "deferred"
        stall.release()
        assert running.result(PATIENCE) == "sent"
    assert world.delivery["state"] == "PENDING"
    assert world.delivery["nextAttemptTime"] == world.clock.now + VERY_SOON


def test_nor_does_waiting_for_the_rate_limit(smtp: ScriptedServer) -> None:
    limit = limited_to(0.7)  # the second mail waits for longer than that
    with closing(RateLimitedTransport(SmtpTransport(server_at(smtp)), limit, 0.0, PATIENCE)) as transport:
        world = World(transport)
        world.write(expiresAt=None)
        assert world.handle() == "sent"
        world.write(expiresAt=world.clock.now + VERY_SOON)
        assert world.handle() == "deferred"
    assert world.delivery["nextAttemptTime"] == world.clock.now + VERY_SOON


def test_nor_for_memory() -> None:
    world = World(MemoryTransport())
    world.parts.memory = memory_budget(2**21, wait_seconds=PATIENCE * 10)
    world.write(message={"subject": "s", "text": "x" * 2**21}, expiresAt=world.clock.now + VERY_SOON)
    with world.parts.memory.reservation(NEVER) as room:
        room.take(2**21)
        assert world.handle() == "deferred"
    assert world.delivery["nextAttemptTime"] == world.clock.now + VERY_SOON


def test_it_is_looked_at_again_after_composing() -> None:
    transport = MemoryTransport()
    world = World(transport)
    world.write()

    def slowly(*args: Any, **kwargs: Any) -> Any:
        world.clock.advance(SOON)
        return COMPOSER(*args, **kwargs)

    world.parts.compose = slowly
    assert world.handle() == "expired"
    assert not transport.sent


def test_a_clock_that_is_set_back_gives_no_more_time() -> None:
    left: list[float] = []

    class Watched(MemoryTransport):
        def send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin = at_once) -> Receipt:
            left.append(deadline.start_by().remaining())
            return super().send(envelope, data, deadline, begin)

    world = World(Watched())
    world.write()

    def set_back(*args: Any, **kwargs: Any) -> Any:
        world.clock.advance(timedelta(hours=-1))
        return COMPOSER(*args, **kwargs)

    world.parts.compose = set_back
    assert world.handle() == "sent"
    assert left[0] <= SOON.total_seconds()


class TestAFailureAfterIt:
    """`on_mail` lets the mail expire while the server is asked."""

    @pytest.mark.parametrize(
        ("failure", "code"),
        [
            pytest.param(NotSent(ErrorCode.TEMPORARY, "451 Later."), "expired", id="temporary"),
            pytest.param(NotSent(ErrorCode.CONNECTION, "Lost."), "expired", id="connection"),
            pytest.param(NotSent(ErrorCode.THROTTLED, "421 Slowly."), "expired", id="throttled"),
            pytest.param(NotLoaded(ErrorCode.ATTACHMENT, "Away."), "expired", id="a-file-that-may-come-back"),
            pytest.param(NotSent(ErrorCode.REJECTED, "550 No."), "rejected", id="for-good"),
            pytest.param(NotSent(ErrorCode.AUTH, "535 No."), "auth", id="login"),
            pytest.param(NotSendable(ErrorCode.ATTACHMENT, "None."), "attachment", id="a-file-that-is-missing"),
            pytest.param(OutcomeUnknown("Lost."), "unknown", id="unknown"),
        ],
    )
    @pytest.mark.parametrize("attempts", [1, 3])
    def test_is_due_to_it_if_the_mail_was_surely_not_sent(self, failure: Exception, code: str, attempts: int) -> None:
        transport = MemoryTransport()
        world = World(transport, Policy(LEASE, max_attempts=attempts))
        world.write()
        transport.fail = failure
        transport.on_mail = lambda _: world.clock.advance(SOON)
        assert world.handle() == code
        assert (world.delivery["state"], world.delivery["errorCode"]) == ("ERROR", code)
        assert str(failure) in world.delivery["error"]

    def test_a_mail_that_reached_somebody_is_a_success(self) -> None:
        transport = MemoryTransport()
        world = World(transport, Policy(LEASE, max_attempts=3))
        world.write()
        transport.defer = {B}
        transport.on_mail = lambda _: world.clock.advance(SOON)
        assert world.handle() == "sent"
        assert (world.delivery["state"], world.delivery["info"]["pending"]) == ("SUCCESS", [B])
        assert "resumes" not in world.delivery


class TestAnAutomaticRetryAfterIt:
    @pytest.mark.parametrize(
        ("accepted", "rejected", "state", "code"),
        [
            pytest.param([A], [], "SUCCESS", None, id="somebody-was-reached"),
            pytest.param([], [A], "ERROR", "expired", id="nobody-was"),
        ],
    )
    def test_sends_nothing_and_says_who_was_reached(
        self, accepted: list[str], rejected: list[str], state: str, code: str | None
    ) -> None:
        transport = MemoryTransport()
        world = World(transport, Policy(LEASE, max_attempts=3))
        info = {"accepted": accepted, "rejected": rejected, "pending": [B], "response": None}
        world.write(
            expiresAt=world.clock.now, delivery={"state": "RETRY", "attempts": 1, "resumes": True, "info": info}
        )
        world.handle()
        assert not transport.sent
        assert (world.delivery["state"], world.delivery.get("errorCode")) == (state, code)
        assert world.delivery["info"] == info
        assert "resumes" not in world.delivery


class TestInlineMails:
    MAIL: ClassVar = {"to": A, "message": {"subject": "Your code", "text": "1234"}}

    @pytest.mark.parametrize(
        ("times", "reason", "code"),
        [
            pytest.param({"expiresAt": "2026-11-24T12:00:00Z"}, "expired", "expired", id="expired"),
            pytest.param({"expiresAt": "noon"}, "validation", "validation", id="unreadable"),
            pytest.param({"expiresAt": 1}, "validation", "validation", id="a-number"),
            pytest.param(
                {"sendAt": "2026-11-24T14:00:00Z", "expiresAt": "2026-11-24T13:00:00Z"},
                "invalid",
                "validation",
                id="before-sendAt",
            ),
            pytest.param({"expiresAt": "2026-11-24T12:00:01Z"}, "sent", None, id="later"),
        ],
    )
    def test_expire_likewise(self, times: dict[str, Any], reason: str, code: str | None) -> None:
        transport = MemoryTransport()
        world = World(transport)
        assert world.handle(**self.MAIL, **times) == reason
        assert world.delivery.get("errorCode") == code
        assert bool(transport.sent) == (code is None)
        assert code is None or "'expiresAt'" in world.delivery["error"] or code == "expired"
