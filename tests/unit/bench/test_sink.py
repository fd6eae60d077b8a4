"""The benchmark's mail server, tested with a real client."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pytest

from bench import ledger
from bench.ledger import Ledger, Report
from bench.sink import EXTENSIONS, Session
from local.ports import LOOPBACK
from tests.patience import patience

MAIL = b"Subject: x\r\n\r\nLine.\r\n..\r\n"


class Running:
    """A sink in a thread, with a clock that counts the mails it has dated."""

    def __init__(self, extensions: Collection[str], delay_seconds: float) -> None:
        self.report = Report()
        self._delay_seconds = delay_seconds
        self._extensions = extensions
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(patience(10))

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(
            lambda: Session(self.report, lambda: float(len(self.report.taken)), self._extensions, self._delay_seconds),
            LOOPBACK,
            0,
        )
        control = await ledger.serve(self.report, 0)
        self.port, control_port = (each.sockets[0].getsockname()[1] for each in (server, control))
        self.ledger = Ledger(control_port)
        self._ready.set()
        async with server, control:
            await self._ended.wait()


@contextmanager
def running(extensions: Collection[str] = EXTENSIONS, delay_seconds: float = 0.0) -> Iterator[Running]:
    sink = Running(extensions, delay_seconds)
    sink.start()
    try:
        yield sink
    finally:
        sink.stop()


@pytest.fixture
def sink() -> Iterator[Running]:
    with running() as started:
        yield started


def test_a_mail_is_identified_by_its_recipient_and_dated_at_its_end(sink: Running) -> None:
    with smtplib.SMTP(LOOPBACK, sink.port) as client:
        client.sendmail("a@b.c", "burst-1@sink.example", MAIL)
        client.sendmail("a@b.c", "burst-2@sink.example", MAIL)
    assert sink.ledger.count() == 2
    assert sink.ledger.report().taken == [("burst-1", 0.0), ("burst-2", 1.0)]


def test_a_round_trip_is_an_answer_that_the_client_waited_for(sink: Running) -> None:
    with smtplib.SMTP(LOOPBACK, sink.port) as client:
        client.sendmail("a@b.c", "x@sink.example", MAIL)
    # greeting, EHLO, MAIL, RCPT, DATA, the mail, QUIT
    assert sink.ledger.report().round_trips == 7


def test_replies_to_pipelined_commands_are_one_round_trip(sink: Running) -> None:
    with socket.create_connection((LOOPBACK, sink.port)) as link, link.makefile("rb") as replies:
        replies.readline()
        link.sendall(b"MAIL FROM:<a@b.c>\r\nRCPT TO:<x@y>\r\nDATA\r\n")
        assert [replies.readline()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        link.sendall(MAIL + b".\r\nRSET\r\n")
        assert [replies.readline()[:3] for _ in range(2)] == [b"250", b"250"]
    assert sink.report.round_trips == 3


@pytest.mark.parametrize("pieces", [1, 2, 7], ids=lambda pieces: f"{pieces} octets at a time")
def test_a_mail_may_come_in_pieces(sink: Running, pieces: int) -> None:
    dialogue = b"MAIL FROM:<a@b.c>\r\nRCPT TO:<x@y>\r\nDATA\r\n" + MAIL + b".\r\n"
    with socket.create_connection((LOOPBACK, sink.port)) as link, link.makefile("rb") as replies:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        replies.readline()
        for begin in range(0, len(dialogue), pieces):
            link.sendall(dialogue[begin : begin + pieces])
        assert [replies.readline()[:3] for _ in range(4)] == [b"250", b"250", b"354", b"250"]
    assert [name for name, _ in sink.report.taken] == ["x"]


def test_chunks_make_one_mail(sink: Running) -> None:
    with socket.create_connection((LOOPBACK, sink.port)) as link, link.makefile("rb") as replies:
        replies.readline()
        link.sendall(b"MAIL FROM:<a@b.c>\r\nRCPT TO:<x@y>\r\nBDAT 4\r\nabcdBDAT 3 LAST\r\n\r\n.NOOP\r\n")
        assert [replies.readline() for _ in range(5)][-2:] == [b"250 2.0.0 Ok: taken\r\n", b"250 2.0.0 Ok\r\n"]
    assert len(sink.report.taken) == 1


def test_an_empty_mail_ends_too(sink: Running) -> None:
    with socket.create_connection((LOOPBACK, sink.port)) as link, link.makefile("rb") as replies:
        replies.readline()
        link.sendall(b"MAIL FROM:<a@b.c>\r\nRCPT TO:<x@y>\r\nDATA\r\n.\r\n")
        assert replies.readline() and replies.readline() and replies.readline()
        assert replies.readline() == b"250 2.0.0 Ok: taken\r\n"


def test_a_reset_clears_everything_even_open_connections(sink: Running) -> None:
    with smtplib.SMTP(LOOPBACK, sink.port) as client:
        client.sendmail("a@b.c", "x@sink.example", MAIL)
        sink.ledger.reset()
        assert sink.ledger.report() == Report()
        client.sendmail("a@b.c", "y@sink.example", MAIL)
        assert sink.ledger.report() == Report([("y", 0.0)], connections=0, round_trips=4)


def test_extensions_can_be_left_out() -> None:
    without = [name for name in EXTENSIONS if name != "PIPELINING"]
    with running(without) as sink, smtplib.SMTP(LOOPBACK, sink.port) as client:
        client.ehlo()
        assert not client.has_extn("pipelining")
        assert client.has_extn("8bitmime")


def test_latency_applies_to_every_round_trip() -> None:
    with running(delay_seconds=0.05) as sink, smtplib.SMTP(LOOPBACK, sink.port, timeout=patience(10)) as client:
        began = time.monotonic()
        client.sendmail("a@b.c", ["far@b.c"], MAIL)
        assert time.monotonic() - began >= 5 * 0.05, "EHLO, MAIL, RCPT, DATA, and the mail itself"
        assert [name for name, _ in sink.report.taken] == ["far"]
