"""The console page: the mail documents and their state."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from google.api_core.exceptions import NotFound
from google.cloud import firestore

from shared.delivery.model import State

#: The maximum number of documents read: the page is for development, not an inventory.
READ_LIMIT = 1000
SHOWN_LIMIT = 100
#: Documents are cached this long (seconds), so that several open pages query Firestore no more often than one.
FRESH_SECONDS = 0.5

NEW = "NEW"

#: Returns a token for calls of the service with that name (of `SERVICES`), or None if it verifies none.
TokenOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Document:
    """A mail document as the console shows it. `changed` is in UTC."""

    id: str
    changed: datetime
    data: Mapping[str, Any]

    @property
    def delivery(self) -> Mapping[str, Any]:
        """The `delivery` field; empty if it is missing or not a map."""
        found = self.data.get("delivery")
        return found if isinstance(found, Mapping) else {}

    @property
    def state(self) -> str:
        """`delivery.state`, or NEW if the document has none yet."""
        return str(self.delivery.get("state", NEW))


class Documents:
    """The mail collection, for the console."""

    def __init__(self, client: firestore.Client, collection: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = collection
        self._collection = client.collection(collection)
        self._clock = clock
        self._known: list[Document] = []
        self._read_at = float("-inf")

    def latest(self) -> list[Document]:
        """The documents (at most `READ_LIMIT`), the most recently changed first."""
        if self._clock() - self._read_at >= FRESH_SECONDS:
            found = (Document(read.id, read.update_time, read.to_dict()) for read in self._read())
            self._known = sorted(found, key=lambda document: document.changed, reverse=True)
            self._read_at = self._clock()
        return self._known

    def _read(self) -> Iterable[Any]:
        """Reads only the displayed fields: attachments can be large."""
        return self._collection.select(["delivery", "message.subject", "sendAt"]).limit(READ_LIMIT).stream()

    def write(self, data: Mapping[str, Any]) -> str:
        """Create a document; returns its id."""
        reference = self._collection.document()
        reference.create(dict(data))
        return str(reference.id)

    def retry(self, identifier: str) -> None:
        """Request another attempt as an application does. Raises `NotFound` if the document does not exist."""
        self._set_state(identifier, State.RETRY)

    def cancel(self, identifier: str) -> None:
        """Call a mail off as an application does. Raises `NotFound` if the document does not exist."""
        self._set_state(identifier, State.CANCELLED)

    def _set_state(self, identifier: str, state: State) -> None:
        self._collection.document(identifier).update({"delivery.state": state.value})


def console_pages(documents: Documents, token: TokenOf) -> Blueprint:
    """The page at `/console` and its data below it. Writing requires a JSON body, which no foreign form can send.

    Tokens are for scripts on this machine: a foreign page can cause the request, but can't read the answer.
    """
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

    @pages.post("/api/documents/<identifier>/<any(retry, cancel):wish>")
    def ask(identifier: str, wish: str) -> ResponseReturnValue:
        request.get_json()
        try:
            (documents.retry if wish == "retry" else documents.cancel)(identifier)
        except NotFound:
            abort(404, f"There is no document {identifier}.")
        return "", 204

    @pages.get("/api/tokens/<any(dispatcher, sender):service>")
    def sign(service: str) -> ResponseReturnValue:
        signed = token(service) or abort(404, "The services verify no tokens.")
        return Response(f"{signed}\n", mimetype="text/plain")

    return pages


def overview(documents: list[Document]) -> dict[str, Any]:
    """The page's data: how many documents are in each state, and the first of `documents`."""
    return {
        "counts": Counter(document.state for document in documents),
        "complete": len(documents) < READ_LIMIT,
        "documents": [row(document) for document in documents[:SHOWN_LIMIT]],
    }


def row(document: Document) -> dict[str, Any]:
    """One row of the page's table; times are ISO 8601 in UTC."""
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
