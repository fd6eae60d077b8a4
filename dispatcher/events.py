"""Parses Eventarc's CloudEvents about Firestore documents, as far as decisions need them.

In binary content mode (https://cloud.google.com/eventarc/docs/event-format), attributes are `ce-` headers and the body
is a protobuf `DocumentEventData`. Google's Firestore emulator sends the body base64-encoded. If an attribute is not a
valid HTTP header (such as an id that ends in a space), Eventarc sends the underlying Pub/Sub message instead:
`{"message": {"attributes": {"ce-…": …}, "data": …}, "subscription": …}`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass

from google.events.cloud.firestore_v1 import DocumentEventData
from google.protobuf.message import DecodeError

from shared.delivery.model import DocumentState
from shared.errors import InvalidEvent
from shared.firestore.database import RawDocument, Version, deciding_fields

EVENT_TYPE = "google.cloud.firestore.document.v1.written"

_EventData = DocumentEventData.pb()


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """One write: the document's path relative to the database, its state before and after, and the new version.

    `old` is None if the document was created, `new` if it was deleted.
    """

    path: str
    old: DocumentState | None
    new: DocumentState | None
    version: Version


#: Returns the value of an attribute such as `ce-type`.
Attribute = Callable[[str], str | None]


def unwrap(header: Attribute, body: bytes) -> tuple[Attribute, bytes]:
    """The attributes and data of an event in either of the two forms. Raises `InvalidEvent`."""
    if not body.startswith(b"{"):  # neither `DocumentEventData` nor base64 begins with this
        return header, body
    try:
        match json.loads(body):
            case {"message": {"attributes": dict(attributes), "data": str(data)}}:
                texts = {name.lower(): value for name, value in attributes.items() if isinstance(value, str)}
                return texts.get, base64.b64decode(data, validate=True)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent("Body: expected JSON with a Pub/Sub message.") from error
    raise InvalidEvent("Body: expected a Pub/Sub message with attributes and data.")


def parse(event_type: str | None, body: bytes, collection: str) -> DocumentChange:
    """Parse an event about a document in `collection`; `event_type` is the attribute `ce-type`.

    Raises `InvalidEvent` for malformed events, other types and documents of other collections.
    """
    if event_type != EVENT_TYPE:
        raise InvalidEvent(f"ce-type: expected {EVENT_TYPE}, found {'another' if event_type else 'nothing'}.")
    event = _EventData()
    try:
        event.ParseFromString(_raw(body))
    except (DecodeError, binascii.Error) as error:
        raise InvalidEvent("Body: expected a protobuf DocumentEventData.") from error
    document = event.value if event.HasField("value") else event.old_value
    return DocumentChange(
        path=_relative(document.name, collection),
        old=_state(event.old_value) if event.HasField("old_value") else None,
        new=_state(event.value) if event.HasField("value") else None,
        version=Version(seconds=document.update_time.seconds, nanos=document.update_time.nanos),
    )


def _raw(body: bytes) -> bytes:
    """The protobuf bytes of a body that may be base64-encoded.

    Serialized bytes begin with a field tag, and all tags of this message (10, 18, 26) are control characters.
    """
    return base64.b64decode(body, validate=True) if body[:1].isalnum() else body


def _relative(name: str, collection: str) -> str:
    _, _, path = name.partition("/documents/")
    parent, _, identifier = path.rpartition("/")
    if parent != collection or not identifier:
        raise InvalidEvent(f"Body: expected a document in the collection '{collection}', found another.")
    return path


def _state(document: RawDocument) -> DocumentState:
    return DocumentState.of(deciding_fields(document))
