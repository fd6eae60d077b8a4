"""`expiresAt` in the state machine: a mail that can't be sent in time ends, and never goes out late."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from shared.delivery import history
from shared.delivery.machine import (
    concluded,
    on_dead_letter,
    on_event,
    on_message,
    on_reconcile,
    on_release,
    on_result,
    released,
)
from shared.delivery.model import DELETE, Decision, Delivery, DocumentState, Lease, Reason, Result, State
from shared.delivery.policy import LeaseExpiryPolicy, Policy, Ttl, TtlUnit
from shared.errors import ErrorCode

NOW: Final = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
INSTANT: Final = timedelta(microseconds=1)
PAST, SOON, LATER = NOW - timedelta(seconds=30), NOW + timedelta(seconds=30), NOW + timedelta(hours=1)
LEASE: Final = timedelta(seconds=60)
POLICY: Final = Policy(LEASE)
PATIENT: Final = Policy(LEASE, max_attempts=3)
RETRYING: Final = Policy(LEASE, max_attempts=2, lease_expiry=LeaseExpiryPolicy.RETRY)
GIVEN_UP: Final = Result(State.ERROR, error="Given up.", error_code=ErrorCode.DEAD_LETTER)
MINE: Final = Lease(1, SOON)
FAILED: Final = Result(State.ERROR, error="4.0.0 Later.", error_code=ErrorCode.TEMPORARY, unsettled=True)

NEW: Final = DocumentState(expires_at=NOW)
NEVER_DUE: Final = DocumentState(send_at=LATER, expires_at=SOON)


def queued(state: State = State.PENDING, expires_at: datetime = NOW, **delivery: Any) -> DocumentState:
    """A queued mail, expired unless the test says otherwise."""
    return DocumentState(Delivery(state, **delivery), expires_at=expires_at)


ENDED: Final = {
    "delivery.state": "ERROR",
    "delivery.endTime": NOW,
    "delivery.error": "No attempt was made, because the mail has expired. RETRY needs a later 'expiresAt', or none.",
    "delivery.errorCode": "expired",
    "delivery.leaseExpireTime": None,
    "delivery.nextAttemptTime": DELETE,
    "delivery.warnings": DELETE,
    "delivery.resumes": DELETE,
    "delivery.outageTime": DELETE,
}
STARTED: Final = {"delivery.startTime": NOW}
#: The holder of a lease that ended at NOW has left no result.
VANISHED: Final = {"delivery.history": [history.ended(1, NOW - LEASE, NOW, State.ERROR, "lease-expired")]}

QUEUED: Final = [
    pytest.param(NEW, STARTED | {"delivery.attempts": 0}, id="new"),
    pytest.param(queued(start_time=PAST), {}, id="pending"),
    pytest.param(queued(State.RETRY, attempts=2, start_time=PAST), {}, id="retry"),
    pytest.param(queued(State.RETRY), STARTED, id="set-by-hand"),
    pytest.param(queued(start_time=PAST, next_attempt_time=LATER), {}, id="scheduled-for-later-than-that"),
    pytest.param(queued(start_time=PAST, next_attempt_time=NOW), {}, id="scheduled-for-then"),
    pytest.param(queued(start_time=PAST, attempts=1, lease_expire_time=NOW), VANISHED, id="after-a-lease"),
    pytest.param(queued(start_time=PAST, expires_at=datetime.min.replace(tzinfo=UTC)), {}, id="in-the-year-1"),
]


@pytest.mark.parametrize(("document", "started"), QUEUED)
def test_an_expired_mail_ends_without_an_attempt_whoever_looks_at_it(
    document: DocumentState, started: dict[str, object]
) -> None:
    ended = Decision(Reason.EXPIRED, write=started | ENDED)
    assert on_event(None, document, NOW, POLICY) == ended
    assert on_message(document, NOW, POLICY) == ended
    if document.delivery:  # no query of the reconciler finds another one
        assert on_reconcile(document, PAST, NOW, POLICY) == ended
    assert on_dead_letter(document, False, True, NOW, GIVEN_UP, POLICY) == ended


def test_an_instant_earlier_it_is_sent() -> None:
    document = queued(expires_at=NOW + INSTANT)
    assert on_event(None, document, NOW, POLICY) == Decision(Reason.REQUEUED, publish=True)
    assert on_event(None, replace(document, delivery=None), NOW, POLICY).reason is Reason.NEW
    assert on_message(document, NOW, POLICY).reason is Reason.CLAIMED


def test_its_document_gets_a_time_to_live() -> None:
    ttl = Policy(LEASE, ttl=Ttl(1, TtlUnit.DAY))
    for document in (NEW, queued(State.RETRY)):
        write = on_event(None, document, NOW, ttl).write
        assert write is not None
        assert write["delivery.expireAt"] == NOW + timedelta(days=1)


@pytest.mark.parametrize("state", [None, State.PENDING, State.RETRY])
@pytest.mark.parametrize(
    ("send_at", "expires_at", "reason"),
    [
        pytest.param(LATER, SOON, Reason.INVALID, id="sendAt-after-expiresAt"),
        pytest.param(SOON, SOON, Reason.INVALID, id="at-the-same-time"),
        pytest.param(SOON, PAST, Reason.INVALID, id="and-expired"),
        pytest.param(NOW, PAST, Reason.INVALID, id="due-and-expired"),
        pytest.param(SOON, LATER, None, id="before-it"),
        pytest.param(PAST, SOON, None, id="now-between-them"),
    ],
)
def test_a_mail_that_expires_before_it_may_be_sent_is_invalid_at_once(
    state: State | None, send_at: datetime, expires_at: datetime, reason: Reason | None
) -> None:
    document = DocumentState(Delivery(state) if state else None, send_at, expires_at)
    decisions = [
        on_event(None, document, NOW, POLICY),
        on_message(document, NOW, POLICY),
        on_reconcile(document, PAST, NOW, POLICY) if state else None,
        on_dead_letter(document, False, False, NOW, GIVEN_UP, POLICY),
    ]
    for decision in filter(None, decisions):
        assert (decision.reason is Reason.INVALID) == (reason is Reason.INVALID)
        if reason:
            assert decision.write is not None
            assert (decision.write["delivery.state"], decision.write["delivery.errorCode"]) == ("ERROR", "validation")
            assert "'expiresAt'" in decision.write["delivery.error"]
            assert "'sendAt'" in decision.write["delivery.error"]


class TestAnAttemptComesFirst:
    """Nobody else knows whether somebody got the mail."""

    RUNNING = queued(State.RETRY, attempts=1, lease_expire_time=SOON)
    RESUMING = queued(State.RETRY, attempts=1, next_attempt_time=NOW, resumes=True)

    def test_a_running_one_is_waited_for(self) -> None:
        held = DocumentState(Delivery(State.PROCESSING, 1, lease_expire_time=SOON), expires_at=NOW)
        assert on_event(held, self.RUNNING, NOW, POLICY) == Decision(Reason.REQUEUED, publish=True)
        assert on_message(self.RUNNING, NOW, POLICY) == Decision(Reason.LEASE_HELD, acknowledge=False)
        assert on_reconcile(self.RUNNING, PAST, NOW, POLICY) == Decision(Reason.STILL_QUEUED)

    def test_one_that_goes_on_with_some_recipients_says_whom_the_others_reached(self) -> None:
        assert on_reconcile(self.RESUMING, PAST, NOW, POLICY) == Decision(
            Reason.DUE, publish=True, write={"delivery.nextAttemptTime": DELETE}
        )
        assert on_message(self.RESUMING, NOW, POLICY).reason is Reason.CLAIMED

    @pytest.mark.parametrize("policy", [POLICY, RETRYING])
    def test_an_expired_lease_ends_as_unknown(self, policy: Policy) -> None:
        expired = DocumentState(Delivery(State.PROCESSING, 1, lease_expire_time=PAST), expires_at=NOW)
        for decision in (
            on_event(None, expired, NOW, policy),
            on_message(expired, NOW, policy),
            on_reconcile(expired, PAST, NOW, policy),
            on_dead_letter(expired, False, True, NOW, GIVEN_UP, policy),
        ):
            assert decision.reason is Reason.LEASE_EXPIRED
            assert decision.write is not None
            assert decision.write["delivery.errorCode"] == "lease-expired"

    def test_another_message_is_waited_for(self) -> None:
        assert on_dead_letter(queued(State.RETRY), True, True, NOW, GIVEN_UP, POLICY) == Decision(Reason.REQUEUED)


@pytest.mark.parametrize(
    ("code", "end_time", "expected"),
    [
        pytest.param(ErrorCode.UNKNOWN, None, "unknown", id="to-be-sent-again-after-an-unknown-outcome"),
        pytest.param(ErrorCode.UNKNOWN, PAST, "expired", id="a-users-request-after-it"),
        pytest.param(ErrorCode.TEMPORARY, None, "expired", id="to-be-tried-again-after-a-failure"),
        pytest.param(ErrorCode.EXPIRED, PAST, "expired", id="a-users-request-after-it-has-expired"),
    ],
)
def test_an_unknown_outcome_is_not_forgotten(code: ErrorCode, end_time: datetime | None, expected: str) -> None:
    write = on_message(queued(State.RETRY, error_code=code, end_time=end_time, start_time=PAST), NOW, RETRYING).write
    assert write is not None
    assert write["delivery.errorCode"] == expected


class TestWaiting:
    """The reconciler finds a waiting document by `nextAttemptTime` alone."""

    def test_a_mail_waits_until_it_is_due_if_that_is_earlier(self) -> None:
        document = DocumentState(Delivery(State.PENDING, next_attempt_time=SOON), expires_at=LATER)
        assert on_message(document, NOW, POLICY) == Decision(Reason.NOT_DUE)

    def test_a_mail_due_later_waits_until_it_expires(self) -> None:
        document = DocumentState(Delivery(State.PENDING, next_attempt_time=LATER), expires_at=SOON)
        until = {"delivery.nextAttemptTime": SOON}
        assert on_message(document, NOW, POLICY) == Decision(Reason.SCHEDULED, write=until)
        assert on_reconcile(document, PAST, NOW, POLICY) == Decision(Reason.SCHEDULED, write=until)
        assert on_event(None, document, NOW, POLICY) == Decision(
            Reason.SCHEDULED, write=until | {"delivery.state": "PENDING"}
        )

    def test_a_mail_that_waits_for_nothing_does_not_wait_to_expire(self) -> None:
        assert on_message(queued(expires_at=SOON), NOW, POLICY).reason is Reason.CLAIMED

    @pytest.mark.parametrize(
        ("next_attempt", "expires_at", "written"),
        [
            pytest.param(SOON, LATER, SOON, id="before-it-expires"),
            pytest.param(LATER, SOON, SOON, id="after-it-expires"),
            pytest.param(LATER, None, LATER, id="never-expires"),
            pytest.param(None, SOON, DELETE, id="as-soon-as-its-message-comes"),
        ],
    )
    def test_a_released_mail_waits_no_longer_than_that(
        self, next_attempt: datetime | None, expires_at: datetime | None, written: object
    ) -> None:
        held = DocumentState(Delivery(State.PROCESSING, 1, lease_expire_time=SOON), expires_at=expires_at)
        changes = released(MINE, next_attempt, expires_at)
        assert changes["delivery.nextAttemptTime"] == written
        assert on_release(held, MINE, next_attempt) == Decision(Reason.RELEASED, write=changes)


class TestNoRetryAfterThat:
    PAUSE = timedelta(seconds=15)  # half of the first back-off

    def test_an_attempt_before_it_is_scheduled(self) -> None:
        changes = concluded(FAILED, 1, NOW, PATIENT, 0.5, NOW + self.PAUSE + INSTANT)
        assert changes["delivery.state"] is State.RETRY
        assert changes["delivery.nextAttemptTime"] == NOW + self.PAUSE

    def test_a_failure_is_final_as_expired(self) -> None:
        changes = concluded(FAILED, 1, NOW, PATIENT, 0.5, NOW + self.PAUSE)
        assert changes["delivery.state"] is State.ERROR
        assert changes["delivery.errorCode"] is ErrorCode.EXPIRED
        assert changes["delivery.error"].endswith("The last one failed: 4.0.0 Later.")
        assert "delivery.nextAttemptTime" not in changes
        assert changes["delivery.endTime"] == NOW

    def test_its_text_has_a_known_length(self) -> None:
        changes = concluded(replace(FAILED, error="x" * 2_000), 1, NOW, PATIENT, 0.5, NOW)
        assert len(changes["delivery.error"]) == 2_000

    def test_an_unknown_outcome_stays_unknown(self) -> None:
        unknown = replace(FAILED, error_code=ErrorCode.UNKNOWN)
        changes = concluded(unknown, 1, NOW, RETRYING, 0.5, SOON - timedelta(seconds=20))
        assert (changes["delivery.state"], changes["delivery.errorCode"]) == (State.ERROR, ErrorCode.UNKNOWN)

    def test_if_somebody_was_reached_it_is_a_success(self) -> None:
        info = {"accepted": ["a@b.c"], "pending": ["d@e.f"]}
        kept = {"message.html": DELETE}
        partial = Result(State.SUCCESS, info=info, unsettled=True, progress=info, retained=kept)
        changes = concluded(partial, 1, NOW, PATIENT, 0.5, SOON - timedelta(seconds=20))
        assert changes["delivery.state"] is State.SUCCESS
        assert (changes["delivery.info"], changes["delivery.resumes"]) == (info, DELETE)
        assert changes["message.html"] is DELETE

    def test_a_failure_without_another_attempt_keeps_its_own_code(self) -> None:
        assert concluded(FAILED, 3, NOW, PATIENT, 0.5, NOW)["delivery.errorCode"] is ErrorCode.TEMPORARY

    def test_what_the_document_says_now_counts(self) -> None:
        held = DocumentState(Delivery(State.PROCESSING, 1, lease_expire_time=SOON), expires_at=NOW)
        decision = on_result(held, MINE, FAILED, NOW, PATIENT, 0.5)
        assert decision == Decision(Reason.FINISHED, write=concluded(FAILED, 1, NOW, PATIENT, 0.5, NOW))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        pytest.param(SOON, SOON, id="timestamp"),
        pytest.param("2026-11-24T13:00:30+01:00", SOON, id="text"),
        pytest.param({"seconds": int(SOON.timestamp()), "nanoseconds": 0}, SOON, id="json"),
        pytest.param("tomorrow", None, id="unreadable-for-an-attempt-to-say-so"),
        pytest.param(5, None, id="a-number"),
        pytest.param(None, None, id="null"),
    ],
)
def test_it_is_read_like_send_at(value: object, read: datetime | None) -> None:
    assert DocumentState.of({"expiresAt": value}) == DocumentState(expires_at=read)
    assert DocumentState.of({"sendAt": value, "delivery": {"state": "RETRY"}}) == DocumentState(
        Delivery(State.RETRY), send_at=read
    )


@pytest.mark.parametrize(("value", "read"), [(True, True), (1, False), ("true", False), (None, False)])
def test_only_firepost_s_own_note_says_that_a_retry_goes_on(value: object, read: bool) -> None:
    assert Delivery.of({"state": "RETRY", "resumes": value}).resumes is read
