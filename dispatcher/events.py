"""Eventarc's CloudEvent about a Firestore document, read only as far as a decision needs.

Binary content mode (https://cloud.google.com/eventarc/docs/event-format): attributes are `ce-` headers, the body is a
protobuf `DocumentEventData`. Google's Firestore emulator sends the body base64-encoded. Where an attribute can't be an
HTTP header (an id that ends in a space, say), Eventarc sends the Pub/Sub message that carries the event as it is:
`{"message": {"attributes": {"ce-…": …}, "data": …}, "subscription": …}`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.events.cloud.firestore_v1 import DocumentEventData
from google.protobuf.message import DecodeError

from shared.delivery.model import DECIDING_DELIVERY_FIELDS, DocumentState
from shared.errors import InvalidEvent
from shared.firestore.database import RawDocument, Version
from shared.firestore.values import RawValue, decode

EVENT_TYPE = "google.cloud.firestore.document.v1.written"

_EventData = DocumentEventData.pb()


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """One write: the document's path relative to the database, what was known before and after, and the new version.

    `old` or `new` is None where the document did not exist, or no longer does.
    """

    path: str
    old: DocumentState | None
    new: DocumentState | None
    version: Version


#: Gives the value of an attribute, `ce-type` say.
Attribute = Callable[[str], str | None]


def unwrap(header: Attribute, body: bytes) -> tuple[Attribute, bytes]:
    """An event's attributes and data, in whichever of the two forms the request has it. Raises `InvalidEvent`."""
    if not body.startswith(b"{"):  # with which neither a `DocumentEventData` nor base64 begins
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
    """Read an event of the type that `ce-type` says; `collection` is the only one whose documents are accepted.

    Raises `InvalidEvent` for what is no such event, or one of another collection's document.
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
        old=_known(event.old_value) if event.HasField("old_value") else None,
        new=_known(event.value) if event.HasField("value") else None,
        version=Version(seconds=document.update_time.seconds, nanos=document.update_time.nanos),
    )


def _raw(body: bytes) -> bytes:
    """The protobuf bytes, whether they came as such or in base64.

    A serialized message begins with a field's tag, and those of this one (10, 18, 26) are control characters.
    """
    return base64.b64decode(body, validate=True) if body[:1].isalnum() else body


def _relative(name: str, collection: str) -> str:
    _, _, path = name.partition("/documents/")
    parent, _, identifier = path.rpartition("/")
    if parent != collection or not identifier:
        raise InvalidEvent(f"Body: expected a document in the collection '{collection}', found another.")
    return path


def _known(document: RawDocument) -> DocumentState:
    fields = document.fields
    decoded = {"sendAt": decode(fields["sendAt"])} if "sendAt" in fields else {}
    if "delivery" in fields:
        decoded["delivery"] = _delivery(fields["delivery"])
    return DocumentState.of(decoded)


def _delivery(value: RawValue) -> Any:
    """All that decisions look at, which is not the longest part, `info`."""
    if not value.HasField("map_value"):
        return decode(value)
    fields = value.map_value.fields
    return {name: decode(fields[name]) for name in DECIDING_DELIVERY_FIELDS if name in fields}
