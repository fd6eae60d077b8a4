"""Publishes lifecycle events for other systems: CloudEvents about a mail's new state, on a separate topic.

The types are Trigger Email's (`firebase.extensions.firestore-send-email.v1.on…`). Each event is caused by a Firestore
event, so it is published after the commit, at least once, and duplicates have the same id.
https://extensions.dev/extensions/firebase/firestore-send-email
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from dispatcher.events import DocumentChange
from shared.delivery.model import FINAL, DocumentState, State, state_of
from shared.pubsub.message import MAX_ATTRIBUTE_BYTES
from shared.pubsub.publisher import Publisher, Unpublishable

_log = logging.getLogger("firepost.dispatcher")

PREFIX = "firebase.extensions.firestore-send-email.v1"

_NAMES = {
    State.PENDING: "onPending",
    State.RETRY: "onRetry",
    State.PROCESSING: "onProcessing",
    State.SUCCESS: "onSuccess",
    State.ERROR: "onError",
}


def names(old: DocumentState | None, new: DocumentState | None) -> list[str]:
    """The names of the lifecycle events of a change, in order; none for an edit that leaves the state unchanged."""
    before, after = state_of(old), state_of(new)
    if new is None or before is after:
        return ["onStart"] if new is not None and old is None else []
    started = ["onStart"] if old is None else []
    reached = [_NAMES[after]] if after in _NAMES else []  # there is none for CANCELLED
    return started + reached + (["onComplete"] if after in FINAL else [])


class Lifecycle:
    """Publishes lifecycle events to a topic."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def announce(self, change: DocumentChange, header: Callable[[str], str | None]) -> None:
        """Publish the change's lifecycle events, in CloudEvents' binary mode for Pub/Sub.

        `header` returns the headers of the underlying Firestore event. One that Pub/Sub refuses for good is logged and
        left out. Raises `Unavailable`.
        """
        delivery = change.new.delivery if change.new else None
        data = {
            "document": change.path,
            "state": delivery.state if delivery else None,
            "attempts": delivery.attempts if delivery else 0,
            "errorCode": delivery.error_code if delivery else None,
        }
        for name in names(change.old, change.new):
            attributes = {
                "ce-specversion": "1.0",
                "ce-id": f"{header('ce-id')}/{name}",
                "ce-type": f"{PREFIX}.{name}",
                "ce-source": header("ce-source") or "",
                "ce-time": header("ce-time") or "",
                "content-type": "application/json",
            }
            if len(change.path.encode()) <= MAX_ATTRIBUTE_BYTES:  # Pub/Sub rejects longer ones; the data has it
                attributes["ce-subject"] = change.path
            try:
                self._publisher.publish(json.dumps(data).encode(), attributes)
            except Unpublishable:  # a repeat of the event would not help, and would publish the mail's message again
                _log.error("lifecycle event refused", extra={"fields": {"document": change.path, "reason": name}})
