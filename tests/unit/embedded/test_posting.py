"""HTTP POSTs over keep-alive connections, to a server with prepared answers, sent byte by byte."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pytest

from local.backends.embedded.posting import Connections, NoAnswer, Request, body_length
from tests.patience import patience

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
Script = list[list[bytes]]


class ScriptedServer:
    """A list of answers for each connection, one per request; after the last, it closes the connection."""

    def __init__(self, script: Script) -> None:
        self.requests: list[bytes] = []
        self._script = script
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/push?a=b"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for answers in self._script:
            connection, _ = self._socket.accept()
            with connection, connection.makefile("rb") as stream:
                for answer in answers:
                    self.requests.append(self._request(stream))
                    connection.sendall(answer)

    def _request(self, stream: BinaryIO) -> bytes:
        lines = []
        while (line := stream.readline()) not in (b"\r\n", b""):
            lines.append(line)
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        return b"".join(lines) + stream.read(length)

    def close(self) -> None:
        self._thread.join(patience(5))
        self._socket.close()


@contextmanager
def serving(script: Script) -> Iterator[ScriptedServer]:
    server = ScriptedServer(script)
    try:
        yield server
    finally:
        server.close()


def posts(server: ScriptedServer, count: int) -> list[int]:
    """The statuses of this many requests, one after the other."""

    async def run() -> list[int]:
        connections = Connections()
        try:
            async with asyncio.timeout(5):
                request = Request(server.url, {"ce-id": "1"}, b"body")
                return [await connections.post(request) for _ in range(count)]
        finally:
            connections.close()
            await asyncio.sleep(0)

    return asyncio.run(run())


def test_a_request_is_written_as_http_wants_it() -> None:
    with serving([[OK]]) as server:
        assert posts(server, 1) == [200]
    host = server.url.split("/")[2].encode()
    assert server.requests == [
        b"POST /push?a=b HTTP/1.1\r\nhost: " + host + b"\r\ncontent-length: 4\r\nce-id: 1\r\nbody"
    ]


@pytest.mark.parametrize(
    ("script", "statuses"),
    [
        pytest.param([[OK, NO_CONTENT, OK]], [200, 204, 200], id="one connection for many"),
        pytest.param([[OK], [NO_CONTENT]], [200, 204], id="closed while idle: a new one"),
        pytest.param([[OK, b""], [OK]], [200, 200], id="closed when used again: repeated on a new one"),
        pytest.param(
            [[b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"], [OK]],
            [500, 200],
            id="no declared length: the connection is closed",
        ),
        pytest.param([[OK + b"more"], [OK]], [200, 200], id="more than declared: the connection is closed"),
    ],
)
def test_connections_are_kept_while_they_are_good(script: Script, statuses: list[int]) -> None:
    with serving(script) as server:
        assert posts(server, len(statuses)) == statuses


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"SMTP ready\r\n\r\n"], ids=["nothing", "half a head", "not HTTP"]
)
def test_without_an_answer_there_is_no_status(answer: bytes) -> None:
    with serving([[answer]]) as server, pytest.raises(NoAnswer):
        posts(server, 1)


def test_a_closed_port_gives_no_answer() -> None:
    with serving([]) as server:
        pass
    with pytest.raises(NoAnswer):
        posts(server, 1)


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-LENGTH:  12 ", 12),
        (b"HTTP/1.1 200 OK\r\nX-Content-Length: 12", None),
        (b"HTTP/1.1 204 No Content", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1", None),
    ],
)
def test_the_length_of_a_body_is_read_from_the_head(head: bytes, length: int | None) -> None:
    assert body_length(head) == length
