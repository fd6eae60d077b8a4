"""What a mail server's answer means, and how to say it to people: pure functions of the answer.

| answer | at | code |
|---|---|---|
| 421 | any step | throttled |
| 454 | AUTH | throttled |
| 4xx that speaks of a rate or too many connections | any step | throttled |
| 5xx with a security or policy status (x.7.x) that speaks of one | any step | throttled |
| 5xx | AUTH | auth |
| 530, 534, 535 | any step | auth |
| 4xx or 5xx | STARTTLS | connection |
| 4xx | any other step | temporary |
| 5xx | any other step | rejected |
| anything else (out of place) | any step | connection |
| none: refused, unresolvable, not trusted, too slow, lost | any step | connection |
"""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from enum import Enum

from shared.errors import ErrorCode, NotSent


class Step(Enum):
    """Where in the dialogue; the value ends a sentence such as "The mail server refused …"."""

    CONNECT = "the connection"
    HELLO = "the introduction (EHLO)"
    STARTTLS = "encryption (STARTTLS)"
    AUTH = "the login (AUTH)"
    MAIL = "the sender (MAIL FROM)"
    RCPT = "the recipients (RCPT TO)"
    DATA = "the start of the mail (DATA)"
    BODY = "the mail (end of DATA)"
    RESET = "a fresh start (RSET)"


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's complete answer: its three-digit code and the text of each line without it (RFC 5321 section 4.2)."""

    code: int
    lines: tuple[str, ...]

    @classmethod
    def decode(cls, code: int, message: bytes) -> Reply:
        """From what `smtplib` returns; text that is not UTF-8 is shown with replacement characters."""
        return cls(code, tuple(message.decode("utf-8", "replace").split("\n")))

    @property
    def accepted(self) -> bool:
        """Whether the step succeeded (2xx)."""
        return 200 <= self.code < 300

    @property
    def is_temporary(self) -> bool:
        """Whether the same may succeed later (4xx)."""
        return 400 <= self.code < 500

    @property
    def refused(self) -> bool:
        """Whether the step failed in the orderly way, for now (4xx) or for good (5xx)."""
        return 400 <= self.code < 600

    def __str__(self) -> str:
        """As nodemailer puts it into `info.response`: the lines as they came, without the CR."""
        *first, last = self.lines
        return "\n".join([*(f"{self.code}-{line}" for line in first), f"{self.code} {last}".rstrip()])


class ConnectionLost(NotSent):
    """The server went away (or said 421) before it was handed the mail: a fresh connection may still work."""


class LoginRefused(NotSent):
    """The server does not accept our credentials, or not any more."""


#: What may mend a refused login.
LOGIN_ADVICE = "Check the user in SMTP_CONNECTION_URI and SMTP_PASSWORD."

_THROTTLED = re.compile(
    r"throttl|rate[ -]?limit|(sending|message|mail) rate|rate exceeded|slow down|"
    r"too many (\w+ )?(concurrent|connections|sessions|logins?|messages|mails|e-?mails|requests)|thread limit",
    re.IGNORECASE,
)

#: RFC 3463: the subject 7 stands for "security or policy".
_POLICY_STATUS = re.compile(r"5\.7\.\d{1,3}\b")


def classify(step: Step, reply: Reply) -> ErrorCode:
    """The `errorCode` for a reply that is not the hoped-for one, after the table above."""
    if reply.code == 421 or _speaks_of_throttling(reply) or (step is Step.AUTH and reply.code == 454):
        return ErrorCode.THROTTLED
    if not reply.refused or step is Step.STARTTLS:
        return ErrorCode.CONNECTION
    if reply.is_temporary:
        return ErrorCode.TEMPORARY
    if step is Step.AUTH or reply.code in (530, 534, 535):
        return ErrorCode.AUTH
    return ErrorCode.REJECTED


def _speaks_of_throttling(reply: Reply) -> bool:
    may_pass = reply.is_temporary or _POLICY_STATUS.match(reply.lines[0]) is not None
    return may_pass and any(_THROTTLED.search(line) for line in reply.lines)


def refusal(server: str, step: Step, reply: Reply, advice: str = LOGIN_ADVICE) -> NotSent:
    """The error for a reply; `server` is `host:port`, `advice` what may mend a refused login.

    421 says that the server hangs up, so that a fresh connection may help; but not after it has seen the whole mail.
    """
    code = classify(step, reply)
    text = f"The mail server {server} refused {step.value}: {reply}"
    if code is ErrorCode.AUTH:
        return (LoginRefused if step is Step.AUTH else NotSent)(code, f"{text}\n{advice}")
    return (ConnectionLost if reply.code == 421 and step is not Step.BODY else NotSent)(code, text)


def lacking(server: str, extension: str, remark: str, code: ErrorCode) -> NotSent:
    """The error for something that the server does not offer; `remark` says who wants it."""
    return NotSent(code, f"The mail server {server} does not offer {extension}, {remark}.")


def loss(server: str, step: Step, error: OSError) -> ConnectionLost:
    """The error for a connection that could not be made, or broke, before the mail was handed over."""
    return ConnectionLost(ErrorCode.CONNECTION, describe_loss(server, step, error))


def describe_loss(server: str, step: Step, error: OSError) -> str:
    """What went wrong on the wire, for people."""
    match error:
        case TimeoutError():
            return f"The mail server {server} did not answer {step.value} in time.{_hint(step)}"
        case socket.gaierror():
            return f"The mail server {server} could not be found: {error.strerror}."
        case ssl.SSLCertVerificationError():
            return (
                f"The certificate of the mail server {server} can't be trusted: {error.verify_message.rstrip('.')}. "
                "TLS_OPTIONS may give the authority ('ca') or the name ('servername') to expect instead."
            )
        case ssl.SSLError() if step in (Step.CONNECT, Step.STARTTLS):
            reason = error.reason or error
            return f"The mail server {server} and Firepost could not agree on TLS: {reason}.{_hint(step)}"
        case ConnectionRefusedError():
            return f"The mail server {server} refused {step.value}: nothing listens there."
    return f"The connection to the mail server {server} was lost at {step.value}: {error.strerror or error}."


def _hint(step: Step) -> str:
    return " smtps:// usually goes with port 465, smtp:// with 587." if step is Step.CONNECT else ""
