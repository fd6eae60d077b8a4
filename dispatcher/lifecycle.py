"""Announces lifecycle events to other systems: CloudEvents about a mail's new state.

The types are Trigger Email's (`firebase.extensions.firestore-send-email.v1.on…`). Each event is caused by a Firestore
event, so it is published after the commit, at least once, and duplicates have the same id.
https://extensions.dev/extensions/firebase/firestore-send-email
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dispatcher.event_names import EventType
from dispatcher.events import Attribute, DocumentChange
from shared.delivery.model import FINAL, DocumentState, State, state_of
from shared.firestore.values import decode_time
from shared.pubsub.message import MAX_ATTRIBUTE_BYTES
from shared.pubsub.publisher import Publisher, Unpublishable

_log = logging.getLogger("firepost.dispatcher")

_REACHED = {
    State.PENDING: EventType.PENDING,
    State.RETRY: EventType.RETRY,
    State.PROCESSING: EventType.PROCESSING,
    State.SUCCESS: EventType.SUCCESS,
    State.ERROR: EventType.ERROR,
}


def event_types(old: DocumentState | None, new: DocumentState | None) -> list[EventType]:
    """The types of a change's lifecycle events, in order; none for an edit that leaves the state unchanged."""
    before, after = state_of(old), state_of(new)
    if new is None or before is after:
        return [EventType.START] if new is not None and old is None else []
    started = [EventType.START] if old is None else []
    reached = [_REACHED[after]] if after in _REACHED else []  # there is none for CANCELLED
    return started + reached + ([EventType.COMPLETE] if after in FINAL else [])


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """One lifecycle event: its type, the change it is about, and the id, source and time of the Firestore event."""

    type: EventType
    change: DocumentChange
    cause: str
    source: str
    time: str

    @property
    def name(self) -> str:
        """The short name, such as `onStart`."""
        return self.type.rpartition(".")[2]

    @property
    def id(self) -> str:
        """The same for each delivery of the Firestore event."""
        return f"{self.cause}/{self.name}"


def lifecycle_events(change: DocumentChange, attribute: Attribute) -> list[LifecycleEvent]:
    """The change's lifecycle events, in order; `attribute` returns those of the underlying Firestore event."""
    written = decode_time(change.version).isoformat().replace("+00:00", "Z")
    cause, time = attribute("ce-id") or written, attribute("ce-time") or written
    source = attribute("ce-source") or ""
    return [LifecycleEvent(each, change, cause, source, time) for each in event_types(change.old, change.new)]


class Place(Protocol):
    """Where lifecycle events are published."""

    def publish(self, event: LifecycleEvent) -> None:
        """Return once the event is safely there.

        Raises `Unpublishable` if it is refused for good, `Unavailable` if it may not be there.
        """
        ...


class Lifecycle:
    """Publishes lifecycle events to each of several places."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def announce(self, change: DocumentChange, attribute: Attribute) -> None:
        """Publish the change's lifecycle events; `attribute` returns those of the underlying Firestore event.

        An event that a place refuses for good is logged and left out there. Raises `Unavailable`: Eventarc then repeats
        the Firestore event, and all its lifecycle events are published again.
        """
        for event in lifecycle_events(change, attribute):
            for place in self._places:
                try:
                    place.publish(event)
                except Unpublishable:  # a repeat would not help, and would publish the mail's message again
                    fields = {"document": change.path, "reason": event.name}
                    _log.error("lifecycle event refused", extra={"fields": fields})


class EventsTopic:
    """A Pub/Sub topic as a `Place`, in CloudEvents' binary mode. The data has no content of the mail."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def publish(self, event: LifecycleEvent) -> None:
        """See `Place.publish`."""
        path, delivery = event.change.path, event.change.new.delivery if event.change.new else None
        data = {
            "document": path,
            "state": delivery.state if delivery else None,
            "attempts": delivery.attempts if delivery else 0,
            "errorCode": delivery.error_code if delivery else None,
        }
        attributes = {
            "ce-specversion": "1.0",
            "ce-id": event.id,
            "ce-type": event.type.value,
            "ce-source": event.source,
            "ce-time": event.time,
            "content-type": "application/json",
        }
        if len(path.encode()) <= MAX_ATTRIBUTE_BYTES:  # Pub/Sub rejects longer ones; the data has it
            attributes["ce-subject"] = path
        self._publisher.publish(json.dumps(data).encode(), attributes)
