"""The demo's steps and expected outcomes: data, and the functions that compare."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.delivery.model import State


@dataclass(frozen=True, slots=True)
class Write:
    """Write the story's document, as an application does."""

    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish the mail to the topic, with the story's id; no document is written."""

    mail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Update:
    """Change fields of the story's document, as a user does; dots reach into maps."""

    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MailServer:
    """Stop the SMTP server, or start it again."""

    up: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """The expected `delivery` in the end; `accepted` and `rejected` are numbers of recipients."""

    state: str
    attempts: int
    accepted: int = 0
    rejected: int = 0
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """An action, described by `say`, and the outcome `then` (if given) to wait for."""

    say: str
    action: Write | Publish | Update | MailServer
    then: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """The story of one document. `mails` is how many copies of `subject` the inbox must hold in the end."""

    id: str
    subject: str
    steps: tuple[Step, ...]
    mails: int = 1


def differences(expected: Outcome, delivery: Mapping[str, Any]) -> list[str]:
    """The differences between `delivery`, as read from the document, and `expected`: "attempts: 1 instead of 2"."""
    info = delivery.get("info") or {}
    pairs = {
        "state": (expected.state, delivery.get("state")),
        "attempts": (expected.attempts, delivery.get("attempts")),
        "accepted": (expected.accepted, len(info.get("accepted") or ())),
        "rejected": (expected.rejected, len(info.get("rejected") or ())),
        "errorCode": (expected.error_code, delivery.get("errorCode")),
    }
    return [f"{name}: {found} instead of {wanted}" for name, (wanted, found) in pairs.items() if found != wanted]


def is_settled(expected: Outcome, delivery: Mapping[str, Any]) -> bool:
    """Whether the attempt that `expected` describes has ended, with whatever result, or waits for the mail server."""
    if expected.state == State.PENDING:
        return "outageTime" in delivery and delivery.get("state") == State.PENDING
    ended = delivery.get("state") in (State.SUCCESS, State.ERROR)
    return ended and (delivery.get("attempts") or 0) >= expected.attempts


ADA, GRACE = "Ada Lovelace <ada@example.com>", "grace@example.com"
RETRY = Update({"delivery.state": "RETRY"})

_INVOICE = base64.b64encode(b"item,price\r\nTea,4.20\r\nBiscuits,2.80\r\n").decode()

STORIES: tuple[Story, ...] = (
    Story(
        "welcome-ada",
        "Welcome, Ada",
        (
            Step(
                "An application writes a document with a plain text.",
                Write({"to": ADA, "message": {"subject": "Welcome, Ada", "text": "Good to have you here."}}),
                Outcome("SUCCESS", attempts=1, accepted=1),
            ),
        ),
    ),
    Story(
        "invoice-1042",
        "Grüße aus Zürich: Ihre Rechnung № 1042",
        (
            Step(
                "Another has HTML, an attachment and a subject beyond ASCII.",
                Write(
                    {
                        "to": [ADA],
                        "cc": GRACE,
                        "message": {
                            "subject": "Grüße aus Zürich: Ihre Rechnung № 1042",
                            "html": "<h1>Vielen Dank!</h1><p>Ihre Rechnung liegt bei.</p>",
                            "text": "Vielen Dank! Ihre Rechnung liegt bei.",
                            "attachments": [
                                {
                                    "filename": "Rechnung-1042.csv",
                                    "content": _INVOICE,
                                    "encoding": "base64",
                                    "contentType": "text/csv",
                                }
                            ],
                        },
                    }
                ),
                Outcome("SUCCESS", attempts=1, accepted=2),
            ),
        ),
    ),
    Story(
        "order-17",
        "Order 17 is on its way",
        (
            Step(
                "A back end publishes to the topic; the sender creates the document.",
                Publish({"to": GRACE, "message": {"subject": "Order 17 is on its way", "text": "It left today."}}),
                Outcome("SUCCESS", attempts=1, accepted=1),
            ),
        ),
    ),
    Story(
        "newsletter-3",
        "News for two",
        (
            Step(
                "One of two recipients is refused: the mail is sent, and the document says who did not get it.",
                Write(
                    {
                        "to": [GRACE, "refuse@example.com"],
                        "message": {"subject": "News for two", "text": "One of you will read this."},
                    }
                ),
                Outcome("SUCCESS", attempts=1, accepted=1, rejected=1),
            ),
        ),
    ),
    Story(
        "reminder-8",
        "Do not forget",
        (
            Step(
                "A document without a recipient can't be sent, and says why.",
                Write({"message": {"subject": "Do not forget", "text": "The meeting is at noon."}}),
                Outcome("ERROR", attempts=1, error_code="validation"),
            ),
            Step(
                "Somebody adds the recipient and sets delivery.state to RETRY.",
                Update({"to": ADA, "delivery.state": "RETRY"}),
                Outcome("SUCCESS", attempts=2, accepted=1),
            ),
        ),
    ),
    Story(
        "receipt-99",
        "Your receipt",
        (
            Step("The mail server goes down.", MailServer(up=False)),
            Step(
                "A document is written meanwhile: it waits.",
                Write({"to": ADA, "message": {"subject": "Your receipt", "text": "Thank you, 7.00 paid."}}),
                Outcome("PENDING", attempts=0, error_code="connection"),
            ),
            Step(
                "The mail server is back.",
                MailServer(up=True),
                Outcome("SUCCESS", attempts=1, accepted=1),
            ),
        ),
    ),
)
