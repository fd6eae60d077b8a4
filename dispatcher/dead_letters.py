"""Messages that Pub/Sub has given up: the document must say so, or it would stay queued with nothing to carry it.

A message that the sender itself has refused is on the same topic, and nothing is done about it here: it names no
document that waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from shared.delivery.machine import on_dead_letter
from shared.delivery.model import Decision, DocumentState, Reason
from shared.delivery.policy import Policy
from shared.delivery.store import MailStore
from shared.errors import InvalidMessage
from shared.observability.events import Event, log_event
from shared.pubsub import message
from shared.pubsub.push import ReceivedMessage

_log = logging.getLogger("firepost.dead-letters")

#: Set by Pub/Sub when it forwards: https://cloud.google.com/pubsub/docs/dead-letter-topics#track_delivery_attempts
_DELIVERIES = "CloudPubSubDeadLetterSourceDeliveryCount"

_REFUSED = "refused"


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
        """The document that waited for a message that Pub/Sub gave up; None if there is none of ours."""
        if _DELIVERIES not in dead.attributes:
            return None
        try:
            return message.decode(dead.data, dead.attributes, dead.message_id, self._collection).path
        except InvalidMessage:
            return None

    def _conclude(self, path: str, dead: ReceivedMessage) -> Reason:
        now, given_up = self._clock(), dead.published
        error = f"Pub/Sub gave the message up after {dead.attributes[_DELIVERIES]} deliveries."

        def decide(known: DocumentState | None, written: datetime | None) -> Decision:
            changed = written is not None and given_up is not None and written > given_up
            return on_dead_letter(known, changed, now, error, self._policy)

        return self._store.transact(path, decide).reason
