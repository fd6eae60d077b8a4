"""`python -m bench.sink SMTP_PORT CONTROL_PORT`: a mail server that accepts and counts everything.

It can simulate latency. Postfix's smtp-sink is as fast, but can't say when it received which mail. A mail is identified
here by the local part of its recipient.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from collections.abc import Callable, Collection
from typing import cast

import click

from bench import ledger
from bench.ledger import Report
from local.ports import LOOPBACK

#: The extensions of a large mail server today; PIPELINING is RFC 2920, CHUNKING RFC 3030.
EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING")
_RECIPIENT = re.compile(rb"RCPT TO:\s*<([^@>]*)", re.IGNORECASE)
_END = b"\r\n.\r\n"
_BYE = b"221 2.0.0 Bye"


class Session(asyncio.Protocol):
    """One SMTP connection: as much of RFC 5321 as a correct client needs."""

    def __init__(
        self,
        report: Report,
        now: Callable[[], float],
        extensions: Collection[str] = EXTENSIONS,
        delay_seconds: float = 0.0,
    ) -> None:
        """`delay_seconds` is the time between a command, or several in one packet, and the answer: a round trip."""
        self._report = report
        self._delay_seconds = delay_seconds
        self._now = now
        self._extensions = extensions
        self._received = bytearray()
        self._recipient = ""
        self._step: Callable[[list[bytes]], bool] = self._command
        self._searched = 0
        self._chunk_size = 0
        self._is_last_chunk = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._report.connections += 1
        self._answer([b"220 sink.localhost ESMTP"])

    def data_received(self, data: bytes) -> None:
        """Answer everything received so far in one write."""
        self._received += data
        replies: list[bytes] = []
        while self._step(replies):
            pass
        if replies:
            self._answer(replies)

    def _answer(self, replies: list[bytes]) -> None:
        self._report.round_trips += 1
        if self._delay_seconds:
            asyncio.get_running_loop().call_later(self._delay_seconds, self._write, replies)
        else:
            self._write(replies)

    def _write(self, replies: list[bytes]) -> None:
        self._transport.write(b"\r\n".join(replies) + b"\r\n")
        if replies[-1] == _BYE:
            self._transport.close()

    def _command(self, replies: list[bytes]) -> bool:
        """Process one command line, if there is one."""
        line, end, _ = self._received.partition(b"\r\n")
        if not end:
            return False
        del self._received[: len(line) + len(end)]
        replies += self._reply_to(bytes(line))
        return True

    def _reply_to(self, line: bytes) -> list[bytes]:
        match line[:4].upper():
            case b"EHLO":
                names = ["sink.localhost", *self._extensions]
                return [f"250-{name}".encode() for name in names[:-1]] + [f"250 {names[-1]}".encode()]
            case b"RCPT":
                found = _RECIPIENT.match(line)
                self._recipient = found[1].decode(errors="replace") if found else ""
            case b"DATA":
                self._received[:0] = b"\r\n"  # so that an empty mail ends like any other
                self._step = self._data
                return [b"354 Go ahead"]
            case b"BDAT":
                _, size, *last = line.split()
                self._chunk_size, self._is_last_chunk = int(size), bool(last)
                self._step = self._chunk
                return []
            case b"QUIT":
                return [_BYE]
        return [b"250 2.0.0 Ok"]

    def _data(self, replies: list[bytes]) -> bool:
        # Only the new data, with the few bytes before it, can contain the end.
        end = self._received.find(_END, max(0, self._searched - len(_END)))
        if end < 0:
            self._searched = len(self._received)
            return False
        del self._received[: end + len(_END)]
        self._searched = 0
        self._take(replies)
        return True

    def _chunk(self, replies: list[bytes]) -> bool:
        if len(self._received) < self._chunk_size:
            return False
        del self._received[: self._chunk_size]
        if self._is_last_chunk:
            self._take(replies)
        else:
            self._step = self._command
            replies.append(b"250 2.0.0 Ok")
        return True

    def _take(self, replies: list[bytes]) -> None:
        self._report.taken.append((self._recipient, self._now()))
        self._step = self._command
        replies.append(b"250 2.0.0 Ok: taken")


async def serve(smtp_port: int, control_port: int, extensions: Collection[str], delay_seconds: float) -> None:
    """Serve until SIGTERM."""
    report = Report()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(
        lambda: Session(report, time.time, extensions, delay_seconds), LOOPBACK, smtp_port, backlog=512
    )
    async with server, await ledger.serve(report, control_port):
        await ended.wait()


@click.command()
@click.argument("smtp_port", type=int)
@click.argument("control_port", type=int)
@click.option("--delay-ms", type=click.FloatRange(min=0), default=0.0, help="The duration of each round trip.")
def main(smtp_port: int, control_port: int, delay_ms: float) -> None:
    """Accept mails."""
    asyncio.run(serve(smtp_port, control_port, EXTENSIONS, delay_ms / 1000))


if __name__ == "__main__":
    main()
