"""Handles dead letters: concludes their documents, which would otherwise stay queued without a message.

The same topic also receives messages that the sender rejected. If such a message names a document, the dispatcher
published it, so the document is concluded, too; otherwise the reconciler would publish the message again and again. A
rejected inline message has no document.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from shared.delivery.machine import on_dead_letter
from shared.delivery.model import Decision, DocumentState
from shared.delivery.policy import Policy
from shared.delivery.store import MailStore
from shared.errors import InvalidMessage
from shared.firestore.database import Unwritable
from shared.observability.events import Event, log_event
from shared.pubsub import message
from shared.pubsub.push import ReceivedMessage

_log = logging.getLogger("firepost.dead-letters")

#: Set by Pub/Sub on forwarded messages:
#: https://cloud.google.com/pubsub/docs/dead-letter-topics#track_delivery_attempts
_DELIVERIES = "CloudPubSubDeadLetterSourceDeliveryCount"

_REFUSED = "refused"
_UNWRITABLE = "unwritable"

#: The dispatcher marks the document after it has published, possibly after the sender rejected the message. Within this
#: time after the rejection, a write does not mean that another message is on its way.
_MARKED_WITHIN: Final = timedelta(seconds=15)


class DeadLetters:
    """Concludes the documents of dead letters."""

    def __init__(self, store: MailStore, policy: Policy, collection: str, clock: Callable[[], datetime]) -> None:
        """`clock` returns the current time in UTC."""
        self._store = store
        self._policy = policy
        self._collection = collection
        self._clock = clock

    def handle(self, dead: ReceivedMessage) -> str:
        """Conclude the dead letter's document, if any, and return the reason word. Raises `Unavailable`."""
        path = self._path(dead)
        reason = _REFUSED if path is None else self._conclude(path, dead)
        fields = {"message_id": dead.message_id, "reason": reason} | ({} if path is None else {"document": path})
        log_event(_log, Event.DEAD_LETTER, f"dead letter {reason}", fields, logging.ERROR)
        return reason

    def _path(self, dead: ReceivedMessage) -> str | None:
        """The path of the document that the message was published for; None if there is none in the collection."""
        try:
            decoded = message.decode(dead.data, dead.attributes, dead.message_id, self._collection)
        except InvalidMessage:
            return None
        return decoded.path if _DELIVERIES in dead.attributes or decoded.mail is None else None

    def _conclude(self, path: str, dead: ReceivedMessage) -> str:
        now, given_up, error = self._clock(), dead.published, _error(dead)
        if given_up is not None and _DELIVERIES not in dead.attributes:
            given_up += _MARKED_WITHIN

        def decide(known: DocumentState | None, written: datetime | None) -> Decision:
            changed = written is not None and given_up is not None and written > given_up
            return on_dead_letter(known, changed, now, error, self._policy)

        try:
            return self._store.transact(path, decide).reason
        except Unwritable:  # the document can't even record the failure, and a retry would not help
            return _UNWRITABLE


def _error(dead: ReceivedMessage) -> str:
    """The error text for the document, at most about a hundred characters."""
    deliveries = dead.attributes.get(_DELIVERIES)
    if deliveries is not None:
        return f"Pub/Sub gave the message up after {deliveries[:20]} deliveries."
    return f"The sender refused the message ({dead.attributes.get('reason', 'no reason given')[:50]})."
