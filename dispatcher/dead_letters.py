"""Messages that Pub/Sub has given up: the document must say so, or it would stay queued with nothing to carry it.

A message that the sender itself has refused is on the same topic. If it names a document, the dispatcher has published
it for one that waits: that is concluded too, or the reconciler would publish the same for ever. An inline message that
is refused has made no document.
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

#: Set by Pub/Sub when it forwards: https://cloud.google.com/pubsub/docs/dead-letter-topics#track_delivery_attempts
_DELIVERIES = "CloudPubSubDeadLetterSourceDeliveryCount"

_REFUSED = "refused"
_UNWRITABLE = "unwritable"

#: The dispatcher notes in the document that it has published, and that may come after the sender's refusal: so long
#: after it, a write is no sign that another message is on its way.
_NOTED_WITHIN: Final = timedelta(seconds=15)


class DeadLetters:
    """Concludes the documents of messages that were delivered too often."""

    def __init__(self, store: MailStore, policy: Policy, collection: str, clock: Callable[[], datetime]) -> None:
        """`clock` tells the time in UTC."""
        self._store = store
        self._policy = policy
        self._collection = collection
        self._clock = clock

    def handle(self, dead: ReceivedMessage) -> str:
        """Do what the dead letter calls for, and say why in a word. Raises `Unavailable`."""
        path = self._path(dead)
        reason = _REFUSED if path is None else self._conclude(path, dead)
        fields = {"message_id": dead.message_id, "reason": reason} | ({} if path is None else {"document": path})
        log_event(_log, Event.DEAD_LETTER, f"dead letter {reason}", fields, logging.ERROR)
        return reason

    def _path(self, dead: ReceivedMessage) -> str | None:
        """The document that waited for the message; None if there is none of ours."""
        try:
            asked = message.decode(dead.data, dead.attributes, dead.message_id, self._collection)
        except InvalidMessage:
            return None
        return asked.path if _DELIVERIES in dead.attributes or asked.mail is None else None

    def _conclude(self, path: str, dead: ReceivedMessage) -> str:
        now, given_up, error = self._clock(), dead.published, _error(dead)
        if given_up is not None and _DELIVERIES not in dead.attributes:
            given_up += _NOTED_WITHIN

        def decide(known: DocumentState | None, written: datetime | None) -> Decision:
            changed = written is not None and given_up is not None and written > given_up
            return on_dead_letter(known, changed, now, error, self._policy)

        try:
            return self._store.transact(path, decide).reason
        except Unwritable:  # not even that it has failed can be said there, and a repetition would not help
            return _UNWRITABLE


def _error(dead: ReceivedMessage) -> str:
    """What the document is told, in at most some hundred characters."""
    deliveries = dead.attributes.get(_DELIVERIES)
    if deliveries is not None:
        return f"Pub/Sub gave the message up after {deliveries[:20]} deliveries."
    return f"The sender refused the message ({dead.attributes.get('reason', 'no reason given')[:50]})."
