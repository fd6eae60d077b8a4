"""A mail sent over SendGrid, from the claim to the result in `delivery`."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sender.message.sendgrid_json import encode_sendgrid_request
from sender.net.http import HttpsEndpoint
from sender.transport.sendgrid import SendGridAccount, SendGridTransport
from shared.pubsub.push import ReceivedMessage
from tests.assembly import COMPOSER, SenderParts
from tests.fakes import Clock, MemoryDatabase
from tests.https_server import HttpsServer
from tests.sendgrid_schema import complaints
from tests.unit.sender.transport.builders import AUTHORITY, trusting

#: The extension's documented example.
MAIL = {
    "to": ["ana@example.com"],
    "categories": ["Example_Category"],
    "sendGrid": {
        "templateId": "d-1234567890abcdef1234567890abcdef",
        "dynamicTemplateData": {"name": "John Doe", "company": "ACME"},
    },
}


@pytest.fixture
def sendgrid() -> Iterator[HttpsServer]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(tls)
    with HttpsServer(tls) as server:
        yield server


def delivery_after(mail: dict[str, Any], sendgrid: HttpsServer) -> dict[str, Any]:
    clock, database = Clock(), MemoryDatabase()
    account = SendGridAccount(HttpsEndpoint.parse("SENDGRID_API_URL", sendgrid.url, trusting()), "SG.key")
    sender = SenderParts(
        database=database,
        transport=SendGridTransport(account, 1.0, wall_clock=lambda: clock.now.timestamp()),
        clock=clock,
        compose=replace(COMPOSER, encode=encode_sendgrid_request),
    ).sender()
    database.put("mail/a", mail)
    sender.handle(ReceivedMessage(b'{"document": "mail/a"}', {}, "77"))
    delivery: dict[str, Any] = database.documents["mail/a"].fields["delivery"]
    return delivery


def test_the_result_has_the_queue_id_and_the_message_id(sendgrid: HttpsServer) -> None:
    sendgrid.answer(202, {"X-Message-Id": "14c5d75ce93"})
    delivery = delivery_after(MAIL, sendgrid)
    [request] = sendgrid.requests
    assert complaints(request.json) == []
    assert delivery["state"] == "SUCCESS"
    assert delivery["info"] == {
        "messageId": request.json["headers"]["Message-ID"],
        "sendgridQueueId": "14c5d75ce93",
        "accepted": ["ana@example.com"],
        "rejected": [],
        "pending": [],
        "response": "status=202",
    }
    assert "warnings" not in delivery


def test_a_refusal_ends_as_error_with_sendgrids_message(sendgrid: HttpsServer) -> None:
    sendgrid.answer(400, {}, {"errors": [{"message": "The template_id must be a valid GUID.", "field": "template_id"}]})
    delivery = delivery_after(MAIL, sendgrid)
    assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "rejected")
    assert delivery["error"] == "SendGrid answered 400: template_id: The template_id must be a valid GUID."


def test_the_rate_limit_defers_the_mail_and_the_attempt_does_not_count(sendgrid: HttpsServer) -> None:
    reset = int(Clock().now.timestamp()) + 90
    sendgrid.answer(429, {"X-RateLimit-Reset": str(reset)}, {"errors": [{"message": "too many requests"}]})
    delivery = delivery_after(MAIL, sendgrid)
    assert (delivery["state"], delivery["attempts"]) == ("PENDING", 0)
    assert delivery["nextAttemptTime"] - Clock().now == timedelta(seconds=90)


def test_a_mail_that_cannot_be_encoded_never_reaches_sendgrid(sendgrid: HttpsServer) -> None:
    delivery = delivery_after({**MAIL, "sendGrid": {}}, sendgrid)
    assert delivery["errorCode"] == "validation"
    assert sendgrid.requests == []
    assert json.dumps(delivery["error"]).count("sendGrid.templateId") == 1
