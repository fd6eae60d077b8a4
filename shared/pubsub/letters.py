"""The content of a dead letter, and the message that replays it. Pure.

There are two kinds. A sender publishes a message that can never work, with `reason` and `error` as attributes. Pub/Sub
itself forwards a message that was delivered too often, with attributes of its own:
https://cloud.google.com/pubsub/docs/handling-failures#track-delivery-attempts
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

#: The attribute that names the replay that published a message, so that a returning one is recognized.
REPLAY: Final = "replay"
#: The reason of dead letters from Pub/Sub itself.
DELIVERY_LIMIT: Final = "delivery-limit"
_PUBSUBS: Final = "CloudPubSubDeadLetter"
_DELIVERIES: Final = f"{_PUBSUBS}SourceDeliveryCount"


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of a dead-letter subscription; `published` is when it became a dead letter."""

    id: str
    ack_id: str
    data: bytes
    attributes: Mapping[str, str]
    published: datetime

    @property
    def reason(self) -> str:
        """The sender's reason (see docs/messages.md), or `delivery-limit` if Pub/Sub gave up."""
        if "error" not in self.attributes and _DELIVERIES in self.attributes:
            return DELIVERY_LIMIT
        return self.attributes.get("reason", "unknown")

    @property
    def error(self) -> str:
        """The reason as a sentence; empty if unknown."""
        if self.reason == DELIVERY_LIMIT:
            return f"Pub/Sub gave up after {self.attributes[_DELIVERIES]} deliveries."
        return self.attributes.get("error", "")

    def document(self, collection: str) -> str:
        """The path of the message's document; empty if the message doesn't name one."""
        match self._body():
            case {"document": str(path)}:
                return path
            case {"mail": dict(), "id": str(identifier)}:
                return f"{collection}/{identifier}"
        return self.attributes.get("document", "")

    def replayed(self, run: str) -> tuple[bytes, dict[str, str]]:
        """Data and attributes to publish, unchanged except for the mark of the replay `run`.

        An inline mail without an id gets this message's id: if it is replayed twice, one mail is sent.
        """
        added = ("messageId", "reason", "error", REPLAY)
        kept = {
            name: value
            for name, value in self.attributes.items()
            if name not in added and not name.startswith(_PUBSUBS)
        }
        return self._identified(), {**kept, REPLAY: run}

    def _identified(self) -> bytes:
        body = self._body()
        match body:
            case {"mail": dict(), **rest} if not rest:
                return json.dumps({**body, "id": self.id}).encode()
        return self.data

    def _body(self) -> Any:
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError):
            return None
