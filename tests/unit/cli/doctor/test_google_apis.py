"""The client of Google's APIs over a socket, with the expected answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from cli.doctor import google_apis, questions
from cli.doctor.answers import Answer
from cli.doctor.examination import examine
from cli.doctor.google_apis import GoogleApis
from tests.unit.cli.doctor.apis import FILES, NAMES, NOW, denied, file_for

Response = tuple[int, Any]


@contextmanager
def google(failures: list[Response]) -> Iterator[GoogleApis]:
    """All APIs on one address, which answer with `failures` first, and then as expected."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            sent = json.loads(self.rfile.read(length)) if length else None
            assert sent == ({"options": {"requestedPolicyVersion": 3}} if self.command == "POST" else None)
            status, body = failures.pop(0) if failures else self._expected()
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET  # noqa: N815

        def _expected(self) -> Response:
            _, api, target = self.path.split("/", 2)
            name = file_for(api, self.command, target)
            return (200, FILES[name]["body"]) if name else (404, {"error": {"code": 404, "status": "NOT_FOUND"}})

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with GoogleApis(requests.Session(), f"http://127.0.0.1:{server.server_port}/{{api}}") as apis:
            yield apis
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google_apis._AGAIN, "backoff_factor", 0.0)


def test_an_installation_in_order_is_fine_over_http() -> None:
    with google([]) as apis:
        assert [finding for finding in examine(NAMES, apis.ask, NOW) if not finding.is_fine] == []


def test_a_failure_that_passes_is_not_noticed() -> None:
    with google([(503, {}), (429, {})]) as apis:
        assert apis.ask(questions.trigger(NAMES)).data == FILES["trigger"]["body"]
    with google([(503, {})]) as apis:  # a POST that changes nothing
        assert apis.ask(questions.project_policy(NAMES)).data == FILES["policy-project"]["body"]


@pytest.mark.parametrize(
    ("failures", "answer"),
    [
        ([(404, {})], Answer(None)),
        (
            [(403, denied("eventarc.triggers.get"))],
            Answer(None, "can't tell without the permission eventarc.triggers.get"),
        ),
        ([(200, b"<html>")], Answer(None, "can't tell: eventarc.googleapis.com answers 200 (no JSON)")),
        ([(503, {})] * 4, Answer(None, "can't tell: no answer from eventarc.googleapis.com (RetryError)")),
    ],
)
def test_a_failure_that_stays_is_the_answer(failures: list[Response], answer: Answer) -> None:
    with google(list(failures)) as apis:
        assert apis.ask(questions.trigger(NAMES)) == answer


def test_no_connection_is_an_answer() -> None:
    with google([]) as apis:
        pass
    assert "no answer from eventarc" in apis.ask(questions.trigger(NAMES)).unclear
