"""`python -m bench.naive`: a straightforward sender, for comparison.

One transaction to claim, a new SMTP connection and the standard library's `EmailMessage` for each mail, one transaction
to finish; behind the same server and configured by the same variables as the sender. It lacks most of a sender's
functions.
"""

from __future__ import annotations

import os
import smtplib
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, request
from google.cloud import firestore
from google.cloud.firestore import Client, DocumentReference, Transaction

from shared import starting
from shared.http import server
from shared.http.server import Service
from shared.pubsub import message
from shared.pubsub.push import unwrap
from shared.settings import ServiceSettings, load

_MAX_BODY_BYTES = 16 * 1024 * 1024


@firestore.transactional
def _claim(transaction: Transaction, document: DocumentReference) -> dict[str, Any] | None:
    fields: dict[str, Any] = document.get(transaction=transaction).to_dict() or {}
    if fields.get("delivery", {}).get("state") != "PENDING":
        return None
    transaction.update(document, {"delivery.state": "PROCESSING", "delivery.attempts": firestore.Increment(1)})
    return fields


@firestore.transactional
def _finish(transaction: Transaction, document: DocumentReference, recipient: str) -> None:
    if document.get(transaction=transaction).get("delivery.state") == "PROCESSING":
        changes = {
            "delivery.state": "SUCCESS",
            "delivery.endTime": firestore.SERVER_TIMESTAMP,
            "delivery.info": {"accepted": [recipient]},
        }
        transaction.update(document, changes)


def written(fields: dict[str, Any]) -> EmailMessage:
    """The mail that a document describes."""
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = "Firepost <firepost@example.com>", fields["to"]
    mail["Subject"] = fields["message"]["subject"]
    mail.set_content(fields["message"]["text"])
    mail.add_alternative(fields["message"]["html"], subtype="html")
    return mail


def _send(mail: EmailMessage, host: str, port: int) -> None:
    with smtplib.SMTP(host, port) as server:
        server.send_message(mail)


def build(settings: ServiceSettings, smtp_uri: str) -> Service:
    """The app, configured only by these settings."""
    app, client = Flask(__name__), Client(project=settings.google_cloud_project)
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES
    server = urlsplit(smtp_uri)

    @app.get("/health")
    def health() -> str:
        return "ok\n"

    @app.post("/")
    def receive() -> str:
        pushed = unwrap(request.get_data())
        asked = message.decode(pushed.data, pushed.attributes, pushed.message_id, settings.mail_collection)
        document = client.document(asked.path)
        fields = _claim(client.transaction(), document)
        if fields is not None:
            _send(written(fields), server.hostname or "", server.port or 25)
            _finish(client.transaction(), document, fields["to"])
        return "done\n"

    return Service(app)


def main() -> None:
    """Serve on PORT until SIGTERM."""
    settings = load(ServiceSettings)
    smtp_uri = os.environ["SMTP_CONNECTION_URI"]
    server.serve("naive", lambda: build(settings, smtp_uri), settings)


if __name__ == "__main__":
    starting.start(main)
