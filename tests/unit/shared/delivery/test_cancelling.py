"""CANCELLED in the state machine: nothing is sent any more, and what was sent is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from shared.delivery.machine import (
    concluded,
    on_dead_letter,
    on_event,
    on_message,
    on_reconcile,
    on_release,
    on_result,
)
from shared.delivery.model import DELETE, Decision, Delivery, DocumentState, Lease, Reason, Result, State
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.errors import ErrorCode

NOW: Final = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PAST, SOON = NOW - timedelta(seconds=30), NOW + timedelta(seconds=30)
POLICY: Final = Policy(timedelta(seconds=60), max_attempts=3)
RETRYING: Final = Policy(timedelta(seconds=60), max_attempts=3, lease_expiry=LeaseExpiryPolicy.RETRY)
GIVEN_UP: Final = Result(State.ERROR, error="Given up.", error_code=ErrorCode.DEAD_LETTER)
MINE: Final = Lease(1, SOON)
INFO: Final = {"accepted": ["a@b.c"], "pending": ["d@e.f"]}


def cancelled(**delivery: Any) -> DocumentState:
    return DocumentState(Delivery(State.CANCELLED, **delivery))


CANCELLED: Final = [
    pytest.param(cancelled(), id="never-queued"),
    pytest.param(cancelled(start_time=PAST, next_attempt_time=SOON), id="while-scheduled"),
    pytest.param(cancelled(attempts=1, lease_expire_time=SOON), id="while-an-attempt-runs"),
    pytest.param(cancelled(attempts=1, lease_expire_time=PAST), id="its-lease-expired"),
    pytest.param(DocumentState(Delivery(State.CANCELLED), expires_at=PAST), id="expired"),
]


@pytest.mark.parametrize("document", CANCELLED)
@pytest.mark.parametrize("policy", [POLICY, RETRYING])
def test_a_cancelled_mail_is_left_alone(document: DocumentState, policy: Policy) -> None:
    left = Decision(Reason.CANCELLED)
    assert on_event(DocumentState(Delivery(State.PENDING)), document, NOW, policy) == left
    assert on_event(None, document, NOW, policy) == left
    assert on_message(document, NOW, policy) == left
    assert on_message(document, NOW, policy, written=MINE) == left
    assert on_dead_letter(document, False, True, NOW, GIVEN_UP, policy) == left


@pytest.mark.parametrize("document", CANCELLED)
def test_the_reconciler_takes_it_off_the_schedule(document: DocumentState) -> None:
    assert on_reconcile(document, PAST, NOW, POLICY) == Decision(
        Reason.UNSCHEDULED, write={"delivery.nextAttemptTime": DELETE}
    )


@pytest.mark.parametrize("state", [State.PENDING, State.RETRY])
def test_a_user_may_change_their_mind(state: State) -> None:
    again = DocumentState(Delivery(state, attempts=1))
    assert on_event(cancelled(attempts=1), again, NOW, POLICY) == Decision(Reason.REQUEUED, publish=True)
    assert on_message(again, NOW, POLICY).reason is Reason.CLAIMED


class TestWhileAnAttemptRuns:
    HELD = cancelled(attempts=1, lease_expire_time=SOON)
    FAILED = Result(State.ERROR, error="Later.", error_code=ErrorCode.TEMPORARY, unsettled=True, progress=INFO)
    PARTIAL = Result(State.SUCCESS, info=INFO, unsettled=True, progress=INFO, retained={"message.html": DELETE})

    @pytest.mark.parametrize(
        "result",
        [
            pytest.param(Result(State.SUCCESS, info=INFO), id="sent"),
            pytest.param(Result(State.ERROR, error="No.", error_code=ErrorCode.REJECTED), id="refused"),
        ],
    )
    def test_its_result_is_written_since_it_is_the_truth(self, result: Result) -> None:
        decision = on_result(self.HELD, MINE, result, NOW, POLICY, 0.5)
        assert decision == Decision(Reason.CANCELLED, write=concluded(result, 1, NOW, POLICY, 0.5))

    def test_a_result_that_asks_for_another_attempt_is_final(self) -> None:
        assert concluded(self.FAILED, 1, NOW, POLICY, 0.5)["delivery.state"] is State.RETRY
        write = on_result(self.HELD, MINE, self.FAILED, NOW, POLICY, 0.5).write
        assert write is not None
        assert (write["delivery.state"], write["delivery.errorCode"]) == ("ERROR", "temporary")
        assert write["delivery.resumes"] is DELETE
        assert "delivery.nextAttemptTime" not in write

    def test_one_that_reached_somebody_is_a_success(self) -> None:
        write = on_result(self.HELD, MINE, self.PARTIAL, NOW, POLICY, 0.5).write
        assert write is not None
        assert (write["delivery.state"], write["delivery.info"]) == ("SUCCESS", INFO)
        assert write["message.html"] is DELETE

    def test_a_late_one_is_written_too(self) -> None:
        guess = cancelled(attempts=1, error_code=ErrorCode.LEASE_EXPIRED, end_time=PAST)
        decision = on_result(guess, MINE, self.PARTIAL, NOW, POLICY, 0.5)
        assert decision.reason is Reason.CANCELLED
        assert decision.write is not None
        assert decision.write["delivery.state"] is State.SUCCESS

    @pytest.mark.parametrize(
        "document",
        [
            pytest.param(cancelled(attempts=2, lease_expire_time=SOON), id="a-newer-attempt"),
            pytest.param(cancelled(attempts=1, lease_expire_time=PAST), id="anothers-lease"),
            pytest.param(cancelled(attempts=1), id="concluded-before"),
            pytest.param(cancelled(attempts=2, error_code=ErrorCode.LEASE_EXPIRED), id="a-newer-guess"),
        ],
    )
    def test_but_over_nothing_else(self, document: DocumentState) -> None:
        assert on_result(document, MINE, self.PARTIAL, NOW, POLICY, 0.5) == Decision(Reason.OUTDATED)
        assert on_release(document, MINE) == Decision(Reason.OUTDATED)

    def test_a_release_ends_the_lease_and_nothing_more(self) -> None:
        ended = {"delivery.attempts": 0, "delivery.leaseExpireTime": None}
        assert on_release(self.HELD, MINE, next_attempt=SOON) == Decision(Reason.CANCELLED, write=ended)
