"""Against Postfix's smtp-sink, an independent implementation of pipelining. Skipped if it is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from local.ports import accepts, free_port
from local.waiting import wait_until
from sender.transport.smtp.config import parse_server
from sender.transport.smtp.connection import SmtpConnection
from shared.errors import ErrorCode, NotSent
from tests.patience import patience
from tests.unit.sender.transport.builders import ANA, BOB, DATA, connect, envelope, soon

SINK = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PATIENCE = patience(10)

pytestmark = pytest.mark.skipif(SINK is None, reason="Postfix's smtp-sink is not installed")

StartSink = Callable[..., str]


@pytest.fixture
def start_sink() -> Iterator[StartSink]:
    """Starts a sink with the given options; returns its URI."""
    sinks: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> str:
        port = free_port()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        sinks.append(subprocess.Popen([str(SINK), *user, *options, f"127.0.0.1:{port}", "10"]))
        assert wait_until(lambda: accepts(f"127.0.0.1:{port}"), PATIENCE)
        return f"smtp://127.0.0.1:{port}"

    yield start
    for sink in sinks:
        sink.terminate()
        sink.wait(PATIENCE)


def session(uri: str, pipelining: bool) -> SmtpConnection:
    return connect(parse_server(f"{uri}?pipelining={str(pipelining).lower()}"))


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "step by step"])
class TestSink:
    def test_accepts_several_mails(self, start_sink: StartSink, pipelining: bool) -> None:
        connection = session(start_sink(), pipelining)
        for _ in range(20):
            assert connection.send(envelope(ANA, BOB), DATA, soon(), 0).accepted == (ANA, BOB)
        connection.quit()

    @pytest.mark.parametrize(
        ("option", "command", "code", "step"),
        [
            ("-f", "MAIL", ErrorCode.REJECTED, "sender"),
            ("-f", "RCPT", ErrorCode.REJECTED, "recipients"),
            ("-r", "RCPT", ErrorCode.TEMPORARY, "recipients"),
            ("-f", "DATA", ErrorCode.REJECTED, "start of the mail"),
            ("-r", "DATA", ErrorCode.TEMPORARY, "start of the mail"),
            ("-f", ".", ErrorCode.REJECTED, "end of DATA"),
        ],
    )
    def test_refuses_several_mails(
        self, start_sink: StartSink, pipelining: bool, option: str, command: str, code: ErrorCode, step: str
    ) -> None:
        connection = session(start_sink(option, command), pipelining)
        for _ in range(3):
            with pytest.raises(NotSent, match=step) as caught:
                connection.send(envelope(ANA, BOB), DATA, soon(), 0)
            assert caught.value.code is code
            assert connection.usable
        connection.quit()

    @pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
    def test_hangs_up(self, start_sink: StartSink, pipelining: bool, command: str) -> None:
        connection = session(start_sink("-q", command), pipelining)
        with pytest.raises(NotSent) as caught:
            connection.send(envelope(ANA, BOB), DATA, soon(), 0)
        assert caught.value.code is ErrorCode.CONNECTION
        assert not connection.usable
