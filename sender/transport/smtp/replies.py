"""Classifies a mail server's reply and words the error for it. Pure functions.

The first matching row applies; `wording` interprets the text.

| reply | step | code |
|---|---|---|
| 4xx or 5xx about a sending limit | any step | throttled |
| 421 about encryption, a policy, content or size | any step | temporary |
| 421 | any step | throttled |
| 454 | AUTH | throttled |
| 4xx or 5xx | STARTTLS | connection |
| anything but 4xx and 5xx (unexpected) | any step | connection |
| 4xx | any other step | temporary |
| 5xx about too many recipients of one mail (RFC 5321 section 4.5.3.1.10) | RCPT | temporary |
| 5xx | AUTH | auth |
| 530, 534, 535 | any step | auth |
| 5xx | any other step | rejected |
| none: refused, not resolved, untrusted, timed out, lost | any step | connection |
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sender.transport.smtp import wording
from shared.errors import ErrorCode, NotSent, Outage

#: The most characters of a reply that are interpreted, and that are written to a document.
MAX_WORDS = 2000


class Step(Enum):
    """A step of the SMTP dialogue; its value completes a sentence such as "The mail server refused …"."""

    CONNECT = "the connection"
    GREETING = "the greeting"
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
    """A complete reply: the three-digit code, and the text of each line without the code (RFC 5321 section 4.2)."""

    code: int
    lines: tuple[str, ...]

    @classmethod
    def decode(cls, code: int, message: bytes) -> Reply:
        """From what `smtplib` returns; bytes that are not UTF-8 become replacement characters."""
        return cls(code, tuple(message.decode("utf-8", "replace").split("\n")))

    @property
    def accepted(self) -> bool:
        """Whether the step succeeded (2xx)."""
        return 200 <= self.code < 300

    @property
    def is_temporary(self) -> bool:
        """Whether the same command may succeed later (4xx)."""
        return 400 <= self.code < 500

    @property
    def refused(self) -> bool:
        """Whether the server refused the step, temporarily (4xx) or permanently (5xx)."""
        return 400 <= self.code < 600

    @property
    def text(self) -> str:
        """All lines as one text, at most `MAX_WORDS` characters."""
        return " ".join(self.lines)[:MAX_WORDS]

    def shown(self, mask: Callable[[str], str]) -> Reply:
        """The reply with `mask` applied, and cut to `MAX_WORDS` characters."""
        text = mask("\n".join(self.lines))
        if len(self.lines) == 1 and len(text) < MAX_WORDS - len("250 "):
            return Reply(self.code, (text,))
        lines, left = [], MAX_WORDS
        for line in text.split("\n"):
            left -= len("250-")
            if left <= 0:
                break
            lines.append(line[:left])
            left -= len(lines[-1]) + len("\n")
        return Reply(self.code, tuple(lines))

    def __str__(self) -> str:
        """The format of nodemailer's `info.response`: the lines as received, without the CR."""
        *first, last = self.lines
        return "\n".join([*(f"{self.code}-{line}" for line in first), f"{self.code} {last}".rstrip()])


class ConnectionSpent(NotSent):
    """This connection can't be used for the mail, whose content was not sent; another connection may work.

    The connection was lost, the server closes it (421) or is out of step, or a connection that was used before accepts
    no more mails: a session's limit is not a failure of the mail.
    """

    @classmethod
    def by(cls, refusal: NotSent) -> ConnectionSpent:
        """The same error, attributed to the connection."""
        spent = cls(refusal.code, str(refusal))
        spent.rejected, spent.retry_after, spent.crowded = refusal.rejected, refusal.retry_after, refusal.crowded
        return spent


class LoginRefused(NotSent):
    """The server refuses our credentials."""


#: Advice that is appended to the error for a refused login.
LOGIN_ADVICE = "Check the user in SMTP_CONNECTION_URI and SMTP_PASSWORD."

_TLS_ADVICE = "The server wants TLS: use smtps://, or ?requireTLS=true in SMTP_CONNECTION_URI."

#: The codes of refusals that a retry may cure.
TRANSIENT = (ErrorCode.TEMPORARY, ErrorCode.THROTTLED)


def classify(step: Step, reply: Reply) -> ErrorCode:
    """The `errorCode` for a reply other than success, by the table above."""
    if reply.refused and wording.is_sending_limit(reply.text):
        return ErrorCode.THROTTLED
    if reply.code == 421:
        return ErrorCode.TEMPORARY if wording.is_about_the_mail(reply.text) else ErrorCode.THROTTLED
    if step is Step.AUTH and reply.code == 454:
        return ErrorCode.THROTTLED
    if not reply.refused or step is Step.STARTTLS:
        return ErrorCode.CONNECTION
    if reply.is_temporary or (step is Step.RCPT and wording.is_about_recipients(reply.text)):
        return ErrorCode.TEMPORARY
    if step is Step.AUTH or reply.code in (530, 534, 535):
        return ErrorCode.AUTH
    return ErrorCode.REJECTED


def wait_after(step: Step, reply: Reply) -> float | None:
    """Seconds to wait before a retry; None if the server does not say, or the refusal is permanent."""
    code = classify(step, reply)
    if code not in TRANSIENT:
        return None
    if (seconds := wording.announced_wait(reply.text)) is not None:
        return seconds
    return wording.DAILY_WAIT if code is ErrorCode.THROTTLED and wording.is_daily(reply.text) else None


def refusal(server: str, step: Step, reply: Reply, advice: str = LOGIN_ADVICE) -> NotSent:
    """The error for a reply; `server` is `host:port`, `advice` is appended if the login was refused.

    421 means that the server closes the connection, so another connection may work, unless the server has already
    received the content. If it then objects to the number of our connections, that is no mail's failure: an `Outage`.
    """
    code = classify(step, reply)
    if not reply.refused:
        return ConnectionSpent(code, f"The mail server {server} gave an unexpected reply to {step.value}: {reply}")
    text = f"The mail server {server} refused {step.value}: {reply}"
    if wording.demands_tls(reply.text) and code is not ErrorCode.THROTTLED and step is not Step.STARTTLS:
        advice = _TLS_ADVICE
        text = f"{sentence(text)} {advice}"
    elif code is ErrorCode.AUTH:
        text = f"{sentence(text)} {advice}"
    failure = _kind(step, reply, code)(code, text)
    failure.retry_after = wait_after(step, reply)
    if code is ErrorCode.THROTTLED and wording.is_about_connections(reply.text):
        if step is Step.BODY:
            return Outage.of(failure)
        failure.crowded = True
    return failure


def _kind(step: Step, reply: Reply, code: ErrorCode) -> type[NotSent]:
    if reply.code == 421 and step is not Step.BODY:
        return ConnectionSpent
    return LoginRefused if code is ErrorCode.AUTH and step is Step.AUTH else NotSent


def sentence(words: str) -> str:
    """The server's words, ended by a full stop, so that another sentence may follow."""
    words = words.rstrip()
    return words if words.endswith((".", "!", "?")) else f"{words}."


def lacking(server: str, extension: str, remark: str, code: ErrorCode) -> NotSent:
    """The error for an extension that the server does not offer; `remark` continues the sentence."""
    return NotSent(code, f"The mail server {server} does not offer {extension}, {remark}.")


def loss(server: str, step: Step, error: OSError) -> ConnectionSpent:
    """The error for a connection that failed before the content was sent."""
    return ConnectionSpent(ErrorCode.CONNECTION, describe_loss(server, step, error))


def describe_loss(server: str, step: Step, error: OSError) -> str:
    """Describes a connection error for people."""
    match error:
        case TimeoutError() if step is Step.GREETING:
            return (
                f"The mail server {server} accepted the connection but sent no greeting in time. A port that expects "
                "TLS from the first byte is silent, too: smtps:// usually goes with port 465, smtp:// with 587."
            )
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
