"""The sender's push front door: `POST /` takes one Pub/Sub push.

https://cloud.google.com/pubsub/docs/push#receive_push. 2xx acknowledges; anything else is a redelivery.
"""

from __future__ import annotations

import base64
import json

from flask import Flask, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from sender.handler import Delivered, Sender
from shared import web
from shared.auth import TokenVerifier

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


def unwrap(body: bytes) -> Delivered:
    """The message in a push request's body.

    Raises `BadRequest` for what Pub/Sub never sends: then a caller, not a message, is at fault, and there is nothing
    to dead-letter.
    """
    try:
        match json.loads(body):
            case {"message": {"messageId": str(message_id), **fields}}:
                data = base64.b64decode(str(fields.get("data") or ""), validate=True)
                attributes = fields.get("attributes")
                return Delivered(data, attributes if isinstance(attributes, dict) else {}, message_id)
    except (ValueError, RecursionError) as error:  # among them what base64 and Unicode complain of
        raise BadRequest("Expected a Pub/Sub push request: JSON with a message.") from error
    raise BadRequest("Expected a Pub/Sub push request: JSON with a message.")
