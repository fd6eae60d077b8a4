"""The state machine of one mail: a document's known state in, a decision out. No I/O; `now` is always an argument.

The values of `delivery.state`:

    state       means                                          left by
    (none)      just written                                   dispatcher → PENDING, or sender → PROCESSING
    PENDING     queued                                         sender's claim → PROCESSING
    RETRY       a user (or back-off) wants another attempt     sender's claim → PROCESSING
    PROCESSING  one sender holds the lease                     the holder → SUCCESS / ERROR, RETRY to try again
                                                               later, PENDING to give it back; lease expiry → ERROR
    SUCCESS     accepted for at least one recipient            only a user, who sets PENDING or RETRY
    ERROR       not sent, or outcome unknown                   only a user, who sets PENDING or RETRY
    CANCELLED   a user does not want it any more; nobody       only a user, who sets PENDING or RETRY; and the holder
                else writes it                                 of a lease → SUCCESS / ERROR, since that is the truth

A mail is "too late" if it can't be sent in time: `expiresAt` has come (`expired`), or is not after `sendAt`
(`validation`). It ends as ERROR without an attempt; the code stays `unknown` if it was to be sent again after that.
Two things come first: a live lease, since its holder may be sending the mail, and earlier recipients
(`delivery.resumes`), since only an attempt can tell whom they include. That attempt sends nothing
(`sender.worker.attempt`).

`on_event`: the dispatcher's decision about a document event (first matching row):

    new document               old document           decision
    deleted                    any                    ignore (deleted)
    no delivery, too late      any                    write ERROR (expired, invalid)
    no delivery, due           any                    publish, then write PENDING (new)
    no delivery, due later     any                    write PENDING with nextAttemptTime (scheduled)
    unknown state              any                    ignore (unknown-state)
    PROCESSING, lease expired  any                    write ERROR (lease-expired); or publish, if it may be retried
    PROCESSING                 any                    ignore (processing)
    SUCCESS or ERROR           any                    ignore (final-state)
    CANCELLED                  any                    ignore (cancelled)
    PENDING                    without delivery       ignore (own-write)
    PENDING or RETRY           same state             ignore (still-queued)
    … too late                 anything else          write ERROR (expired, invalid)
    … due later, as scheduled  anything else          ignore (not-due)
    … due later                anything else          write PENDING with nextAttemptTime (scheduled)
    PENDING or RETRY           anything else          publish (requeued)

`on_message`: a sender's decision about a message for a document (first matching row):

    document                                      decision
    deleted                                       acknowledge (deleted)
    unknown state                                 acknowledge (unknown-state)
    SUCCESS or ERROR                              acknowledge (final-state)
    CANCELLED                                     acknowledge (cancelled)
    PROCESSING, the lease this sender wrote       continue the attempt (claimed)
    PROCESSING, lease live                        don't acknowledge (lease-held)
    PROCESSING, lease expired, may be retried     claim (claimed)
    PROCESSING, lease expired                     write ERROR, acknowledge (lease-expired)
    none, PENDING or RETRY, too late              write ERROR, acknowledge (expired, invalid)
    none, or as scheduled, due later              acknowledge (not-due)
    PENDING or RETRY, due later                   write nextAttemptTime, acknowledge (scheduled)
    PENDING or RETRY, lease still live            don't acknowledge (lease-held)
    none, PENDING or RETRY                        claim (claimed)

`on_sending`: whether the holder of a lease may begin to hand the mail over, under `retry-unsent` (first matching row):

    document                                      decision
    deleted                                       nothing, and send nothing (deleted)
    PROCESSING, same lease                        remove unsentLease, and send (processing)
    anything else                                 nothing, and send nothing (outdated)

`on_result`: what the holder of a lease may write after its attempt (first matching row):

    document                                      decision
    deleted                                       nothing (deleted)
    PROCESSING, same lease                        write the result (finished)
    ERROR by lease expiry, same attempt           write the result: the truth replaces the guess (late-result)
    CANCELLED, same lease or so expired           write the result, but a RETRY as ERROR or SUCCESS (cancelled)
    PENDING or RETRY, same lease                  only end the lease: the user's request stands (requeued)
    already this result                           nothing: an earlier write's answer was lost (finished)
    anything else                                 nothing: a newer attempt owns the document (outdated)

`on_release`: what the holder of a lease may write if it has not begun to send (first matching row):

    document                                      decision
    PROCESSING, same lease                        write PENDING, the attempt not counted; in an outage
                                                  also outageTime and the error (released)
    PENDING or RETRY, same lease                  only end the lease (requeued)
    CANCELLED, same lease                         only end the lease (cancelled)
    anything else                                 nothing (outdated)

`on_reconcile`: the reconciler's decision about a document that its queries found (first matching row):

    document                                      decision
    PROCESSING, lease live                        nothing (processing)
    PROCESSING, lease expired                     as `on_event` (lease-expired)
    SUCCESS, ERROR, CANCELLED, unknown or none    remove nextAttemptTime (unscheduled)
    PENDING or RETRY, too late                    write ERROR (expired, invalid)
    PENDING or RETRY, due later, as scheduled     nothing (not-due)
    PENDING or RETRY, due later                   write nextAttemptTime (scheduled)
    PENDING or RETRY, with a nextAttemptTime      publish, remove nextAttemptTime (due)
    PENDING or RETRY, unchanged for too long      publish, write republishTime (stranded)
    PENDING or RETRY                              nothing (still-queued)

"As scheduled": `nextAttemptTime` is the time at which the document is due, or expires if that is earlier. The
reconciler finds what is due by this field alone. So every decision to wait makes it true, and every decision that ends
the wait removes it.

An attempt that finds the mail server out is released until the mail has waited for OUTAGE_PATIENCE
(`Policy.outage_pause`). `outageTime` says since when it waits, and stays until an attempt or the mail ends.

`on_dead_letter`: the decision about a document whose message Pub/Sub has given up (first matching row):

    document                                      decision
    PROCESSING, lease live                        nothing: its holder will finish (processing)
    PROCESSING, lease expired                     as `on_event` (lease-expired)
    none, PENDING or RETRY, too late, and not     write ERROR (expired, invalid)
        written since
    PENDING or RETRY, due later                   nothing: another message will come (not-due)
    written since, not by the dispatcher's mark   nothing: another message is on its way (requeued)
    none, given up by Pub/Sub                     write PENDING with nextAttemptTime (scheduled)
    … PENDING for less than a week, no attempt    write nextAttemptTime: it is published again (scheduled)
    none, PENDING or RETRY                        write ERROR (dead-letter)
    anything else                                 nothing (deleted, final-state, cancelled, unknown-state)

`while_paused`: what becomes of the decisions above while all mail is paused (`shared.delivery.pause`):

    decision                                      becomes
    publish (new, requeued, stranded)             write nextAttemptTime (paused)
    publish (due, lease-expired)                  nothing: the reconciler finds it again (paused)
    claim of a document in PROCESSING             acknowledge: the same (paused)
    claim of any other                            write nextAttemptTime, acknowledge (paused)
    anything else                                 the same

If the dispatcher can't write that, because the document has changed since the event, it publishes after all: the newer
event may be one that it ignores, because a message should be on its way. Whoever gets the message decides anew.

That `nextAttemptTime` is since when the mail has been waiting. So what is due comes in the order of age. A mail whose
transport or lane is paused is a sender's business, which puts it off until the same time of the next day (`next_look`).

`after_pause`: the reconciler's decision about a document due within a day, when mail was resumed (first matching row):

    document                                      decision
    PENDING or RETRY, put off by `next_look`      write nextAttemptTime, since when it has been waiting (resumed)
    anything else                                 as `on_reconcile`

From then on it is due. A message at once could come before that write, and be acknowledged as not due.

"May be retried": the mail has not expired, and LEASE_EXPIRY_POLICY is `retry` and MAX_ATTEMPTS not reached; or it is
`retry-unsent`, the mail is surely unsent, and not more than UNSENT_RETRIES attempts beyond MAX_ATTEMPTS were made.

A mail in PROCESSING is "surely unsent" if `unsentLease` equals `leaseExpireTime`. Under `retry-unsent`, the claim says
so, and its holder removes it before it begins to hand the mail over. Otherwise it stays, and the next lease makes it
untrue, whatever policy or version writes that. If a surely unsent mail may not be retried, the ERROR for its expired
lease says that nothing was sent (`temporary`); no late result replaces it.

A lease is the pair (`attempts`, `leaseExpireTime`). A document in PROCESSING without a lease time counts as expired:
nobody holds it; the extension leaves such documents behind. So does one with a time beyond the longest lease.

Everything in `delivery` may be forged. "No delivery" is a `delivery` without a word as its state; "due later" is a
`sendAt` in the future, or a `nextAttemptTime` that is not beyond what Firepost schedules (`DocumentState.due`); a
`republishTime` in the future is none.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from shared.delivery import history
from shared.delivery.model import (
    DELETE,
    MAX_TEXT,
    MOST_ATTEMPTS,
    QUEUED,
    UNFINISHED,
    Changes,
    Decision,
    Delivery,
    DocumentState,
    Lease,
    Reason,
    Result,
    State,
)
from shared.delivery.policy import Policy, Ttl
from shared.errors import ErrorCode

#: How long Pub/Sub keeps a message (its maximum), and a mail that no sender takes stays queued.
MESSAGES_KEPT: Final = timedelta(days=7)

_UNSCHEDULED: Final = {"delivery.nextAttemptTime": DELETE}

_DAY: Final = timedelta(days=1)

#: The note, in a document that is as its claim left it, that the mail is about to be handed over.
SENDING: Final[Changes] = {"delivery.unsentLease": DELETE}

_UNKNOWN: Final = Result(
    State.ERROR,
    error="Message processing lease expired. Whether the mail was sent is not known.",
    error_code=ErrorCode.LEASE_EXPIRED,
)
_VANISHED: Final = Result(
    State.ERROR,
    error="Message processing lease expired before the mail was handed over. Nothing was sent in this attempt.",
    error_code=ErrorCode.TEMPORARY,
)
_EXPIRED: Final = Result(
    State.ERROR,
    error="No attempt was made, because the mail has expired. RETRY needs a later 'expiresAt', or none.",
    error_code=ErrorCode.EXPIRED,
)
_EXPIRED_AFTER_UNKNOWN: Final = Result(
    State.ERROR,
    error="The mail expired before another attempt. Whether the last one sent it is not known.",
    error_code=ErrorCode.UNKNOWN,
)
_NEVER_DUE: Final = Result(
    State.ERROR,
    error="Field 'expiresAt': expected a time after 'sendAt', found no later one. The mail can never be sent.",
    error_code=ErrorCode.VALIDATION,
)


def on_event(old: DocumentState | None, new: DocumentState | None, now: datetime, policy: Policy) -> Decision:
    """Decide about one document event, for the dispatcher; see the table above."""
    if new is None:
        return Decision(Reason.DELETED)
    delivery = new.delivery
    if delivery is None:
        return _on_new_event(new, now, policy)
    match delivery.state:
        case None:
            return Decision(Reason.UNKNOWN_STATE)
        case State.PROCESSING if delivery.leased(now):
            return Decision(Reason.PROCESSING)
        case State.PROCESSING:
            return _on_expired_lease(new, delivery, now, policy)
        case State.SUCCESS | State.ERROR:
            return Decision(Reason.FINAL_STATE)
        case State.CANCELLED:
            return Decision(Reason.CANCELLED)
        case State.PENDING | State.RETRY:  # pragma: no branch (no state is left, says mypy)
            return _on_queued_event(old, new, delivery, now, policy)


def _on_new_event(new: DocumentState, now: datetime, policy: Policy) -> Decision:
    if ended := _too_late(new, now, policy):
        return ended
    pending = _pending(now, policy.ttl)
    if new.send_at is not None and new.send_at > now:
        return Decision(Reason.SCHEDULED, write={"delivery": pending | {"nextAttemptTime": new.send_at}})
    return Decision(Reason.NEW, publish=True, write={"delivery": pending})


def _on_expired_lease(known: DocumentState, delivery: Delivery, now: datetime, policy: Policy) -> Decision:
    if _may_be_retried(known, delivery, now, policy):
        return Decision(Reason.LEASE_EXPIRED, publish=True)
    return Decision(Reason.LEASE_EXPIRED, write=_lease_expired(delivery, now, policy))


def _may_be_retried(known: DocumentState, delivery: Delivery, now: datetime, policy: Policy) -> bool:
    unsent = delivery.surely_unsent and policy.retries_unsent(delivery.attempts)
    return (unsent or policy.retries_unknown(delivery.attempts)) and not known.expired(now)


def _on_queued_event(
    old: DocumentState | None, new: DocumentState, delivery: Delivery, now: datetime, policy: Policy
) -> Decision:
    if old is not None and old.delivery is None and delivery.state is State.PENDING:
        return Decision(Reason.OWN_WRITE)
    if old is not None and old.delivery is not None and old.delivery.state is delivery.state:
        return Decision(Reason.STILL_QUEUED)
    if ended := _too_late(new, now, policy):
        return ended
    due = new.due(now, policy.longest_pause)
    if due is None or due <= now:
        return Decision(Reason.REQUEUED, publish=True)
    if delivery.next_attempt_time == due:
        return Decision(Reason.NOT_DUE)
    return Decision(Reason.SCHEDULED, write={"delivery.state": State.PENDING, "delivery.nextAttemptTime": due})


def on_message(known: DocumentState | None, now: datetime, policy: Policy, written: Lease | None = None) -> Decision:
    """Decide about a message for this document, for a sender; see the table above.

    `written` is a lease that this sender tried to write without getting an answer.
    """
    if known is None:
        return Decision(Reason.DELETED)
    delivery = known.delivery or Delivery(State.PENDING)
    match delivery.state:
        case None:
            return Decision(Reason.UNKNOWN_STATE)
        case State.SUCCESS | State.ERROR:
            return Decision(Reason.FINAL_STATE)
        case State.CANCELLED:
            return Decision(Reason.CANCELLED)
        case State.PROCESSING if written is not None and delivery.holds(written):
            return Decision(Reason.CLAIMED, lease=written)
        case State.PROCESSING if not delivery.leased(now) and not _may_be_retried(known, delivery, now, policy):
            return _on_expired_lease(known, delivery, now, policy)
        case State.PENDING | State.RETRY if ended := _too_late(known, now, policy):
            return ended
        case State.PENDING | State.RETRY if known.due_later(now, policy.longest_pause):
            return _waiting(known, now, policy)
    if delivery.leased(now):
        return Decision(Reason.LEASE_HELD, acknowledge=False)
    return _claim(delivery, now, policy)


def _claim(delivery: Delivery, now: datetime, policy: Policy) -> Decision:
    lease = Lease(min(delivery.attempts + 1, MOST_ATTEMPTS), now + policy.lease)
    write: dict[str, Any] = {
        "delivery.state": State.PROCESSING,
        "delivery.attempts": lease.attempt,
        "delivery.leaseExpireTime": lease.expires,
        "delivery.error": None,
        "delivery.errorCode": DELETE,
        "delivery.warnings": DELETE,
        "delivery.nextAttemptTime": DELETE,
        "delivery.republishTime": DELETE,
    }
    if policy.notes_sending:
        write["delivery.unsentLease"] = lease.expires
    begun = _started(delivery, now, policy) | _without_result(delivery, now, policy)
    return Decision(Reason.CLAIMED, write=write | begun, lease=lease)


def _started(delivery: Delivery, now: datetime, policy: Policy) -> dict[str, Any]:
    """What is written when a mail is first dealt with, if that is now."""
    if delivery.start_time is not None:
        return {}
    expires = {"delivery.expireAt": policy.ttl.expire_at(now)} if policy.ttl and delivery.expire_at is None else {}
    return {"delivery.startTime": now} | expires


def on_sending(known: DocumentState | None, lease: Lease) -> Decision:
    """Decide whether the holder of `lease` may begin to hand the mail over: if there is something to write."""
    if known is None:
        return Decision(Reason.DELETED)
    delivery = known.delivery
    if delivery is None or delivery.state is not State.PROCESSING or not delivery.holds(lease):
        return Decision(Reason.OUTDATED)
    return Decision(Reason.PROCESSING, write=SENDING)


def on_result(
    known: DocumentState | None, lease: Lease, result: Result, now: datetime, policy: Policy, jitter: float
) -> Decision:
    """Decide what the holder of `lease` may still write of its attempt's `result`; see the table above.

    `now` and `jitter` are as in `concluded`.
    """
    if known is None:
        return Decision(Reason.DELETED)
    delivery, changes = known.delivery, concluded(result, lease.attempt, now, policy, jitter, known.expires_at)
    if delivery is None or delivery.attempts != lease.attempt:
        return Decision(Reason.OUTDATED)
    if delivery.holds(lease):
        if delivery.state is State.PROCESSING:
            return Decision(Reason.FINISHED, write=changes)
        if delivery.state in QUEUED:
            return Decision(Reason.REQUEUED, write={"delivery.endTime": now, "delivery.leaseExpireTime": None})
    is_guess = delivery.error_code == ErrorCode.LEASE_EXPIRED
    if delivery.state is State.ERROR and is_guess:
        return Decision(Reason.LATE_RESULT, write=changes)
    if delivery.state is State.CANCELLED and (is_guess or delivery.holds(lease)):
        return Decision(Reason.CANCELLED, write=_final(result, now))
    if delivery.state is changes["delivery.state"] and delivery.has_times_of(changes):
        return Decision(Reason.FINISHED)
    return Decision(Reason.OUTDATED)


def on_release(
    known: DocumentState | None, lease: Lease, next_attempt: datetime | None = None, notes: Changes | None = None
) -> Decision:
    """Decide what the holder of `lease` may write to give it back before sending; for the rest, see `released`."""
    if known is None or known.delivery is None or not known.delivery.holds(lease):
        return Decision(Reason.OUTDATED)
    delivery, changes = known.delivery, released(lease, next_attempt, known.expires_at, notes)
    ended = {path: changes[path] for path in ("delivery.attempts", "delivery.leaseExpireTime")}
    if delivery.state in QUEUED:
        return Decision(Reason.REQUEUED, write=ended)
    if delivery.state is State.CANCELLED:
        return Decision(Reason.CANCELLED, write=ended)
    if delivery.state is State.PROCESSING:
        return Decision(Reason.RELEASED, write=changes)
    return Decision(Reason.OUTDATED)


def on_reconcile(known: DocumentState, updated: datetime, now: datetime, policy: Policy) -> Decision:
    """Decide about a document last written at `updated`, for the reconciler; see the table above."""
    delivery = known.delivery
    if delivery is None or delivery.state not in UNFINISHED:
        return Decision(Reason.UNSCHEDULED, write=_UNSCHEDULED)
    if delivery.state is State.PROCESSING:
        return Decision(Reason.PROCESSING) if delivery.leased(now) else _on_expired_lease(known, delivery, now, policy)
    if ended := _too_late(known, now, policy):
        return ended
    if known.due_later(now, policy.longest_pause):
        return _waiting(known, now, policy)
    if delivery.next_attempt_time is not None:
        return Decision(Reason.DUE, publish=True, write=_UNSCHEDULED)
    if now - updated >= policy.stranded_after:
        return Decision(Reason.STRANDED, publish=True, write={"delivery.republishTime": now})
    return Decision(Reason.STILL_QUEUED)


def _waiting(known: DocumentState, now: datetime, policy: Policy) -> Decision:
    """The decision about a document that is due later: its `nextAttemptTime` must say when.

    It may not if `sendAt` or `expiresAt` was changed while the document was queued.
    """
    due = known.due(now, policy.longest_pause)
    if known.delivery is None or known.delivery.next_attempt_time == due:
        return Decision(Reason.NOT_DUE)
    return Decision(Reason.SCHEDULED, write={"delivery.nextAttemptTime": due})


def while_paused(decision: Decision, known: DocumentState, now: datetime, policy: Policy) -> Decision:
    """What becomes of a decision about this document while all mail is paused; see the table above."""
    claims = decision.lease is not None and decision.write is not None
    if not (decision.publish or claims):
        return decision
    delivery = known.delivery
    if decision.reason is Reason.DUE or (delivery is not None and delivery.state is State.PROCESSING):
        return Decision(Reason.PAUSED)
    begun = {} if delivery else _by_path(_pending(now, policy.ttl))
    return Decision(Reason.PAUSED, write=begun | {"delivery.nextAttemptTime": known.waiting_since(now)})


def next_look(known: DocumentState, now: datetime) -> datetime:
    """When a mail whose transport or lane is paused is claimed again: a whole number of days after it began to wait."""
    since = known.waiting_since(now)
    return since + ((now - since) // _DAY + 1) * _DAY


def after_pause(known: DocumentState, updated: datetime, now: datetime, policy: Policy) -> Decision:
    """Decide about a document last written at `updated` that a sender may have put off; see the table above."""
    decision, delivery = on_reconcile(known, updated, now, policy), known.delivery
    if decision.reason is Reason.NOT_DUE and delivery and _waits_for_part(known, delivery.next_attempt_time, now):
        return Decision(Reason.RESUMED, write={"delivery.nextAttemptTime": known.waiting_since(now)})
    return decision


def _waits_for_part(known: DocumentState, scheduled: datetime | None, now: datetime) -> bool:
    """Whether the document is scheduled as `next_look` says, or for its expiry, if that comes first."""
    if scheduled is None or (known.send_at is not None and known.send_at > now):
        return False
    return scheduled == known.expires_at or (scheduled - known.waiting_since(now)) % _DAY == timedelta(0)


def on_dead_letter(
    known: DocumentState | None, changed: bool, given_up: bool, now: datetime, result: Result, policy: Policy
) -> Decision:
    """Decide about a document whose message the sender has refused, or Pub/Sub has `given_up`; see the table above.

    `changed`: the document was written after that. `result` is the ERROR to write.
    """
    if known is None:
        return Decision(Reason.DELETED)
    delivery = known.delivery or Delivery(State.PENDING)
    match delivery.state:
        case State.PROCESSING if delivery.leased(now):
            return Decision(Reason.PROCESSING)
        case State.PROCESSING:
            return _on_expired_lease(known, delivery, now, policy)
        case State.PENDING | State.RETRY:
            return _on_dead_letter_of_queued(known, changed, given_up, now, result, policy)
        case State.CANCELLED:
            return Decision(Reason.CANCELLED)
        case State.SUCCESS | State.ERROR:
            return Decision(Reason.FINAL_STATE)
        case None:  # pragma: no branch (no state is left, says mypy)
            return Decision(Reason.UNKNOWN_STATE)


def _on_dead_letter_of_queued(
    known: DocumentState, changed: bool, given_up: bool, now: datetime, result: Result, policy: Policy
) -> Decision:
    if not changed and (ended := _too_late(known, now, policy)):
        return ended
    if known.due_later(now, policy.longest_pause):
        return Decision(Reason.NOT_DUE)
    if changed:
        return Decision(Reason.REQUEUED)
    delivery = known.delivery
    begun = {} if delivery else _by_path(_pending(now, policy.ttl))
    if given_up and _may_stay_queued(known, now):
        return Decision(Reason.SCHEDULED, write=begun | {"delivery.nextAttemptTime": now})
    vanished = _without_result(delivery, now, policy) if delivery else {}
    return Decision(Reason.DEAD_LETTER, write=begun | _ended(result, now) | vanished)


def _may_stay_queued(known: DocumentState, now: datetime) -> bool:
    """Whether a mail never got an attempt, for lack of senders, and has not waited longer than messages are kept."""
    if known.delivery is None:
        return True
    started = known.delivery.start_time
    return is_marked(known) and started is not None and timedelta(0) <= now - started < MESSAGES_KEPT


def is_marked(known: DocumentState | None) -> bool:
    """Whether the document is as the dispatcher marks a new one: queued, never attempted, and nothing else asked for.

    A user's request differs: its state is RETRY, or an attempt or an end came before it, or it has no `startTime`.
    """
    match known:
        case DocumentState(Delivery(State.PENDING, attempts=0, start_time=datetime(), end_time=None)):
            return True
    return False


def _too_late(known: DocumentState, now: datetime, policy: Policy) -> Decision | None:
    """The decision about a queued document that can't be sent in time; None if it can, or an attempt must see to it."""
    delivery = known.delivery
    if delivery is not None and (delivery.resumes or delivery.leased(now)):
        return None
    if known.never_due:
        reason, result = Reason.INVALID, _NEVER_DUE
    elif known.expired(now):
        reason, result = Reason.EXPIRED, _EXPIRED_AFTER_UNKNOWN if _follows_unknown(delivery) else _EXPIRED
    else:
        return None
    if delivery is None:
        begun = _by_path(_pending(now, policy.ttl))
    else:
        begun = _started(delivery, now, policy) | _without_result(delivery, now, policy)
    return Decision(reason, write=begun | _UNSCHEDULED | _ended(result, now))


def _follows_unknown(delivery: Delivery | None) -> bool:
    """Whether a queued mail is to be sent again because nobody knows whether it was; not if a user has asked for it."""
    return delivery is not None and delivery.error_code == ErrorCode.UNKNOWN and delivery.end_time is None


def unpublishable(decision: Decision, now: datetime) -> Changes:
    """What to write instead of `decision`, whose message Pub/Sub refuses for good."""
    error = "Pub/Sub refuses the message about this document, perhaps because of its id. The mail was not sent."
    result = Result(State.ERROR, error=error, error_code=ErrorCode.DEAD_LETTER)
    begun = (decision.write or {}).get("delivery", {})
    return _by_path(begun) | _UNSCHEDULED | _ended(result, now)


def refused_mail(result: Result, now: datetime, policy: Policy) -> Changes:
    """The document that tells the publisher of an inline mail why it was refused: `delivery` and nothing else."""
    return _by_path(_pending(now, policy.ttl)) | _ended(result, now)


def concluded(
    result: Result, attempt: int, now: datetime, policy: Policy, jitter: float, expires_at: datetime | None = None
) -> Changes:
    """The changes that end an attempt at `now`: with a final state, or with RETRY if another attempt may help.

    `jitter` is random, from 0 to 1. `expires_at` is the mail's `expiresAt`, before which that attempt must begin.
    """
    next_attempt = _next_attempt(result, attempt, now, policy, jitter)
    if next_attempt is None:
        return _final(result, now)
    if expires_at is not None and next_attempt >= expires_at:
        return _final(_out_of_time(result), now)
    # Without `endTime`: the mail continues, with the same Message-ID.
    changes = _outcome(result) | {"delivery.state": State.RETRY, "delivery.nextAttemptTime": next_attempt}
    if result.progress is not None:
        changes |= {"delivery.info": dict(result.progress), "delivery.resumes": True}
    return changes


def _next_attempt(result: Result, attempt: int, now: datetime, policy: Policy, jitter: float) -> datetime | None:
    """When to try again; None if that does not help, or the policy forbids it."""
    may_retry = result.unsettled and attempt < policy.max_attempts
    if not may_retry or (result.error_code is ErrorCode.UNKNOWN and not policy.retries_unknown(attempt)):
        return None
    requested = None if result.retry_after is None else timedelta(seconds=result.retry_after)
    return now + min(requested or policy.back_off.delay(attempt, jitter), policy.longest_pause)


def _out_of_time(result: Result) -> Result:
    """The result of an attempt after which the mail expires: the same if somebody was, or may have been, reached."""
    if result.state is State.SUCCESS or result.error_code is ErrorCode.UNKNOWN:
        return result
    text = f"The mail expires ('expiresAt') before another attempt. The last one failed: {result.error}"
    return replace(result, error=text[:MAX_TEXT], error_code=ErrorCode.EXPIRED)


def _final(result: Result, now: datetime) -> Changes:
    """The changes that end an attempt at `now` with the result's own state."""
    changes = _ended(result, now)
    return {**changes, **result.retained} if result.state is State.SUCCESS else changes


def out(since: datetime, error: str, code: ErrorCode) -> Changes:
    """The notes on a mail that has waited since `since` for a server that is out."""
    return {"delivery.outageTime": since, "delivery.error": error[:MAX_TEXT], "delivery.errorCode": code}


def released(
    lease: Lease,
    next_attempt: datetime | None = None,
    expires_at: datetime | None = None,
    notes: Changes | None = None,
) -> Changes:
    """The changes that undo a claim as if it had never been made.

    `next_attempt` is when to try again; it counts up to `expires_at`, when the mail ends. `notes` say what the mail
    waits for.
    """
    times = [time for time in (next_attempt, expires_at) if time is not None]
    return {
        "delivery.state": State.PENDING,
        "delivery.attempts": lease.attempt - 1,
        "delivery.leaseExpireTime": None,
        "delivery.nextAttemptTime": min(times) if next_attempt else DELETE,
        **(notes or {}),
    }


def _ended(result: Result, now: datetime) -> dict[str, Any]:
    """The changes that end a mail at `now`."""
    return _outcome(result) | {"delivery.endTime": now}


def _outcome(result: Result) -> dict[str, Any]:
    """Trigger Email's fields, plus Firepost's own."""
    changes: dict[str, Any] = {
        "delivery.state": result.state,
        "delivery.error": result.error,
        "delivery.leaseExpireTime": None,
        "delivery.errorCode": result.error_code or DELETE,
        "delivery.warnings": list(result.warnings) or DELETE,
        "delivery.resumes": DELETE,
        "delivery.outageTime": DELETE,
    }
    if result.info is not None:
        changes["delivery.info"] = dict(result.info)
    return changes


def message_seed(path: str, created: datetime, delivery: Delivery | None, claim: Decision) -> str:
    """What identifies one request for a mail; `delivery` is the state from which `claim` was decided.

    The Message-ID derives from it and from the content (`sender.message.draft`). It stays the same until an attempt is
    concluded, so that a receiver can drop the copy that a crash caused. It changes when a user requests the mail again
    after that, or when an application deletes `delivery`, which makes the document a new mail.
    """
    delivery = delivery or Delivery(State.PENDING)
    started = delivery.start_time or (claim.write or {}).get("delivery.startTime")
    times = (created, started, delivery.end_time)
    text = "\0".join((path, *(time.isoformat() if time else "" for time in times)))
    return b32encode(hashlib.sha256(text.encode()).digest()[:20]).decode().lower()


def _by_path(delivery: Mapping[str, Any]) -> dict[str, Any]:
    """A whole `delivery` as changes of its fields."""
    return {f"delivery.{name}": value for name, value in delivery.items()}


def _pending(now: datetime, ttl: Ttl | None) -> dict[str, Any]:
    pending = {"startTime": now, "state": State.PENDING, "attempts": 0, "error": None}
    return pending | {"expireAt": ttl.expire_at(now)} if ttl else pending


def _lease_expired(delivery: Delivery, now: datetime, policy: Policy) -> Changes:
    return _ended(_VANISHED if delivery.surely_unsent else _UNKNOWN, now) | _without_result(delivery, now, policy)


def _without_result(delivery: Delivery, now: datetime, policy: Policy) -> dict[str, Any]:
    """The change that records the last attempt as one that ended without a result, if that is so.

    Nobody may hold the lease any more.
    """
    lease_end = delivery.lease_expire_time
    if lease_end is None and delivery.state is not State.PROCESSING:
        return {}
    start = None if lease_end is None else history.start_of(lease_end, policy.lease, now)
    code = (_VANISHED if delivery.surely_unsent else _UNKNOWN).error_code
    entry = history.ended(delivery.attempts, start, now, State.ERROR, code)
    return {"delivery.history": history.recorded(delivery.history, entry)}


def entry_of(result: Result, state: State, lease: Lease, ended: datetime, policy: Policy) -> history.Entry:
    """The history's entry of the attempt under `lease`; it ended at `ended` (UTC) and left the mail in `state`."""
    return history.ended(
        lease.attempt,
        lease.expires - policy.lease,
        ended,
        state,
        result.error_code,
        result.transport,
        result.message_id,
        result.response,
    )
