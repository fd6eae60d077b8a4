"""One attempt at a claimed mail: compose and send. `sender.worker.handler` writes the result.

If the process dies …
    before the mail is handed over       the lease expires; redelivery claims the document again if the policy says so,
                                         or else sets ERROR (lease-expired)
    before the server accepts the mail   the same, except that `retry-unsent` does not claim the document again
    after that                           the same: the outcome is unknown, and a copy sent by a new attempt has the
                                         same Message-ID
    after the result is written          redelivery finds a final state and acknowledges
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from sender.downloads.downloader import Downloads
from sender.memory.budget import MemoryBudget, Room
from sender.message.compose import Compose, Mail
from sender.transport.envelope import Receipt, Transport, once
from sender.worker.composing import Composing
from sender.worker.result import Earlier, as_expired, result_of_failure, result_of_receipt
from sender.worker.retention import Retain, retain_all
from sender.worker.timing import Timings
from shared.deadline import Deadline
from shared.delivery.machine import next_look, out
from shared.delivery.model import Changes, Result, State
from shared.delivery.policy import Policy
from shared.delivery.store import Claim, Finish, Release
from shared.errors import Deferred, DeliveryFailed, ErrorCode, NotSent, Outage, OutcomeUnknown, Paused, ShuttingDown

_log = logging.getLogger("firepost.sender")


#: Notes that a claimed mail is about to be handed over; returns the claim as it is then. Raises `Deferred`.
Sending = Callable[[Claim], Claim]


@dataclass(frozen=True, slots=True)
class HandlerResult:
    """Whether to acknowledge the message, and the reason."""

    acknowledge: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """The start of an attempt, just before its claim (`at`, in UTC), with its deadline and its timings."""

    at: datetime
    deadline: Deadline
    timings: Timings


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt whose document is claimed and whose mail has not reached the server."""

    claim: Claim
    start: Start


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt whose result is not written yet.

    `begun` is when the handing over began, and `accepted` when the server accepted the mail, if they did (UTC).
    """

    attempt: Attempt
    finish: Finish
    begun: datetime | None
    accepted: datetime | None


@dataclass(frozen=True, slots=True)
class PutOff:
    """An attempt that sent nothing, for the reason in `wait`, and whose claim is not released yet."""

    attempt: Attempt
    release: Release
    wait: Deferred


class _Waiting(Deferred):
    """The mail waits for a server that is out; `notes` say so in its document."""

    def __init__(self, pause: timedelta, outage: Outage, notes: Changes) -> None:
        super().__init__(pause.total_seconds(), str(outage))
        self.notes = notes


class _Handover:
    """The moment from which on a mail may have been sent (`begun`), and its `claim`, as it is before and after that."""

    def __init__(
        self, claim: Claim, sending: Sending, check: Callable[[str | None], None], clock: Callable[[], datetime]
    ) -> None:
        self.claim = claim
        self.begun: datetime | None = None
        self._sending = sending
        self._check = check
        self._clock = clock

    def begin(self, transport: str) -> None:
        """Called by the transport with this name. Raises `Deferred` if nothing may be sent."""
        self._check(transport)
        self.claim = self._sending(self.claim)
        self.begun = self._clock()


class Attempts:
    """Makes attempts."""

    def __init__(
        self,
        transport: Transport,
        *,
        compose: Compose,
        downloads: Downloads,
        clock: Callable[[], datetime],
        memory: MemoryBudget,
        policy: Policy,
        check: Callable[[str | None], None],
        retain: Retain = retain_all,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`clock` returns the time in UTC; `jitter` returns a random number from 0 to 1 that spreads retries.

        `memory` is what all mails together may use; `policy` says how long a mail waits for a server that is out.
        `check` raises `Paused` for the name of a transport that is, or for None if the lane is (`Control.check`).
        """
        self._transport = transport
        self._composing = Composing(compose, downloads)
        self._clock = clock
        self._memory = memory
        self._policy = policy
        self._check = check
        self._retain = retain
        self._jitter = jitter
        self._draining = threading.Event()

    def capacity(self, waiting: int) -> int:
        """See `Transport.capacity`."""
        return self._transport.capacity(waiting)

    def drain(self) -> None:
        """Put off every mail that has not reached the mail server yet. Called on SIGTERM."""
        self._draining.set()
        self._memory.close()
        self._transport.close()

    def make(self, attempt: Attempt, sending: Sending) -> Ended | PutOff:
        """Compose and send the mail; `sending` is called before it is handed over (`Claims.sending`).

        A failure is part of what is returned, not raised.
        """
        handover = _Handover(attempt.claim, sending, self._check, self._clock)
        try:
            with self._memory.reservation(self._deadline(attempt).start_by()) as room:
                result, accepted = self._result(attempt, handover, room)
        except Deferred as wait:
            notes = wait.notes if isinstance(wait, _Waiting) else None
            return PutOff(attempt, Release(handover.claim, self._next_attempt(attempt, wait), notes), wait)
        finish = Finish(handover.claim, result, self._clock(), self._jitter())
        return Ended(attempt, finish, handover.begun, accepted)

    def _next_attempt(self, attempt: Attempt, wait: Deferred) -> datetime | None:
        """When to try again; None if that is not known."""
        known, start = attempt.claim.known, attempt.start.at
        match wait:
            case Paused(part=None):
                return known.waiting_since(start)
            case Paused():
                return next_look(known, start)
        return None if wait.seconds is None else self._clock() + timedelta(seconds=wait.seconds)

    def _result(self, attempt: Attempt, handover: _Handover, room: Room) -> tuple[Result, datetime | None]:
        """The attempt's result, and when the server accepted the mail, if it did. Raises `Deferred`."""
        claim, timings, deadline = attempt.claim, attempt.start.timings, self._deadline(attempt)
        mail, earlier = None, Earlier.of(claim.fields)
        try:
            self._refuse_if_draining()
            _refuse_if_expired(deadline)
            self._check(None)
            with timings.step("compose"):
                mail = self._composing.mail(
                    claim.path,
                    claim.fields,
                    seed=claim.seed,
                    now=self._clock(),
                    deadline=deadline,
                    settled=earlier.settled if earlier else frozenset(),
                    room=room,
                )
            if not mail.envelope.recipients:
                raise NotSent(ErrorCode.REJECTED, "The mail server has already refused all recipients.")
            self._refuse_if_draining()
            self._check(mail.envelope.transport)  # before a connection is made, and again in `handover`
            deadline = self._deadline(attempt)  # anew, as the clock may have been set forward
            _refuse_if_expired(deadline)
            with timings.step("send"):
                receipt = _sent(self._transport, mail, deadline, handover)
        except DeliveryFailed as failure:
            if deadline.start_missed or claim.known.expired(self._clock()):
                failure = as_expired(failure)
            elif isinstance(failure, Outage):
                self._wait_for(failure, claim)
            return self._retaining(self._failed(failure, mail, earlier), claim, mail), None
        accepted = self._clock()
        return self._retaining(result_of_receipt(mail, receipt, earlier), claim, mail), accepted

    def _wait_for(self, outage: Outage, claim: Claim) -> None:
        """Raises `Deferred`, unless the mail has waited long enough for its server."""
        now, delivery = self._clock(), claim.known.delivery
        since = self._policy.outage_since(delivery.outage_time if delivery else None, now)
        pause = self._policy.outage_pause(outage.code, since, now, timedelta(seconds=outage.retry_after or 0.0))
        if pause is not None:
            raise _Waiting(pause, outage, out(since, str(outage), outage.code)) from outage

    def _failed(self, failure: DeliveryFailed, mail: Mail | None, earlier: Earlier | None) -> Result:
        """The result of a failure; final if the mail has waited through an outage in vain."""
        result = result_of_failure(failure, mail, earlier)
        waited = result.outage and bool(self._policy.outage_patience)
        return replace(result, unsettled=False) if waited else result

    def _retaining(self, result: Result, claim: Claim, mail: Mail | None) -> Result:
        """The result with what it changes of the mail's content: also where the last recipients were not reached."""
        if result.state is not State.SUCCESS:
            return result
        return replace(result, retained=self._retain(claim.fields, mail.message if mail else None))

    def _refuse_if_draining(self) -> None:
        if self._draining.is_set():
            raise ShuttingDown()

    def _deadline(self, attempt: Attempt) -> Deadline:
        """The attempt's deadline; the mail may not be handed over once it has expired."""
        deadline, expires_at = attempt.start.deadline, attempt.claim.known.expires_at
        if expires_at is None:
            return deadline
        now = max(self._clock(), attempt.start.at)  # the clock may be set back, and the claim was decided then
        return deadline.starting_within((expires_at - now).total_seconds())


def _refuse_if_expired(deadline: Deadline) -> None:
    if deadline.start_missed:
        raise NotSent(ErrorCode.EXPIRED, "Nothing was sent, because the mail has expired ('expiresAt').")


def _sent(transport: Transport, mail: Mail, deadline: Deadline, handover: _Handover) -> Receipt:
    try:
        begin = once(partial(handover.begin, mail.envelope.transport))
        return transport.send(mail.envelope, mail.data, deadline, begin)
    except (DeliveryFailed, Deferred):
        raise
    except Exception as error:
        _log.exception("sending failed")
        raise OutcomeUnknown(
            f"Sending failed ({type(error).__name__}). The mail may or may not have been sent."
        ) from error
