"""One SMTP session: from the connection to the login, and then mail after mail."""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Callable, Iterable, Iterator

from sender.transport.classify import LOGIN_ADVICE, Reply, Step, describe_loss, loss, refusal
from sender.transport.envelope import Deadline, Envelope, Receipt
from sender.transport.server import Encryption, SmtpServer
from sender.transport.wire import Wire
from shared.errors import ErrorCode, NotSent, OutcomeUnknown

#: QUIT is a courtesy: it is written if that works at once.
GOODBYE_SECONDS = 0.5

OAUTH_ADVICE = (
    "USER must be the mailbox that the access token is for. Gmail wants the scope https://mail.google.com/; Microsoft "
    "365 wants SMTP AUTH enabled for the mailbox, and the permission SMTP.Send (or SMTP.SendAsApp, and the app "
    "registered in Exchange Online)."
)
_NO_DSN = "Field 'message.dsn': the mail server does not offer DSN (RFC 3461), so no notification was asked for."

#: Told of each step of the session's beginning as it succeeds, and how.
Progress = Callable[[Step, str], None]

#: How encryption succeeds where it is wanted only if the server offers it.
NOT_OFFERED = "the server offers no STARTTLS: mails go in the clear"


def untold(step: Step, how: str) -> None:
    """Nobody wants to know."""


class SmtpConnection:
    """A session that is logged in and ready for mail. Used by one thread at a time."""

    def __init__(
        self, server: SmtpServer, deadline: Deadline, token: str | None = None, progress: Progress = untold
    ) -> None:
        """Connect, introduce ourselves, encrypt and log in, all before `deadline`. Raises `NotSent`.

        The login is with the access token if there is one, and else with the server's password.
        """
        self.server = server
        self._token = token
        self._progress = progress
        self.opened_at = deadline.clock()
        self.mails = 0
        self.password_was_visible = False
        self._name = str(server)
        self._deadline = deadline
        self._wire = Wire(server.client_name, deadline)
        self._mid_mail = False
        try:
            self._establish()
        except BaseException:
            self._wire.close()
            raise

    @property
    def usable(self) -> bool:
        """Whether another mail may be sent: the connection is open, and both sides agree that no mail is under way."""
        return self._wire.in_step and not self._mid_mail

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, data_margin: float) -> Receipt:
        """Hand over one mail; DATA starts only while at least `data_margin` seconds are left until `deadline`.

        `data` is a whole message with CRLF line ends. Raises `ConnectionLost` if the server was gone before it was
        given any of it, another `NotSent` if the server (or the margin) said no, `OutcomeUnknown` if the connection
        broke between the first byte of `data` and the reply to the last.
        """
        self._mid_mail = True
        self.mails += 1
        self._deadline = deadline.brought_forward(data_margin)
        try:
            replies = self._start_mail(envelope, data)
            self._deadline = deadline
            response = self._send_data(data)
        except NotSent:
            self._deadline = deadline
            self._reset()
            raise
        self._mid_mail = False
        unheeded = envelope.dsn is not None and not self._wire.has_extn("dsn")
        return _receipt(envelope.recipients, replies, response, (_NO_DSN,) if unheeded else ())

    def quit(self) -> None:
        """Say QUIT, without waiting for an answer that nobody needs, and close."""
        self._wire.until = Deadline.after(GOODBYE_SECONDS, self._deadline.clock)
        with contextlib.suppress(OSError):
            self._wire.putcmd("QUIT")
        self.close()

    def close(self) -> None:
        """Close without a word."""
        self._wire.close()

    # The session

    def _establish(self) -> None:
        limits = self.server.timeouts
        with self._bounded(Step.CONNECT, math.inf):
            self._wire.dial(self.server.host, self.server.port, limits.connect)
        self._progress(Step.CONNECT, self._name)
        if self.server.encryption is Encryption.IMPLICIT:
            self._encrypt(Step.CONNECT)
        with self._bounded(Step.CONNECT, limits.greeting):
            greeting = Reply.decode(*self._wire.getreply())
        if not greeting.accepted:
            raise self._refused(Step.CONNECT, greeting)
        self._introduce()
        if self.server.encryption in (Encryption.OFFERED, Encryption.REQUIRED):
            self._start_tls()
        if self.server.user is not None:
            self._log_in()

    def _introduce(self) -> None:
        with self._bounded(Step.HELLO, self.server.timeouts.command):
            reply = Reply.decode(*self._wire.ehlo())
        if not reply.accepted and reply.code != 421:
            reply = self._say(Step.HELLO, f"HELO {self.server.client_name}")
        if not reply.accepted:
            raise self._refused(Step.HELLO, reply)
        self._progress(Step.HELLO, reply.lines[0])

    def _start_tls(self) -> None:
        if not self._wire.has_extn("starttls"):
            if self.server.encryption is Encryption.REQUIRED:
                insistence = "AUTH_TYPE=OAuth2" if self._token else "requireTLS"
                raise self._lacking("STARTTLS", f"which {insistence} asks for", ErrorCode.CONNECTION)
            self._progress(Step.STARTTLS, NOT_OFFERED)
            return
        reply = self._say(Step.STARTTLS, "STARTTLS")
        if not reply.accepted:
            raise self._refused(Step.STARTTLS, reply)
        self._encrypt(Step.STARTTLS)
        self._introduce()

    def _encrypt(self, step: Step) -> None:
        with self._bounded(step, self.server.timeouts.connect):
            self._wire.encrypt(self.server.tls, self.server.servername)
        self._progress(Step.STARTTLS, self._wire.tls_version)

    def _log_in(self) -> None:
        """AUTH XOAUTH2 with a token; with a password PLAIN, or LOGIN where there is no PLAIN (RFC 4954, RFC 4616)."""
        offered = self._wire.esmtp_features.get("auth", "").upper().split()
        known = {"PLAIN": self._auth_plain, "LOGIN": self._auth_login}
        if self._token:
            known = {"XOAUTH2": self._auth_xoauth2}
        mechanisms = [known[name] for name in known if name in offered]
        if not mechanisms:
            but = f"but only {' '.join(offered)}" if offered else "but a user is configured"
            raise self._lacking(f"AUTH {' or '.join(known)}", but, ErrorCode.AUTH)
        with self._bounded(Step.AUTH, self.server.timeouts.command):
            self.password_was_visible = self._wire.exposed
        reply = mechanisms[0]()
        if reply.code == 504 and len(mechanisms) > 1:
            reply = mechanisms[1]()  # it offered PLAIN without knowing it; a wrong password is never tried twice
        if not reply.accepted:
            raise self._refused(Step.AUTH, reply)
        self._progress(Step.AUTH, str(self.server.user))

    def _auth_xoauth2(self) -> Reply:
        """A token that is refused is told so in JSON first, and the refusal comes after our empty answer to that."""
        proof = _base64(f"user={self.server.user}\1auth=Bearer {self._token}\1\1")
        reply = self._say(Step.AUTH, f"AUTH XOAUTH2 {proof}")
        return self._say(Step.AUTH, "") if reply.code == 334 else reply

    def _auth_plain(self) -> Reply:
        proof = _base64(f"\0{self.server.user}\0{self.server.password}")
        reply = self._say(Step.AUTH, f"AUTH PLAIN {proof}")
        return self._say(Step.AUTH, proof) if reply.code == 334 else reply

    def _auth_login(self) -> Reply:
        reply = self._say(Step.AUTH, "AUTH LOGIN")
        for answer in (self.server.user, self.server.password):
            if reply.code != 334:
                break
            reply = self._say(Step.AUTH, _base64(str(answer)))
        return reply

    # One mail

    def _start_mail(self, envelope: Envelope, data: bytes) -> list[Reply]:
        """Say MAIL, RCPT for each recipient and DATA; return the replies to RCPT once the server waits for the data."""
        options = self._mail_options(envelope, data)
        reply = self._say(Step.MAIL, " ".join([f"MAIL FROM:<{envelope.sender}>", *options]))
        if not reply.accepted:
            raise self._refused(Step.MAIL, reply)
        wishes = envelope.dsn.rcpt_parameters() if envelope.dsn and self._wire.has_extn("dsn") else ()
        parameters = "".join(f" {wish}" for wish in wishes)
        replies = [self._say(Step.RCPT, f"RCPT TO:<{recipient}>{parameters}") for recipient in envelope.recipients]
        if not any(reply.accepted for reply in replies):
            refused = self._refused(Step.RCPT, _decisive(replies))
            refused.rejected = _refused_for_good(envelope.recipients, replies)
            raise refused
        reply = self._say(Step.DATA, "DATA")
        if reply.code != 354:
            raise self._refused(Step.DATA, reply)
        return replies

    def _mail_options(self, envelope: Envelope, data: bytes) -> Iterator[str]:
        """What the mail needs and the server offers.

        SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), DSN (RFC 3461).
        """
        has = self._wire.has_extn
        if has("size"):
            limit = self._wire.esmtp_features["size"]
            if limit.isdecimal() and 0 < int(limit) < len(data):
                text = f"The mail has {len(data)} bytes; the mail server {self._name} takes at most {limit}."
                raise NotSent(ErrorCode.REJECTED, text)
            yield f"SIZE={len(data)}"
        if has("8bitmime") and not data.isascii():
            yield "BODY=8BITMIME"
        if envelope.needs_smtputf8 or not data[: max(0, data.find(b"\r\n\r\n"))].isascii():  # in a header, too
            if not has("smtputf8"):
                raise self._lacking("SMTPUTF8", "which an address outside ASCII needs", ErrorCode.REJECTED)
            yield "SMTPUTF8"
        if envelope.dsn and has("dsn"):
            yield from envelope.dsn.mail_parameters()

    def _send_data(self, data: bytes) -> Reply:
        """The mail itself. From its first byte on, only a complete reply tells what became of it."""
        self._wire.until = self._deadline.within(self.server.timeouts.data)
        try:
            self._wire.send(_as_data(data))
            reply = Reply.decode(*self._wire.getreply())
        except OSError as error:
            self._wire.close()
            raise self._unknown(describe_loss(self._name, Step.BODY, error)) from error
        if reply.refused:
            raise self._refused(Step.BODY, reply)
        if not reply.accepted:
            self._wire.close()
            raise self._unknown(f"The mail server {self._name} answered {Step.BODY.value} with {reply}.")
        return reply

    def _reset(self) -> None:
        """Abandon the mail under way; if that fails, the connection stays unusable."""
        if not self._wire.in_step:
            return
        try:
            reply = self._say(Step.RESET, "RSET")
        except NotSent:  # the reason for which the mail was abandoned is the one to report
            return
        self._mid_mail = not reply.accepted

    # One step

    def _say(self, step: Step, command: str) -> Reply:
        """Say a command and return its reply. Raises `ConnectionLost` if none comes, or if it is 421."""
        with self._bounded(step, self.server.timeouts.command):
            reply = Reply.decode(*self._wire.docmd(command))
        if reply.code == 421:
            raise self._refused(step, reply)
        return reply

    @contextlib.contextmanager
    def _bounded(self, step: Step, seconds: float) -> Iterator[None]:
        """Let the block talk to the server for so long; don't begin it when the time has run out already."""
        if self._deadline.remaining() <= 0:
            text = f"The attempt's time ran out before {step.value} at the mail server {self._name}."
            raise NotSent(ErrorCode.TEMPORARY, text)
        self._wire.until = self._deadline.within(seconds)
        try:
            yield
        except OSError as error:
            self._wire.close()
            raise loss(self._name, step, error) from error

    def _refused(self, step: Step, reply: Reply) -> NotSent:
        if reply.code == 421 or not reply.refused:  # it hangs up, or is at another point of the dialogue than we are
            self._wire.close()
        return refusal(self._name, step, reply, OAUTH_ADVICE if self._token else LOGIN_ADVICE)

    def _lacking(self, extension: str, remark: str, code: ErrorCode) -> NotSent:
        return NotSent(code, f"The mail server {self._name} does not offer {extension}, {remark}.")

    def _unknown(self, text: str) -> OutcomeUnknown:
        return OutcomeUnknown(f"{text} It may have taken the mail over, or not.")


def _decisive(replies: Iterable[Reply]) -> Reply:
    """Of the refusals of all recipients, the one that stands for them: one that may pass, if there is any."""
    return min(replies, key=lambda reply: reply.code)


def _receipt(recipients: tuple[str, ...], replies: list[Reply], response: Reply, warnings: tuple[str, ...]) -> Receipt:
    pairs = list(zip(recipients, replies, strict=True))
    return Receipt(
        accepted=tuple(who for who, reply in pairs if reply.accepted),
        rejected=_refused_for_good(recipients, replies),
        pending=tuple(who for who, reply in pairs if reply.is_temporary),
        response=str(response),
        warnings=warnings,
    )


def _refused_for_good(recipients: tuple[str, ...], replies: list[Reply]) -> tuple[str, ...]:
    pairs = zip(recipients, replies, strict=True)
    return tuple(who for who, reply in pairs if not reply.accepted and not reply.is_temporary)


def _as_data(data: bytes) -> bytes:
    """With every line's leading dot doubled, and the lone dot that ends it (RFC 5321 section 4.5.2).

    Also after a bare line feed, which some servers take for a line end, so that no text can end the mail early.
    """
    first = b"." if data.startswith(b".") else b""
    last = b"" if data.endswith(b"\r\n") else b"\r\n"
    return b"".join([first, data.replace(b"\n.", b"\n.."), last, b".\r\n"])


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
