"""Whatever listens on a developer's machine is out of reach for other machines, and for web pages in the browser."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.clients import firestore_client
from local.options import StackOptions
from local.stack import Stack
from tests.integration.system import PATIENCE, System

pytestmark = pytest.mark.integration

DIALOGUE = "EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n\r\nx\r\n.\r\nQUIT\r\n"
DOCUMENT = '{"to": "a@b.c", "message": {"subject": "s", "text": "x"}}'
DATA = base64.b64encode(f'{{"mail": {DOCUMENT}}}'.encode()).decode()
INLINE = f'{{"message": {{"messageId": "1", "data": "{DATA}"}}}}'

#: Each port of a stack (a key of its ready file), and what a page would ask of it.
WISHES = [
    ("sender", "POST", "/", INLINE),
    ("dispatcher", "POST", "/", INLINE),
    ("dispatcher", "POST", "/reconcile", ""),
    ("dispatcher", "POST", "/dead-letters", INLINE),
    ("console", "POST", "/api/documents", DOCUMENT),
    ("console", "POST", "/api/documents/x/retry", "{}"),
    ("console", "PUT", "/api/faults", '{"inbox": "down"}'),
    ("console", "POST", "/api/dead-letters/1/replay", "{}"),
    ("smtp", "POST", "/", DIALOGUE),
    ("firestore", "POST", "/google.firestore.v1.Firestore/Commit", "x"),
    ("firestore", "POST", "/v1/projects/demo-firepost/databases/(default)/documents/mail", DOCUMENT),
    ("pubsub", "POST", "/google.pubsub.v1.Publisher/Publish", "x"),
    ("pubsub", "POST", "/v1/projects/demo-firepost/topics/mail:publish", '{"messages": [{"data": "e30="}]}'),
]
#: How a browser would put it. It sends none of these without an Origin; old ones did.
WAYS = [
    pytest.param({"Origin": "https://evil.example", "Content-Type": "text/plain"}, id="a-page"),
    pytest.param({"Content-Type": "text/plain"}, id="an-old-browser"),
    pytest.param({"Content-Type": "application/x-www-form-urlencoded"}, id="a-form"),
    pytest.param({"Host": "evil.example", "Content-Type": "application/json"}, id="a-rebound-name"),
]


def in_one_worker(verify_tokens: bool, name: str) -> Any:
    """A parameter whose tests share a stack."""
    return pytest.param(verify_tokens, id=name, marks=pytest.mark.xdist_group(f"web pages {name}"))


@pytest.fixture(scope="module", params=[in_one_worker(True, "with-tokens"), in_one_worker(False, "without-tokens")])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    with Stack(StackOptions(verify_tokens=request.param, reconcile_seconds=None)) as stack:
        yield stack


def location(stack: Stack, part: str) -> str:
    """The `host:port` of a part."""
    return urlsplit(stack.ready[part]).netloc or stack.ready[part]


def answer_to(address: str, method: str, path: str, headers: dict[str, str], body: str) -> str:
    """Everything that the server at `host:port` answers to an HTTP request before it closes the connection."""
    host, port = address.split(":")
    lines = {"Host": address, "Connection": "close", "Content-Length": str(len(body)), **headers}
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())])
    received = b""
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(f"{head}\r\n\r\n{body}".encode())
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                received += piece
    return received.decode("latin-1")


@pytest.mark.parametrize("headers", WAYS)
@pytest.mark.parametrize(("part", "method", "path", "body"), WISHES)
def test_a_web_page_achieves_nothing(
    stack: Stack, part: str, method: str, path: str, body: str, headers: dict[str, str]
) -> None:
    answer = answer_to(location(stack, part), method, path, headers, body)
    assert not answer.startswith(("HTTP/1.1 2", "HTTP/1.0 2"))
    assert (stack.inbox.store.mails(), stack.inbox.fault) == ([], "none")
    client = firestore_client(stack.ready["firestore"], stack.options.project)
    assert list(client.collection("mail").list_documents(timeout=PATIENCE)) == []
    client.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/api/messages"),
        ("DELETE", "/api/messages"),
        ("GET", "/console"),
        ("GET", "/api/documents"),
        ("GET", "/api/tokens/sender"),
    ],
)
def test_a_rebound_name_reads_nothing(stack: Stack, method: str, path: str) -> None:
    answer = answer_to(location(stack, "console"), method, path, {"Host": "evil.example"}, "")
    assert answer.startswith("HTTP/1.1 400 ")


def test_everything_listens_on_loopback_only(system: System) -> None:
    found = listening({os.getpid(), *descendants(os.getpid())})
    parts = ("sender", "dispatcher", "console", "smtp", "firestore", "pubsub")
    assert {int(location(system.stack, part).rpartition(":")[2]) for part in parts} <= {port for _, port in found}
    assert all(address.is_loopback for address, _ in found), found


def descendants(ancestor: int) -> set[int]:
    children = {
        int(child) for task in Path(f"/proc/{ancestor}/task").glob("*/children") for child in task.read_text().split()
    }
    return children.union(*map(descendants, children))


def listening(processes: set[int]) -> set[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """The addresses and ports on which the processes accept TCP connections."""
    sockets = set()
    for process in processes:
        with contextlib.suppress(FileNotFoundError):
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    sockets.add(str(descriptor.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = row.split()
            if state == "0A" and f"socket:[{rest[5]}]" in sockets:
                address, port = local.split(":")
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
                ip = ipaddress.ip_address(b"".join(words))
                found.add((getattr(ip, "ipv4_mapped", None) or ip, int(port, 16)))
    return found
