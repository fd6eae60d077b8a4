"""The mail documents, for programs: `/api/documents`."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import Blueprint, abort, request
from flask.typing import ResponseReturnValue

from local.documents import KNOWN_DOCUMENTS, Document, Documents, Summary, matching, own_fields
from local.web import parameters
from local.web.values import from_json, to_json
from shared.delivery.model import State

#: Documents in a list, unless another number is asked for.
LISTED = 100
#: What a user can ask for, and the state that says so.
WISHES: Mapping[str, State] = {"retry": State.RETRY, "cancel": State.CANCELLED}


class DocumentApi:
    """The routes."""

    def __init__(self, documents: Documents, places: threading.Semaphore) -> None:
        self._documents = documents
        self._places = places

    def routes(self) -> Blueprint:
        """All routes, by path and method."""
        api = Blueprint("document_api", __name__, url_prefix="/api/documents")
        api.get("")(self.find)
        api.post("")(self.create)
        api.get("/<identifier>")(self.show)
        api.put("/<identifier>")(self.replace)
        api.delete("/<identifier>")(self.delete)
        api.post("/<identifier>/<any(retry, cancel):wish>")(self.ask)
        return api

    def find(self) -> ResponseReturnValue:
        """How many documents are in each state, and those that are asked for."""
        known = self._documents.latest()
        return {
            "counts": Counter(each.state for each in known),
            "complete": not self._documents.is_cut,
            "documents": [row(each) for each in asked_for(known)[: parameters.whole("limit", LISTED, KNOWN_DOCUMENTS)]],
        }

    def create(self) -> ResponseReturnValue:
        """Write a document, with an id of the caller's or a new one."""
        identifier = parameters.text("id") or None
        if identifier is not None and "/" in identifier:
            abort(400, "id: expected no slash.")
        return {"id": self._documents.create(self._fields(), identifier)}, 201

    def show(self, identifier: str) -> ResponseReturnValue:
        """One document with all its fields; waits until it has ended."""
        with parameters.waiting(self._places) as seconds:
            if seconds:
                self._documents.wait(identifier, lambda each: each.has_ended, seconds)
        document = self._documents.get(identifier) or abort(404, f"There is no document {identifier}.")
        return details(document), 200, {"ETag": tag(document.data)}

    def replace(self, identifier: str) -> ResponseReturnValue:
        """Give a document other fields, apart from `delivery`."""
        if "delivery" in parameters.body():
            abort(400, "delivery: expected no such field; it stays as it is.")
        fields = self._fields()
        self._documents.replace(identifier, fields, was_seen)
        return "", 204, {"ETag": tag(fields)}

    def delete(self, identifier: str) -> ResponseReturnValue:
        """Delete a document."""
        self._documents.delete(identifier)
        return "", 204

    def ask(self, identifier: str, wish: str) -> ResponseReturnValue:
        """Ask for another attempt, or call the mail off."""
        self._documents.set_state(identifier, WISHES[wish])
        return "", 204

    def _fields(self) -> dict[str, Any]:
        try:
            return dict(from_json(parameters.body(), self._documents.reference))
        except ValueError as error:
            abort(400, str(error))


def asked_for(known: Sequence[Summary]) -> list[Summary]:
    """Those that the request's parameters ask for."""
    return matching(known, state=parameters.text("state"), code=parameters.text("code"), text=parameters.text("query"))


def tag(data: Mapping[str, Any]) -> str:
    """Another text for other fields; `delivery`, which Firepost changes, does not count. It is the header ETag."""
    text = json.dumps(to_json(own_fields(data)), sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def was_seen(data: Mapping[str, Any]) -> bool:
    """Whether the caller knows these fields (the header If-Match), or does not say."""
    return request.headers.get("If-Match", tag(data)) == tag(data)


def row(each: Summary) -> dict[str, Any]:
    """A document as one entry of a list; times are ISO 8601 in UTC."""
    return {
        "id": each.id,
        "state": each.state,
        "changed": each.changed.isoformat(),
        "subject": each.subject,
        "recipients": list(each.recipients),
        "attempts": each.attempts,
        "error": each.error or None,
        "errorCode": each.code or None,
        "response": each.response or None,
        "messageId": each.message_id or None,
        "nextAttempt": _iso(each.next_attempt),
    }


def details(document: Document) -> dict[str, Any]:
    """A whole document, its fields as `local.web.values` has them."""
    return {
        "id": document.id,
        "created": document.created.isoformat(),
        "changed": document.changed.isoformat(),
        "fields": to_json(document.data),
    }


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
