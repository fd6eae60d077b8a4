"""A mail document from the command line: flags, and a file of JSON or YAML.

Everything here is JSON: a mail is validated by packing it into an inline message and reading that as a sender does.
"""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from sender.document.document import parse_document
from shared.errors import InvalidMessage, NotSendable
from shared.pubsub import message
from shared.pubsub.message import Message

Json = dict[str, Any]

#: Firestore's limit for a document. It applies to inline mails, too, because they become documents.
#:
#: https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
MAX_DOCUMENT_BYTES = 1024 * 1024


def parse_file(text: str) -> Json:
    """The mail document in a file's text. Raises `ValueError` with a sentence about the problem."""
    try:
        value = json.loads(text)
    except ValueError as error:
        value = _parse_yaml(text, error)
    if not isinstance(value, dict):
        raise ValueError('it must hold one mail document, as in {"to": ..., "message": {...}}')
    return value


def _parse_yaml(text: str, not_json: ValueError) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise ValueError(f"it is not JSON ({not_json}), and reading YAML needs PyYAML: pip install pyyaml") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is neither JSON nor YAML ({' '.join(str(error).split())})") from error


def merged(base: Mapping[str, Any], flags: Mapping[str, Any]) -> Json:
    """The file's mail, overridden by the flags' fields; maps are merged, attachments appended."""
    result = dict(base)
    for name, value in flags.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[name] = merged(before, value)
        elif name == "attachments" and isinstance(before, list):
            result[name] = [*before, *value]
        else:
            result[name] = value
    return result


def parse_headers(texts: Iterable[str]) -> dict[str, list[str]]:
    """Headers given as `Name: value`; a repeated name has several values. Raises `ValueError` for any other form."""
    headers: dict[str, list[str]] = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"{text!r} is not 'Name: value'")
        headers.setdefault(name.strip(), []).append(value.strip())
    return headers


def attachment(path: PurePath, content: bytes) -> Json:
    """A file as an attachment; its type follows from its name."""
    return {"filename": path.name, "content": base64.b64encode(content).decode(), "encoding": "base64"}


def inline(mail: Json, identifier: str) -> bytes:
    """The data of an inline message for this mail. Raises `ValueError` for values that JSON can't express."""
    return json.dumps({"mail": mail, "id": identifier}, default=_as_json).encode()


def checked(data: bytes, collection: str) -> Message:
    """The document that an inline message describes, as a sender would read it.

    Raises `ValueError` with the sender's own error text if the mail could not be sent.
    """
    try:
        read = message.decode(data, {}, "", collection)
        parse_document(read.mail or {})
    except (InvalidMessage, NotSendable) as error:
        raise ValueError(str(error)) from error
    return read


def _as_json(value: Any) -> str:
    """Converts times, which YAML has and JSON lacks; without a zone they are UTC (yaml.org/type/timestamp.html)."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    raise ValueError(f"a value of the type {type(value).__name__} can't be in a mail; is it a text that needs quotes?")
