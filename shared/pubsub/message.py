"""The Pub/Sub message that requests an attempt: format version 1.

`shared/message.schema.json` describes the same format for other languages; a test keeps the two consistent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.delivery.lanes import DEFAULT_LANE, LANE
from shared.delivery.model import DECIDING_TIMES
from shared.delivery.times import point_in_time
from shared.document_ids import MAX_ID_BYTES, is_document_id
from shared.errors import InvalidMessage

#: The value of the attribute `version`, and its default.
VERSION: Final = "1"

#: The version of messages that the dispatcher publishes in shadow mode. Only a sender in shadow mode reads them; any
#: other one refuses them, so that it does not send what another system sends.
SHADOW_VERSION: Final = "shadow"

#: Pub/Sub's limit for an attribute's value: https://cloud.google.com/pubsub/quotas#resource_limits
MAX_ATTRIBUTE_BYTES: Final = 1024
MAX_NAME_BYTES: Final = 256

#: The beginning of the names of the attributes that Pub/Sub adds to a message that it has given up:
#: https://cloud.google.com/pubsub/docs/dead-letter-topics#track_delivery_attempts
PUBSUBS_OWN: Final = "CloudPubSubDeadLetterSource"

#: Values of an inline mail: fewer than a sender decodes of a document (`shared.firestore.values.MAX_VALUES`).
MOST_VALUES: Final = 40_000
#: Firestore's limit for nested maps and arrays.
_MAX_DEPTH = 20
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Message:
    """A request for an attempt at the document `path`; `mail` has its fields if it is an inline mail."""

    path: str
    mail: Mapping[str, Any] | None = None


def encode(path: str, reason: str, version: str = VERSION, lane: str = DEFAULT_LANE) -> tuple[bytes, dict[str, str]]:
    """The data and attributes of a message that names a document; `path` is relative to the database.

    The default lane has no attribute. The attribute `document` is omitted if the path exceeds Pub/Sub's limit; the data
    always contains the path.
    """
    data = json.dumps({"document": path}, ensure_ascii=False).encode()
    attributes = {"document": path} if len(path.encode()) <= MAX_ATTRIBUTE_BYTES else {}
    if lane != DEFAULT_LANE:
        attributes[LANE] = lane
    return data, {**attributes, "reason": reason, "version": version}


def decode(
    data: bytes,
    attributes: Mapping[str, str],
    message_id: str,
    collection: str,
    versions: Collection[str] = (VERSION,),
) -> Message:
    """Parse and validate a message from any publisher.

    `message_id` is Pub/Sub's id, the default document id of an inline mail. Only documents in `collection` are
    accepted, and only the given `versions`. An inline mail without a `lane` is in the lane of its message, so that it
    stays there when the reconciler publishes it again. Raises `InvalidMessage` (`unknown-version`, `not-json`,
    `wrong-shape`, `foreign-path`, `unwritable`).
    """
    if attributes.get("version", VERSION) not in versions:
        raise InvalidMessage("unknown-version", f"Attribute 'version': this sender reads version {VERSION}.")
    body = _parse(data)
    match body:
        case {"document": str(path), **rest} if not rest:
            return Message(_own(path, collection))
        case {"mail": dict(mail), "id": str(identifier), **rest} if not rest:
            return Message(f"{collection}/{_checked_id(identifier)}", _mail(mail, attributes.get(LANE)))
        case {"mail": dict(mail), **rest} if not rest:
            return Message(f"{collection}/{_checked_id(message_id)}", _mail(mail, attributes.get(LANE)))
    raise InvalidMessage(
        "wrong-shape",
        'The data must be {"document": "<collection>/<id>"} or {"mail": {…}, "id": "<id>"} (id is optional).',
    )


def id_of_refused_mail(data: bytes, message_id: str) -> str | None:
    """The document id of an inline mail, from a message that `decode` or Firestore may refuse; None if there is none.

    `message_id` is as in `decode`. A message by reference has no id of its own.
    """
    try:
        body = _parse(data)
    except InvalidMessage:
        return None
    match body:
        case {"mail": _, "id": str(identifier)} if is_document_id(identifier):
            return identifier
        case {"mail": _, **rest} if "id" not in rest and is_document_id(message_id):
            return message_id
    return None


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage("not-json", "The data is not JSON in UTF-8.") from error


def _own(path: str, collection: str) -> str:
    parent, _, identifier = path.rpartition("/")
    if parent != collection or not is_document_id(identifier):
        raise InvalidMessage("foreign-path", f"The document must lie in the collection '{collection}'.")
    return path


def _checked_id(identifier: str) -> str:
    if not is_document_id(identifier):
        raise InvalidMessage(
            "wrong-shape", f"'id' must be a Firestore document id: 1 to {MAX_ID_BYTES:,} bytes without '/'."
        )
    return identifier


def _mail(mail: Mapping[str, Any], lane: str | None) -> Mapping[str, Any]:
    """The mail as a document's fields, with the `lane` of its message if it has none of its own.

    `sendAt` and `expiresAt` are converted to timestamps, which JSON lacks. An invalid one is kept, so that the document
    gets the validation error.
    """
    if "delivery" in mail:
        raise InvalidMessage("wrong-shape", "'mail.delivery' is Firepost's to write; leave it out.")
    _check_storable(mail)
    times = {name: time for name in DECIDING_TIMES if (time := point_in_time(mail.get(name))) is not None}
    own = {} if lane is None or mail.get(LANE) is not None else {LANE: lane}
    return {**mail, **own, **times}


def _check_storable(mail: object) -> None:
    """Reject values that can't be encoded in a request to Firestore, and more of them than a sender decodes.

    Firestore itself checks the other limits: https://firebase.google.com/docs/firestore/quotas
    """
    waiting, count = [(mail, 1)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > MOST_VALUES:
            raise InvalidMessage("unwritable", f"'mail' holds more than {MOST_VALUES:,} values.")
        _check_value(value, depth)
        match value:
            case dict():
                for name in value:
                    _check_value(name, depth)
                waiting += ((item, depth + 1) for item in value.values())
            case list():
                waiting += ((item, depth + 1) for item in value)


def _check_value(value: object, depth: int) -> None:
    """Reject one value; `depth` is the nesting depth of the items in it."""
    match value:
        case str() if not value.isascii() and _SURROGATE.search(value):
            raise InvalidMessage("unwritable", "'mail' holds half of a surrogate pair, which is not a character.")
        case int() if not -(2**63) <= value < 2**63:
            raise InvalidMessage("unwritable", "'mail' holds an integer beyond 64 bits.")
        case dict() | list() if value and depth > _MAX_DEPTH:
            raise InvalidMessage("unwritable", f"'mail' is nested more than {_MAX_DEPTH} levels deep.")
