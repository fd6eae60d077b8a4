"""One SMTP session: connects, logs in, and sends one mail after another."""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Callable

from sender.transport.envelope import Envelope, Receipt
from sender.transport.masking import mask
from sender.transport.smtp.config import Encryption, SmtpServer
from sender.transport.smtp.replies import LOGIN_ADVICE, Reply, Step, lacking
from sender.transport.smtp.session import Session, before_the_content
from sender.transport.smtp.transaction import Transaction
from shared.deadline import Deadline
from shared.errors import ErrorCode, NotSent

#: Time limit for writing QUIT, which is only a courtesy.
QUIT_SECONDS = 0.5

#: The most characters of a server's list of login mechanisms that an error quotes.
MAX_OFFERED = 200

OAUTH_ADVICE = (
    "USER must be the mailbox that the access token is for. Gmail needs the scope https://mail.google.com/; Microsoft "
    "365 needs SMTP AUTH enabled for the mailbox and the permission SMTP.Send (or SMTP.SendAsApp, with the app "
    "registered in Exchange Online)."
)

#: Called after each successful step up to the login, with a detail for people.
Progress = Callable[[Step, str], None]

#: The detail of the STARTTLS step if it was skipped.
NOT_OFFERED = "the server offers no STARTTLS: mail is sent unencrypted"


def no_progress(step: Step, detail: str) -> None:
    """The `Progress` that reports nothing."""


class SmtpConnection:
    """A session that is logged in and ready for mail. Used by one thread at a time."""

    def __init__(
        self, server: SmtpServer, deadline: Deadline, token: str | None = None, progress: Progress = no_progress
    ) -> None:
        """Connect, send EHLO, start TLS and log in, all before `deadline`. Raises `NotSent`.

        The login uses the access token, if given, otherwise the password of `server`.
        """
        self.server = server
        self._token = token
        self._progress = progress
        self.opened_at = deadline.clock()
        self.mails = 0
        self.password_was_visible = False
        self._mail: Transaction | None = None
        self._session = Session(server, deadline, OAUTH_ADVICE if token else LOGIN_ADVICE, self._mask())
        self._socket = self._session.socket
        try:
            with before_the_content(self._session.name):
                self._establish()
        except BaseException:
            self._socket.close()
            raise

    @property
    def usable(self) -> bool:
        """Whether another mail may be sent: the connection is open, and no mail is in progress on either side."""
        return self._session.in_step and (self._mail is None or self._mail.is_over)

    @property
    def is_silent(self) -> bool:
        """Whether it is still usable: since the last reply, the server has sent nothing and has not hung up."""
        try:
            self._socket.expect_silence()
        except OSError:
            self.close()
            return False
        return self.usable

    @property
    def _pipelining(self) -> bool:
        return self.server.pipelining and self._socket.has_extn("pipelining")

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, data_margin: float) -> Receipt:
        """Hand over one mail. Its content is started only if at least `data_margin` seconds are left until `deadline`.

        `data` is an RFC 5322 message with CRLF line ends. Raises `ConnectionSpent` if no content was sent and another
        connection may accept the mail; another `NotSent` if the server refused the mail or the time was up;
        `OutcomeUnknown` if the connection was lost between the first byte of `data` and the final reply.
        """
        was_used = self.mails > 0
        self.mails += 1
        self._mail = Transaction(self._session, self._pipelining, self.server.timeouts.data, was_used)
        return self._mail.send(envelope, data, deadline, data_margin)

    def quit(self) -> None:
        """Send QUIT and close without waiting for the reply."""
        self._socket.until = Deadline.after(QUIT_SECONDS, self._session.deadline.clock)
        with contextlib.suppress(OSError):
            self._socket.putcmd("QUIT")
        self.close()

    def close(self) -> None:
        """Close without QUIT."""
        self._socket.close()

    # The session

    def _establish(self) -> None:
        server, session = self.server, self._session
        limits = server.timeouts
        session.timed(Step.CONNECT, math.inf, lambda: self._socket.dial(server.host, server.port, limits.connect))
        self._progress(Step.CONNECT, session.name)
        if server.encryption is Encryption.IMPLICIT:
            self._encrypt(Step.CONNECT)
        greeting = Reply.decode(*session.timed(Step.GREETING, limits.greeting, self._socket.getreply))
        if not greeting.accepted:
            raise session.refused(Step.CONNECT, greeting)
        self._introduce()
        if server.encryption in (Encryption.OFFERED, Encryption.REQUIRED):
            self._start_tls()
        if server.user is not None:
            self._log_in()

    def _introduce(self) -> None:
        session = self._session

        def introduce() -> tuple[int, bytes]:
            self._socket.expect_silence()
            return self._socket.ehlo()

        reply = Reply.decode(*session.timed(Step.HELLO, self.server.timeouts.command, introduce))
        if not reply.accepted and reply.code != 421:
            reply = session.command(Step.HELLO, f"HELO {self.server.client_name}")
        if not reply.accepted:
            raise session.refused(Step.HELLO, reply)
        self._progress(Step.HELLO, session.shown(reply).lines[0])

    def _start_tls(self) -> None:
        if not self._socket.has_extn("starttls"):
            if self.server.encryption is Encryption.REQUIRED:
                setting = "AUTH_TYPE=OAuth2" if self._token else "requireTLS"
                raise lacking(self._session.name, "STARTTLS", f"which {setting} asks for", ErrorCode.CONNECTION)
            self._progress(Step.STARTTLS, NOT_OFFERED)
            return
        reply = self._session.command(Step.STARTTLS, "STARTTLS")
        if not reply.accepted:
            raise self._session.refused(Step.STARTTLS, reply)
        complaint = "the server sent plaintext after the reply to STARTTLS"
        self._session.timed(Step.STARTTLS, math.inf, lambda: self._socket.expect_silence(complaint))
        self._encrypt(Step.STARTTLS)
        self._introduce()

    def _encrypt(self, step: Step) -> None:
        tls, name = self.server.tls, self.server.servername
        self._session.timed(step, self.server.timeouts.connect, lambda: self._socket.encrypt(tls, name))
        self._progress(Step.STARTTLS, self._socket.tls_version)

    def _log_in(self) -> None:
        """AUTH XOAUTH2 with a token; with a password PLAIN, or LOGIN if PLAIN is not offered (RFC 4954, RFC 4616)."""
        offered = self._socket.esmtp_features.get("auth", "").upper().split()
        known = {"PLAIN": self._auth_plain, "LOGIN": self._auth_login}
        if self._token:
            known = {"XOAUTH2": self._auth_xoauth2}
        mechanisms = [known[name] for name in known if name in offered]
        if not mechanisms:
            raise self._no_login(" or ".join(known), " ".join(offered))
        self.password_was_visible = self._session.timed(
            Step.AUTH, self.server.timeouts.command, lambda: self._socket.exposed
        )
        reply = mechanisms[0]()
        if reply.code == 504 and len(mechanisms) > 1:
            reply = mechanisms[1]()  # the server offers PLAIN but does not support it; this is not a wrong password
        if not reply.accepted:
            raise self._session.refused(Step.AUTH, reply)
        self._progress(Step.AUTH, "accepted")

    def _no_login(self, known: str, offered: str) -> NotSent:
        """The error if the server offers no known mechanism.

        Mail is never sent without the configured login: it might go out under another identity, or as spam.
        """
        if offered:
            remark = f"but only {self._session.shown(Reply(250, (offered[:MAX_OFFERED],))).text}"
            advice = "Another port of the server may; 587 and 465 are the usual ones for logging in"
        else:
            remark = "but a user is configured"
            advice = (
                "If the server knows you by your IP address, take the user out of SMTP_CONNECTION_URI (and unset "
                "SMTP_PASSWORD); if it allows logins only over TLS, use smtps://, or the port where it offers STARTTLS"
            )
        if self._token:
            advice = "Check HOST and OAUTH_PORT"
        return lacking(self._session.name, f"AUTH {known}", f"{remark}. {advice}", ErrorCode.AUTH)

    def _mask(self) -> Callable[[str], str]:
        user, password, token = self.server.user, self.server.password, self._token
        secrets = [secret for secret in (password, token) if secret]
        return mask(secrets, [_plain(user, password or ""), _bearer(user, token or "")])

    def _auth_xoauth2(self) -> Reply:
        """For a refused token, the server first sends JSON; the refusal follows after our empty response to that."""
        proof = _base64(_bearer(self.server.user, self._token))
        reply = self._session.command(Step.AUTH, f"AUTH XOAUTH2 {proof}")
        return self._session.command(Step.AUTH, "") if reply.code == 334 else reply

    def _auth_plain(self) -> Reply:
        proof = _base64(_plain(self.server.user, self.server.password))
        reply = self._session.command(Step.AUTH, f"AUTH PLAIN {proof}")
        return self._session.command(Step.AUTH, proof) if reply.code == 334 else reply

    def _auth_login(self) -> Reply:
        reply = self._session.command(Step.AUTH, "AUTH LOGIN")
        for answer in (self.server.user, self.server.password):
            if reply.code != 334:
                break
            reply = self._session.command(Step.AUTH, _base64(str(answer)))
        return reply


def _plain(user: str | None, password: str | None) -> str:
    return f"\0{user}\0{password}"


def _bearer(user: str | None, token: str | None) -> str:
    return f"user={user}\1auth=Bearer {token}\1\1"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
