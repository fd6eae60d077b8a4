"""Logs the results of messages and attempts, and decides whether the message is acknowledged."""

from __future__ import annotations

import logging

from sender.worker.attempt import Ended, HandlerResult, PutOff
from sender.worker.timing import waited
from shared.delivery.model import Decision, Reason, Result, State, state_of
from shared.observability.events import Event, log_event, millis

_log = logging.getLogger("firepost.sender")


def declined(decision: Decision, path: str) -> HandlerResult:
    """Report a message for which no attempt is made."""
    log_event(_log, Event.MESSAGE, f"message {decision.reason}", {"document": path, "reason": decision.reason})
    return HandlerResult(decision.acknowledge, decision.reason)


def finished(ended: Ended, state: State, written: Reason) -> HandlerResult:
    """Report an attempt's result; `written` says how it was written, `state` is the document's new state."""
    claim, start = ended.attempt.claim, ended.attempt.start
    fields = _fields(ended, state) | {"written": written} | start.timings.millis()
    if ended.accepted and (queued := waited(claim.known, start.at, ended.accepted)) is not None:
        fields["accepted_after_ms"] = millis(queued.total_seconds())
    log_event(_log, Event.ATTEMPT, f"attempt {fields['reason']}", fields)
    return HandlerResult(True, ended.finish.result.error_code or "sent")


def unwritten(ended: Ended, state: State) -> None:
    """Report a result that could not be written to the document."""
    _log.critical("the attempt's result could not be written", extra={"fields": _fields(ended, state)})


def put_off(attempt: PutOff, written: Reason) -> HandlerResult:
    """Report a released claim.

    If the time of the next attempt is known, the message is acknowledged and the reconciler publishes the mail again at
    that time. Otherwise Pub/Sub redelivers the message.
    """
    claim, wait, later = attempt.attempt.claim, attempt.wait, attempt.release.next_attempt
    reason = "released" if later is None else "deferred"
    fields = {"document": claim.path, "attempt": claim.lease.attempt, "reason": reason, "written": written}
    if wait.seconds is not None:
        fields["retry_after_ms"] = millis(wait.seconds)
    log_event(_log, Event.DEFERRAL, f"attempt {reason}", fields)
    return HandlerResult(later is not None, reason)


def _fields(ended: Ended, state: State) -> dict[str, object]:
    claim, result = ended.attempt.claim, ended.finish.result
    return {
        "document": claim.path,
        "attempt": claim.lease.attempt,
        "before": state_of(claim.known),
        "after": state,
        "reason": result.error_code or "sent",
        **(_not_accepted(result) if state is State.SUCCESS else {}),
    }


def _not_accepted(result: Result) -> dict[str, object]:
    """How many recipients did not get a mail that others got; nothing if all did."""
    lists = result.progress or {}
    counts = {name: len(lists.get(name, ())) for name in ("rejected", "pending")}
    return dict(counts) if any(counts.values()) else {}
