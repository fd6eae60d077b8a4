"""Messages that Pub/Sub has given up: the document must say so, or it would stay queued with nothing to carry it.

A message that the sender itself has refused is on the same topic, and nothing is done about it here: it names no
document that waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from shared import message
from shared.delivery import on_dead_letter
from shared.errors import InvalidMessage
from shared.policy import Policy
from shared.push import Delivered
from shared.states import Decision, Known, Reason
from shared.store import MailStore

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

    def handle(self, dead: Delivered) -> str:
        """Do what the dead letter calls for, and say why in a word. Raises `Unavailable`."""
        deliveries = dead.attributes.get(_DELIVERIES)
        if deliveries is None:
            return _REFUSED
        try:
            path = message.decode(dead.data, dead.attributes, dead.message_id, self._collection).path
        except InvalidMessage:
            return _REFUSED
        reason = self._conclude(path, dead.published, f"Pub/Sub gave the message up after {deliveries} deliveries.")
        fields = {"document": path, "reason": reason, "deliveries": deliveries}
        _log.error("dead letter %s", reason, extra={"fields": fields})
        return reason

    def _conclude(self, path: str, given_up: datetime | None, error: str) -> Reason:
        now = self._clock()

        def decide(known: Known | None, written: datetime | None) -> Decision:
            changed = written is not None and given_up is not None and written > given_up
            return on_dead_letter(known, changed, now, error, self._policy)

        return self._store.settle(path, decide).reason
