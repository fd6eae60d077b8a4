"""What Trigger Email writes into a document, the extension (0.2.10) and the function kit alike.

https://github.com/firebase/extensions/blob/next/kits/firestore-send-email/src/handlers.ts
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud.firestore import DocumentReference


def queue(document: DocumentReference) -> None:
    """Mark a new document."""
    document.update({"delivery": {"startTime": datetime.now(UTC), "state": "PENDING", "attempts": 0, "error": None}})


def claim(document: DocumentReference) -> None:
    """Take a queued document."""
    lease = datetime.now(UTC) + timedelta(seconds=60)
    document.update({"delivery.state": "PROCESSING", "delivery.leaseExpireTime": lease})


def succeed(document: DocumentReference, accepted: Sequence[str]) -> None:
    """End the mail as sent."""
    lists = {"accepted": list(accepted), "rejected": [], "pending": []}
    ids = {"messageId": "<1@old>", "sendgridQueueId": None}
    _end(document, state="SUCCESS", error=None, info={**ids, **lists, "response": "250 2.0.0 Ok: queued"})


def fail(document: DocumentReference, error: str) -> None:
    """End the mail with an error."""
    _end(document, state="ERROR", error=error)


def _end(document: DocumentReference, **fields: Any) -> None:
    ended = {"attempts": 1, "endTime": datetime.now(UTC), "leaseExpireTime": None, **fields}
    document.update({f"delivery.{name}": value for name, value in ended.items()})
