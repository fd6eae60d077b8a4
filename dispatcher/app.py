"""The dispatcher's front door: `POST /` takes one CloudEvent."""

from __future__ import annotations

import logging

from flask import Flask, request
from flask.typing import ResponseReturnValue

from dispatcher import events
from dispatcher.handler import Dispatcher
from shared import web
from shared.auth import TokenVerifier
from shared.errors import InvalidEvent

_log = logging.getLogger("firepost.dispatcher")

#: Two documents of Firestore's 1 MiB, as base64, with room for names.
_MAX_BODY_BYTES = 4 * 1024 * 1024


def create_app(dispatcher: Dispatcher, collection: str, verifier: TokenVerifier | None) -> Flask:
    """The WSGI app. 2xx means done or nothing to do, 4xx never repeat, 5xx repeat."""
    app = web.create_app(__name__, verifier, _MAX_BODY_BYTES)

    @app.post("/")
    def receive() -> ResponseReturnValue:
        change = events.parse(request.headers.get("ce-type"), request.get_data(), collection)
        return f"{dispatcher.handle(change)}\n", 200

    @app.errorhandler(InvalidEvent)
    def invalid(error: InvalidEvent) -> ResponseReturnValue:
        _log.warning("not an event of ours: %s", error, extra={"fields": {"reason": "invalid-event"}})
        return f"{error}\n", 400

    return app
