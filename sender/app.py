"""The sender's push front door: `POST /` takes one Pub/Sub push. 2xx acknowledges; anything else is a redelivery."""

from __future__ import annotations

from flask import Flask, request
from flask.typing import ResponseReturnValue

from sender.handler import Sender
from shared import web
from shared.auth import TokenVerifier
from shared.push import unwrap

#: Pub/Sub's 10 MB as base64, with room for the envelope.
_MAX_BODY_BYTES = 16 * 1024 * 1024

#: Not an error of anybody's: another sender holds the lease, and Pub/Sub shall ask again later.
_NOT_ACKNOWLEDGED = 409


def create_app(sender: Sender, verifier: TokenVerifier | None) -> Flask:
    """The WSGI app."""
    app = web.create_app(__name__, verifier, _MAX_BODY_BYTES)

    @app.post("/")
    def receive() -> ResponseReturnValue:
        verdict = sender.handle(unwrap(request.get_data()))
        return f"{verdict.reason}\n", 200 if verdict.acknowledge else _NOT_ACKNOWLEDGED

    return app
