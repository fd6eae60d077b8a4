"""`python -m bench.sink SMTP_PORT CONTROL_PORT`: a mail server that takes everything at once, and counts.

Postfix's smtp-sink is as fast, but it can't tell when it took which mail. A mail is known here by the local part of
its recipient. On the control port, a connection sends one line and gets one line of JSON:

    count     how many mails have been taken
    report    a `Report`
    reset     forget all of it
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import cast

from local.ports import LOOPBACK

_EXTENSIONS = (b"PIPELINING", b"SIZE 52428800", b"8BITMIME", b"SMTPUTF8", b"ENHANCEDSTATUSCODES")
_RECIPIENT = re.compile(rb"RCPT TO:\s*<([^@>]*)", re.IGNORECASE)
_END = b"\r\n.\r\n"
_READ_BYTES = 256 * 1024


@dataclass(slots=True)
class Report:
    """What the sink has seen.

    `taken` are mails by name and the time (seconds since the epoch) at which the last byte was there. A round trip is
    one answer that the client waited for, however many replies it holds; a connection's greeting is one.
    """

    taken: list[tuple[str, float]] = field(default_factory=list)
    connections: int = 0
    round_trips: int = 0
    octets: int = 0

    def clear(self) -> None:
        """Count from zero."""
        self.taken.clear()
        self.connections = self.round_trips = self.octets = 0


class Session(asyncio.Protocol):
    """One SMTP connection: RFC 5321 as far as a client that does nothing wrong needs it, with RFC 2920 and RFC 3030."""

    def __init__(self, report: Report, now: Callable[[], float]) -> None:
        self._report = report
        self._now = now
        self._received = bytearray()
        self._recipient = ""
        self._step: Callable[[list[bytes]], bool] = self._command
        self._searched = 0
        self._chunk = 0
        self._last_chunk = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._report.connections += 1
        self._answer([b"220 sink.localhost ESMTP"])

    def data_received(self, data: bytes) -> None:
        """Answer as many commands as have come, all in one write."""
        self._received += data
        replies: list[bytes] = []
        while self._step(replies):
            pass
        if replies:
            self._answer(replies)

    def _answer(self, replies: list[bytes]) -> None:
        self._report.round_trips += 1
        self._transport.write(b"\r\n".join(replies) + b"\r\n")

    def _command(self, replies: list[bytes]) -> bool:
        end = self._received.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._received[:end])
        del self._received[: end + 2]
        match line[:4].upper():
            case b"EHLO":
                names = [b"sink.localhost", *_EXTENSIONS, b"CHUNKING"]
                replies += [b"250-" + name for name in names[:-1]] + [b"250 " + names[-1]]
            case b"RCPT":
                found = _RECIPIENT.match(line)
                self._recipient = found[1].decode(errors="replace") if found else ""
                replies.append(b"250 2.1.5 Ok")
            case b"DATA":
                replies.append(b"354 Go ahead")
                self._received[:0] = b"\r\n"  # so that a mail of no lines at all ends as any other
                self._step = self._data
            case b"BDAT":
                _, size, *last = line.split()
                self._chunk, self._last_chunk = int(size), bool(last)
                self._step = self._binary
            case b"QUIT":
                replies.append(b"221 2.0.0 Bye")
                self._answer(replies)
                replies.clear()
                self._transport.close()
                return False
            case _:
                replies.append(b"250 2.0.0 Ok")
        return True

    def _data(self, replies: list[bytes]) -> bool:
        # Only what has just come, and the few bytes before it, can hold the end.
        end = self._received.find(_END, max(0, self._searched - len(_END)))
        if end < 0:
            self._searched = len(self._received)
            return False
        del self._received[: end + len(_END)]
        self._took(end, replies)
        return True

    def _binary(self, replies: list[bytes]) -> bool:
        if len(self._received) < self._chunk:
            return False
        size = self._chunk
        del self._received[:size]
        if self._last_chunk:
            self._took(size, replies)
        else:
            replies.append(b"250 2.0.0 Ok")
            self._step = self._command
        return True

    def _took(self, octets: int, replies: list[bytes]) -> None:
        self._report.taken.append((self._recipient, self._now()))
        self._report.octets += octets
        self._searched = 0
        self._step = self._command
        replies.append(b"250 2.0.0 Ok: taken")


class Sink:
    """Another process's sink, over its control port."""

    def __init__(self, control_port: int) -> None:
        self._port = control_port

    def count(self) -> int:
        """How many mails have been taken."""
        return int(self._ask("count"))

    def report(self) -> Report:
        """All that it has seen."""
        fields = json.loads(self._ask("report"))
        fields["taken"] = [(name, at) for name, at in fields["taken"]]
        return Report(**fields)

    def reset(self) -> None:
        """Count from zero; connections that are open stay open."""
        self._ask("reset")

    def _ask(self, what: str) -> str:
        with socket.create_connection((LOOPBACK, self._port), timeout=30) as link, link.makefile("rw") as lines:
            lines.write(f"{what}\n")
            lines.flush()
            return lines.readline()


async def serve(smtp_port: int, control_port: int) -> None:
    """Serve until SIGTERM."""
    report = Report()

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match (await reader.readline()).strip():
            case b"count":
                answer: object = len(report.taken)
            case b"report":
                answer = asdict(report)
            case b"reset":
                report.clear()
                answer = 0
            case asked:
                answer = f"{asked!r} is not count, report or reset"
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    mail_server = await loop.create_server(lambda: Session(report, time.time), LOOPBACK, smtp_port, backlog=512)
    control_server = await asyncio.start_server(control, LOOPBACK, control_port)
    async with mail_server, control_server:
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
