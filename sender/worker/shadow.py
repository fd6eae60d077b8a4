"""The sender in shadow mode: it looks at a mail that another system sends, and says what it would have sent itself.

A look reads the document, composes the mail, compares it with what the other system has written into `delivery`, and
logs the comparison. Nothing is claimed, sent or written: this module knows no transport, no store and no publisher. So
a process that dies here has changed nothing, and Pub/Sub delivers the message again.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol

from sender.memory.budget import MemoryBudget
from sender.worker import reports
from sender.worker.attempt import HandlerResult
from sender.worker.claim_slots import ClaimSlots
from sender.worker.composing import Composing
from sender.worker.handler import Limits, working_on
from shared.deadline import Deadline
from shared.delivery.machine import on_event
from shared.delivery.model import Decision, DocumentState, Reason, State, state_of
from shared.delivery.policy import Policy
from shared.errors import Deferred, DeliveryFailed, ErrorCode, InvalidMessage, NotSent, Unavailable
from shared.firestore.database import Snapshot, Unwritable
from shared.observability.events import Event, log_event, millis
from shared.observability.tracing import NO_TRACER, Tracer
from shared.pubsub import message
from shared.pubsub.message import Message
from shared.pubsub.push import ReceivedMessage

_log = logging.getLogger("firepost.sender")

_VERSIONS: Final = (message.VERSION, message.SHADOW_VERSION)
_NOBODY: Final = frozenset[str]()

#: How nodemailer words an error that the mail server, or the way to it, has caused: with the server's reply after a
#: colon, or the error of the socket (https://nodemailer.com/smtp/errors). SendGrid's client has the words of HTTP.
_OF_SERVER: Final = re.compile(
    r": [45]\d\d[ -]|\bE[A-Z]{4,20}\b|\b(?:Invalid login|Greeting never received|Connection (?:timeout|closed)"
    r"|socket close|Unauthorized|Forbidden|Too Many Requests)\b"
)
_ERROR_READ: Final = 2_000


class OldError(StrEnum):
    """What the other system's ERROR is about, judged by its words: only its own faults say something about Firepost."""

    MAIL_SERVER = "mail-server"
    OTHER = "other"


class Recipients(StrEnum):
    """How our recipients compare with those that the other system has tried."""

    SAME = "same"
    DIFFER = "differ"
    UNKNOWN = "unknown"


class Documents(Protocol):
    """The Firestore operation that looks need."""

    def get(self, path: str) -> Snapshot | None:
        """The document, or None if there is none. Raises `Unavailable`, and `Unwritable` if the path is invalid."""
        ...


@dataclass(frozen=True, slots=True)
class Composed:
    """What remains of a mail once it is composed: nothing private but its `recipients`, which are not logged.

    `digest` identifies its content: two looks at a mail have the same one if they would have sent the same.
    """

    recipients: frozenset[str]
    digest: str
    size: int
    warnings: int


class ShadowSender:
    """The `Handler` of shadow mode. Thread-safe."""

    def __init__(
        self,
        documents: Documents,
        composing: Composing,
        memory: MemoryBudget,
        limits: Limits,
        policy: Policy,
        *,
        collection: str,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """`clock` returns the time in UTC; `monotonic` returns seconds and is used for durations in the log."""
        self._documents = documents
        self._composing = composing
        self._memory = memory
        self._attempt_seconds = limits.attempt_seconds
        self._policy = policy
        self._collection = collection
        self._clock = clock
        self._monotonic = monotonic
        self._tracer = tracer
        self._slots = ClaimSlots(lambda waiting: limits.claimed, limits.queue_seconds)

    def drain(self) -> None:
        """See `Handler.drain`."""
        self._slots.close()
        self._memory.close()

    def handle(self, received: ReceivedMessage) -> HandlerResult:
        """See `Handler.handle`. A message that can never work is logged and acknowledged."""
        with working_on(received, self._tracer) as annotate:
            try:
                request = message.decode(
                    received.data, received.attributes, received.message_id, self._collection, _VERSIONS
                )
                handled = self._in_turn(request)
            except InvalidMessage as error:
                handled = _refused(received, error.reason)
            except Unwritable:
                handled = _refused(received, "unwritable")
            annotate("reason", handled.reason)
            return handled

    def _in_turn(self, request: Message) -> HandlerResult:
        if reason := self._slots.acquire():
            return reports.declined(Decision(reason, acknowledge=False), request.path, self._clock())
        try:
            return self._look(request)
        finally:
            self._slots.release()

    def _look(self, request: Message) -> HandlerResult:
        began = self._monotonic()
        if request.mail is not None:
            path, fields, created = request.path, request.mail, self._clock()
        elif (found := self._documents.get(request.path)) is not None:
            path, fields, created = found.path, found.fields, found.created
        else:
            return reports.declined(Decision(Reason.DELETED), request.path, self._clock())
        decision = _at_once(fields, created, self._policy)
        composed = _ended(decision) or self._composed(path, fields, created)
        if isinstance(composed, Composed):
            outcome = "sent" if decision.publish else decision.reason.value
            own = {"digest": composed.digest, "bytes": composed.size, "warnings": composed.warnings}
        else:
            outcome, own = composed.code, {}
        old = _compared(fields.get("delivery"), composed) if request.mail is None else {}
        entry = {"document": path, "reason": outcome, **old, **own, "duration_ms": millis(self._monotonic() - began)}
        log_event(_log, Event.SHADOW, f"shadow: {outcome}", entry)
        return HandlerResult(True, outcome)

    def _composed(self, path: str, fields: Mapping[str, Any], created: datetime) -> Composed | DeliveryFailed:
        """The mail, or why it can't be sent. Raises `Unavailable` if it can't be composed now.

        Its date is the document's creation time, and its Message-ID depends on the path: so the digest depends on the
        document alone, and on what it refers to.
        """
        deadline = Deadline.after(self._attempt_seconds)
        try:
            with self._memory.reservation(deadline) as room:
                mail = self._composing.mail(
                    path,
                    fields,
                    seed=hashlib.sha256(path.encode()).hexdigest()[:32],
                    now=created,
                    deadline=deadline,
                    settled=_NOBODY,
                    room=room,
                )
                digest = hashlib.sha256(mail.data).hexdigest()[:16]
                recipients = frozenset(map(str.lower, mail.envelope.recipients))
                return Composed(recipients, digest, len(mail.data), len(mail.warnings))
        except DeliveryFailed as failure:
            return failure
        except Deferred as wait:
            raise Unavailable(str(wait)) from wait


def _at_once(fields: Mapping[str, Any], created: datetime, policy: Policy) -> Decision:
    """What the dispatcher would have decided about the mail when it was written."""
    new = DocumentState.of({name: value for name, value in fields.items() if name != "delivery"})
    return on_event(None, new, created, policy)


def _ended(decision: Decision) -> DeliveryFailed | None:
    """Why there would have been no attempt, because the mail came too late; None if there would have been one."""
    code = (decision.write or {}).get("delivery.errorCode")
    return NotSent(code, "The mail can't be sent in time.") if isinstance(code, ErrorCode) else None


def _compared(delivery: object, composed: Composed | DeliveryFailed) -> dict[str, object]:
    """Log fields: the other system's state, and how its recipients compare with ours. Numbers and words only."""
    state = state_of(DocumentState.of({"delivery": delivery}))
    theirs = recipients_of(delivery) if state is State.SUCCESS else None
    ours = composed.recipients if isinstance(composed, Composed) else None
    if theirs is None or ours is None:
        found = Recipients.UNKNOWN
    else:
        found = Recipients.SAME if theirs == ours else Recipients.DIFFER
    return {
        "old_state": state,
        "old_error": _error_of(delivery) if state is State.ERROR else None,
        "recipients": found,
        "recipients_old": None if theirs is None else len(theirs),
        "recipients_own": None if ours is None else len(ours),
    }


def _error_of(delivery: object) -> OldError:
    text = delivery.get("error") if isinstance(delivery, Mapping) else None
    is_servers = isinstance(text, str) and _OF_SERVER.search(text, 0, _ERROR_READ)
    return OldError.MAIL_SERVER if is_servers else OldError.OTHER


def recipients_of(delivery: object) -> frozenset[str] | None:
    """The recipients that the other system has tried, in lower case; None if `delivery` does not say.

    Trigger Email lists none if it sends by SendGrid.
    """
    info = delivery.get("info") if isinstance(delivery, Mapping) else None
    if not isinstance(info, Mapping):
        return None
    lists = [given for name in ("accepted", "rejected", "pending") if isinstance(given := info.get(name), list)]
    addresses = [address for given in lists for address in given]
    if not addresses or not all(isinstance(address, str) for address in addresses):
        return None
    return frozenset(map(str.lower, addresses))


def _refused(received: ReceivedMessage, reason: str) -> HandlerResult:
    fields = {"message_id": received.message_id, "reason": reason}
    log_event(_log, Event.REFUSAL, f"message refused: {reason}", fields, logging.ERROR)
    return HandlerResult(True, reason)
