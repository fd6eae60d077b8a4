"""The dispatcher's entry points.

POST /              one CloudEvent from Eventarc
POST /reconcile     from Cloud Scheduler, every minute
POST /dead-letters  one Pub/Sub push from the dead-letter topic
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from flask import Flask, request
from flask.typing import ResponseReturnValue

from dispatcher import events
from dispatcher.dead_letters import DeadLetters
from dispatcher.handler import Dispatcher
from dispatcher.lifecycle import Lifecycle
from dispatcher.reconciler import Reconciler
from shared.errors import InvalidEvent
from shared.http.app import base_app
from shared.http.auth import TokenVerifier
from shared.http.fast_path import Header
from shared.observability.events import Event, log_event
from shared.pubsub.push import unwrap

_log = logging.getLogger("firepost.dispatcher")

_INVALID_EVENT = "invalid-event"

#: Enough for two documents of 1 MiB (Firestore's limit) in base64, or a dead letter of 10 MB (Pub/Sub's limit).
_MAX_BODY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Handlers:
    """The objects behind the entry points; `lifecycle` is None if nobody wants lifecycle events."""

    dispatcher: Dispatcher
    reconciler: Reconciler
    dead_letters: DeadLetters
    lifecycle: Lifecycle | None = None


def create_app(handlers: Handlers, collection: str, verifier: TokenVerifier | None) -> Flask:
    """The WSGI app.

    It answers 2xx if the request is done or can never work, 4xx if the caller is wrong, 5xx if the caller must retry.
    """

    def handle_post(header: Header, body: bytes) -> tuple[str, int]:
        try:
            attribute, data = events.unwrap(header, body)
            change = events.parse(attribute("ce-type"), data, collection)
        except InvalidEvent as error:  # acknowledged: Eventarc retries anything but 2xx for a day
            fields = {"reason": _INVALID_EVENT}
            log_event(_log, Event.CHANGE, f"invalid event: {error}", fields, logging.WARNING)
            return f"{_INVALID_EVENT}: {error}\n", 200
        reason = handlers.dispatcher.handle(change)
        if handlers.lifecycle is not None:
            handlers.lifecycle.announce(change, attribute)
        return f"{reason}\n", 200

    app = base_app(__name__, verifier, _MAX_BODY_BYTES, handle_post)

    @app.post("/reconcile")
    def reconcile() -> ResponseReturnValue:
        handlers.dispatcher.log_ignored()  # every minute, also if no further event comes
        return handlers.reconciler.run()

    @app.post("/dead-letters")
    def dead_letter() -> ResponseReturnValue:
        return f"{handlers.dead_letters.handle(unwrap(request.get_data()))}\n", 200

    return app
