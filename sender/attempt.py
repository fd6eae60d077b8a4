"""One attempt at a mail that has been claimed: compose → send → finish.

If the process dies …
    before the server took the mail   the lease runs out; redelivery concludes it as ERROR (lease-expired), or claims
                                      anew where the policy says so
    after that                        the same: whether the mail went out is not known, and the copy that a new attempt
                                      sends has the same Message-ID
    after the finish                  redelivery finds a final state and acknowledges
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sender import outcome
from sender.compose import Compose, Mail
from sender.course import Course, waited
from sender.downloads.downloader import Downloads
from sender.keeping import Keep, keep_as_is
from sender.outcome import Earlier
from sender.transport.envelope import Receipt, Transport
from shared import journal
from shared.database import Unwritable
from shared.deadline import Deadline
from shared.errors import Deferred, DeliveryFailed, ErrorCode, NotSendable, OutcomeUnknown, Unavailable
from shared.journal import Event
from shared.states import Reason, Result, state_of
from shared.store import Claim, MailStore

_log = logging.getLogger("firepost.sender")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether Pub/Sub may forget the message, and the one word that says why."""

    acknowledge: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """The moment before a claim, in UTC; until when the attempt has to end, and how it has gone since."""

    at: datetime
    deadline: Deadline
    course: Course


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that has been claimed, and has not reached the mail server."""

    claim: Claim
    start: Start


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that ended at `at` (UTC), and whose result is still to be written.

    `accepted` is when the server took the mail over, if it did; `jitter`, from 0 to 1, spreads the next attempt.
    """

    attempt: Attempt
    result: Result
    at: datetime
    jitter: float
    accepted: datetime | None


class Attempts:
    """Makes attempts, and writes what became of them."""

    def __init__(
        self,
        store: MailStore,
        transport: Transport,
        *,
        compose: Compose,
        downloads: Downloads,
        clock: Callable[[], datetime],
        keep: Keep = keep_as_is,
        jitter: Callable[[], float] = random.random,
        note_pace: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`clock` tells the time in UTC; `note_pace` is told how long each mail took."""
        self._store = store
        self._transport = transport
        self._compose = compose
        self._downloads = downloads
        self._clock = clock
        self._keep = keep
        self._jitter = jitter
        self._note_pace = note_pace
        self._draining = threading.Event()

    def drain(self) -> None:
        """Begin nothing new: mails that have not reached the mail server are given back. Called at SIGTERM."""
        self._draining.set()
        self._transport.close()

    def make(self, attempt: Attempt) -> Ended | Verdict:
        """Compose and send; a verdict comes back where the mail was put off instead. Raises `Unavailable`."""
        try:
            result, accepted = self._result(attempt)
            self._note_pace(attempt.start.course.seconds("compose", "send"))
        except Deferred as wait:
            return self._put_off(attempt.claim, wait)
        return Ended(attempt, result, self._clock(), self._jitter(), accepted)

    def finish(self, ended: Ended) -> Verdict:
        """Write the result; raises `Unavailable` if that could not be done."""
        try:
            with ended.attempt.start.course.step("finish"):
                written = self._write(ended)
        except Unavailable:
            self.report_unwritten(ended)
            raise
        return self.report(ended, written)

    def report(self, ended: Ended, written: Reason) -> Verdict:
        """Log an attempt whose result has been written."""
        claim, course = ended.attempt.claim, ended.attempt.start.course
        fields = self._fields(ended) | {"written": written} | course.millis()
        if ended.accepted and (queued := waited(claim.known, ended.attempt.start.at, ended.accepted)) is not None:
            fields["accepted_after_ms"] = journal.millis(queued.total_seconds())
        journal.note(_log, Event.ATTEMPT, f"attempt {fields['reason']}", fields)
        return Verdict(True, ended.result.error_code or "sent")

    def report_unwritten(self, ended: Ended) -> None:
        """Log an attempt whose result nobody will find in the document."""
        _log.critical("the attempt's result could not be written", extra={"fields": self._fields(ended)})

    def _fields(self, ended: Ended) -> dict[str, object]:
        claim, result = ended.attempt.claim, ended.result
        return {
            "document": claim.path,
            "attempt": claim.lease.attempt,
            "before": state_of(claim.known),
            "after": self._store.ending(claim, result),
            "reason": result.error_code or "sent",
        }

    def _result(self, attempt: Attempt) -> tuple[Result, datetime | None]:
        """The attempt's result, and when the server took the mail over, if it did."""
        claim, course, deadline = attempt.claim, attempt.start.course, attempt.start.deadline
        mail, earlier = None, Earlier.of(claim.fields)
        try:
            self._refuse_if_draining()
            with course.step("compose"):
                mail = self._composed(claim, earlier.pending if earlier else (), deadline)
            self._refuse_if_draining()
            with course.step("send"):
                receipt = _sent(self._transport, mail, deadline)
        except DeliveryFailed as failure:
            return outcome.failed(failure, mail, earlier), None
        accepted, result = self._clock(), outcome.sent(mail, receipt, earlier)
        return replace(result, keeping=self._keep(claim.fields, mail)), accepted

    def _refuse_if_draining(self) -> None:
        if self._draining.is_set():
            raise Deferred(None, "This sender is shutting down.")

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

    def _write(self, ended: Ended) -> Reason:
        claim = ended.attempt.claim
        try:
            return self._store.finish(claim, ended.result, ended.at, ended.jitter)
        except Unwritable:
            # The document is so near to 1 MiB that the server's answer does not fit; the outcome alone may.
            return self._store.finish(claim, _bare(ended.result), ended.at, ended.jitter)


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
