"""The wire: smtplib's dialogue over a socket on which nothing can wait for longer than it may."""

from __future__ import annotations

import ipaddress
import re
import smtplib
import socket
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sender.net.dial import dial, seconds_left
from shared.deadline import Deadline

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: More than any server has to say; one that goes on is broken or malicious.
MAX_REPLY_BYTES = 64 * 1024

#: Up to here, copying bytes costs less than another write does.
MAX_JOINED = 64 * 1024

# Its code, what shows whether another line follows, and the text.
_REPLY_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)


class GarbledReply(smtplib.SMTPException):
    """The server says something that is not SMTP (RFC 5321 section 4.2)."""


class SmtpSocket(smtplib.SMTP):
    """smtplib with its input and output replaced: `until` bounds whatever is called next, down to the byte.

    smtplib gives every `recv` its own time limit, so that a server which sends a byte now and then can go on for ever,
    and finds out its own name by asking the DNS. All that goes wrong is an `OSError` (smtplib's exceptions are):
    `TimeoutError` past `until`, `SMTPServerDisconnected` at the end of the stream, `GarbledReply`, `ssl.SSLError`.
    """

    ehlo_msg = "EHLO"  # in capitals, as all our commands

    def __init__(self, client_name: str, until: Deadline) -> None:
        super().__init__(local_hostname=client_name)
        self.until = until
        self.command_encoding = "utf-8"
        self._unread = bytearray()

    def dial(self, host: str, port: int, seconds_per_address: float) -> None:
        """Connect, as the function `dial` does."""
        self.sock = dial(host, port, self.until, seconds_per_address)

    def encrypt(self, context: ssl.SSLContext, servername: str) -> None:
        """Start TLS on the connection, and forget what was said before it (RFC 3207 section 4.2)."""
        # The handshake as a whole is bounded by the socket's time limit.
        self.sock = context.wrap_socket(self._ready(), server_hostname=servername)
        self.ehlo_resp = self.helo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it on our side."""
        return self.sock is not None

    @property
    def in_step(self) -> bool:
        """Whether the connection is open and every reply so far has been asked for."""
        return self.is_open and not self._unread

    def more(self, seconds: float = 0.0) -> bytes | None:
        """What the server goes on to say within so many seconds; None if nothing, b"" if it closes the connection."""
        if not self._unread:
            if self.sock is None:
                return b""
            self.sock.settimeout(seconds)
            try:
                chunk = self.sock.recv(8192)
            except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):  # TLS may have had something to read
                return None
            except ConnectionError:
                return b""
            self._unread += chunk
        return bytes(self._unread)

    def expect_silence(self, complaint: str = "it spoke before it was asked") -> None:
        """Make sure that there is nothing to read: what is there before a command can't be the answer to it.

        Raises `SMTPServerDisconnected` if the server has closed the connection, else `GarbledReply` with the complaint.
        """
        more = self.more()
        if more == b"":
            raise smtplib.SMTPServerDisconnected("the server closed it")
        if more:
            raise GarbledReply(complaint)

    @property
    def tls_version(self) -> str:
        """The protocol in use ("TLSv1.3"), after `encrypt`."""
        sock = self._ready()
        return str(sock.version()) if isinstance(sock, ssl.SSLSocket) else "none"

    @property
    def exposed(self) -> bool:
        """Whether what is said can be read on a network: there is no TLS, and the server is on another machine."""
        sock = self._ready()
        if isinstance(sock, ssl.SSLSocket):
            return False
        return not ipaddress.ip_address(sock.getpeername()[0].partition("%")[0]).is_loopback

    def put_commands(self, commands: Sequence[str]) -> None:
        """Write commands in one go. Raises `ValueError` if one of them has a line break in it; then none is written."""
        if any("\r" in command or "\n" in command for command in commands):
            raise ValueError("a newline within a command")
        self.send("\r\n".join(commands) + "\r\n")

    def put(self, pieces: Sequence[bytes]) -> None:
        """Write the pieces one after the other, in one go if they are small; large ones are not copied."""
        if sum(map(len, pieces)) <= MAX_JOINED:
            pieces = [b"".join(pieces)]
        for piece in pieces:
            self.send(piece)

    def send(self, s: ReadableBuffer | str) -> None:
        """Write all of it."""
        rest = memoryview(s.encode(self.command_encoding) if isinstance(s, str) else s)
        while rest:
            rest = rest[self._ready().send(rest) :]

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply: its code and the texts of its lines, joined by line feeds."""
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
                raise GarbledReply("the server's answer has no end")
            code, separator, text = match.groups(b"")
            if code != (first := first or code):  # RFC 5321 section 4.2.1
                raise GarbledReply("the lines of the server's answer have different codes")
            texts.append(text.strip())
            if separator != b"-":
                return int(code), b"\n".join(texts)

    def _read_line(self) -> bytes:
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > MAX_REPLY_BYTES:
                raise GarbledReply("the server's answer has no end")
            chunk = self._ready().recv(8192)
            if not chunk:
                raise smtplib.SMTPServerDisconnected("the server closed it")
            self._unread += chunk
        line = bytes(self._unread[:end]).rstrip(b"\r")
        del self._unread[: end + 1]
        return line

    def _ready(self) -> socket.socket:
        """The socket, with what is left of the time as the limit of its next call."""
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("it is closed")
        self.sock.settimeout(seconds_left(self.until))
        return self.sock
