"""Every error that Firepost raises on purpose, named after the reaction it calls for.

FirepostError
├── Misconfigured        a setting is wrong        → the process does not start
├── PullFailed           no stream of messages     → the process ends, exit code 1
├── InvalidEvent         not an event we can read  → logged, counted, acknowledged
├── InvalidMessage       can never work            → dead-letter topic with a reason, acknowledged
├── Unavailable          infrastructure failed     → not acknowledged; Pub/Sub or Eventarc repeats
└── DeliveryFailed       the attempt failed        → ERROR on the document
    ├── NotSendable      the document is at fault (validation, template, attachment)
    │   └── NotLoaded    what the document refers to can't be had now, but may be later (attachment)
    ├── NotSent          the mail was definitely not sent (auth, connection, throttled, rejected, temporary)
    └── OutcomeUnknown   the server may have the mail, or not (unknown)
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Self

_ATTRIBUTE_BYTES: Final = 1000


class ErrorCode(StrEnum):
    """The stable word beside `delivery.error`."""

    VALIDATION = "validation"
    TEMPLATE = "template"
    ATTACHMENT = "attachment"
    AUTH = "auth"
    CONNECTION = "connection"
    THROTTLED = "throttled"
    REJECTED = "rejected"
    TEMPORARY = "temporary"
    UNKNOWN = "unknown"
    LEASE_EXPIRED = "lease-expired"
    DEAD_LETTER = "dead-letter"


class FirepostError(Exception):
    """The root: catch it where any deliberate error is handled alike."""


class Misconfigured(FirepostError):
    """A setting is missing or wrong. The text names the variable, its value (never a secret's) and what is allowed."""


class PullFailed(FirepostError):
    """The subscription can't be pulled from, and waiting will not help: it is missing, or not allowed."""


class InvalidEvent(FirepostError):
    """The request is not a Firestore document event of ours."""


class InvalidMessage(FirepostError):
    """A Pub/Sub message that no repetition can make work.

    `reason` is the word that travels as the dead letter's attribute. So does the text, which is cut at 1,000 bytes: it
    may quote somebody else's, and Pub/Sub takes little more.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text.encode(errors="replace")[:_ATTRIBUTE_BYTES].decode(errors="ignore"))
        self.reason = reason


class Unavailable(FirepostError):
    """Firestore or Pub/Sub did not answer; the same request may work later."""


class DeliveryFailed(FirepostError):
    """The attempt ends as ERROR; the text goes into `delivery.error`, the code into `delivery.errorCode`."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class NotSendable(DeliveryFailed):
    """The document itself can't be sent; nothing was said to any mail server."""

    @classmethod
    def field(cls, field: str, found: str, expected: str, code: ErrorCode = ErrorCode.VALIDATION) -> Self:
        """An error about one field.

        `field` is the path as the application wrote it (`message.attachments.0.content`), `found` describes what
        was there without quoting it ("a number", "nothing"), `expected` what belongs there.
        """
        return cls(code, f"Field '{field}': expected {expected}, found {found}.")


class NotLoaded(NotSendable):
    """A file that the document refers to can't be had at the moment; another attempt may help."""


class NotSent(DeliveryFailed):
    """No recipient's mail was taken over by a server; sending again can't duplicate anything.

    `rejected` are the recipients whom the server has refused for good, if it came to that. `retry_after` is in how many
    seconds the server wants to be asked again, if it says so.
    """

    rejected: tuple[str, ...] = ()
    retry_after: float | None = None


class Deferred(FirepostError):
    """Nothing was said to the mail server: now is not the time. Try again in `seconds`; None if that is not known.

    Planned waiting, not a failure: the attempt does not count.
    """

    def __init__(self, seconds: float | None, text: str) -> None:
        super().__init__(text)
        self.seconds = seconds


class OutcomeUnknown(DeliveryFailed):
    """The connection was lost after the mail had been handed over and before the server's answer came."""

    def __init__(self, text: str) -> None:
        super().__init__(ErrorCode.UNKNOWN, text)
