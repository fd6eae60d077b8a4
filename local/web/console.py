"""The console page: the mail documents and what became of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, abort, render_template, request
from flask.typing import ResponseReturnValue
from google.api_core.exceptions import NotFound
from google.cloud import firestore

#: More documents than this are not read: the page is for a look at what one is doing, not for an inventory.
READ_LIMIT = 1000
SHOWN_LIMIT = 100
#: Several open pages ask Firestore no more often than one.
FRESH_SECONDS = 0.5

NEW = "NEW"


@dataclass(frozen=True, slots=True)
class Document:
    """A mail document as far as the console shows it. `changed` is in UTC."""

    id: str
    changed: datetime
    data: Mapping[str, Any]

    @property
    def delivery(self) -> Mapping[str, Any]:
        """The `delivery` field; empty when there is none or it is not a map."""
        found = self.data.get("delivery")
        return found if isinstance(found, Mapping) else {}

    @property
    def state(self) -> str:
        """`delivery.state`, or NEW when nobody has touched the document yet."""
        return str(self.delivery.get("state", NEW))


class Documents:
    """The mail collection, as the console uses it."""

    def __init__(self, client: firestore.Client, collection: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = collection
        self._collection = client.collection(collection)
        self._clock = clock
        self._known: list[Document] = []
        self._read_at = float("-inf")

    def latest(self) -> list[Document]:
        """The documents (at most `READ_LIMIT`), those changed last first."""
        if self._clock() - self._read_at >= FRESH_SECONDS:
            found = (Document(read.id, read.update_time, read.to_dict()) for read in self._read())
            self._known = sorted(found, key=lambda document: document.changed, reverse=True)
            self._read_at = self._clock()
        return self._known

    def _read(self) -> Iterable[Any]:
        """Only the fields that are shown: attachments can be large."""
        return self._collection.select(["delivery", "message.subject", "sendAt"]).limit(READ_LIMIT).stream()

    def write(self, data: Mapping[str, Any]) -> str:
        """Create a document; the answer is its id."""
        reference = self._collection.document()
        reference.create(dict(data))
        return str(reference.id)

    def retry(self, identifier: str) -> None:
        """Ask for another attempt as an application does. Raises `NotFound` when there is no such document."""
        self._collection.document(identifier).update({"delivery.state": "RETRY"})


def console_pages(documents: Documents) -> Blueprint:
    """The page at `/console` and its JSON below it. Writing needs a JSON body, which no other site's form can send."""
    pages = Blueprint("console", __name__, url_prefix="/console")

    @pages.get("")
    def page() -> ResponseReturnValue:
        return render_template("console.html", collection=documents.path)

    @pages.get("/api/documents")
    def list_documents() -> ResponseReturnValue:
        return overview(documents.latest())

    @pages.post("/api/documents")
    def write() -> ResponseReturnValue:
        data = request.get_json()
        if not isinstance(data, dict):
            abort(400, "A mail document is a JSON object.")
        return {"id": documents.write(data)}, 201

    @pages.post("/api/documents/<identifier>/retry")
    def retry(identifier: str) -> ResponseReturnValue:
        request.get_json()
        try:
            documents.retry(identifier)
        except NotFound:
            abort(404, f"There is no document {identifier}.")
        return "", 204

    return pages


def overview(documents: list[Document]) -> dict[str, Any]:
    """What the page shows: how many documents are in each state, and the first of `documents`."""
    return {
        "counts": Counter(document.state for document in documents),
        "complete": len(documents) < READ_LIMIT,
        "documents": [row(document) for document in documents[:SHOWN_LIMIT]],
    }


def row(document: Document) -> dict[str, Any]:
    """One document as the page's table shows it; times are ISO 8601 in UTC."""
    message, delivery = document.data.get("message"), document.delivery
    info = delivery.get("info")
    return {
        "id": document.id,
        "state": document.state,
        "changed": document.changed.isoformat(),
        "subject": str(message.get("subject", "")) if isinstance(message, Mapping) else "",
        "attempts": delivery.get("attempts"),
        "error": delivery.get("error"),
        "errorCode": delivery.get("errorCode"),
        "response": info.get("response") if isinstance(info, Mapping) else None,
        "nextAttempt": _iso(delivery.get("nextAttemptTime") or document.data.get("sendAt")),
    }


def _iso(value: object) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else None
