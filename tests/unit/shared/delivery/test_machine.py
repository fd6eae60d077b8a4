"""Each row of the tables in `shared.delivery.machine`'s docstring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

import pytest

from shared.delivery import history
from shared.delivery.machine import (
    concluded,
    is_marked,
    message_seed,
    on_dead_letter,
    on_event,
    on_message,
    on_reconcile,
    on_release,
    on_result,
    out,
    refused_mail,
    unpublishable,
)
from shared.delivery.model import (
    DELETE,
    MOST_ATTEMPTS,
    Decision,
    Delivery,
    DocumentState,
    Lease,
    Reason,
    Result,
    State,
)
from shared.delivery.policy import BackOff, LeaseExpiryPolicy, Policy, Ttl, TtlUnit
from shared.errors import ErrorCode
from shared.firestore.values import Reference

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
SOON = NOW + timedelta(seconds=30)
A_WEEK_AGO = NOW - timedelta(days=7)
LATER = NOW + timedelta(hours=1)
PAST = NOW - timedelta(seconds=30)
LEASE = timedelta(seconds=60)
POLICY = Policy(LEASE)
RETRYING = Policy(LEASE, max_attempts=2, lease_expiry=LeaseExpiryPolicy.RETRY)

NEW = DocumentState()
UNKNOWN_STATE = DocumentState(Delivery(None))


def known(state: State, **delivery: Any) -> DocumentState:
    return DocumentState(Delivery(state, **delivery))


PENDING = known(State.PENDING)
RETRY = known(State.RETRY, attempts=1)
HELD = known(State.PROCESSING, attempts=1, lease_expire_time=SOON)
EXPIRED = known(State.PROCESSING, attempts=1, lease_expire_time=PAST)
UNLEASED = known(State.PROCESSING, attempts=1)
SUCCESS = known(State.SUCCESS, attempts=1)
ERROR = known(State.ERROR, attempts=1)
SCHEDULED = known(State.PENDING, next_attempt_time=SOON)


GIVEN_UP = Result(State.ERROR, error="Given up.", error_code=ErrorCode.DEAD_LETTER)

#: The result for a document with an expired lease, unless it may be retried.
NOT_KNOWN = {
    "delivery.state": "ERROR",
    "delivery.endTime": NOW,
    "delivery.error": "Message processing lease expired. Whether the mail was sent is not known.",
    "delivery.errorCode": "lease-expired",
    "delivery.leaseExpireTime": None,
    "delivery.warnings": DELETE,
    "delivery.resumes": DELETE,
    "delivery.outageTime": DELETE,
    "delivery.history": [history.ended(1, PAST - LEASE, NOW, State.ERROR, "lease-expired")],
}


@pytest.mark.parametrize(
    "find",
    [
        pytest.param(lambda: on_event(HELD, EXPIRED, NOW, POLICY), id="seen-in-an-event"),
        pytest.param(lambda: on_message(EXPIRED, NOW, POLICY), id="at-the-next-delivery-of-its-message"),
        pytest.param(lambda: on_reconcile(EXPIRED, PAST, NOW, POLICY), id="found-without-a-message"),
        pytest.param(lambda: on_dead_letter(EXPIRED, False, True, NOW, GIVEN_UP, POLICY), id="its-message-given-up"),
    ],
)
def test_an_expired_lease_ends_the_same_way_whoever_finds_it(find: Callable[[], Decision]) -> None:
    assert find() == Decision(Reason.LEASE_EXPIRED, write=NOT_KNOWN)


class TestOnEvent:
    @pytest.mark.parametrize(
        ("old", "new", "reason", "publishes", "writes"),
        [
            pytest.param(ERROR, None, Reason.DELETED, False, None, id="deleted"),
            pytest.param(None, NEW, Reason.NEW, True, State.PENDING, id="just-created"),
            pytest.param(NEW, NEW, Reason.NEW, True, State.PENDING, id="edited-before-it-was-queued"),
            pytest.param(SUCCESS, NEW, Reason.NEW, True, State.PENDING, id="delivery-removed"),
            pytest.param(
                None, DocumentState(send_at=SOON), Reason.SCHEDULED, False, State.PENDING, id="sendAt-in-future"
            ),
            pytest.param(None, DocumentState(send_at=PAST), Reason.NEW, True, State.PENDING, id="sendAt-in-past"),
            pytest.param(None, DocumentState(send_at=NOW), Reason.NEW, True, State.PENDING, id="sendAt-this-moment"),
            pytest.param(None, UNKNOWN_STATE, Reason.UNKNOWN_STATE, False, None, id="unknown-state"),
            pytest.param(HELD, EXPIRED, Reason.LEASE_EXPIRED, False, State.ERROR, id="touched-after-lease-expiry"),
            pytest.param(PENDING, UNLEASED, Reason.LEASE_EXPIRED, False, State.ERROR, id="processing-without-lease"),
            pytest.param(PENDING, HELD, Reason.PROCESSING, False, None, id="claimed"),
            pytest.param(HELD, SUCCESS, Reason.FINAL_STATE, False, None, id="sent"),
            pytest.param(HELD, ERROR, Reason.FINAL_STATE, False, None, id="failed"),
            pytest.param(NEW, PENDING, Reason.OWN_WRITE, False, None, id="the-dispatchers-own-write"),
            pytest.param(NEW, SCHEDULED, Reason.OWN_WRITE, False, None, id="the-dispatchers-own-scheduling"),
            pytest.param(PENDING, PENDING, Reason.STILL_QUEUED, False, None, id="edited-while-pending"),
            pytest.param(RETRY, RETRY, Reason.STILL_QUEUED, False, None, id="edited-while-retry"),
            pytest.param(ERROR, RETRY, Reason.REQUEUED, True, None, id="user-retries-error"),
            pytest.param(SUCCESS, PENDING, Reason.REQUEUED, True, None, id="user-resends"),
            pytest.param(HELD, RETRY, Reason.REQUEUED, True, None, id="user-retries-while-processing"),
            pytest.param(PENDING, RETRY, Reason.REQUEUED, True, None, id="pending-to-retry"),
            pytest.param(HELD, PENDING, Reason.REQUEUED, True, None, id="released-by-its-holder"),
            pytest.param(None, PENDING, Reason.REQUEUED, True, None, id="created-as-pending"),
            pytest.param(NEW, RETRY, Reason.REQUEUED, True, None, id="retry-before-it-was-queued"),
            pytest.param(UNKNOWN_STATE, PENDING, Reason.REQUEUED, True, None, id="from-an-unknown-state"),
            pytest.param(HELD, SCHEDULED, Reason.NOT_DUE, False, None, id="deferred-by-a-sender"),
            pytest.param(
                ERROR, replace(RETRY, send_at=SOON), Reason.SCHEDULED, False, State.PENDING, id="retry-before-sendAt"
            ),
        ],
    )
    def test_row(
        self,
        old: DocumentState | None,
        new: DocumentState | None,
        reason: Reason,
        publishes: bool,
        writes: State | None,
    ) -> None:
        decision = on_event(old, new, NOW, POLICY)
        assert (decision.reason, decision.publish, written_state(decision)) == (reason, publishes, writes)

    def test_a_new_document_becomes_pending_with_the_extensions_fields(self) -> None:
        decision = on_event(None, NEW, NOW, POLICY)
        assert decision.write == {"delivery": {"startTime": NOW, "state": "PENDING", "attempts": 0, "error": None}}

    def test_a_time_to_live_is_counted_from_the_start(self) -> None:
        decision = on_event(None, NEW, NOW, Policy(LEASE, ttl=Ttl(2, TtlUnit.WEEK)))
        assert decision.write is not None
        assert decision.write["delivery"]["expireAt"] == NOW + timedelta(weeks=2)

    def test_a_document_due_later_shows_when(self) -> None:
        decision = on_event(None, DocumentState(send_at=SOON), NOW, POLICY)
        assert decision.write is not None
        assert decision.write["delivery"]["nextAttemptTime"] == SOON

    def test_a_rescheduled_document_gets_the_new_time(self) -> None:
        decision = on_event(ERROR, replace(RETRY, send_at=SOON), NOW, POLICY)
        assert decision.write == {"delivery.state": "PENDING", "delivery.nextAttemptTime": SOON}

    def test_scheduling_once_is_enough(self) -> None:
        """The event of the dispatcher's own scheduling write must not cause another write."""
        scheduled = DocumentState(Delivery(State.PENDING, attempts=1, next_attempt_time=SOON), send_at=SOON)
        assert on_event(RETRY, scheduled, NOW, POLICY) == Decision(Reason.NOT_DUE)

    def test_under_the_retry_policy_an_expired_lease_is_published_again(self) -> None:
        assert on_event(HELD, EXPIRED, NOW, RETRYING) == Decision(Reason.LEASE_EXPIRED, publish=True)


class TestOnMessage:
    @pytest.mark.parametrize(
        ("document", "policy", "reason", "acknowledges", "writes"),
        [
            pytest.param(None, POLICY, Reason.DELETED, True, None, id="deleted"),
            pytest.param(UNKNOWN_STATE, POLICY, Reason.UNKNOWN_STATE, True, None, id="unknown-state"),
            pytest.param(SUCCESS, POLICY, Reason.FINAL_STATE, True, None, id="success"),
            pytest.param(ERROR, POLICY, Reason.FINAL_STATE, True, None, id="error"),
            pytest.param(HELD, POLICY, Reason.LEASE_HELD, False, None, id="processing-lease-live"),
            pytest.param(HELD, RETRYING, Reason.LEASE_HELD, False, None, id="processing-lease-live-policy-retry"),
            pytest.param(EXPIRED, POLICY, Reason.LEASE_EXPIRED, True, State.ERROR, id="lease-expired"),
            pytest.param(UNLEASED, POLICY, Reason.LEASE_EXPIRED, True, State.ERROR, id="left-behind-without-lease"),
            pytest.param(EXPIRED, RETRYING, Reason.CLAIMED, True, State.PROCESSING, id="lease-expired-policy-retry"),
            pytest.param(DocumentState(send_at=SOON), POLICY, Reason.NOT_DUE, True, None, id="sendAt-in-future"),
            pytest.param(SCHEDULED, POLICY, Reason.NOT_DUE, True, None, id="scheduled"),
            pytest.param(
                replace(PENDING, send_at=SOON), POLICY, Reason.SCHEDULED, True, None, id="sendAt-set-while-queued"
            ),
            pytest.param(
                replace(SCHEDULED, send_at=LATER), POLICY, Reason.SCHEDULED, True, None, id="sendAt-moved-while-queued"
            ),
            pytest.param(
                known(State.RETRY, attempts=1, lease_expire_time=SOON),
                POLICY,
                Reason.LEASE_HELD,
                False,
                None,
                id="retry-while-an-attempt-runs",
            ),
            pytest.param(NEW, POLICY, Reason.CLAIMED, True, State.PROCESSING, id="ahead-of-the-dispatchers-write"),
            pytest.param(PENDING, POLICY, Reason.CLAIMED, True, State.PROCESSING, id="pending"),
            pytest.param(RETRY, POLICY, Reason.CLAIMED, True, State.PROCESSING, id="retry"),
        ],
    )
    def test_row(
        self, document: DocumentState | None, policy: Policy, reason: Reason, acknowledges: bool, writes: State | None
    ) -> None:
        decision = on_message(document, NOW, policy)
        assert (decision.reason, decision.acknowledge, written_state(decision)) == (reason, acknowledges, writes)
        assert (decision.lease is not None) == (reason is Reason.CLAIMED)

    def test_a_claim_counts_the_attempt_and_takes_the_lease(self) -> None:
        decision = on_message(RETRY, NOW, POLICY)
        assert decision.lease == Lease(2, NOW + LEASE)
        assert decision.write == {
            "delivery.state": "PROCESSING",
            "delivery.attempts": 2,
            "delivery.leaseExpireTime": NOW + LEASE,
            "delivery.startTime": NOW,
            "delivery.error": None,
            "delivery.errorCode": DELETE,
            "delivery.warnings": DELETE,
            "delivery.nextAttemptTime": DELETE,
            "delivery.republishTime": DELETE,
        }

    def test_attempts_end_even_under_the_retry_policy(self) -> None:
        """A mail that crashes its sender each time must not do so endlessly."""
        last = known(State.PROCESSING, attempts=2, lease_expire_time=PAST)
        assert on_message(last, NOW, RETRYING).reason is Reason.LEASE_EXPIRED

    def test_a_claim_keeps_the_start_time(self) -> None:
        decision = on_message(known(State.PENDING, start_time=PAST), NOW, POLICY)
        assert decision.write is not None
        assert "delivery.startTime" not in decision.write

    def test_a_claim_ahead_of_the_dispatcher_sets_the_time_to_live(self) -> None:
        decision = on_message(NEW, NOW, Policy(LEASE, ttl=Ttl(1, TtlUnit.DAY)))
        assert decision.write is not None
        assert decision.write["delivery.expireAt"] == NOW + timedelta(days=1)

    def test_a_time_to_live_that_an_application_has_set_is_kept(self) -> None:
        decision = on_message(known(State.PENDING, expire_at=SOON), NOW, Policy(LEASE, ttl=Ttl(1, TtlUnit.DAY)))
        assert decision.write is not None
        assert "delivery.expireAt" not in decision.write

    def test_a_claim_whose_answer_was_lost_is_recognised(self) -> None:
        mine = Lease(1, SOON)
        assert on_message(HELD, NOW, POLICY, written=mine) == Decision(Reason.CLAIMED, lease=mine)

    def test_another_senders_lease_on_the_same_attempt_is_not(self) -> None:
        other = Lease(1, SOON + timedelta(microseconds=1))
        assert on_message(HELD, NOW, POLICY, written=other).reason is Reason.LEASE_HELD


class TestOnResult:
    MINE = Lease(1, SOON)
    SENT = Result(State.SUCCESS, info={"accepted": ["a@b.c"]})
    GUESS = known(State.ERROR, attempts=1, error_code=ErrorCode.LEASE_EXPIRED, end_time=PAST)

    @pytest.mark.parametrize(
        ("document", "reason", "writes"),
        [
            pytest.param(None, Reason.DELETED, None, id="deleted"),
            pytest.param(HELD, Reason.FINISHED, State.SUCCESS, id="still-the-holder"),
            pytest.param(GUESS, Reason.LATE_RESULT, State.SUCCESS, id="lease-expiry-was-only-a-guess"),
            pytest.param(known(State.SUCCESS, attempts=1, end_time=NOW), Reason.FINISHED, None, id="already-written"),
            pytest.param(NEW, Reason.OUTDATED, None, id="delivery-removed"),
            pytest.param(
                known(State.PROCESSING, attempts=2, lease_expire_time=SOON), Reason.OUTDATED, None, id="newer-attempt"
            ),
            pytest.param(
                known(State.PROCESSING, attempts=1, lease_expire_time=NOW + LEASE),
                Reason.OUTDATED,
                None,
                id="same-attempt-number-of-another-lease",
            ),
            pytest.param(
                known(State.ERROR, attempts=2, error_code=ErrorCode.LEASE_EXPIRED),
                Reason.OUTDATED,
                None,
                id="newer-attempt-expired",
            ),
            pytest.param(known(State.SUCCESS, attempts=2), Reason.OUTDATED, None, id="newer-attempt-concluded"),
            pytest.param(RETRY, Reason.OUTDATED, None, id="expired-then-requeued"),
            pytest.param(
                known(State.ERROR, attempts=1, end_time=PAST), Reason.OUTDATED, None, id="another-result-stands"
            ),
            pytest.param(
                known(State.SUCCESS, attempts=1, end_time=PAST), Reason.OUTDATED, None, id="same-state-another-time"
            ),
            pytest.param(
                known(State.ERROR, attempts=1, end_time=NOW), Reason.OUTDATED, None, id="same-time-another-state"
            ),
            pytest.param(
                known(State.ERROR, attempts=1, lease_expire_time=SOON), Reason.OUTDATED, None, id="ended-by-hand"
            ),
        ],
    )
    def test_row(self, document: DocumentState | None, reason: Reason, writes: State | None) -> None:
        decision = on_result(document, self.MINE, self.SENT, NOW, POLICY, jitter=0.5)
        assert (decision.reason, written_state(decision)) == (reason, writes)

    @pytest.mark.parametrize("state", [State.PENDING, State.RETRY])
    def test_a_users_wish_for_another_attempt_stands(self, state: State) -> None:
        requeued = known(state, attempts=1, lease_expire_time=SOON)
        decision = on_result(requeued, self.MINE, self.SENT, NOW, POLICY, jitter=0.5)
        assert decision.reason is Reason.REQUEUED
        assert decision.write == {"delivery.endTime": NOW, "delivery.leaseExpireTime": None}

    def test_a_planned_retry_whose_answer_was_lost_is_recognised(self) -> None:
        later = concluded(FAILED, 1, NOW, PATIENT, jitter=0.5)
        written = known(State.RETRY, attempts=1, next_attempt_time=later["delivery.nextAttemptTime"])
        assert on_result(written, self.MINE, FAILED, NOW, PATIENT, jitter=0.5) == Decision(Reason.FINISHED)


PATIENT = Policy(LEASE, max_attempts=3)
FAILED = Result(State.ERROR, error="Later.", error_code=ErrorCode.TEMPORARY, unsettled=True)


class TestConcluded:
    def test_success_has_the_extensions_fields(self) -> None:
        assert concluded(Result(State.SUCCESS, info={"accepted": ["a@b.c"]}), 1, NOW, POLICY, jitter=0.5) == {
            "delivery.state": "SUCCESS",
            "delivery.endTime": NOW,
            "delivery.error": None,
            "delivery.errorCode": DELETE,
            "delivery.leaseExpireTime": None,
            "delivery.warnings": DELETE,
            "delivery.resumes": DELETE,
            "delivery.outageTime": DELETE,
            "delivery.info": {"accepted": ["a@b.c"]},
        }

    def test_an_error_has_a_text_and_a_code_and_keeps_info(self) -> None:
        failed = Result(State.ERROR, error="No.", error_code=ErrorCode.REJECTED, warnings=("Not sent: x.",))
        assert concluded(failed, 1, NOW, POLICY, jitter=0.5) == {
            "delivery.state": "ERROR",
            "delivery.endTime": NOW,
            "delivery.error": "No.",
            "delivery.errorCode": "rejected",
            "delivery.leaseExpireTime": None,
            "delivery.warnings": ["Not sent: x."],
            "delivery.resumes": DELETE,
            "delivery.outageTime": DELETE,
        }

    @pytest.mark.parametrize(
        ("result", "attempt", "policy", "state"),
        [
            pytest.param(FAILED, 1, POLICY, State.ERROR, id="by-default-nothing-is-tried-again"),
            pytest.param(FAILED, 1, PATIENT, State.RETRY, id="attempts-are-left"),
            pytest.param(FAILED, 3, PATIENT, State.ERROR, id="none-are-left"),
            pytest.param(replace(FAILED, unsettled=False), 1, PATIENT, State.ERROR, id="failed-for-good"),
            pytest.param(
                replace(FAILED, error_code=ErrorCode.UNKNOWN), 1, PATIENT, State.ERROR, id="unknown-at-most-once"
            ),
            pytest.param(
                replace(FAILED, error_code=ErrorCode.UNKNOWN), 1, RETRYING, State.RETRY, id="unknown-at-least-once"
            ),
            pytest.param(
                Result(State.SUCCESS, info={}, unsettled=True, progress={}), 1, PATIENT, State.RETRY, id="some-pending"
            ),
            pytest.param(
                Result(State.SUCCESS, info={}, unsettled=True, progress={}), 3, PATIENT, State.SUCCESS, id="given-up"
            ),
        ],
    )
    def test_another_attempt_follows_where_it_may_help(
        self, result: Result, attempt: int, policy: Policy, state: State
    ) -> None:
        changes = concluded(result, attempt, NOW, policy, jitter=0.5)
        assert changes["delivery.state"] is state
        assert ("delivery.nextAttemptTime" in changes) == (state is State.RETRY)
        assert ("delivery.endTime" in changes) == (state is not State.RETRY), "the Message-ID depends on it"

    def test_retention_applies_only_after_success(self) -> None:
        kept = {"message.html": DELETE}
        sent = Result(State.SUCCESS, info={}, unsettled=True, progress={}, retained=kept)
        assert "message.html" not in concluded(sent, 1, NOW, PATIENT, jitter=0.5)
        assert concluded(sent, 3, NOW, PATIENT, jitter=0.5)["message.html"] is DELETE
        assert "message.html" not in concluded(replace(FAILED, retained=kept), 3, NOW, PATIENT, jitter=0.5)

    def test_a_planned_retry_has_a_time_and_the_settled_recipients(self) -> None:
        info = {"accepted": ["a@b.c"], "pending": ["d@e.f"]}
        changes = concluded(replace(FAILED, progress=info), 2, NOW, PATIENT, jitter=0.5)
        assert changes["delivery.nextAttemptTime"] == NOW + timedelta(seconds=30)
        assert (changes["delivery.info"], changes["delivery.resumes"]) == (info, True)

    def test_a_pause_requested_by_the_server_replaces_the_back_off(self) -> None:
        changes = concluded(replace(FAILED, retry_after=300), 2, NOW, PATIENT, jitter=0.5)
        assert changes["delivery.nextAttemptTime"] == NOW + timedelta(seconds=300)


class TestOnRelease:
    MINE = Lease(1, SOON)

    def test_an_attempt_not_begun_does_not_count(self) -> None:
        decision = on_release(HELD, self.MINE)
        assert decision.reason is Reason.RELEASED
        assert decision.write == {
            "delivery.state": "PENDING",
            "delivery.attempts": 0,
            "delivery.leaseExpireTime": None,
            "delivery.nextAttemptTime": DELETE,
        }

    def test_it_may_have_a_time_to_try_again(self) -> None:
        decision = on_release(HELD, self.MINE, next_attempt=SOON)
        assert decision.write is not None
        assert decision.write["delivery.nextAttemptTime"] == SOON

    def test_in_an_outage_it_says_since_when_and_why_it_waits(self) -> None:
        decision = on_release(HELD, self.MINE, SOON, out(PAST, "!" * 3000, ErrorCode.CONNECTION))
        assert decision.write is not None
        assert decision.write["delivery.state"] is State.PENDING
        assert {name: decision.write[f"delivery.{name}"] for name in ("outageTime", "error", "errorCode")} == {
            "outageTime": PAST,
            "error": "!" * 2000,
            "errorCode": "connection",
        }

    def test_a_users_wish_stands(self) -> None:
        requeued = known(State.RETRY, attempts=1, lease_expire_time=SOON)
        changes = {"delivery.attempts": 0, "delivery.leaseExpireTime": None}
        notes = out(PAST, "!", ErrorCode.CONNECTION)
        assert on_release(requeued, self.MINE, SOON, notes) == Decision(Reason.REQUEUED, write=changes)

    @pytest.mark.parametrize(
        "document",
        [
            pytest.param(None, id="deleted"),
            pytest.param(NEW, id="delivery-removed"),
            pytest.param(known(State.PROCESSING, attempts=2, lease_expire_time=SOON), id="newer-attempt"),
            pytest.param(ERROR, id="concluded"),
            pytest.param(known(State.ERROR, attempts=1, lease_expire_time=SOON), id="ended-by-hand"),
        ],
    )
    def test_other_documents_are_ignored(self, document: DocumentState | None) -> None:
        assert on_release(document, self.MINE) == Decision(Reason.OUTDATED)


class TestOnReconcile:
    LONG_AGO = NOW - POLICY.stranded_after
    OVERDUE = known(State.PENDING, next_attempt_time=PAST)
    NOTHING = None
    UNSCHEDULE: Final = {"delivery.nextAttemptTime": DELETE}

    @pytest.mark.parametrize(
        ("document", "updated", "reason", "publishes", "writes"),
        [
            pytest.param(HELD, LONG_AGO, Reason.PROCESSING, False, NOTHING, id="in-work"),
            pytest.param(SUCCESS, PAST, Reason.UNSCHEDULED, False, UNSCHEDULE, id="scheduled-and-set-to-success"),
            pytest.param(ERROR, PAST, Reason.UNSCHEDULED, False, UNSCHEDULE, id="scheduled-and-set-to-error"),
            pytest.param(UNKNOWN_STATE, PAST, Reason.UNSCHEDULED, False, UNSCHEDULE, id="scheduled-and-put-aside"),
            pytest.param(NEW, PAST, Reason.UNSCHEDULED, False, UNSCHEDULE, id="scheduled-without-a-state"),
            pytest.param(SCHEDULED, LONG_AGO, Reason.NOT_DUE, False, NOTHING, id="due-later"),
            pytest.param(
                replace(SCHEDULED, send_at=PAST), LONG_AGO, Reason.NOT_DUE, False, NOTHING, id="due-later-than-sendAt"
            ),
            pytest.param(
                replace(PENDING, send_at=SOON),
                LONG_AGO,
                Reason.SCHEDULED,
                False,
                {"delivery.nextAttemptTime": SOON},
                id="sendAt-set-while-queued",
            ),
            pytest.param(
                replace(OVERDUE, send_at=LATER),
                LONG_AGO,
                Reason.SCHEDULED,
                False,
                {"delivery.nextAttemptTime": LATER},
                id="sendAt-moved-while-queued",
            ),
            pytest.param(OVERDUE, PAST, Reason.DUE, True, UNSCHEDULE, id="due"),
            pytest.param(
                known(State.RETRY, next_attempt_time=NOW), PAST, Reason.DUE, True, UNSCHEDULE, id="due-this-moment"
            ),
            pytest.param(PENDING, PAST, Reason.STILL_QUEUED, False, NOTHING, id="just-queued"),
            pytest.param(
                replace(PENDING, send_at=PAST), PAST, Reason.STILL_QUEUED, False, NOTHING, id="due-and-published"
            ),
            pytest.param(
                PENDING, LONG_AGO, Reason.STRANDED, True, {"delivery.republishTime": NOW}, id="pending-for-long"
            ),
            pytest.param(RETRY, LONG_AGO, Reason.STRANDED, True, {"delivery.republishTime": NOW}, id="retry-for-long"),
        ],
    )
    def test_row(
        self,
        document: DocumentState,
        updated: datetime,
        reason: Reason,
        publishes: bool,
        writes: dict[str, object] | None,
    ) -> None:
        assert on_reconcile(document, updated, NOW, POLICY) == Decision(reason, writes, publishes)

    def test_an_expired_lease_is_published_if_its_outcome_may_be_retried(self) -> None:
        assert on_reconcile(EXPIRED, PAST, NOW, RETRYING) == Decision(Reason.LEASE_EXPIRED, publish=True)

    @pytest.mark.parametrize("document", [OVERDUE, replace(RETRY, delivery=Delivery(State.RETRY, 1, None, None, PAST))])
    def test_the_event_of_its_own_write_publishes_nothing(self, document: DocumentState) -> None:
        """The write that follows the message leaves the state as it was, which is no request."""
        assert document.delivery is not None
        marked = replace(document, delivery=replace(document.delivery, next_attempt_time=None))
        assert on_event(document, marked, NOW, POLICY) == Decision(Reason.STILL_QUEUED)


class TestOnDeadLetter:
    @pytest.mark.parametrize(
        ("document", "reason", "writes"),
        [
            pytest.param(None, Reason.DELETED, None, id="deleted"),
            pytest.param(HELD, Reason.PROCESSING, None, id="its-holder-will-finish"),
            pytest.param(EXPIRED, Reason.LEASE_EXPIRED, State.ERROR, id="its-holder-vanished"),
            pytest.param(SCHEDULED, Reason.NOT_DUE, None, id="another-message-will-come"),
            pytest.param(NEW, Reason.DEAD_LETTER, State.ERROR, id="never-claimed"),
            pytest.param(PENDING, Reason.DEAD_LETTER, State.ERROR, id="pending"),
            pytest.param(RETRY, Reason.DEAD_LETTER, State.ERROR, id="retry"),
            pytest.param(SUCCESS, Reason.FINAL_STATE, None, id="sent"),
            pytest.param(UNKNOWN_STATE, Reason.UNKNOWN_STATE, None, id="unknown-state"),
        ],
    )
    def test_row(self, document: DocumentState | None, reason: Reason, writes: State | None) -> None:
        decision = on_dead_letter(document, False, False, NOW, GIVEN_UP, POLICY)
        assert (decision.reason, written_state(decision)) == (reason, writes)

    @pytest.mark.parametrize(
        ("document", "reason", "writes"),
        [
            pytest.param(NEW, Reason.SCHEDULED, State.PENDING, id="not-even-marked"),
            pytest.param(known(State.PENDING, start_time=NOW), Reason.SCHEDULED, None, id="this-moment"),
            pytest.param(known(State.PENDING, start_time=A_WEEK_AGO + INSTANT), Reason.SCHEDULED, None, id="a-week"),
            pytest.param(known(State.PENDING, start_time=A_WEEK_AGO), Reason.DEAD_LETTER, State.ERROR, id="longer"),
            pytest.param(known(State.PENDING, start_time=SOON), Reason.DEAD_LETTER, State.ERROR, id="forged"),
            pytest.param(known(State.PENDING, attempts=1), Reason.DEAD_LETTER, State.ERROR, id="attempted"),
            pytest.param(known(State.RETRY, start_time=PAST), Reason.DEAD_LETTER, State.ERROR, id="asked-for-again"),
        ],
    )
    def test_a_mail_that_no_sender_took_stays_queued_for_a_week(
        self, document: DocumentState, reason: Reason, writes: State | None
    ) -> None:
        decision = on_dead_letter(document, False, True, NOW, GIVEN_UP, POLICY)
        assert (decision.reason, written_state(decision)) == (reason, writes)

    def test_the_error_has_the_reason(self) -> None:
        assert on_dead_letter(PENDING, False, False, NOW, GIVEN_UP, POLICY).write == {
            "delivery.state": "ERROR",
            "delivery.endTime": NOW,
            "delivery.error": "Given up.",
            "delivery.errorCode": "dead-letter",
            "delivery.leaseExpireTime": None,
            "delivery.warnings": DELETE,
            "delivery.resumes": DELETE,
            "delivery.outageTime": DELETE,
        }

    @pytest.mark.parametrize("state", [State.PENDING, State.RETRY])
    def test_an_attempt_that_vanished_before_a_user_asked_again_is_recorded(self, state: State) -> None:
        asked = known(state, attempts=1, lease_expire_time=PAST)
        write = on_dead_letter(asked, False, True, NOW, GIVEN_UP, POLICY).write
        assert write is not None
        assert write["delivery.errorCode"] == "dead-letter"
        [entry] = write["delivery.history"]
        assert entry == history.ended(1, PAST - LEASE, NOW, State.ERROR, ErrorCode.LEASE_EXPIRED)

    def test_a_document_without_delivery_gets_all_of_it(self) -> None:
        ttl = Policy(LEASE, ttl=Ttl(1, TtlUnit.DAY))
        write = on_dead_letter(NEW, False, False, NOW, GIVEN_UP, ttl).write
        assert write is not None
        assert {
            name: write[f"delivery.{name}"] for name in ("state", "startTime", "attempts", "error", "expireAt")
        } == {
            "state": "ERROR",
            "startTime": NOW,
            "attempts": 0,
            "error": "Given up.",
            "expireAt": NOW + timedelta(days=1),
        }

    def test_a_users_retry_after_that_stands(self) -> None:
        assert on_dead_letter(RETRY, True, True, NOW, GIVEN_UP, POLICY) == Decision(Reason.REQUEUED)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(known(State.PENDING, start_time=PAST), True, id="as-the-dispatcher-marks-it"),
        pytest.param(known(State.PENDING, start_time=PAST, next_attempt_time=NOW), True, id="scheduled"),
        pytest.param(known(State.RETRY, start_time=PAST), False, id="retry"),
        pytest.param(known(State.PENDING, start_time=PAST, end_time=NOW), False, id="asked-for-after-the-end"),
        pytest.param(known(State.PENDING, start_time=PAST, attempts=1), False, id="asked-for-after-an-attempt"),
        pytest.param(PENDING, False, id="set-by-hand"),
        pytest.param(known(State.ERROR, start_time=PAST), False, id="concluded"),
        pytest.param(NEW, False, id="not-marked-yet"),
        pytest.param(None, False, id="deleted"),
    ],
)
def test_the_dispatchers_mark_can_be_told_from_a_users_request(document: DocumentState | None, expected: bool) -> None:
    assert is_marked(document) is expected


class TestUnpublishable:
    ERROR: ClassVar = {
        "delivery.state": "ERROR",
        "delivery.endTime": NOW,
        "delivery.error": "Pub/Sub refuses the message about this document, perhaps because of its id. "
        "The mail was not sent.",
        "delivery.errorCode": "dead-letter",
        "delivery.leaseExpireTime": None,
        "delivery.warnings": DELETE,
        "delivery.resumes": DELETE,
        "delivery.outageTime": DELETE,
        "delivery.nextAttemptTime": DELETE,
    }

    def test_a_new_document_gets_all_of_delivery(self) -> None:
        decision = on_event(None, NEW, NOW, POLICY)
        assert unpublishable(decision, NOW) == {"delivery.startTime": NOW, "delivery.attempts": 0} | self.ERROR

    @pytest.mark.parametrize(
        "decision",
        [
            pytest.param(on_event(None, RETRY, NOW, POLICY), id="no-other-write"),
            pytest.param(on_reconcile(PENDING, PAST - timedelta(days=1), NOW, POLICY), id="instead-of-a-note"),
        ],
    )
    def test_another_keeps_the_rest(self, decision: Decision) -> None:
        assert decision.publish
        assert unpublishable(decision, NOW) == self.ERROR


def test_the_document_of_a_refused_mail_has_only_delivery() -> None:
    result = Result(State.ERROR, error="Too deep.", error_code=ErrorCode.VALIDATION)
    assert refused_mail(result, NOW, Policy(LEASE, ttl=Ttl(1, TtlUnit.DAY))) == {
        "delivery.state": "ERROR",
        "delivery.startTime": NOW,
        "delivery.endTime": NOW,
        "delivery.attempts": 0,
        "delivery.error": "Too deep.",
        "delivery.errorCode": "validation",
        "delivery.leaseExpireTime": None,
        "delivery.expireAt": NOW + timedelta(days=1),
        "delivery.warnings": DELETE,
        "delivery.resumes": DELETE,
        "delivery.outageTime": DELETE,
    }


class TestMessageSeed:
    CLAIM = on_message(DocumentState(), NOW, POLICY)

    @pytest.mark.parametrize("first", [None, Delivery(State.PENDING), Delivery(State.PENDING, start_time=NOW)])
    def test_a_rerun_of_the_same_attempt_has_the_same_seed(self, first: Delivery | None) -> None:
        crashed = Delivery(State.PROCESSING, attempts=1, start_time=NOW, lease_expire_time=PAST)
        again = on_message(DocumentState(crashed), SOON, POLICY)
        assert message_seed("mail/a", NOW, first, self.CLAIM) == message_seed("mail/a", NOW, crashed, again)

    @pytest.mark.parametrize(
        ("path", "created", "delivery"),
        [
            pytest.param("mail/b", NOW, None, id="another-document"),
            pytest.param("mail/a", SOON, None, id="a-document-created-anew"),
            pytest.param(
                "mail/a", NOW, Delivery(State.RETRY, start_time=NOW, end_time=PAST), id="after-a-concluded-attempt"
            ),
            pytest.param("mail/a", NOW, Delivery(State.PENDING, start_time=PAST), id="without-its-former-delivery"),
        ],
    )
    def test_anything_else_has_another(self, path: str, created: datetime, delivery: Delivery | None) -> None:
        assert message_seed(path, created, delivery, self.CLAIM) != message_seed("mail/a", NOW, None, self.CLAIM)

    @pytest.mark.parametrize(
        ("delivery", "seed"),
        [
            pytest.param(None, "ds6lif7qhze3jrqv2xabekewz7ie3xkc", id="first-attempt"),
            pytest.param(
                Delivery(State.RETRY, start_time=PAST, end_time=NOW),
                "ltsg57chxalp5vmzy2bu5vaq35sxgfoo",
                id="asked-for-again",
            ),
        ],
    )
    def test_another_version_gives_the_same_seed(self, delivery: Delivery | None, seed: str) -> None:
        """A mail that one version has begun to send may be sent again by the next version."""
        assert message_seed("mail/a", PAST, delivery, self.CLAIM) == seed


class TestReading:
    def test_a_document_as_the_extension_writes_it(self) -> None:
        fields = {
            "delivery": {
                "state": "PROCESSING",
                "attempts": 2,
                "startTime": PAST,
                "leaseExpireTime": SOON,
                "error": None,
            }
        }
        expected = Delivery(State.PROCESSING, attempts=2, start_time=PAST, lease_expire_time=SOON)
        assert DocumentState.of(fields) == DocumentState(expected)

    @pytest.mark.parametrize(
        ("delivery", "expected"),
        [
            pytest.param(None, None, id="null-is-none"),
            pytest.param(False, None, id="false-is-none"),
            pytest.param(0, None, id="zero-is-none"),
            pytest.param("", None, id="empty-string-is-none"),
            pytest.param(True, None, id="true-is-none"),
            pytest.param(5, None, id="a-number-is-none"),
            pytest.param("PENDING", None, id="a-string-is-none"),
            pytest.param([{"state": "RETRY"}], None, id="a-list-is-none"),
            pytest.param({}, None, id="empty-map"),
            pytest.param({"attempts": 3, "error": "x"}, None, id="no-state"),
            pytest.param({"state": None}, None, id="state-null"),
            pytest.param({"state": ""}, None, id="state-empty"),
            pytest.param({"state": ["PENDING"]}, None, id="state-not-a-word"),
            pytest.param({"state": Reference("RETRY")}, None, id="state-a-reference"),
            pytest.param({"state": "DONE"}, Delivery(None), id="unknown-word"),
            pytest.param({"state": "RETRY", "attempts": "2"}, Delivery(State.RETRY), id="attempts-not-a-number"),
            pytest.param({"state": "RETRY", "attempts": True}, Delivery(State.RETRY), id="attempts-a-boolean"),
            pytest.param({"state": "RETRY", "attempts": float("nan")}, Delivery(State.RETRY), id="attempts-nan"),
            pytest.param({"state": "RETRY", "attempts": -1}, Delivery(State.RETRY), id="attempts-negative"),
            pytest.param({"state": "RETRY", "attempts": 10**6}, Delivery(State.RETRY, 10**6), id="most-attempts"),
            pytest.param(
                {"state": "RETRY", "attempts": 2**63 - 1}, Delivery(State.RETRY, 10**6), id="too-many-attempts"
            ),
            pytest.param({"state": "RETRY", "startTime": "now"}, Delivery(State.RETRY), id="time-not-a-timestamp"),
            pytest.param(
                {"state": "RETRY", "errorCode": "x" * 50}, Delivery(State.RETRY, error_code="x" * 50), id="code"
            ),
            pytest.param({"state": "RETRY", "errorCode": "x" * 51}, Delivery(State.RETRY), id="code-too-long"),
            pytest.param({"state": "RETRY", "errorCode": 5}, Delivery(State.RETRY), id="code-not-a-word"),
        ],
    )
    def test_what_others_may_write(self, delivery: Any, expected: Delivery | None) -> None:
        assert DocumentState.of({"delivery": delivery}).delivery == expected


class TestForged:
    """Times and counts that Firepost can't have written; whoever may write the document may write them."""

    LATEST_LEASE = NOW + timedelta(seconds=550)  # 540, and 10 for clocks that differ
    LATEST_SCHEDULE = NOW + timedelta(days=1)  # the longest wait that a mail server is granted
    FAR = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    FIRST = datetime(1, 1, 1, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("expires", "is_live"),
        [
            pytest.param(None, False, id="none"),
            pytest.param(FIRST, False, id="year-1"),
            pytest.param(NOW, False, id="now"),
            pytest.param(NOW + INSTANT, True, id="later"),
            pytest.param(LATEST_LEASE, True, id="the-longest"),
            pytest.param(LATEST_LEASE + INSTANT, False, id="longer-than-any"),
            pytest.param(FAR, False, id="year-9999"),
        ],
    )
    def test_a_lease_beyond_the_longest_is_nobodys(self, expires: datetime | None, is_live: bool) -> None:
        processing = known(State.PROCESSING, attempts=1, lease_expire_time=expires)
        queued = known(State.RETRY, attempts=1, lease_expire_time=expires)
        ended = Reason.PROCESSING if is_live else Reason.LEASE_EXPIRED
        assert on_event(None, processing, NOW, POLICY).reason is ended
        assert on_reconcile(processing, NOW, NOW, POLICY).reason is ended
        assert on_dead_letter(processing, False, True, NOW, GIVEN_UP, POLICY).reason is ended
        assert on_message(processing, NOW, POLICY).reason is (Reason.LEASE_HELD if is_live else Reason.LEASE_EXPIRED)
        assert on_message(queued, NOW, POLICY).reason is (Reason.LEASE_HELD if is_live else Reason.CLAIMED)

    @pytest.mark.parametrize(
        ("send_at", "scheduled", "waits"),
        [
            pytest.param(None, LATEST_SCHEDULE, True, id="the-latest"),
            pytest.param(None, LATEST_SCHEDULE + INSTANT, False, id="later-than-any"),
            pytest.param(None, FAR, False, id="year-9999"),
            pytest.param(None, FIRST, False, id="year-1"),
            pytest.param(PAST, FAR, False, id="year-9999-and-sendAt-has-come"),
            pytest.param(SOON, FAR, True, id="year-9999-and-sendAt-to-come"),
            pytest.param(FAR, FAR, True, id="as-sendAt-says"),
            pytest.param(FAR, FIRST, True, id="before-sendAt"),
        ],
    )
    def test_a_schedule_beyond_what_is_ever_scheduled_delays_nothing(
        self, send_at: datetime | None, scheduled: datetime, waits: bool
    ) -> None:
        queued = replace(known(State.RETRY, next_attempt_time=scheduled), send_at=send_at)
        assert (on_message(queued, NOW, POLICY).lease is None) is waits
        assert (on_dead_letter(queued, False, True, NOW, GIVEN_UP, POLICY).reason is Reason.NOT_DUE) is waits
        assert on_event(None, queued, NOW, POLICY).publish is not waits
        assert on_reconcile(queued, NOW - POLICY.stranded_after, NOW, POLICY).publish is not waits

    @pytest.mark.parametrize("queued", [known(State.RETRY, next_attempt_time=NOW), replace(RETRY, send_at=NOW)])
    def test_what_is_due_this_moment_is_published(self, queued: DocumentState) -> None:
        assert on_event(None, queued, NOW, POLICY) == Decision(Reason.REQUEUED, publish=True)

    def test_a_schedule_beyond_send_at_is_written_anew(self) -> None:
        queued = replace(known(State.RETRY, next_attempt_time=self.FAR), send_at=SOON)
        assert on_event(None, queued, NOW, POLICY) == Decision(
            Reason.SCHEDULED, write={"delivery.state": "PENDING", "delivery.nextAttemptTime": SOON}
        )

    def test_a_longer_back_off_allows_a_later_schedule(self) -> None:
        patient = replace(POLICY, back_off=BackOff(longest=timedelta(days=7)))
        queued = known(State.RETRY, next_attempt_time=NOW + timedelta(days=7))
        assert on_message(queued, NOW, patient).reason is Reason.NOT_DUE
        assert on_message(queued, NOW, POLICY).reason is Reason.CLAIMED

    def test_nothing_is_scheduled_later_than_it_is_believed(self) -> None:
        result = Result(State.ERROR, error="Later.", error_code=ErrorCode.THROTTLED, unsettled=True, retry_after=1e6)
        changes = concluded(result, 1, NOW, replace(POLICY, max_attempts=2), 0.5)
        assert changes["delivery.nextAttemptTime"] == self.LATEST_SCHEDULE

    def test_attempts_are_counted_up_to_the_most_and_the_claim_still_has_its_own_lease(self) -> None:
        most = known(State.RETRY, attempts=MOST_ATTEMPTS)
        claim = on_message(most, NOW, POLICY)
        assert claim.lease == Lease(MOST_ATTEMPTS, NOW + LEASE)
        held = Delivery.of({"state": "PROCESSING", "attempts": MOST_ATTEMPTS, "leaseExpireTime": NOW + LEASE})
        assert held.holds(claim.lease)


def written_state(decision: Decision) -> State | None:
    if decision.write is None:
        return None
    state = decision.write.get("delivery.state") or decision.write.get("delivery", {}).get("state")
    return State(state) if state else None
