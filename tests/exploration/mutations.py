"""Deliberately wrong rules, each of which could lose a mail, send it twice, or report a wrong result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from shared.delivery import machine
from shared.delivery.model import QUEUED, Changes, Decision, DocumentState, Lease, Reason, Result, State
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.errors import ErrorCode
from tests.exploration.rules import Rules

Mutation = Callable[[Rules], Rules]


def _without_fencing(
    known: DocumentState | None, lease: Lease, result: Result, now: datetime, policy: Policy, jitter: float
) -> Decision:
    if known is None:
        return Decision(Reason.DELETED)
    return Decision(Reason.FINISHED, write=machine.concluded(result, lease.attempt, now, policy, jitter))


def _over_a_users_request(
    known: DocumentState | None, lease: Lease, result: Result, now: datetime, policy: Policy, jitter: float
) -> Decision:
    if known and known.delivery and known.delivery.holds(lease):
        return Decision(Reason.FINISHED, write=machine.concluded(result, lease.attempt, now, policy, jitter))
    return machine.on_result(known, lease, result, now, policy, jitter)


def _without_ending_the_lease(
    known: DocumentState | None, lease: Lease, result: Result, now: datetime, policy: Policy, jitter: float
) -> Decision:
    decision = machine.on_result(known, lease, result, now, policy, jitter)
    if decision.reason is not Reason.REQUEUED or decision.write is None:
        return decision
    return replace(decision, write={"delivery.state": State.SUCCESS})


def _claims_over_a_live_lease(
    known: DocumentState | None, now: datetime, policy: Policy, written: Lease | None
) -> Decision:
    return machine.on_message(known, now + timedelta(days=1), policy, written)


def _claims_final_documents(
    known: DocumentState | None, now: datetime, policy: Policy, written: Lease | None
) -> Decision:
    decision = machine.on_message(known, now, policy, written)
    if decision.reason is Reason.FINAL_STATE and known and known.delivery:
        queued = replace(known, delivery=replace(known.delivery, state=State.PENDING))
        return machine.on_message(queued, now, policy, written)
    return decision


def _leaves_expired_leases(
    known: DocumentState | None, now: datetime, policy: Policy, written: Lease | None
) -> Decision:
    decision = machine.on_message(known, now, policy, written)
    return Decision(Reason.LEASE_HELD) if decision.reason is Reason.LEASE_EXPIRED else decision


def _acknowledges_while_the_lease_is_held(
    known: DocumentState | None, now: datetime, policy: Policy, written: Lease | None
) -> Decision:
    return replace(machine.on_message(known, now, policy, written), acknowledge=True)


def _retries_the_unknown(known: DocumentState | None, now: datetime, policy: Policy, written: Lease | None) -> Decision:
    retrying = replace(policy, lease_expiry=LeaseExpiryPolicy.RETRY, max_attempts=9)
    return machine.on_message(known, now, retrying, written)


def _takes_anothers_lease(
    known: DocumentState | None, now: datetime, policy: Policy, written: Lease | None
) -> Decision:
    """Compares only the attempt number of the lease, not its time."""
    found = known.delivery if known else None
    if written and found and found.state is State.PROCESSING and found.attempts == written.attempt:
        return Decision(Reason.CLAIMED, lease=written)
    return machine.on_message(known, now, policy, written)


def _treats_unknown_as_not_sent(
    result: Result, attempt: int, now: datetime, policy: Policy, jitter: float, expires_at: datetime | None
) -> Changes:
    if result.error_code is ErrorCode.UNKNOWN:
        result = replace(result, error_code=ErrorCode.TEMPORARY)
    return machine.concluded(result, attempt, now, policy, jitter, expires_at)


def _reports_every_attempt_as_success(
    result: Result, attempt: int, now: datetime, policy: Policy, jitter: float, expires_at: datetime | None
) -> Changes:
    return machine.concluded(replace(result, state=State.SUCCESS), attempt, now, policy, jitter, expires_at)


def _gives_up_at_once(
    result: Result, attempt: int, now: datetime, policy: Policy, jitter: float, expires_at: datetime | None
) -> Changes:
    return machine.concluded(replace(result, unsettled=False), attempt, now, policy, jitter, expires_at)


def _releases_anything(
    known: DocumentState | None, lease: Lease, later: datetime | None, notes: Changes | None
) -> Decision:
    return Decision(Reason.RELEASED, write=machine.released(lease, later)) if known else Decision(Reason.OUTDATED)


def _ignores_requests(old: DocumentState | None, new: DocumentState | None, now: datetime, policy: Policy) -> Decision:
    decision = machine.on_event(old, new, now, policy)
    return replace(decision, publish=False) if decision.reason is Reason.REQUEUED else decision


def _finds_nothing_expired(known: DocumentState, updated: datetime, now: datetime, policy: Policy) -> Decision:
    decision = machine.on_reconcile(known, updated, now, policy)
    return Decision(Reason.PROCESSING) if decision.reason is Reason.LEASE_EXPIRED else decision


def _ignores_due_documents(known: DocumentState, updated: datetime, now: datetime, policy: Policy) -> Decision:
    decision = machine.on_reconcile(known, updated, now, policy)
    return Decision(Reason.NOT_DUE) if decision.reason is Reason.DUE else decision


def _dead_letters_a_running_attempt(
    known: DocumentState | None, changed: bool, given_up: bool, now: datetime, result: Result, policy: Policy
) -> Decision:
    if known and known.delivery and known.delivery.state is State.PROCESSING:
        queued = replace(known, delivery=replace(known.delivery, state=QUEUED[0]))
        return machine.on_dead_letter(queued, changed, given_up, now, result, policy)
    return machine.on_dead_letter(known, changed, given_up, now, result, policy)


def _keeps_the_note_of_an_outage(
    result: Result, attempt: int, now: datetime, policy: Policy, jitter: float, expires_at: datetime | None
) -> Changes:
    changes = dict(machine.concluded(result, attempt, now, policy, jitter, expires_at))
    del changes["delivery.outageTime"]
    return changes


def _waits_for_ever(
    policy: Policy, code: ErrorCode, since: datetime, now: datetime, wanted: timedelta
) -> timedelta | None:
    return policy.back_off.first


def _with_delivery(known: DocumentState | None, **changes: Any) -> DocumentState | None:
    return replace(known, delivery=replace(known.delivery, **changes)) if known and known.delivery else known


def _is_cancelled(known: DocumentState | None) -> bool:
    return known is not None and known.delivery is not None and known.delivery.state is State.CANCELLED


def _claims_cancelled_mails(
    known: DocumentState | None, now: datetime, policy: Policy, written: Lease | None
) -> Decision:
    if _is_cancelled(known):
        known = _with_delivery(known, state=State.PENDING, lease_expire_time=None)
    return machine.on_message(known, now, policy, written)


def _goes_on_after_cancelling(
    known: DocumentState | None, lease: Lease, result: Result, now: datetime, policy: Policy, jitter: float
) -> Decision:
    if _is_cancelled(known):
        known = _with_delivery(known, state=State.PROCESSING)
    return machine.on_result(known, lease, result, now, policy, jitter)


def _drops_the_result_of_a_cancelled_mail(
    known: DocumentState | None, lease: Lease, result: Result, now: datetime, policy: Policy, jitter: float
) -> Decision:
    if _is_cancelled(known):
        return Decision(Reason.OUTDATED)
    return machine.on_result(known, lease, result, now, policy, jitter)


def _queues_a_cancelled_mail_again(
    known: DocumentState | None, lease: Lease, later: datetime | None, notes: Changes | None
) -> Decision:
    if _is_cancelled(known):
        known = _with_delivery(known, state=State.PROCESSING)
    return machine.on_release(known, lease, later, notes)


def _ends_expired_mails_despite_a_lease(
    known: DocumentState | None, now: datetime, policy: Policy, written: Lease | None
) -> Decision:
    decision = machine.on_message(_with_delivery(known, lease_expire_time=None), now, policy, written)
    return decision if decision.reason is Reason.EXPIRED else machine.on_message(known, now, policy, written)


def _ends_mails_before_they_expire(
    known: DocumentState | None, now: datetime, policy: Policy, written: Lease | None
) -> Decision:
    decision = machine.on_message(known, now + timedelta(days=1), policy, written)
    return decision if decision.reason is Reason.EXPIRED else machine.on_message(known, now, policy, written)


def _leaves_expired_mails_queued(known: DocumentState, updated: datetime, now: datetime, policy: Policy) -> Decision:
    decision = machine.on_reconcile(known, updated, now, policy)
    return Decision(Reason.NOT_DUE) if decision.reason is Reason.EXPIRED else decision


def _ignores_expiry(
    result: Result, attempt: int, now: datetime, policy: Policy, jitter: float, expires_at: datetime | None
) -> Changes:
    return machine.concluded(result, attempt, now, policy, jitter)


def _calls_everything_expired(
    result: Result, attempt: int, now: datetime, policy: Policy, jitter: float, expires_at: datetime | None
) -> Changes:
    changes = machine.concluded(result, attempt, now, policy, jitter, expires_at)
    if expires_at is None or changes["delivery.state"] is not State.ERROR:
        return changes
    return {**changes, "delivery.errorCode": ErrorCode.EXPIRED}


def _takes_expired_leases_for_unsent(
    known: DocumentState | None, now: datetime, policy: Policy, written: Lease | None
) -> Decision:
    if known and known.delivery and known.delivery.state is State.PROCESSING:
        known = _with_delivery(known, unsent_lease=known.delivery.lease_expire_time)
    return machine.on_message(known, now, policy, written)


def _sends_without_a_look_at_the_lease(known: DocumentState | None, lease: Lease) -> Decision:
    return Decision(Reason.PROCESSING, write=machine.SENDING if known and known.delivery else None)


def _never_notes_that_it_sends(known: DocumentState | None, lease: Lease) -> Decision:
    return Decision(Reason.PROCESSING, write={})


def _as_if_begun(rules: Rules) -> Rules:
    """Unsent mails are left to their users, whoever finds them."""
    policy = replace(rules.policy, lease_expiry=LeaseExpiryPolicy.ERROR)

    def forgetting(known: DocumentState | None) -> DocumentState | None:
        return _with_delivery(known, unsent_lease=None)

    return replace(
        rules,
        on_event=lambda old, new, now, _: machine.on_event(old, forgetting(new), now, policy),
        on_message=lambda known, now, rule, written: machine.on_message(forgetting(known), now, rule, written),
        on_reconcile=lambda known, updated, now, _: machine.on_reconcile(
            forgetting(known) or known, updated, now, policy
        ),
    )


def _holds_without_a_schedule(decision: Decision, known: DocumentState, now: datetime, policy: Policy) -> Decision:
    held = machine.while_paused(decision, known, now, policy)
    return replace(held, write=None) if held.reason is Reason.PAUSED else held


#: By description (see docs/reliability.md): the scenario of `SMALL` that detects the mutation, and the mutation.
MUTATIONS: Final[Mapping[str, tuple[str, Mutation]]] = {
    "a result is written without a look at the lease": (
        "once, asked again",
        lambda rules: replace(rules, on_result=_without_fencing),
    ),
    "a result overwrites a user's RETRY": (
        "once, asked again",
        lambda rules: replace(rules, on_result=_over_a_users_request),
    ),
    "a result concludes a user's RETRY": (
        "once, asked again",
        lambda rules: replace(rules, on_result=_without_ending_the_lease),
    ),
    "writes ignore their precondition": (
        "once, a crash",
        lambda rules: replace(rules, conditional=False),
    ),
    "the write comes before the message": (
        "once, a crash",
        lambda rules: replace(rules, publishes_first=False),
    ),
    "a live lease is claimed": (
        "once, asked again",
        lambda rules: replace(rules, on_message=_claims_over_a_live_lease),
    ),
    "a final document is claimed": (
        "once, a crash",
        lambda rules: replace(rules, on_message=_claims_final_documents),
    ),
    "a held document's message is acknowledged": (
        "once, asked again",
        lambda rules: replace(rules, on_message=_acknowledges_while_the_lease_is_held),
    ),
    "an expired lease is claimed under LEASE_EXPIRY_POLICY=error": (
        "once, a crash",
        lambda rules: replace(rules, on_message=_retries_the_unknown),
    ),
    "an expired lease is left alone": (
        "once, a crash",
        lambda rules: replace(rules, on_message=_leaves_expired_leases, on_reconcile=_finds_nothing_expired),
    ),
    "another's lease is taken for one's own": (
        "once, a crash",
        lambda rules: replace(rules, on_message=_takes_anothers_lease),
    ),
    "an unknown outcome counts as not sent": (
        "twice if surely not sent",
        lambda rules: replace(rules, concluded=_treats_unknown_as_not_sent),
    ),
    "every attempt is called a success": (
        "once, a crash",
        lambda rules: replace(rules, concluded=_reports_every_attempt_as_success),
    ),
    "a temporary failure is final although attempts are left": (
        "twice if surely not sent",
        lambda rules: replace(rules, concluded=_gives_up_at_once),
    ),
    "a claim is released without a look at it": (
        "once, a release and a lost answer",
        lambda rules: replace(rules, on_release=_releases_anything),
    ),
    "a user's RETRY is not published": (
        "once, asked again",
        lambda rules: replace(rules, on_event=_ignores_requests),
    ),
    "what is due is left alone": (
        "once, a release and a lost answer",
        lambda rules: replace(rules, on_reconcile=_ignores_due_documents),
    ),
    "a dead letter ends a running attempt": (
        "once, a dead letter and a repeat",
        lambda rules: replace(rules, on_dead_letter=_dead_letters_a_running_attempt),
    ),
    "a cancelled mail is claimed": (
        "once, cancelled",
        lambda rules: replace(rules, on_message=_claims_cancelled_mails),
    ),
    "a cancelled mail is tried again": (
        "twice if surely not sent, cancelled",
        lambda rules: replace(rules, on_result=_goes_on_after_cancelling),
    ),
    "a claim on a cancelled mail is released as if it were not cancelled": (
        "once, cancelled, a release",
        lambda rules: replace(rules, on_release=_queues_a_cancelled_mail_again),
    ),
    "a cancelled mail's result is not written": (
        "once, cancelled",
        lambda rules: replace(rules, on_result=_drops_the_result_of_a_cancelled_mail),
    ),
    "a mail is handed over after it has expired": (
        "twice if surely not sent, expires",
        lambda rules: replace(rules, expired=lambda known, now: False),
    ),
    "an expired mail ends although an attempt runs": (
        "once, expires, asked again",
        lambda rules: replace(rules, on_message=_ends_expired_mails_despite_a_lease),
    ),
    "a mail ends before it expires": (
        "twice if surely not sent, expires",
        lambda rules: replace(rules, on_message=_ends_mails_before_they_expire),
    ),
    "an expired mail stays queued": (
        "once, expires, a release",
        lambda rules: replace(rules, on_reconcile=_leaves_expired_mails_queued),
    ),
    "another attempt is scheduled for after a mail has expired": (
        "twice if surely not sent, expires",
        lambda rules: replace(rules, concluded=_ignores_expiry),
    ),
    "an unknown outcome is called expired": (
        "twice whatever happened, expires at once",
        lambda rules: replace(rules, concluded=_calls_everything_expired),
    ),
    "a mail counts as unsent although its handing over has begun": (
        "again if unsent, a crash",
        lambda rules: replace(rules, on_message=_takes_expired_leases_for_unsent),
    ),
    "a mail is handed over without a look at the lease": (
        "again if unsent, a lost answer",
        lambda rules: replace(rules, on_sending=_sends_without_a_look_at_the_lease),
    ),
    "a mail is handed over without a note that it is": (
        "again if unsent, a lost answer",
        lambda rules: replace(rules, on_sending=_never_notes_that_it_sends),
    ),
    "a mail whose outcome is unknown goes through another transport": (
        "once, two transports",
        lambda rules: replace(rules, may_fail_over=lambda failure: True),
    ),
    "an outage is a failed attempt": (
        "once, two outages",
        lambda rules: replace(rules, outage_pause=lambda *known: None),
    ),
    "a mail waits for a server for longer than its patience": (
        "once, two outages",
        lambda rules: replace(rules, outage_pause=_waits_for_ever),
    ),
    "a mail that has ended still waits for a server": (
        "once, two outages",
        lambda rules: replace(rules, concluded=_keeps_the_note_of_an_outage),
    ),
    "a mail is claimed while all mail is paused": (
        "once, paused",
        lambda rules: replace(rules, while_paused=lambda decision, *_: decision),
    ),
    "a mail that waits for the end of a pause is not scheduled": (
        "once, paused",
        lambda rules: replace(rules, while_paused=_holds_without_a_schedule),
    ),
    "an unsent mail is not tried again": ("again if unsent, a crash", _as_if_begun),
}
