"""The mail collection, for people: summaries of its documents, and what people do to one.

Summaries are kept between looks. Whoever notices a write calls `changed`, which costs next to nothing; the next look
reads only the documents that have changed, and of them only the fields that a summary needs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from google.api_core.exceptions import FailedPrecondition, NotFound
from google.cloud import firestore

from shared.delivery.model import State

#: The most documents that are known: the console is for development, not an inventory.
KNOWN_DOCUMENTS = 1000
#: Documents per request.
READ_AT_ONCE = 100

#: The state of a document without `delivery`.
NEW = "NEW"
#: The fields of a summary. Others may be large: attachments, template data.
SUMMARY_FIELDS = (
    "to",
    "cc",
    "bcc",
    "message.subject",
    "template.name",
    "sendAt",
    *(f"delivery.{name}" for name in ("state", "attempts", "error", "errorCode", "nextAttemptTime", "endTime")),
    *(f"delivery.info.{name}" for name in ("response", "messageId")),
)
_MOST_RECIPIENTS, _LONGEST_TEXT = 20, 500


@dataclass(frozen=True, slots=True)
class Summary:
    """A document in one row. Times are in UTC, texts are empty where the document has none."""

    id: str
    changed: datetime
    state: str
    code: str
    subject: str
    recipients: tuple[str, ...]
    attempts: int | None
    error: str
    response: str
    message_id: str
    next_attempt: datetime | None

    @property
    def has_ended(self) -> bool:
        """Whether only a user can start another attempt."""
        return self.state in (State.SUCCESS, State.ERROR, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Document:
    """A whole document; `created` and `changed` are in UTC."""

    id: str
    created: datetime
    changed: datetime
    data: Mapping[str, Any]


def summary(identifier: str, changed: datetime, data: Mapping[str, Any]) -> Summary:
    """The summary of a document's fields, whatever their types are."""
    delivery, message = _map(data.get("delivery")), _map(data.get("message"))
    info = _map(delivery.get("info"))
    attempts, later = delivery.get("attempts"), delivery.get("nextAttemptTime") or data.get("sendAt")
    recipients = (text for name in ("to", "cc", "bcc") for text in _texts(data.get(name)))
    return Summary(
        id=identifier,
        changed=changed,
        state=_text(delivery.get("state")) or NEW,
        code=_text(delivery.get("errorCode")),
        subject=_text(message.get("subject")) or _text(_map(data.get("template")).get("name")),
        recipients=tuple(islice(recipients, _MOST_RECIPIENTS)),
        attempts=attempts if isinstance(attempts, int) else None,
        error=_text(delivery.get("error")),
        response=_text(info.get("response")),
        message_id=_text(info.get("messageId")),
        next_attempt=later if isinstance(later, datetime) and delivery.get("endTime") is None else None,
    )


def matching(known: Sequence[Summary], state: str = "", code: str = "", text: str = "") -> list[Summary]:
    """Those in this state, with this error code, and with `text` in id, recipients, subject or error. Empty: any."""
    sought = text.casefold().strip()
    return [
        each
        for each in known
        if (not state or each.state == state)
        and (not code or each.code == code)
        and (not sought or any(sought in part.casefold() for part in _searched(each)))
    ]


def _searched(each: Summary) -> tuple[str, ...]:
    return (each.id, *each.recipients, each.subject, each.error, each.code, each.message_id)


def own_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an application: all but `delivery`."""
    return {name: value for name, value in data.items() if name != "delivery"}


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""


def _texts(value: object) -> Iterator[str]:
    values = value[:_MOST_RECIPIENTS] if isinstance(value, list) else [value]
    return (_text(each) for each in values if isinstance(each, str))


class Documents:
    """The collection `path`. Thread-safe.

    `version` changes with every write that `changed` was told of.
    """

    def __init__(self, client: firestore.Client, path: str) -> None:
        self.path = path
        self.version = 0
        self._client = client
        self._collection = client.collection(path)
        self._known: dict[str, Summary] = {}
        self._is_cut = False
        self._stale: set[str] = set()
        self._all_stale = True
        self._changed = threading.Condition()
        self._reading = threading.Lock()

    def changed(self, path: str) -> None:
        """Note that the document at `path` was written, created or deleted; returns at once."""
        parent, _, identifier = path.rpartition("/")
        if parent != self.path:
            return
        with self._changed:
            self._stale.add(identifier)
            if len(self._stale) > KNOWN_DOCUMENTS:
                self._all_stale = True
                self._stale.clear()
            self.version += 1
            self._changed.notify_all()

    @property
    def is_cut(self) -> bool:
        """Whether there are, or were, more documents than are known."""
        return self._is_cut

    def latest(self) -> list[Summary]:
        """The documents (at most `KNOWN_DOCUMENTS`), the most recently changed first."""
        with self._reading:
            self._read_stale()
            return sorted(self._known.values(), key=lambda each: each.changed, reverse=True)

    def wait(self, identifier: str, is_wanted: Callable[[Summary], bool], seconds: float) -> bool:
        """Whether the document is as wanted within `seconds`."""
        end = time.monotonic() + seconds
        while True:
            before = self.version
            found = next((each for each in self.latest() if each.id == identifier), None)
            if found is not None and is_wanted(found):
                return True
            with self._changed:
                left = end - time.monotonic()
                if left <= 0 or (self.version == before and not self._changed.wait(left)):
                    return False

    def reference(self, path: str) -> firestore.DocumentReference:
        """A reference to a document, as a field's value. Raises `ValueError` if `path` is no document's."""
        return self._client.document(path)

    def get(self, identifier: str) -> Document | None:
        """The whole document, if it exists."""
        read = self._collection.document(identifier).get()
        return Document(read.id, read.create_time, read.update_time, read.to_dict() or {}) if read.exists else None

    def create(self, data: Mapping[str, Any], identifier: str | None = None) -> str:
        """Create a document; returns its id. Raises `AlreadyExists` (google.api_core)."""
        reference = self._collection.document(identifier)
        reference.create(dict(data))
        return str(reference.id)

    def replace(self, identifier: str, data: Mapping[str, Any], was_seen: Callable[[Mapping[str, Any]], bool]) -> None:
        """Give the document these fields, and keep its `delivery`.

        Raises `NotFound`, and `FailedPrecondition` if `was_seen` says that its other fields are not as expected.
        """
        reference = self._collection.document(identifier)

        @firestore.transactional
        def replace(transaction: firestore.Transaction) -> None:
            read = reference.get(transaction=transaction)
            if not read.exists:
                raise NotFound(f"There is no document {identifier}.")
            before = read.to_dict() or {}
            if not was_seen(own_fields(before)):
                raise FailedPrecondition("The document has changed meanwhile; reload the page.")
            kept = {"delivery": before["delivery"]} if "delivery" in before else {}
            transaction.set(reference, {**data, **kept})

        replace(self._client.transaction())

    def set_state(self, identifier: str, state: State) -> None:
        """Set `delivery.state`, as an application does. Raises `NotFound`."""
        self._collection.document(identifier).update({"delivery.state": state.value})

    def delete(self, identifier: str) -> None:
        """Delete the document, if there is one."""
        self._collection.document(identifier).delete()

    def _read_stale(self) -> None:
        with self._changed:
            stale, everything = self._stale, self._all_stale
            self._stale, self._all_stale = set(), False
        try:
            if everything:
                self._known = {each.id: each for each in self._read_all()}
                self._is_cut = len(self._known) >= KNOWN_DOCUMENTS
            else:
                self._read(sorted(stale))
        except BaseException:
            with self._changed:
                self._all_stale = True
            raise
        self._drop_oldest()

    def _read_all(self) -> Iterator[Summary]:
        found = self._collection.select(list(SUMMARY_FIELDS)).limit(KNOWN_DOCUMENTS).stream()
        return (summary(read.id, read.update_time, read.to_dict() or {}) for read in found)

    def _read(self, identifiers: Sequence[str]) -> None:
        for start in range(0, len(identifiers), READ_AT_ONCE):
            references = map(self._collection.document, identifiers[start : start + READ_AT_ONCE])
            for read in self._client.get_all(list(references), field_paths=list(SUMMARY_FIELDS)):
                if read.exists:
                    self._known[read.id] = summary(read.id, read.update_time, read.to_dict() or {})
                else:
                    self._known.pop(read.id, None)

    def _drop_oldest(self) -> None:
        if len(self._known) > KNOWN_DOCUMENTS:
            newest = sorted(self._known.values(), key=lambda each: each.changed, reverse=True)
            self._known = {each.id: each for each in newest[:KNOWN_DOCUMENTS]}
            self._is_cut = True
