"""A message as Pub/Sub delivers it, and its wrapping in a push request.

https://cloud.google.com/pubsub/docs/push#receive_push
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from werkzeug.exceptions import BadRequest


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A delivered message, by push or pull; `published` is in UTC, or None if missing."""

    data: bytes
    attributes: Mapping[str, str]
    message_id: str
    published: datetime | None = None


def unwrap(body: bytes) -> ReceivedMessage:
    """The message in a push request's body.

    Raises `BadRequest` for a body that Pub/Sub never sends: the caller is wrong, not a message, so there is nothing to
    dead-letter.
    """
    try:
        match json.loads(body):
            case {"message": {"messageId": str(message_id), **fields}}:
                data = base64.b64decode(str(fields.get("data") or ""), validate=True)
                attributes = fields.get("attributes")
                published = fields.get("publishTime")
                return ReceivedMessage(
                    data,
                    attributes if isinstance(attributes, dict) else {},
                    message_id,
                    datetime.fromisoformat(published) if isinstance(published, str) else None,
                )
    except (ValueError, RecursionError) as error:  # includes errors of base64 and Unicode
        raise BadRequest("Expected a Pub/Sub push request: JSON with a message.") from error
    raise BadRequest("Expected a Pub/Sub push request: JSON with a message.")
