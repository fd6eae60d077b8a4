"""A delivered Pub/Sub message, and the parser of push requests.

https://cloud.google.com/pubsub/docs/push#receive_push
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from werkzeug.exceptions import BadRequest

from shared.delivery.times import point_in_time


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message delivered by push or pull; `published` is in UTC, or None if missing."""

    data: bytes
    attributes: Mapping[str, str]
    message_id: str
    published: datetime | None = None


def unwrap(body: bytes) -> ReceivedMessage:
    """The message in a push request's body.

    Raises `BadRequest` for a body that Pub/Sub never sends: it contains no message, so there is nothing to dead-letter.
    """
    try:
        match json.loads(body):
            case {"message": {"messageId": str(message_id), **fields}}:
                return ReceivedMessage(
                    base64.b64decode(_text(fields.get("data") or ""), validate=True),
                    _attributes(fields.get("attributes") or {}),
                    _text(message_id),
                    _published(fields.get("publishTime")),
                )
    except (TypeError, ValueError, RecursionError) as error:  # includes errors of base64 and Unicode
        raise BadRequest("Expected a Pub/Sub push request: JSON with a message.") from error
    raise BadRequest("Expected a Pub/Sub push request: JSON with a message.")


def _attributes(given: object) -> Mapping[str, str]:
    if not isinstance(given, dict):
        raise TypeError("attributes are not a map")
    return {_text(name): _text(value) for name, value in given.items()}


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError("not a string")
    given.encode()  # raises for lone surrogates, which JSON can represent
    return given


def _published(given: object) -> datetime | None:
    if given is None:
        return None
    time = point_in_time(_text(given))
    if time is None:
        raise ValueError("not a point in time")
    return time
