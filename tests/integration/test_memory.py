"""A sender with the memory of the smallest container sends more large mails than fit into it."""

from __future__ import annotations

import os
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest
import trustme

from local.services import ROOT, environment
from tests.https_server import HttpsServer
from tests.integration.system import Configuration, Fields, System, running, wait_for
from tests.integration.test_faults import answers
from tests.patience import patience

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MIB = 1024 * 1024
#: The default of Terraform's `sender.memory`.
CONTAINER = 512 * MIB
LARGE = 40
SETTINGS = {"LEASE_SECONDS": "60", "ACK_DEADLINE_SECONDS": "75", "THREADS": "32"}


class Sink(socketserver.ThreadingTCPServer):
    """A mail server that keeps nothing but the number of bytes of each mail."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SinkSession)
        self.sizes: list[int] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def uri(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class _SinkSession(socketserver.StreamRequestHandler):
    server: Sink

    def handle(self) -> None:
        self.wfile.write(b"220 sink ESMTP\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 Go ahead\r\n")
                self._take()
            self.wfile.write(b"250 Ok\r\n")

    def _take(self) -> None:
        size, end = 0, b""
        while not end.endswith(b"\r\n.\r\n"):
            piece = self.request.recv(MIB)
            if not piece:
                return
            size += len(piece)
            end = (end + piece[-5:])[-5:]
        self.server.sizes.append(size)


@dataclass
class LimitedSender:
    """The sender's processes, of which the service itself is the largest."""

    process: subprocess.Popen[bytes]
    url: str

    def pids(self) -> Iterator[int]:
        yield self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        yield from map(int, children.read_text().split())

    def peak(self) -> int:
        """The peak of resident memory of the largest process, in bytes."""
        return max(_status(pid)["VmHWM"] for pid in self.pids())


def _status(pid: int) -> Mapping[str, int]:
    """The sizes, in bytes, that the system knows of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = (line.partition(":") for line in lines)
    return {name: int(rest.split()[0]) * 1024 for name, _, rest in fields if rest.endswith("kB")}


@contextmanager
def limited_sender(system: System, smtp_uri: str, authority: Path) -> Iterator[LimitedSender]:
    """A sender in the place of the system's own, with the memory of a container."""
    system.stack.kill("sender")
    port = urlsplit(system.stack.ready["sender"]).port or 0
    variables = environment(
        system.stack.options,
        firestore=system.stack.ready["firestore"],
        pubsub=system.stack.ready["pubsub"],
        smtp_uri=smtp_uri,
        port=port,
    )
    # Small stacks: the limit counts the whole of each thread's, although nearly all of it is never touched.
    command = ["sh", "-c", 'ulimit -s 512; exec "$@"', "sh", sys.executable, "-m", "tests.integration.limited_sender"]
    with (system.stack.logs / "limited.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, str(CONTAINER), "push"],
            env={**os.environ, **variables, "SSL_CERT_FILE": str(authority)},
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    sender = LimitedSender(process, f"http://127.0.0.1:{port}")
    try:
        wait_for(lambda: answers(f"{sender.url}/health"), "the sender answers")
        yield sender
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def files(tmp_path: Path) -> Iterator[tuple[HttpsServer, Path]]:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    with HttpsServer(context) as server:
        yield server, trusted


def test_large_mails_fit_into_a_small_container_and_small_ones_are_sent_beside_them(tmp_path: Path) -> None:
    """It takes 15 s: more mails of 25 MB than fit into the container."""
    configuration = Configuration(reconcile_seconds=1.0, settings=SETTINGS)
    with running("embedded", configuration) as system, files(tmp_path) as (server, trusted), Sink() as sink:
        server.usually(200, {"Content-Type": "application/pdf"}, os.urandom(MIB) * 25)
        message = {"subject": "s", "text": "t", "attachments": [{"path": f"{server.url}/a.pdf"}]}
        with limited_sender(system, sink.uri, trusted) as sender:
            large = [system.write({"to": f"l{n}@example.com", "message": message}) for n in range(LARGE)]
            small = system.write({"to": "small@example.com", "message": {"subject": "s", "text": "t"}})
            assert system.ended(small)["state"] == "SUCCESS"
            assert any("endTime" not in system.delivery(path) for path in large), "others were still waiting"
            endings = [_ended(system, path) for path in large]
            assert [(ending["state"], ending["attempts"]) for ending in endings] == [("SUCCESS", 1)] * LARGE
            peak = sender.peak()
            print(f"peak of resident memory: {peak // MIB} MiB")  # noqa: T201 - what this test measures
            assert peak <= CONTAINER
            assert sender.process.poll() is None
        assert sum(size > 25 * MIB for size in sink.sizes) == LARGE, "each was sent once"


def _ended(system: System, path: str) -> Fields:
    def look() -> Fields | None:
        delivery = system.delivery(path)
        return delivery if delivery.get("state") in ("SUCCESS", "ERROR") else None

    return wait_for(look, f"{path} has ended", patience(120.0), lambda: system.delivery(path))
