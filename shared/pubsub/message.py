"""The Pub/Sub message that asks a sender for an attempt: its format, version 1.

`shared/pubsub/message.schema.json` describes the same for people and other languages; a test holds the two together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.errors import InvalidMessage

#: The value of the attribute `version`; a message without it counts as this one.
VERSION: Final = "1"

#: What Firestore allows as a document id: https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
_ID = re.compile(r"(?!\.{1,2}$)(?!__.*__$)[^/\x00]+")
_MAX_ID_BYTES = 1500


@dataclass(frozen=True, slots=True)
class Message:
    """An attempt at the document `path`; `mail` is what it holds if it does not exist yet."""

    path: str
    mail: Mapping[str, Any] | None = None


def encode(path: str, reason: str) -> tuple[bytes, dict[str, str]]:
    """Data and attributes of a message by reference; `path` is relative to the database."""
    data = json.dumps({"document": path}, ensure_ascii=False).encode()
    return data, {"document": path, "reason": reason, "version": VERSION}


def decode(data: bytes, attributes: Mapping[str, str], message_id: str, collection: str) -> Message:
    """Read a message that anyone may have published.

    `message_id` is Pub/Sub's, the default for an inline mail's id; `collection` is the only one whose documents are
    accepted. Raises `InvalidMessage` with reason `unknown-version`, `not-json`, `wrong-shape` or `foreign-path`.
    """
    if attributes.get("version", VERSION) != VERSION:
        raise InvalidMessage("unknown-version", f"Attribute 'version': this sender reads version {VERSION}.")
    body = _parse(data)
    match body:
        case {"document": str(path), **rest} if not rest:
            return Message(_own(path, collection))
        case {"mail": dict(mail), "id": str(identifier), **rest} if not rest:
            return Message(f"{collection}/{_checked_id(identifier)}", _mail(mail))
        case {"mail": dict(mail), **rest} if not rest:
            return Message(f"{collection}/{message_id}", _mail(mail))
    raise InvalidMessage(
        "wrong-shape",
        'The data must be {"document": "<collection>/<id>"} or {"mail": {…}, "id": "<id>"} (id is optional).',
    )


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage("not-json", "The data is not JSON in UTF-8.") from error


def _own(path: str, collection: str) -> str:
    parent, _, identifier = path.rpartition("/")
    if parent != collection or not _valid_id(identifier):
        raise InvalidMessage("foreign-path", f"The document must lie in the collection '{collection}'.")
    return path


def _checked_id(identifier: str) -> str:
    if not _valid_id(identifier):
        raise InvalidMessage("wrong-shape", "'id' must be a Firestore document id: 1 to 1,500 bytes without '/'.")
    return identifier


def _valid_id(identifier: str) -> bool:
    size = len(identifier.encode(errors="surrogatepass"))
    return identifier.isprintable() and size <= _MAX_ID_BYTES and _ID.fullmatch(identifier) is not None


def _mail(mail: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mail as a document's fields: JSON has no timestamps, so `sendAt` comes as RFC 3339 text."""
    if "delivery" in mail:
        raise InvalidMessage("wrong-shape", "'mail.delivery' is Firepost's to write; leave it out.")
    send_at = mail.get("sendAt")
    if not isinstance(send_at, str):
        return mail
    try:
        time = datetime.fromisoformat(send_at)
    except ValueError as error:
        raise InvalidMessage("wrong-shape", "'mail.sendAt' must be RFC 3339, 2026-01-31T09:00:00Z.") from error
    if time.tzinfo is None:
        raise InvalidMessage("wrong-shape", "'mail.sendAt' needs a time zone, as in 2026-01-31T09:00:00Z.")
    return {**mail, "sendAt": time}
