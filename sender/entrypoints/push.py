"""The push entry point: `POST /` takes one Pub/Sub push. 2xx acknowledges; any other status causes redelivery."""

from __future__ import annotations

from flask import Flask

from sender.worker.handler import Handler
from shared.http.app import Health, base_app
from shared.http.auth import TokenVerifier
from shared.http.fast_path import Header
from shared.pubsub.push import unwrap

#: Pub/Sub's 10 MB as base64, with room for the envelope.
_MAX_BODY_BYTES = 16 * 1024 * 1024

#: Not an error: another sender holds the lease, for example, and Pub/Sub should deliver the message again later.
_NOT_ACKNOWLEDGED = 409


def create_app(sender: Handler, verifier: TokenVerifier | None, health: Health = lambda: "ok") -> Flask:
    """The WSGI app. `verifier` checks callers' tokens; None lets everybody in. `GET /health` says `health`."""

    def handle_post(header: Header, body: bytes) -> tuple[str, int]:
        handled = sender.handle(unwrap(body))
        return f"{handled.reason}\n", 200 if handled.acknowledge else _NOT_ACKNOWLEDGED

    return base_app(__name__, verifier, _MAX_BODY_BYTES, handle_post, health)
