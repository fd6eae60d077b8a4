"""The dispatcher's entry points.

POST /              one CloudEvent from Eventarc
POST /reconcile     from Cloud Scheduler, every minute; ?stay=58 publishes what becomes due in so many seconds, too
POST /dead-letters  one Pub/Sub push from the dead-letter topic
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import Flask, request
from flask.typing import ResponseReturnValue

from dispatcher import events
from dispatcher.events import DocumentChange
from dispatcher.lifecycle import Lifecycle
from shared.delivery.model import Reason
from shared.errors import InvalidEvent
from shared.http.app import Health, base_app
from shared.http.auth import TokenVerifier
from shared.http.fast_path import Header
from shared.observability.events import Event, log_event
from shared.pubsub.push import ReceivedMessage, unwrap

_log = logging.getLogger("firepost.dispatcher")

_INVALID_EVENT = "invalid-event"

#: The longest that Cloud Scheduler waits for an answer, in seconds, and the longest that a run may stay.
LONGEST_STAY = 1800

#: Enough for two documents of 1 MiB (Firestore's limit) in base64, or a dead letter of 10 MB (Pub/Sub's limit).
_MAX_BODY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Handlers:
    """What the entry points call; `lifecycle` is None if nobody wants lifecycle events. All raise `Unavailable`.

    See `Dispatcher.handle` and `log_ignored`, `Reconciler.run`, and `DeadLetters.handle`; or `Shadow`.
    """

    change: Callable[[DocumentChange], Reason]
    log_ignored: Callable[[], None]
    reconcile: Callable[[float], Mapping[str, int | bool]]
    dead_letter: Callable[[ReceivedMessage], str]
    lifecycle: Lifecycle | None = None


def create_app(
    handlers: Handlers, collection: str, verifier: TokenVerifier | None, health: Health = lambda: "ok"
) -> Flask:
    """The WSGI app; `GET /health` says `health`.

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
        reason = handlers.change(change)
        if handlers.lifecycle is not None:
            handlers.lifecycle.announce(change, attribute)
        return f"{reason}\n", 200

    app = base_app(__name__, verifier, _MAX_BODY_BYTES, handle_post, health)

    @app.post("/reconcile")
    def reconcile() -> ResponseReturnValue:
        stay = request.args.get("stay", 0.0, float)
        if not 0 <= stay <= LONGEST_STAY:
            return f"stay: expected a number of seconds from 0 to {LONGEST_STAY}\n", 400
        handlers.log_ignored()  # every minute, also if no further event comes
        return dict(handlers.reconcile(stay))

    @app.post("/dead-letters")
    def dead_letter() -> ResponseReturnValue:
        return f"{handlers.dead_letter(unwrap(request.get_data()))}\n", 200

    return app
