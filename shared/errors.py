"""Every error that Firepost raises deliberately, named after the reaction it calls for.

FirepostError
├── Misconfigured        a setting is wrong        → the process does not start
├── PullFailed           no stream of messages     → the process ends, exit code 1
├── InvalidEvent         not an event we can read  → logged, counted, acknowledged
├── InvalidMessage       can never work            → dead-letter topic with a reason, acknowledged
├── Unavailable          infrastructure failed     → not acknowledged; Pub/Sub or Eventarc retries
└── DeliveryFailed       the attempt failed        → ERROR on the document
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Self

_ATTRIBUTE_BYTES: Final = 1000


class ErrorCode(StrEnum):
    """The values of `delivery.errorCode`, which never change."""

    VALIDATION = "validation"
    TEMPLATE = "template"
    ATTACHMENT = "attachment"
    AUTH = "auth"
    CONNECTION = "connection"
    THROTTLED = "throttled"
    NOT_ALLOWED = "not-allowed"
    REJECTED = "rejected"
    TEMPORARY = "temporary"
    UNKNOWN = "unknown"
    LEASE_EXPIRED = "lease-expired"
    DEAD_LETTER = "dead-letter"
    EXPIRED = "expired"


class FirepostError(Exception):
    """The base class, for code that handles all deliberate errors alike."""


class Misconfigured(FirepostError):
    """A setting is missing or wrong. The text names the variable and what is allowed.

    It quotes only values of settings that can't hold a secret (numbers, choices, ids), never a URL, a login or a text.
    """


class PullFailed(FirepostError):
    """The subscription can't be pulled from, and waiting won't help: it is missing, or access is denied."""


class InvalidEvent(FirepostError):
    """The request is not a Firestore document event for this dispatcher."""


class InvalidMessage(FirepostError):
    """A Pub/Sub message that no redelivery can make work.

    The dead letter carries `reason` and the text as attributes. The text is cut at 1,000 bytes, since it may quote
    foreign input and Pub/Sub limits attributes to 1,024.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text.encode(errors="replace")[:_ATTRIBUTE_BYTES].decode(errors="ignore"))
        self.reason = reason


class Unavailable(FirepostError):
    """Firestore or Pub/Sub did not answer; the same request may succeed later.

    The text is logged and returned to the caller: our own words and a status code, never Google's words, which may
    quote the document.
    """


class DeliveryFailed(FirepostError):
    """The attempt ends in ERROR; the text goes into `delivery.error`, the code into `delivery.errorCode`.

    `transport` is the transport that failed, if it is another one than the mail was encoded for.
    """

    transport: str | None = None

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class NotSendable(DeliveryFailed):
    """The document itself can't be sent; no mail server was contacted."""

    @classmethod
    def field(cls, field: str, found: str, expected: str, code: ErrorCode = ErrorCode.VALIDATION) -> Self:
        """An error about one field.

        `field` is the path as the application wrote it (`message.attachments.0.content`), `found` describes the value
        without quoting it ("a number", "nothing"), and `expected` says what is allowed.
        """
        return cls(code, f"Field '{field}': expected {expected}, found {found}.")


class NotLoaded(NotSendable):
    """A file that the document refers to is temporarily unavailable; another attempt may help."""


class NotSent(DeliveryFailed):
    """The server accepted the mail for no recipient; sending it again can't duplicate anything.

    `rejected` are the recipients that the server permanently refused, if any. `retry_after` is the pause in seconds
    that the server asked for, if any. `crowded`: the server only objects to the number of our connections, and has got
    no content.
    """

    rejected: tuple[str, ...] = ()
    retry_after: float | None = None
    crowded: bool = False


class Outage(NotSent):
    """The mail server takes no mail at all for now: it can't be reached, or opens no session. No mail's failure."""

    @classmethod
    def of(cls, failure: NotSent) -> Self:
        """The same error, which every other mail would meet, too."""
        outage = cls(failure.code, str(failure))
        outage.retry_after = failure.retry_after
        return outage


class Deferred(FirepostError):
    """No mail server was contacted: the mail must wait. Try again in `seconds`; None if unknown.

    Planned waiting, not a failure: the attempt does not count.
    """

    def __init__(self, seconds: float | None, text: str) -> None:
        super().__init__(text)
        self.seconds = seconds


class ShuttingDown(Deferred):
    """This process starts nothing new; another one takes the mail."""

    def __init__(self) -> None:
        super().__init__(None, "This sender is shutting down.")


class Paused(Deferred):
    """Mail is paused: all of it, or (`part`) that of a transport or lane."""

    def __init__(self, part: str | None) -> None:
        super().__init__(None, f"{(part or 'all mail').capitalize()} is paused.")
        self.part = part


class OutcomeUnknown(DeliveryFailed):
    """The connection was lost between the handover of the mail and the server's answer."""

    def __init__(self, text: str) -> None:
        super().__init__(ErrorCode.UNKNOWN, text)
