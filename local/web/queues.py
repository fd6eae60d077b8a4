"""Topics, subscriptions and dead letters: the page at `/queues`, `/api/queues` and `/api/dead-letters`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, render_template
from flask.typing import ResponseReturnValue

from local.documents import Documents
from local.queues import Queues
from shared.delivery.model import State
from shared.errors import ErrorCode
from shared.pubsub.letters import DELIVERY_LIMIT, Letter

#: Bytes of a dead letter's data that are shown.
SHOWN_BYTES = 20_000


def queue_pages(queues: Queues, documents: Documents) -> Blueprint:
    """The page and the API."""
    pages = Blueprint("queues", __name__)

    def revive(letter: Letter) -> None:
        """Set a document to RETRY that was concluded because of the dead letter: else the message has no effect."""
        parent, _, identifier = letter.document(documents.path).rpartition("/")
        document = documents.get(identifier) if identifier and parent == documents.path else None
        delivery = document.data.get("delivery") if document else None
        if isinstance(delivery, Mapping) and (delivery.get("state"), delivery.get("errorCode")) == (
            State.ERROR,
            ErrorCode.DEAD_LETTER,
        ):
            documents.set_state(identifier, State.RETRY)

    @pages.get("/queues")
    def page() -> ResponseReturnValue:
        return render_template(
            "queues.html",
            topics=queues.topics(),
            subscriptions=queues.subscriptions(),
            letters=[described(letter, documents.path) for letter in queues.letters()],
            collection=documents.path,
        )

    @pages.get("/api/queues")
    def overview() -> ResponseReturnValue:
        return {
            "topics": queues.topics(),
            "subscriptions": [
                {
                    "name": each.name,
                    "topic": each.topic,
                    "endpoint": each.endpoint or None,
                    "ackDeadlineSeconds": each.ack_deadline,
                    "deadLetterTopic": each.dead_letter_topic or None,
                    "waiting": each.waiting,
                }
                for each in queues.subscriptions()
            ],
        }

    @pages.get("/api/dead-letters")
    def list_letters() -> ResponseReturnValue:
        return [described(letter, documents.path) for letter in queues.letters()]

    @pages.post("/api/dead-letters/<identifier>/replay")
    def replay(identifier: str) -> ResponseReturnValue:
        letter = queues.replay(identifier) or abort(404, f"There is no dead letter {identifier}.")
        if letter.reason == DELIVERY_LIMIT:
            revive(letter)
        return "", 204

    @pages.delete("/api/dead-letters/<identifier>")
    def delete(identifier: str) -> ResponseReturnValue:
        if not queues.delete(identifier):
            abort(404, f"There is no dead letter {identifier}.")
        return "", 204

    return pages


def described(letter: Letter, collection: str) -> dict[str, Any]:
    """A dead letter; `data` is cut if it is long, or else indented if it is JSON."""
    return {
        "id": letter.id,
        "published": letter.published.isoformat(),
        "reason": letter.reason,
        "error": letter.error,
        "document": letter.document(collection) or None,
        "attributes": dict(letter.attributes),
        "data": _legible(letter.data),
    }


def _legible(data: bytes) -> str:
    if len(data) > SHOWN_BYTES:
        return data[:SHOWN_BYTES].decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return data.decode("utf-8", "replace")
