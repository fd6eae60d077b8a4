"""Sends a mail of the inbox to real addresses, if whoever started the stack has allowed that."""

from __future__ import annotations

from collections.abc import Sequence

from local.mailstore import Mail
from sender.transport.envelope import Envelope
from sender.transport.smtp.config import parse_server
from sender.transport.smtp.transport import SmtpTransport
from shared.deadline import Deadline

RELEASE_SECONDS = 30.0


class Release:
    """The mail server over which mails are released: the same client as the sender's, which verifies certificates."""

    def __init__(self, uri: str) -> None:
        """`uri` is as in SMTP_CONNECTION_URI. Raises `Misconfigured`."""
        self._server = parse_server(uri)

    def send(self, mail: Mail, recipients: Sequence[str]) -> str:
        """Send the mail, unchanged; returns the server's answer. Raises `DeliveryFailed`, with a sentence."""
        transport = SmtpTransport(self._server)
        try:
            envelope = Envelope(mail.sender, tuple(recipients))
            return transport.send(envelope, mail.data, Deadline.after(RELEASE_SECONDS)).response
        finally:
            transport.close()
