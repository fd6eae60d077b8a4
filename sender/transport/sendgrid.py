"""SendGrid's Web API v3 as a transport: one request per mail, and what its answer means.

| answer | what becomes of the mail |
|---|---|
| 202, or 200 in sandbox mode | accepted for all recipients |
| 429 that says until when | deferred until then, with all that follow |
| 429 | throttled |
| 401, 403 | auth |
| 502, 504 | unknown: a gateway has lost sight of it |
| any other 5xx | temporary |
| any other 4xx | rejected |
| none, though the whole request was handed over; any other | unknown |
| none, and it was not | connection |

https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/errors
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from sender.net.http import Answer, HttpsEndpoint, NoResponse, RequestNotSent, why
from sender.transport.envelope import Envelope, Receipt
from sender.transport.masking import mask
from shared.deadline import Deadline
from shared.errors import Deferred, DeliveryFailed, ErrorCode, NotSent, OutcomeUnknown

API_URL = "https://api.sendgrid.com"
MAIL_SEND = "/v3/mail/send"

#: The longest that SendGrid's word on when to come back is taken for, in seconds.
LONGEST_PAUSE = 3600.0

_MAX_REASON = 500
_ADVICE = {
    401: "Check SENDGRID_API_KEY (or SMTP_PASSWORD), and in SendGrid whether the account has credits left.",
    403: "Verify in SendGrid the sender that 'from' (or DEFAULT_FROM) names, and that the key may 'Mail Send'.",
}


@dataclass(frozen=True, slots=True)
class SendGridAccount:
    """Where the API is, and the key to it."""

    endpoint: HttpsEndpoint
    key: str = field(repr=False)

    def ask(self, method: str, path: str, body: bytes | None = None, *, start_by: Deadline, end_by: Deadline) -> Answer:
        """Make one request; see `HttpsEndpoint.ask`."""
        headers = {"Authorization": f"Bearer {self.key}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self.endpoint.ask(method, path, headers, body, start_by=start_by, end_by=end_by)

    def refusal(self, answer: Answer) -> DeliveryFailed:
        """The error for any answer that is not an acceptance; the key is not in it, even if SendGrid quotes it."""
        return refusal(answer, mask([self.key]))


class SendGridTransport:
    """A `Transport` whose data are the JSON of `sendgrid_request`. Safe to use from several threads."""

    def __init__(
        self, account: SendGridAccount, data_margin: float, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """`data_margin` is the time in seconds that must be left of an attempt for the request to be begun.

        `wall_clock` gives seconds since 1970, which is how SendGrid says when to come back.
        """
        self._account = account
        self._data_margin = data_margin
        self._wall_clock = wall_clock
        self._paused_until = -math.inf  # on the deadlines' clock
        self._closing = threading.Event()

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline) -> Receipt:
        """Hand over one mail, as `Transport` says."""
        if self._closing.is_set():
            raise Deferred(None, "This sender is shutting down.")
        if (seconds := self._paused_until - deadline.clock()) > 0:
            raise Deferred(seconds, "SendGrid's rate limit is used up.")
        start_by = deadline.brought_forward(self._data_margin)
        if start_by.remaining() <= 0:
            raise NotSent(ErrorCode.TEMPORARY, "The attempt's time ran out before SendGrid was asked.")
        answer = self._post(data, start_by, deadline)
        if answer.status in (200, 202):
            return _receipt(envelope, answer)
        if seconds := pause(answer, self._wall_clock()):
            self._paused_until = deadline.clock() + seconds
            raise Deferred(seconds, "SendGrid's rate limit is used up.")
        raise self._account.refusal(answer)

    def close(self) -> None:
        """Begin nothing new; no connection is kept open."""
        self._closing.set()

    def _post(self, data: bytes, start_by: Deadline, end_by: Deadline) -> Answer:
        try:
            return self._account.ask("POST", MAIL_SEND, data, start_by=start_by, end_by=end_by)
        except RequestNotSent as error:
            text = f"The mail could not be handed over to SendGrid ({self._account.endpoint}): {why(error)}."
            raise NotSent(ErrorCode.CONNECTION, text) from error
        except NoResponse as error:
            text = f"SendGrid has the mail, but {why(error)}. It may have taken it over, or not."
            raise OutcomeUnknown(text) from error


def pause(answer: Answer, now: float) -> float:
    """Seconds for which SendGrid wants to be left alone; 0 if it does not say. `now` is in seconds since 1970."""
    if answer.status != 429:
        return 0.0
    reset = answer.headers.get("x-ratelimit-reset", "")
    if not re.fullmatch(r"[0-9]{1,12}", reset):
        return 0.0
    return min(max(int(reset) - now, 1.0), LONGEST_PAUSE)


def refusal(answer: Answer, masked: Callable[[str], str] = str) -> DeliveryFailed:
    """The error for any answer that is not an acceptance; `masked` takes our secrets out of a text."""
    said = f"SendGrid answered {answer.status}{_reason(answer.body, masked)}"
    match answer.status:
        case 401 | 403:
            return NotSent(ErrorCode.AUTH, f"{said} {_ADVICE[answer.status]}")
        case 429:
            return NotSent(ErrorCode.THROTTLED, said)
        case 502 | 504:
            return OutcomeUnknown(f"{said} It may have taken the mail over, or not.")
        case status if 500 <= status < 600:
            return NotSent(ErrorCode.TEMPORARY, said)
        case status if 400 <= status < 500:
            return NotSent(ErrorCode.REJECTED, said)
    return OutcomeUnknown(f"{said} That is not an answer to a mail: check SENDGRID_API_URL.")


def _receipt(envelope: Envelope, answer: Answer) -> Receipt:
    """SendGrid takes a mail for all recipients or for none. The response reads as the extension has it."""
    queue_id = answer.headers.get("x-message-id")
    return Receipt(envelope.recipients, (), (), f"status={answer.status}", queue_id)


def _reason(body: bytes, masked: Callable[[str], str]) -> str:
    """The messages in an error's body, with the fields they are about, but without addresses that they quote."""
    messages = masked("; ".join(_messages(body)))
    legible = re.sub(r"[^\s\"'<>\[\]]+", _without_address, messages)
    printable = "".join(character for character in legible if character.isprintable())
    return f": {printable[:_MAX_REASON].rstrip('.')}." if printable else "."


def _without_address(word: re.Match[str]) -> str:
    return "(an address)" if "@" in word[0][1:-1] else word[0]


def _messages(body: bytes) -> Iterator[str]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return
    errors = said.get("errors") if isinstance(said, Mapping) else None
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, Mapping) and isinstance(error.get("message"), str):
            name = error.get("field")
            yield f"{name}: {error['message']}" if isinstance(name, str) and name else error["message"]
