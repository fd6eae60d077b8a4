"""One message, one attempt: claim → compose → send → finish.

If the process dies …
    before the claim       nothing has happened; Pub/Sub delivers again
    after the claim        the lease runs out; redelivery concludes it as ERROR (lease-expired), or claims anew where
                           the policy says so
    after the server took  the same: whether the mail went out is not known, and the copy that a new attempt sends
                           has the same Message-ID
    after the finish       redelivery finds a final state and acknowledges
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from sender import outcome
from sender.compose import Compose, Mail
from sender.course import Course, waited
from sender.downloads.either import Downloads
from sender.keeping import Keep, keep_as_is
from sender.outcome import Earlier
from sender.transport.envelope import Deadline, Receipt, Transport
from shared import journal, message, trace
from shared.database import Unwritable
from shared.errors import Deferred, DeliveryFailed, ErrorCode, InvalidMessage, NotSendable, OutcomeUnknown, Unavailable
from shared.journal import Event
from shared.pubsub import Publisher
from shared.push import Delivered
from shared.states import Decision, Known, Reason, Result, state_of
from shared.store import Claim, MailStore
from shared.trace import Trace
from shared.tracing import NO_TRACER, Tracer

_log = logging.getLogger("firepost.sender")

#: Pub/Sub allows 100 attributes a message; a dead letter needs room for its own.
_KEPT_ATTRIBUTES = 90


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether Pub/Sub may forget the message, and the one word that says why."""

    acknowledge: bool
    reason: str


class Sender:
    """Makes the attempts that messages ask for."""

    def __init__(
        self,
        store: MailStore,
        transport: Transport,
        dead_letters: Publisher,
        *,
        collection: str,
        compose: Compose,
        downloads: Downloads,
        attempt_seconds: float,
        clock: Callable[[], datetime],
        keep: Keep = keep_as_is,
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """`attempt_seconds` is wall-clock time from the claim on; `clock` tells the time in UTC.

        `monotonic` counts seconds, for the log.
        """
        self._store = store
        self._transport = transport
        self._dead_letters = dead_letters
        self._collection = collection
        self._compose = compose
        self._downloads = downloads
        self._attempt_seconds = attempt_seconds
        self._clock = clock
        self._keep = keep
        self._jitter = jitter
        self._monotonic = monotonic
        self._tracer = tracer
        self._draining = threading.Event()

    def drain(self) -> None:
        """Begin nothing new: mails that have not reached the mail server are given back. Called at SIGTERM."""
        self._draining.set()
        self._transport.close()

    def handle(self, delivered: Delivered) -> Verdict:
        """Do what the message asks for.

        Raises `Unavailable` when Firestore or Pub/Sub failed, so that the message must not be acknowledged.
        """
        published_in = Trace.parse(delivered.attributes.get(trace.TRACEPARENT))
        with trace.following(published_in), self._tracer.span("message", message_id=delivered.message_id) as annotate:
            verdict = self._handle(delivered)
            annotate("reason", verdict.reason)
            return verdict

    def _handle(self, delivered: Delivered) -> Verdict:
        try:
            asked = message.decode(delivered.data, delivered.attributes, delivered.message_id, self._collection)
            return self._attempt(asked)
        except InvalidMessage as error:
            self._dead_letter(delivered, error)
            return Verdict(True, error.reason)

    def _dead_letter(self, delivered: Delivered, error: InvalidMessage) -> None:
        """Put the message, as it came, where an operator finds it, with the reason beside it."""
        kept = islice(delivered.attributes.items(), _KEPT_ATTRIBUTES)
        self._dead_letters.publish(delivered.data, {**dict(kept), "reason": error.reason, "error": str(error)[:500]})
        fields = {"message_id": delivered.message_id, "reason": error.reason}
        journal.note(_log, Event.REFUSAL, f"message dead-lettered: {error}", fields, logging.ERROR)

    def _attempt(self, asked: message.Message) -> Verdict:
        # The deadline is counted from before the claim: the lease is, too, however long Firestore takes.
        deadline, now = Deadline.after(self._attempt_seconds), self._clock()
        course = Course(self._monotonic, self._tracer)
        try:
            with course.step("claim"):
                claim = self._store.claim(asked.path, now, asked.mail)
            if isinstance(claim, Decision):
                fields = {"document": asked.path, "reason": claim.reason}
                journal.note(_log, Event.MESSAGE, f"message {claim.reason}", fields)
                return Verdict(claim.acknowledge, claim.reason)
            return self._carry_out(claim, now, course, deadline)
        except Unwritable as error:
            raise InvalidMessage("unwritable", f"Firestore refuses to write the document: {error}") from error

    def _carry_out(self, claim: Claim, claimed: datetime, course: Course, deadline: Deadline) -> Verdict:
        try:
            result, accepted = self._make(claim, course, deadline)
        except Deferred as wait:
            return self._put_off(claim, wait)
        fields = self._finish(claim, result, course)
        if accepted and (queued := waited(claim.fields, claimed, accepted)) is not None:
            fields["accepted_after_ms"] = journal.millis(queued.total_seconds())
        journal.note(_log, Event.ATTEMPT, f"attempt {fields['reason']}", fields)
        return Verdict(True, result.error_code or "sent")

    def _make(self, claim: Claim, course: Course, deadline: Deadline) -> tuple[Result, datetime | None]:
        """The attempt's result, and when the server took the mail over, if it did."""
        mail, earlier = None, Earlier.of(claim.fields)
        try:
            with course.step("compose"):
                mail = self._composed(claim, earlier.pending if earlier else (), deadline)
            if self._draining.is_set():
                raise Deferred(None, "This sender is shutting down.")
            with course.step("send"):
                receipt = _sent(self._transport, mail, deadline)
        except DeliveryFailed as failure:
            return outcome.failed(failure, mail, earlier), None
        accepted, result = self._clock(), outcome.sent(mail, receipt, earlier)
        return replace(result, keeping=self._keep(claim.fields, mail)), accepted

    def _composed(self, claim: Claim, only: tuple[str, ...], deadline: Deadline) -> Mail:
        fetch = self._downloads.for_attempt(deadline)
        try:
            return self._compose(
                claim.fields,
                stem=claim.message_id_stem,
                now=self._clock(),
                deadline=deadline,
                fetch=fetch,
                only=only,
            )
        except DeliveryFailed:
            raise
        except Unavailable as error:  # users or templates can't be read: nothing was sent, so give the claim back
            raise Deferred(None, str(error)) from error
        except (
            Exception
        ) as error:  # a bug of ours must not leave the document in PROCESSING: nothing was sent, so say it
            _log.exception("composing failed", extra={"fields": {"document": claim.path}})
            text = f"The mail could not be composed ({type(error).__name__}) and was not sent."
            raise NotSendable(ErrorCode.VALIDATION, text) from error

    def _put_off(self, claim: Claim, wait: Deferred) -> Verdict:
        """Undo the claim. With a time to try again, the reconciler publishes the mail then; without, Pub/Sub does."""
        later = None if wait.seconds is None else self._clock() + timedelta(seconds=wait.seconds)
        written = self._store.release(claim, later)
        reason = "released" if later is None else "deferred"
        fields = {"document": claim.path, "attempt": claim.lease.attempt, "reason": reason, "written": written}
        if wait.seconds is not None:
            fields["retry_after_ms"] = journal.millis(wait.seconds)
        journal.note(_log, Event.DEFERRAL, f"attempt {reason}: {wait}", fields)
        return Verdict(later is not None, reason)

    def _finish(self, claim: Claim, result: Result, course: Course) -> dict[str, object]:
        """Write the result, and return what is to be logged of the attempt."""
        fields: dict[str, object] = {
            "document": claim.path,
            "attempt": claim.lease.attempt,
            "before": state_of(Known.of(claim.fields)),
            "after": self._store.ending(claim, result),
            "reason": result.error_code or "sent",
        }
        try:
            with course.step("finish"):
                fields["written"] = self._write(claim, result)
        except Unavailable:
            _log.critical("the attempt's result could not be written", extra={"fields": fields})
            raise
        return fields | course.millis()

    def _write(self, claim: Claim, result: Result) -> Reason:
        ended, jitter = self._clock(), self._jitter()
        try:
            return self._store.finish(claim, result, ended, jitter)
        except Unwritable:
            # The document is so near to 1 MiB that the server's answer does not fit; the outcome alone may.
            return self._store.finish(claim, _bare(result), ended, jitter)


def _sent(transport: Transport, mail: Mail, deadline: Deadline) -> Receipt:
    try:
        return transport.send(mail.envelope, mail.data, deadline)
    except (DeliveryFailed, Deferred):
        raise
    except Exception as error:
        _log.exception("sending failed")
        raise OutcomeUnknown(
            f"Sending failed ({type(error).__name__}); whether the mail went out is not known."
        ) from error


def _bare(result: Result) -> Result:
    """The result without all that may be long."""
    return Result(result.state, error=result.error and result.error[:100], error_code=result.error_code)
