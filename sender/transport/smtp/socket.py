"""smtplib on a socket with a total deadline for each operation."""

from __future__ import annotations

import ipaddress
import re
import smtplib
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sender.net.dial import dial, seconds_left
from sender.net.receive import receive
from shared.deadline import Deadline

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: The longest reply. A server that sends more is broken or malicious.
MAX_REPLY_BYTES = 64 * 1024

#: Up to this size, copying bytes is cheaper than another write.
MAX_JOINED = 64 * 1024

# The code, the separator ("-" if another line follows), and the text.
_REPLY_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)


class GarbledReply(smtplib.SMTPException):
    """The server sent something that is not a valid reply (RFC 5321 section 4.2), or sent it unprompted."""


class SmtpSocket(smtplib.SMTP):
    """smtplib with its input and output replaced, so that `until` bounds each operation as a whole.

    smtplib itself applies a timeout to every single `recv`, so that a server that sends a byte now and then can go on
    forever, and looks up its own name in the DNS. All errors are `OSError`s, as smtplib's are: `TimeoutError` after
    `until`, `SMTPServerDisconnected` at the end of the stream, `GarbledReply`, `ssl.SSLError`.
    """

    ehlo_msg = "EHLO"  # in capitals, like all our commands

    def __init__(self, client_name: str, until: Deadline) -> None:
        super().__init__(local_hostname=client_name)
        self.until = until
        self.command_encoding = "utf-8"
        self._unread = bytearray()

    def dial(self, host: str, port: int, seconds_per_address: float) -> None:
        """Connect, as `sender.net.dial.dial` does."""
        self.sock = dial(host, port, self.until, seconds_per_address)

    def encrypt(self, context: ssl.SSLContext, servername: str) -> None:
        """Start TLS, and forget what the server offered before it (RFC 3207 section 4.2)."""
        # The socket's timeout bounds the handshake as a whole.
        self.sock = context.wrap_socket(self._ready(), server_hostname=servername)
        self.ehlo_resp = self.helo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    @property
    def is_open(self) -> bool:
        """Whether it is connected and not closed on our side."""
        return self.sock is not None

    @property
    def in_step(self) -> bool:
        """Whether the connection is open and no unread data is left over."""
        return self.is_open and not self._unread

    def more(self, seconds: float = 0.0) -> bytes | None:
        """What the server sends within `seconds`, without consuming it.

        None if it sends nothing, b"" if it closes the connection.
        """
        if not self._unread:
            if self.sock is None:
                return b""
            try:
                chunk = receive(self.sock, 8192, Deadline.after(seconds))
            except TimeoutError:
                return None
            except ConnectionError:
                return b""
            self._unread += chunk
        return bytes(self._unread)

    def expect_silence(self, complaint: str = "the server sent something before the command") -> None:
        """Check that there is nothing to read: what arrives before a command can't be the reply to it.

        Raises `SMTPServerDisconnected` if the server has closed the connection, `GarbledReply` with the complaint if it
        has sent something.
        """
        more = self.more()
        if more == b"":
            raise smtplib.SMTPServerDisconnected("the server closed it")
        if more:
            raise GarbledReply(complaint)

    @property
    def tls_version(self) -> str:
        """The TLS version in use, such as "TLSv1.3"; "none" without TLS."""
        sock = self._ready()
        return str(sock.version()) if isinstance(sock, ssl.SSLSocket) else "none"

    @property
    def exposed(self) -> bool:
        """Whether data crosses a network unencrypted: there is no TLS, and the server is on another machine."""
        sock = self._ready()
        if isinstance(sock, ssl.SSLSocket):
            return False
        return not ipaddress.ip_address(sock.getpeername()[0].partition("%")[0]).is_loopback

    def put_commands(self, commands: Sequence[str]) -> None:
        """Send all commands in one write. Raises `ValueError`, and sends nothing, if one contains a line break."""
        if any("\r" in command or "\n" in command for command in commands):
            raise ValueError("a newline within a command")
        self.send("\r\n".join(commands) + "\r\n")

    def put(self, pieces: Iterable[bytes]) -> None:
        """Send the pieces in order; small ones share a write, large ones are not copied."""
        joined = b""
        for piece in pieces:
            if len(joined) + len(piece) > MAX_JOINED:
                self.send(joined)
                self.send(piece)
                joined = b""
            else:
                joined += piece
        self.send(joined)

    def send(self, s: ReadableBuffer | str) -> None:
        """Send all of it."""
        rest = memoryview(s.encode(self.command_encoding) if isinstance(s, str) else s)
        while rest:
            rest = rest[self._ready().send(rest) :]

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply. Returns its code and the texts of its lines, joined by line feeds."""
        texts: list[bytes] = []
        first = b""
        size = 0
        while True:
            line = self._read_line()
            match = _REPLY_LINE.fullmatch(line)
            if match is None:
                raise GarbledReply("the server's answer is not SMTP")
            size += len(line)
            if size > MAX_REPLY_BYTES:
                raise GarbledReply("the server's answer is too long")
            code, separator, text = match.groups(b"")
            if code != (first := first or code):  # RFC 5321 section 4.2.1
                raise GarbledReply("the lines of the server's answer have different codes")
            texts.append(text.strip())
            if separator != b"-":
                return int(code), b"\n".join(texts)

    def _read_line(self) -> bytes:
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > MAX_REPLY_BYTES:
                raise GarbledReply("the server's answer is too long")
            chunk = receive(self._open(), 8192, self.until)
            if not chunk:
                raise smtplib.SMTPServerDisconnected("the server closed it")
            self._unread += chunk
        line = bytes(self._unread[:end]).rstrip(b"\r")
        del self._unread[: end + 1]
        return line

    def _ready(self) -> socket.socket:
        """The socket, with the remaining time set as the timeout of its next call."""
        sock = self._open()
        sock.settimeout(seconds_left(self.until))
        return sock

    def _open(self) -> socket.socket:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("it is closed already")
        return self.sock
