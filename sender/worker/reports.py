"""Logs the results of messages and attempts, and decides whether the message is acknowledged."""

from __future__ import annotations

import logging
from datetime import datetime

from sender.worker.attempt import Attempt, Ended, HandlerResult, PutOff
from sender.worker.timing import waited
from shared.delivery.model import Changes, Decision, Reason, Result, State, state_of
from shared.delivery.store import Release
from shared.errors import Deferred, ErrorCode, Paused
from shared.observability.events import Event, log_event, millis, sight

_log = logging.getLogger("firepost.sender")


def declined(decision: Decision, path: str, now: datetime) -> HandlerResult:
    """Report a message for which no attempt is made, as decided at `now`."""
    fields: dict[str, object] = {"document": path, "reason": decision.reason, "acknowledged": decision.acknowledge}
    if decision.known is not None:
        fields |= {"before": state_of(decision.known), **sight(decision.known, now)}
    log_event(_log, Event.MESSAGE, f"message {decision.reason}", fields)
    return HandlerResult(decision.acknowledge, decision.reason)


def finished(ended: Ended, changes: Changes, written: Decision) -> HandlerResult:
    """Report an attempt's result, and the changes that it led to; `written` says how they were written."""
    claim, start = ended.attempt.claim, ended.attempt.start
    fields = _fields(ended, changes) | _written(ended.attempt, written) | start.timings.millis()
    if ended.begun:
        fields["begun_ms"] = millis((ended.begun - start.at).total_seconds())
    if ended.accepted and (queued := waited(claim.known, start.at, ended.accepted)) is not None:
        fields["accepted_after_ms"] = millis(queued.total_seconds())
    log_event(_log, Event.ATTEMPT, f"attempt {fields['reason']}", fields)
    return HandlerResult(True, ended.finish.result.error_code or "sent")


def unwritten(ended: Ended, changes: Changes) -> None:
    """Report a result whose changes could not be written to the document."""
    _log.critical("the attempt's result could not be written", extra={"fields": _fields(ended, changes)})


def put_off(attempt: PutOff, written: Decision) -> HandlerResult:
    """Report a released claim.

    If the time of the next attempt is known, the message is acknowledged and the reconciler publishes the mail again at
    that time. Otherwise Pub/Sub redelivers the message.
    """
    wait, later = attempt.wait, attempt.release.next_attempt
    reason = _why(attempt.release, wait)
    fields = _claimed(attempt.attempt) | {"reason": reason} | _written(attempt.attempt, written)
    if wait.seconds is not None:
        fields["retry_after_ms"] = millis(wait.seconds)
    log_event(_log, Event.DEFERRAL, f"attempt {reason}", fields)
    return HandlerResult(later is not None, reason)


def _why(release: Release, wait: Deferred) -> str:
    if isinstance(wait, Paused):
        return Reason.PAUSED
    return "outage" if release.notes else "released" if release.next_attempt is None else "deferred"


def _fields(ended: Ended, changes: Changes) -> dict[str, object]:
    result, state = ended.finish.result, changes["delivery.state"]
    return {
        **_claimed(ended.attempt),
        "after": state,
        "reason": result.error_code or "sent",
        **({"unsettled": True} if result.unsettled else {}),
        **({"outage": True} if result.outage else {}),
        **_following(ended, changes),
        **(_not_accepted(result) if state is State.SUCCESS else {}),
    }


def _following(ended: Ended, changes: Changes) -> dict[str, object]:
    """When another attempt follows, or that the mail expires before that; nothing if neither is so."""
    if next_attempt := changes.get("delivery.nextAttemptTime"):
        return {"next_ms": millis((next_attempt - ended.attempt.start.at).total_seconds())}
    has_expired = changes.get("delivery.errorCode") == ErrorCode.EXPIRED != ended.finish.result.error_code
    return {"expired": True} if has_expired else {}


def _claimed(attempt: Attempt) -> dict[str, object]:
    """The attempt, and what its claim found."""
    claim, delivery = attempt.claim, attempt.claim.known.delivery
    found = {"before": state_of(claim.known), **sight(claim.known, attempt.start.at)}
    if delivery is not None and delivery.holds(claim.lease):
        found["continued"] = True
    if delivery is not None and delivery.outage_time is not None:
        found["outage_ms"] = millis((delivery.outage_time - attempt.start.at).total_seconds())
    return {"document": claim.path, "attempt": claim.lease.attempt, **found}


def _written(attempt: Attempt, written: Decision) -> dict[str, object]:
    """How the end of an attempt was written; if the document had changed meanwhile, also what was found and left."""
    if written.known is None or written.known.delivery is None:
        return {"written": written.reason}
    delivery, found = written.known.delivery, state_of(written.known)
    return {
        "written": written.reason,
        "found": found,
        "found_attempt": delivery.attempts,
        "held": delivery.holds(attempt.claim.lease),
        "left": (written.write or {}).get("delivery.state", found),
    }


def _not_accepted(result: Result) -> dict[str, object]:
    """How many recipients did not get a mail that others got; nothing if all did."""
    lists = result.progress or {}
    counts = {name: len(lists.get(name, ())) for name in ("rejected", "pending")}
    return dict(counts) if any(counts.values()) else {}
