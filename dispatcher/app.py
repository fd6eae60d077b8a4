"""The dispatcher's HTTP endpoints.

POST /              one CloudEvent from Eventarc
POST /reconcile     from Cloud Scheduler, every minute
POST /dead-letters  one Pub/Sub push from the dead-letter topic
"""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask, request
from flask.typing import ResponseReturnValue

from dispatcher import events
from dispatcher.dead_letters import DeadLetters
from dispatcher.handler import Dispatcher
from dispatcher.lifecycle import Lifecycle
from dispatcher.reconciler import Reconciler
from shared.http.app import base_app
from shared.http.auth import TokenVerifier
from shared.http.fast_path import Header
from shared.pubsub.push import unwrap

#: Two documents of Firestore's 1 MiB, as base64, with room for names; or a dead letter of Pub/Sub's 10 MB.
_MAX_BODY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Handlers:
    """Who does the work behind the doors; `lifecycle` is None where nobody wants those events."""

    dispatcher: Dispatcher
    reconciler: Reconciler
    dead_letters: DeadLetters
    lifecycle: Lifecycle | None = None


def create_app(handlers: Handlers, collection: str, verifier: TokenVerifier | None) -> Flask:
    """The WSGI app. 2xx means done or nothing to do, 4xx that the request is at fault, 5xx that it must be repeated."""

    def receive(header: Header, body: bytes) -> tuple[str, int]:
        change = events.parse(header("ce-type"), body, collection)
        reason = handlers.dispatcher.handle(change)
        if handlers.lifecycle is not None:
            handlers.lifecycle.announce(change, header)
        return f"{reason}\n", 200

    app = base_app(__name__, verifier, _MAX_BODY_BYTES, receive)

    @app.post("/reconcile")
    def reconcile() -> ResponseReturnValue:
        return handlers.reconciler.run()

    @app.post("/dead-letters")
    def dead_letter() -> ResponseReturnValue:
        return f"{handlers.dead_letters.handle(unwrap(request.get_data()))}\n", 200

    return app
