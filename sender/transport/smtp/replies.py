"""What a mail server's answer means, and how to say it to people: pure functions of the answer.

The first row that fits; `wording` says what the words are about.

| answer | at | code |
|---|---|---|
| 4xx or 5xx about a sending limit | any step | throttled |
| 421 about encryption, a policy, content or size | any step | temporary |
| 421 | any step | throttled |
| 454 | AUTH | throttled |
| 4xx or 5xx | STARTTLS | connection |
| anything but 4xx and 5xx (out of place) | any step | connection |
| 4xx | any other step | temporary |
| 5xx about too many recipients of one mail (RFC 5321 section 4.5.3.1.10) | RCPT | temporary |
| 5xx | AUTH | auth |
| 530, 534, 535 | any step | auth |
| 5xx | any other step | rejected |
| none: refused, unresolvable, not trusted, too slow, lost | any step | connection |
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sender.transport.smtp import wording
from shared.errors import ErrorCode, NotSent

#: The most characters of a server's reply that are looked at, and that end up in a document.
MAX_WORDS = 2000


class Step(Enum):
    """Where in the dialogue; the value ends a sentence such as "The mail server refused …"."""

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

    @property
    def text(self) -> str:
        """The words of the lines as one text."""
        return " ".join(self.lines)[:MAX_WORDS]

    def shown(self, mask: Callable[[str], str]) -> Reply:
        """As it may be shown to people: `mask` has been over it, and it reads no longer than `MAX_WORDS`."""
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
        """As nodemailer puts it into `info.response`: the lines as they came, without the CR."""
        *first, last = self.lines
        return "\n".join([*(f"{self.code}-{line}" for line in first), f"{self.code} {last}".rstrip()])


class ConnectionSpent(NotSent):
    """This connection will not carry the mail, and was not given its content: another connection may.

    It was lost, the server ends it (421) or is out of step, or it has carried mails before and takes no more: a
    session's limit is not the mail's failure.
    """

    @classmethod
    def by(cls, refusal: NotSent) -> ConnectionSpent:
        """The same refusal, taken for one of the connection."""
        spent = cls(refusal.code, str(refusal))
        spent.rejected, spent.retry_after = refusal.rejected, refusal.retry_after
        return spent


class LoginRefused(NotSent):
    """The server does not accept our credentials, or not any more."""


#: What may mend a refused login.
LOGIN_ADVICE = "Check the user in SMTP_CONNECTION_URI and SMTP_PASSWORD."

_TLS_ADVICE = "The server wants TLS: use smtps://, or ?requireTLS=true in SMTP_CONNECTION_URI."

#: The codes that time may mend.
FOR_NOW = (ErrorCode.TEMPORARY, ErrorCode.THROTTLED)


def classify(step: Step, reply: Reply) -> ErrorCode:
    """The `errorCode` for a reply that is not the hoped-for one, after the table above."""
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
    """In how many seconds the server wants to be asked again; None if it leaves that to us, or for good."""
    code = classify(step, reply)
    if code not in FOR_NOW:
        return None
    if (seconds := wording.announced_wait(reply.text)) is not None:
        return seconds
    return wording.DAILY_WAIT if code is ErrorCode.THROTTLED and wording.is_daily(reply.text) else None


def refusal(server: str, step: Step, reply: Reply, advice: str = LOGIN_ADVICE) -> NotSent:
    """The error for a reply; `server` is `host:port`, `advice` what may mend a refused login.

    421 says that the server hangs up, so that a fresh connection may help; but not after it has seen the whole mail.
    """
    code = classify(step, reply)
    if not reply.refused:
        return ConnectionSpent(code, f"The mail server {server} answered {step.value} out of place: {reply}")
    text = f"The mail server {server} refused {step.value}: {reply}"
    if wording.demands_tls(reply.text) and code is not ErrorCode.THROTTLED and step is not Step.STARTTLS:
        advice = _TLS_ADVICE
        text = f"{sentence(text)} {advice}"
    elif code is ErrorCode.AUTH:
        text = f"{sentence(text)} {advice}"
    failure = _kind(step, reply, code)(code, text)
    failure.retry_after = wait_after(step, reply)
    return failure


def _kind(step: Step, reply: Reply, code: ErrorCode) -> type[NotSent]:
    if reply.code == 421 and step is not Step.BODY:
        return ConnectionSpent
    return LoginRefused if code is ErrorCode.AUTH and step is Step.AUTH else NotSent


def sentence(words: str) -> str:
    """A server's words, with a full stop before ours go on."""
    words = words.rstrip()
    return words if words.endswith((".", "!", "?")) else f"{words}."


def lacking(server: str, extension: str, remark: str, code: ErrorCode) -> NotSent:
    """The error for something that the server does not offer; `remark` says who wants it."""
    return NotSent(code, f"The mail server {server} does not offer {extension}, {remark}.")


def loss(server: str, step: Step, error: OSError) -> ConnectionSpent:
    """The error for a connection that could not be made, or broke, before the mail was handed over."""
    return ConnectionSpent(ErrorCode.CONNECTION, describe_loss(server, step, error))


def describe_loss(server: str, step: Step, error: OSError) -> str:
    """What went wrong on the wire, for people."""
    match error:
        case TimeoutError() if step is Step.GREETING:
            return (
                f"The mail server {server} accepted the connection, and did not greet in time. A port that expects TLS "
                "from the first byte is silent, too: smtps:// usually goes with port 465, smtp:// with 587."
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
