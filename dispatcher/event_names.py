"""Names of Trigger Email's events: their types, and those of the channels of Eventarc that they go to. Pure.

https://github.com/firebase/extensions/blob/next/firestore-send-email/extension.yaml
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

_PREFIX: Final = "firebase.extensions.firestore-send-email.v1"


class EventType(StrEnum):
    """The types of lifecycle events."""

    START = f"{_PREFIX}.onStart"
    PENDING = f"{_PREFIX}.onPending"
    RETRY = f"{_PREFIX}.onRetry"
    PROCESSING = f"{_PREFIX}.onProcessing"
    SUCCESS = f"{_PREFIX}.onSuccess"
    ERROR = f"{_PREFIX}.onError"
    COMPLETE = f"{_PREFIX}.onComplete"


#: The forms that firebase-admin takes, `projects/P/locations/L/channels/C`, `locations/L/channels/C` and `C`:
#: https://firebase.google.com/docs/reference/admin/node/firebase-admin.eventarc.eventarc#eventarcchannel
CHANNEL: Final = r"^((projects/[a-z0-9.:-]+/)?locations/[a-z0-9-]+/channels/)?[A-Za-z0-9-]+$"
_DEFAULT_LOCATION: Final = "us-central1"


def full_channel(name: str, project: str) -> str:
    """The full name of one of Eventarc's channels, for a name in any of firebase-admin's forms."""
    located = name if "/" in name else f"locations/{_DEFAULT_LOCATION}/channels/{name}"
    return located if located.startswith("projects/") else f"projects/{project}/{located}"
