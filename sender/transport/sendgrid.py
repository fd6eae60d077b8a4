"""SendGrid's Web API v3 as a transport: one request per mail.

| answer | result |
|---|---|
| 202, or 200 in sandbox mode | accepted for all recipients |
| 429 with a reset time | deferred until then, like all later mails |
| other 429 | throttled |
| 401 | auth: an outage, as every other mail gets it, too |
| 403 | auth |
| 502, 504 | unknown: a gateway got no answer |
| other 5xx | temporary |
| other 4xx | rejected |
| none after the whole request was sent; any other status | unknown |
| none before that | connection; an outage if there was no connection at all |

https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/errors
"""

from __future__ import annotations

import math
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from sender.net.http import Answer, HttpsEndpoint, NoResponse, NotConnected, RequestNotSent, why
from sender.transport.breaker import Breaker, BreakerRules
from sender.transport.envelope import Begin, Envelope, Receipt, at_once
from sender.transport.masking import mask
from shared.deadline import Deadline
from shared.errors import Deferred, DeliveryFailed, ErrorCode, NotSent, Outage, OutcomeUnknown, ShuttingDown

API_URL = "https://api.sendgrid.com"
MAIL_SEND = "/v3/mail/send"

#: The longest pause, in seconds, that is accepted from SendGrid's rate limit header.
LONGEST_PAUSE = 3600.0

_MAX_REASON = 500
_ADVICE = {
    401: "Check SENDGRID_API_KEY (or SMTP_PASSWORD), and in SendGrid whether the account has credits left.",
    403: "Verify in SendGrid the sender that 'from' (or DEFAULT_FROM) names, and that the key may 'Mail Send'.",
}


@dataclass(frozen=True, slots=True)
class SendGridAccount:
    """The API's endpoint and key."""

    endpoint: HttpsEndpoint
    key: str = field(repr=False)

    def ask(self, method: str, path: str, body: bytes | None = None, *, start_by: Deadline, end_by: Deadline) -> Answer:
        """Make one request; see `HttpsEndpoint.ask`."""
        headers = {"Authorization": f"Bearer {self.key}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self.endpoint.ask(method, path, headers, body, start_by=start_by, end_by=end_by)

    def refusal(self, answer: Answer) -> DeliveryFailed:
        """The error for an answer other than an acceptance. The key is masked, in case SendGrid quotes it."""
        return refusal(answer, mask([self.key]))


class SendGridTransport:
    """A `Transport` whose `data` is the JSON of `sender.message.sendgrid_json`. Thread-safe."""

    def __init__(
        self,
        account: SendGridAccount,
        data_margin: float,
        breaker: BreakerRules | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`data_margin` is the number of seconds that must be left of an attempt to start the request.

        `wall_clock` returns seconds since 1970, the unit of SendGrid's reset time.
        """
        self._account = account
        self._data_margin = data_margin
        self._breaker = Breaker(str(account.endpoint), breaker or BreakerRules())
        self._wall_clock = wall_clock
        self._paused_until = -math.inf  # by the deadlines' clock
        self._closing = threading.Event()

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin = at_once) -> Receipt:
        """See `Transport.send`."""
        if self._closing.is_set():
            raise ShuttingDown()
        if (seconds := self._paused_until - deadline.clock()) > 0:
            raise Deferred(seconds, "SendGrid's rate limit is used up.")
        with self._breaker.passage(deadline.clock):
            return self._send(envelope, data, deadline, begin)

    @property
    def most(self) -> int:
        """See `Transport.most`: any number."""
        return sys.maxsize

    def capacity(self, waiting: int) -> int:
        """See `Transport.capacity`."""
        return self.most

    def close(self) -> None:
        """Send nothing more. No connection is kept open."""
        self._closing.set()

    def _send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin) -> Receipt:
        start_by = deadline.start_by(self._data_margin)
        if start_by.remaining() <= 0:
            raise NotSent(ErrorCode.TEMPORARY, "The attempt's time ran out before the request to SendGrid.")
        begin()
        answer = self._post(data, start_by, deadline)
        if answer.status in (200, 202):
            return _receipt(envelope, answer)
        if seconds := pause(answer, self._wall_clock()):
            self._paused_until = deadline.clock() + seconds
            raise Deferred(seconds, "SendGrid's rate limit is used up.")
        failure = self._account.refusal(answer)
        raise Outage.of(failure) if isinstance(failure, NotSent) and answer.status == 401 else failure

    def _post(self, data: bytes, start_by: Deadline, end_by: Deadline) -> Answer:
        try:
            return self._account.ask("POST", MAIL_SEND, data, start_by=start_by, end_by=end_by)
        except RequestNotSent as error:
            text = f"The mail could not be handed over to SendGrid ({self._account.endpoint}): {why(error)}."
            raise (Outage if isinstance(error, NotConnected) else NotSent)(ErrorCode.CONNECTION, text) from error
        except NoResponse as error:
            text = f"The mail was sent to SendGrid, but {why(error)}. It may or may not have been accepted."
            raise OutcomeUnknown(text) from error


def pause(answer: Answer, now: float) -> float:
    """Seconds until SendGrid's rate limit resets; 0 if the answer does not say. `now` is in seconds since 1970."""
    if answer.status != 429:
        return 0.0
    reset = answer.headers.get("x-ratelimit-reset", "")
    if not re.fullmatch(r"[0-9]{1,12}", reset):
        return 0.0
    return min(max(int(reset) - now, 1.0), LONGEST_PAUSE)


def refusal(answer: Answer, masked: Callable[[str], str] = str) -> DeliveryFailed:
    """The error for an answer other than an acceptance; `masked` masks secrets in a text."""
    text = f"SendGrid answered {answer.status}{_reason(answer, masked)}"
    match answer.status:
        case 401 | 403:
            return NotSent(ErrorCode.AUTH, f"{text} {_ADVICE[answer.status]}")
        case 429:
            return NotSent(ErrorCode.THROTTLED, text)
        case 502 | 504:
            return OutcomeUnknown(f"{text} It may or may not have accepted the mail.")
        case status if 500 <= status < 600:
            return NotSent(ErrorCode.TEMPORARY, text)
        case status if 400 <= status < 500:
            return NotSent(ErrorCode.REJECTED, text)
    return OutcomeUnknown(f"{text} SendGrid's mail API never answers that: check SENDGRID_API_URL.")


def _receipt(envelope: Envelope, answer: Answer) -> Receipt:
    """SendGrid accepts a mail for all recipients or none. `response` has Trigger Email's format."""
    queue_id = answer.headers.get("x-message-id")
    return Receipt(envelope.recipients, (), (), f"status={answer.status}", queue_id)


def _reason(answer: Answer, masked: Callable[[str], str]) -> str:
    """The messages in an error's body with the fields that they name, but without quoted addresses."""
    messages = masked("; ".join(_messages(answer)))
    legible = re.sub(r"[^\s\"'<>\[\]]+", _without_address, messages)
    printable = "".join(character for character in legible if character.isprintable())
    return f": {printable[:_MAX_REASON].rstrip('.')}." if printable else "."


def _without_address(word: re.Match[str]) -> str:
    return "(an address)" if "@" in word[0][1:-1] else word[0]


def _messages(answer: Answer) -> Iterator[str]:
    errors = answer.object().get("errors")
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, Mapping) and isinstance(error.get("message"), str):
            name = error.get("field")
            yield f"{name}: {error['message']}" if isinstance(name, str) and name else error["message"]
