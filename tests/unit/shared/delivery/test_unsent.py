"""LEASE_EXPIRY_POLICY=retry-unsent: what is surely unsent is tried again by itself, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from sender.worker.claims import Claims
from shared.delivery.machine import (
    SENDING,
    on_dead_letter,
    on_event,
    on_message,
    on_reconcile,
    on_result,
    on_sending,
)
from shared.delivery.model import DELETE, Decision, Delivery, DocumentState, Lease, Reason, Result, State
from shared.delivery.policy import UNSENT_RETRIES, LeaseExpiryPolicy, Policy
from shared.delivery.store import Claim, ClaimRequest, Conflict, Finish, Release
from shared.errors import Deferred, ErrorCode
from tests import assembly
from tests.assembly import LEASE
from tests.fakes import Clock, MemoryDatabase

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PAST, SOON = NOW - timedelta(seconds=30), NOW + timedelta(seconds=30)
POLICY = Policy(LEASE, lease_expiry=LeaseExpiryPolicy.RETRY_UNSENT)
AT_MOST_ONCE = Policy(LEASE)
AT_LEAST_ONCE = Policy(LEASE, max_attempts=2, lease_expiry=LeaseExpiryPolicy.RETRY)
POLICIES = (POLICY, AT_MOST_ONCE, AT_LEAST_ONCE)
SENT = Result(State.SUCCESS, info={})
NO_REPLY = Result(State.ERROR, error="?", error_code=ErrorCode.UNKNOWN, unsettled=True)
HELD = Lease(1, SOON)


def processing(**delivery: Any) -> DocumentState:
    held: dict[str, Any] = {"state": State.PROCESSING, "attempts": 1, "lease_expire_time": PAST}
    return DocumentState(Delivery(**held | delivery))


UNSENT = processing(unsent_lease=PAST)
BEGUN = processing()
OF_ANOTHER_LEASE = processing(unsent_lease=PAST - LEASE)

FINDERS: Final[dict[str, Callable[[DocumentState, Policy], Decision]]] = {
    "dispatcher": lambda known, policy: on_event(known, known, NOW, policy),
    "reconciler": lambda known, policy: on_reconcile(known, PAST, NOW, policy),
    "dead-letter handler": lambda known, policy: on_dead_letter(
        known, False, True, NOW, Result(State.ERROR, error_code=ErrorCode.DEAD_LETTER), policy
    ),
    "sender": lambda known, policy: on_message(known, NOW, policy),
}
by_each = pytest.mark.parametrize("find", [pytest.param(find, id=name) for name, find in FINDERS.items()])


class TestAnExpiredLease:
    @by_each
    @pytest.mark.parametrize(
        ("known", "policy"),
        [
            pytest.param(UNSENT, POLICY, id="surely unsent"),
            pytest.param(UNSENT, AT_LEAST_ONCE, id="at least once"),
            pytest.param(
                processing(unsent_lease=PAST, attempts=UNSENT_RETRIES), POLICY, id="the last time that it is tried"
            ),
        ],
    )
    def test_leads_to_another_attempt(
        self, find: Callable[[DocumentState, Policy], Decision], known: DocumentState, policy: Policy
    ) -> None:
        decision = find(known, policy)
        assert decision.publish or decision.lease is not None
        assert decision.reason is (Reason.CLAIMED if decision.lease else Reason.LEASE_EXPIRED)

    @by_each
    @pytest.mark.parametrize(
        ("known", "policy", "code"),
        [
            pytest.param(BEGUN, POLICY, "lease-expired", id="the handing over has begun"),
            pytest.param(OF_ANOTHER_LEASE, POLICY, "lease-expired", id="unsent under an earlier lease"),
            pytest.param(
                processing(lease_expire_time=None, unsent_lease=None), POLICY, "lease-expired", id="without a lease"
            ),
            pytest.param(UNSENT, AT_MOST_ONCE, "temporary", id="surely unsent, and another policy now"),
            pytest.param(
                processing(unsent_lease=PAST, attempts=1 + UNSENT_RETRIES), POLICY, "temporary", id="tried too often"
            ),
            pytest.param(replace(UNSENT, expires_at=NOW), POLICY, "temporary", id="the mail has expired"),
        ],
    )
    def test_ends_the_mail(
        self, find: Callable[[DocumentState, Policy], Decision], known: DocumentState, policy: Policy, code: str
    ) -> None:
        decision = find(known, policy)
        assert (decision.reason, decision.publish) == (Reason.LEASE_EXPIRED, False)
        assert decision.write is not None
        assert (decision.write["delivery.state"], decision.write["delivery.errorCode"]) == ("ERROR", code)
        assert ("Nothing was sent" in decision.write["delivery.error"]) == (code == "temporary")
        assert decision.write["delivery.history"][-1]["errorCode"] == code

    def test_is_told_by_the_history_when_the_next_attempt_begins(self) -> None:
        decision = on_message(UNSENT, NOW, POLICY)
        assert decision.write is not None
        [entry] = decision.write["delivery.history"]
        assert (entry["attempt"], entry["state"], entry["errorCode"]) == (1, "ERROR", "temporary")


def test_a_claim_says_that_nothing_has_been_sent_only_under_this_policy() -> None:
    claims = {policy.lease_expiry: on_message(DocumentState(), NOW, policy).write or {} for policy in POLICIES}
    assert claims[POLICY.lease_expiry]["delivery.unsentLease"] == NOW + LEASE
    assert all("delivery.unsentLease" not in claims[other.lease_expiry] for other in (AT_MOST_ONCE, AT_LEAST_ONCE))


@pytest.mark.parametrize(
    ("known", "decision"),
    [
        pytest.param(None, Decision(Reason.DELETED), id="deleted"),
        pytest.param(DocumentState(), Decision(Reason.OUTDATED), id="delivery removed"),
        pytest.param(
            processing(lease_expire_time=SOON, unsent_lease=SOON), Decision(Reason.PROCESSING, SENDING), id="held"
        ),
        pytest.param(
            processing(lease_expire_time=SOON),
            Decision(Reason.PROCESSING, SENDING),
            id="noted, and the answer was lost",
        ),
        pytest.param(processing(lease_expire_time=NOW), Decision(Reason.OUTDATED), id="another's lease"),
        pytest.param(processing(lease_expire_time=SOON, attempts=2), Decision(Reason.OUTDATED), id="a newer attempt"),
        *(
            pytest.param(
                processing(state=state, lease_expire_time=SOON, unsent_lease=SOON), Decision(Reason.OUTDATED), id=state
            )
            for state in State
            if state is not State.PROCESSING
        ),
    ],
)
def test_the_holder_may_begin_to_send(known: DocumentState | None, decision: Decision) -> None:
    assert on_sending(known, HELD) == decision


def test_no_late_result_replaces_the_knowledge_that_nothing_was_sent() -> None:
    ended = processing(state=State.ERROR, lease_expire_time=None, end_time=NOW, error_code="temporary")
    assert on_result(ended, HELD, SENT, SOON, POLICY, 0.0).reason is Reason.OUTDATED


def test_an_unknown_outcome_is_not_retried() -> None:
    decision = on_result(processing(lease_expire_time=SOON), HELD, NO_REPLY, NOW, POLICY, 0.0)
    assert decision.write is not None
    assert decision.write["delivery.state"] is State.ERROR


class TestClaims:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def database(self) -> MemoryDatabase:
        database = MemoryDatabase()
        database.put("mail/a", {"to": "a@b.c"})
        return database

    @pytest.fixture
    def claims(self, database: MemoryDatabase) -> Claims:
        return assembly.claims(database, POLICY)

    @pytest.fixture
    def claim(self, claims: Claims, clock: Clock) -> Claim:
        claim = claims.begin(ClaimRequest("mail/a", clock.now))
        assert isinstance(claim, Claim)
        return claim

    @pytest.mark.parametrize("lost", [0, 1], ids=["", "an answer is lost"])
    @pytest.mark.parametrize("edited", [False, True], ids=["", "edited meanwhile"])
    def test_the_note_removes_what_the_claim_said_and_the_result_follows_without_a_conflict(
        self, database: MemoryDatabase, claims: Claims, claim: Claim, clock: Clock, lost: int, edited: bool
    ) -> None:
        assert database.documents["mail/a"].fields["delivery"]["unsentLease"] == claim.lease.expires
        if edited:
            database.edit("mail/a", {"note": "seen"})
        database.lose_answers = lost
        sending = claims.sending(claim)
        assert "unsentLease" not in database.documents["mail/a"].fields["delivery"]
        assert sending.version == database.documents["mail/a"].version
        assert claims.end(Finish(sending, SENT, clock.now, 0.5)).reason is Reason.FINISHED

    def test_the_notes_of_unchanged_documents_share_a_request(self, database: MemoryDatabase, clock: Clock) -> None:
        database.put("mail/b", {"to": "a@b.c"})
        store = assembly.store(database, POLICY)
        first, second = store.claim([ClaimRequest(f"mail/{name}", clock.now) for name in "ab"])
        assert isinstance(first, Claim)
        assert isinstance(second, Claim)
        database.edit("mail/b", {"note": "seen"})
        assert store.sending([first, second]) == [database.documents["mail/a"].version, Conflict()]

    @pytest.mark.parametrize("state", ["RETRY", "CANCELLED"])
    def test_nothing_may_be_sent_after_a_users_request(
        self, database: MemoryDatabase, claims: Claims, claim: Claim, state: str
    ) -> None:
        database.edit("mail/a", {"delivery.state": state})
        with pytest.raises(Deferred):
            claims.sending(claim)
        claims.end(Release(claim))
        delivery = database.documents["mail/a"].fields["delivery"]
        assert (delivery["state"], delivery["attempts"], delivery["leaseExpireTime"]) == (state, 0, None)

    def test_nothing_may_be_sent_under_a_lease_that_another_has_replaced(
        self, claims: Claims, claim: Claim, clock: Clock
    ) -> None:
        clock.advance(LEASE)
        assert isinstance(claims.begin(ClaimRequest("mail/a", clock.now)), Claim)
        with pytest.raises(Deferred):
            claims.sending(claim)

    def test_nothing_may_be_sent_if_firestore_does_not_confirm(
        self, database: MemoryDatabase, clock: Clock, claim: Claim
    ) -> None:
        database.lose_answers = 1_000
        with pytest.raises(Deferred):
            assembly.claims(database, POLICY, patience=0.0).sending(claim)

    def test_another_policy_costs_no_write(self, database: MemoryDatabase, clock: Clock) -> None:
        claims = assembly.claims(database, AT_MOST_ONCE)
        claim = claims.begin(ClaimRequest("mail/a", clock.now))
        assert isinstance(claim, Claim)
        assert claims.sending(claim) is claim
        assert database.documents["mail/a"].version == claim.version


def test_the_note_is_a_deletion() -> None:
    assert SENDING == {"delivery.unsentLease": DELETE}
