"""A page writes a mail with Firebase's web SDK, and sees SUCCESS arrive. Needs npm and Chromium."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.errors import CannotStart
from local.options import StackOptions
from local.stack import Stack
from tests.browser.chromium import find_chromium
from tests.integration.backends import GOOGLE_IS_REQUIRED
from tests.node_clients.node import INSTALLED, NotAvailable, install
from tests.patience import patience

pytestmark = pytest.mark.timeout(900)

PAGE = Path(__file__).with_name("page.html")
SDK = ("firebase-app.js", "firebase-firestore.js")


@contextmanager
def served() -> Iterator[tuple[str, queue.Queue[Any]]]:
    """The URL of the page, and what it reports."""
    reports: queue.Queue[Any] = queue.Queue()
    files = {"/": ("text/html", PAGE.read_text()), **{f"/{name}": ("text/javascript", sdk(name)) for name in SDK}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, text = files.get(urlsplit(self.path).path, ("", ""))
            self.send_response(200 if text else 404)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

        def do_POST(self) -> None:
            reports.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log no requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", reports
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sdk(name: str) -> str:
    """A module of the web SDK for browsers, which loads the others from here, not from Google."""
    text = (INSTALLED / "node_modules" / "firebase" / name).read_text()
    version = json.loads((INSTALLED / "node_modules" / "firebase" / "package.json").read_text())["version"]
    return text.replace(f"https://www.gstatic.com/firebasejs/{version}/", "/")


@contextmanager
def opened(program: str, url: str) -> Iterator[None]:
    """A headless browser that shows a page."""
    with tempfile.TemporaryDirectory(prefix="firepost-page-", ignore_cleanup_errors=True) as profile:
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
        browser = subprocess.Popen(
            [program, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            browser.terminate()
            browser.wait(timeout=patience(20))


@pytest.fixture
def chromium() -> str:
    try:
        install()
    except NotAvailable as reason:
        pytest.skip(str(reason))
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    return program


@pytest.fixture
def stack() -> Iterator[Stack]:
    stack = Stack(StackOptions("google"))
    try:
        stack.start()
    except CannotStart as reason:
        if GOOGLE_IS_REQUIRED:
            raise
        pytest.skip(str(reason))
    yield stack
    stack.stop()


def test_a_page_writes_a_mail_and_sees_success_arrive(chromium: str, stack: Stack) -> None:
    host, port = stack.ready["firestore"].split(":")
    with served() as (url, reports), opened(chromium, f"{url}?host={host}&port={port}&project={stack.options.project}"):
        assert reports.get(timeout=patience(90)) == {"state": "SUCCESS", "accepted": ["ada@example.com"]}
    assert [mail.recipients for mail in stack.inbox.store.mails()] == [("ada@example.com",)]
