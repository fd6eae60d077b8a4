"""Handles dead letters: concludes their documents, which would otherwise stay queued without a message.

The topic receives two kinds: messages that Pub/Sub gave up, and messages that the sender refused because they can never
work. A refused message by reference is the dispatcher's own: its document is concluded, too; otherwise the reconciler
would publish it again and again. A refused inline mail has no document yet: one is created that says what is wrong with
the mail, so that its publisher learns of it where it would look for the outcome.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from shared.delivery.machine import is_marked, on_dead_letter, refused_mail
from shared.delivery.model import Decision, DocumentState, Result, State
from shared.delivery.policy import Policy
from shared.delivery.store import MailStore
from shared.errors import ErrorCode, FirepostError, InvalidMessage
from shared.firestore.database import Unwritable, Write, nested
from shared.observability.events import Event, log_event
from shared.pubsub import message
from shared.pubsub.push import ReceivedMessage

_log = logging.getLogger("firepost.dead-letters")

#: Set by Pub/Sub, and only by it, on messages that it has given up.
_DELIVERIES: Final = f"{message.PUBSUBS_OWN}DeliveryCount"

_REFUSED: Final = "refused"
_UNWRITABLE: Final = "unwritable"

#: Reasons for refusing an inline mail that say nothing against creating its document: `id-conflict` means that the
#: document is another mail's, and `unknown-version` that only another version knows what the message says.
_NOT_THE_MAILS_FAULT: Final = ("id-conflict", "unknown-version")


class DeadLetters:
    """Concludes the documents of dead letters."""

    def __init__(self, store: MailStore, policy: Policy, collection: str, clock: Callable[[], datetime]) -> None:
        """`clock` returns the current time in UTC."""
        self._store = store
        self._policy = policy
        self._collection = collection
        self._clock = clock

    def handle(self, dead: ReceivedMessage) -> str:
        """Conclude or create the dead letter's document, if it has one, and return the reason word.

        Raises `Unavailable`.
        """
        path, reason = self._concluded(dead) or self._created(dead) or (None, _REFUSED)
        fields = {"message_id": dead.message_id, "reason": reason} | ({} if path is None else {"document": path})
        log_event(_log, Event.DEAD_LETTER, f"dead letter {reason}", fields, logging.ERROR)
        return reason

    def _concluded(self, dead: ReceivedMessage) -> tuple[str, str] | None:
        """The document that the message was published for, and what became of it; None if there is none."""
        try:
            decoded = message.decode(dead.data, dead.attributes, dead.message_id, self._collection)
        except InvalidMessage:
            return None
        if decoded.mail is not None and _was_refused(dead):
            return None
        now, result = self._clock(), _result(dead, dead.attributes.get("reason") == _UNWRITABLE)

        def decide(known: DocumentState | None, written: datetime | None) -> Decision:
            changed = written is not None and dead.published is not None and written > dead.published
            if _was_refused(dead) and is_marked(known):
                changed = False  # the dispatcher marks the document after publishing, perhaps after the refusal
            return on_dead_letter(known, changed, not _was_refused(dead), now, result, self._policy)

        try:
            return decoded.path, self._store.conclude(decoded.path, decide).reason
        except Unwritable:  # the document can't even record the failure, and a retry would not help
            return decoded.path, _UNWRITABLE

    def _created(self, dead: ReceivedMessage) -> tuple[str, str] | None:
        """The new document of a refused inline mail; None if there can be none, or the id is taken."""
        if not _was_refused(dead) or dead.attributes.get("reason") in _NOT_THE_MAILS_FAULT:
            return None
        identifier = message.id_of_refused_mail(dead.data, dead.attributes.get("messageId", ""))
        if identifier is None:
            return None
        path = f"{self._collection}/{identifier}"
        changes = refused_mail(_result(dead, is_invalid=True), self._clock(), self._policy)
        [created] = self._store.mark([Write(path, nested(changes), version=None)])
        match created:
            case Unwritable():
                return path, _UNWRITABLE
            case FirepostError():
                raise created
        return (path, _REFUSED) if created else None


def _was_refused(dead: ReceivedMessage) -> bool:
    return _DELIVERIES not in dead.attributes


def _result(dead: ReceivedMessage, is_invalid: bool) -> Result:
    """The ERROR for the document; `is_invalid` if the mail itself is the reason, which the sender then explains."""
    deliveries, given = dead.attributes.get(_DELIVERIES), dead.attributes.get("reason", "no reason given")[:50]
    if deliveries is not None:
        text = f"Pub/Sub gave the message up after {deliveries[:20]} deliveries."
        return Result(State.ERROR, error=text, error_code=ErrorCode.DEAD_LETTER)
    text = f"The sender refused the message ({given})."
    if is_invalid:
        return Result(State.ERROR, error=dead.attributes.get("error", text), error_code=ErrorCode.VALIDATION)
    return Result(State.ERROR, error=text, error_code=ErrorCode.DEAD_LETTER)
