"""What there is to see in the console: documents in several states, mails, a dead letter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.pubsub_v1.types import PubsubMessage

from local.clients import firestore_client, publisher_client
from local.stack import Stack
from local.topics import topic_path
from local.waiting import wait_until
from tests.patience import patience

_LOGO = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAYAAADED76LAAAAF0lEQVR4nGP8z8Dwn4EIwESMolGF1FEIAKLcAw3Lf9dDAAAAAElFTkSuQmCC"
_HTML = """<!doctype html><html><body style="font-family: sans-serif; margin: 24px; color: #222">
<p><img src="cid:logo" width="48" height="48" alt=""></p><h2>Welcome, Ada!</h2>
<p>Please confirm your address, so that we can reach you about your orders.</p>
<p><a href="https://shop.example/confirm?code=4711" style="background: #c2410c; color: #fff; padding: 10px 18px;
border-radius: 6px; text-decoration: none">Confirm my address</a></p><p>Kind regards<br>The shop</p></body></html>"""

MAILS: dict[str, dict[str, Any]] = {
    "welcome-ada": {
        "to": "Ada <ada@example.com>",
        "replyTo": "help@shop.example",
        "message": {
            "subject": "Please confirm your address",
            "html": _HTML,
            "text": "Please confirm your address: https://shop.example/confirm?code=4711",
            "attachments": [
                {"filename": "logo.png", "content": _LOGO, "encoding": "base64", "cid": "logo"},
                {"filename": "terms.txt", "content": "Be kind."},
            ],
        },
    },
    "order-17": {"to": ["grace@example.com", "alan@example.com"], "message": {"subject": "Your order", "text": "Hi."}},
    "order-18": {"to": "refuse@example.com", "message": {"subject": "Your order 18", "text": "Hi."}},
    "newsletter": {"to": "later@example.com", "message": {"subject": "News of the week", "text": "Hi."}},
    "broken": {"to": "ada@example.com", "message": {"subject": ["not", "a", "text"]}},
    "reminder": {
        "to": "ada@example.com",
        "message": {"subject": "Your appointment", "text": "Hi."},
        "sendAt": datetime(2099, 1, 1, tzinfo=UTC) + timedelta(days=1),
    },
}


def write_scene(stack: Stack) -> None:
    """Write all documents and a message that can never work, and wait until all have ended that will."""
    client = firestore_client(stack.ready["firestore"], stack.options.project)
    with publisher_client(stack.ready["pubsub"]) as publisher:
        topic = topic_path(stack.options.project, stack.ready["topic"])
        publisher.publish(topic=topic, messages=[PubsubMessage(data=b'{"document": "elsewhere/x"}')])
    for identifier, fields in MAILS.items():
        client.document(f"mail/{identifier}").set(fields)
        what = "PENDING" if "sendAt" in fields else None
        assert wait_until(lambda one=identifier, state=what: _has_ended(client, one, state), patience(30))  # type: ignore[misc]
    client.close()


def _has_ended(client: Any, identifier: str, state: str | None) -> bool:
    delivery = client.document(f"mail/{identifier}").get().to_dict().get("delivery", {})
    return delivery.get("state") in ((state,) if state else ("SUCCESS", "ERROR"))
