"""The web pages over real parts: an embedded backend with the stack's topics, an inbox, logs; no services."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from local.backends.embedded import EmbeddedBackend
from local.documents import Documents
from local.inbox import Inbox
from local.mailstore import MailStore
from local.options import StackOptions
from local.ports import listening_at
from local.queues import Queues
from local.switches import Switches
from local.topics import create_topics, kept_dead_letters, topic_path
from local.web import Parts, create_app
from tests.unit.local.conftest import PROJECT

ORIGIN = "http://127.0.0.1"


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(MailStore(tmp_path / "mails"), listening_at(0, ""))
    yield inbox
    inbox.stop()


@pytest.fixture
def store(inbox: Inbox) -> MailStore:
    return inbox.store


@pytest.fixture
def queues(backend: EmbeddedBackend) -> Queues:
    options = StackOptions(project=PROJECT, verify_tokens=False, sender="pull")
    create_topics(backend.pubsub, options, dict.fromkeys(options.services, "http://127.0.0.1:9"))
    return Queues(
        backend.pubsub, PROJECT, topic_path(PROJECT, "mail"), kept_dead_letters(options), waiting=backend.waiting
    )


@pytest.fixture
def logs(tmp_path: Path) -> dict[str, Path]:
    return {"dispatcher": tmp_path / "dispatcher.log", "sender": tmp_path / "sender.log"}


@pytest.fixture
def parts(documents: Documents, inbox: Inbox, queues: Queues, backend: EmbeddedBackend, logs: dict[str, Path]) -> Parts:
    token = {"sender": "signed", "dispatcher": None}.get
    return Parts(documents, inbox, queues, Switches(inbox, backend.faults, (), seed=0), logs, token)


@dataclass
class Browser:
    """Requests as a page of the console makes them, or a program."""

    client: FlaskClient

    def open(self, method: str, path: str, **options: Any) -> TestResponse:
        return self.client.open(path, method=method, base_url=ORIGIN, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.open("GET", path, **options)

    def json(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def send(self, method: str, path: str, body: object = None, **options: Any) -> int:
        """The status of a request with a JSON body."""
        return self.open(method, path, json={} if body is None else body, **options).status_code


@pytest.fixture
def browser(parts: Parts) -> Browser:
    return Browser(create_app(parts, threading.Event()).test_client())


@pytest.fixture
def releasing(parts: Parts) -> tuple[Browser, list[tuple[int, list[str]]]]:
    """Pages that may release mails, and the mails that they have released."""
    released: list[tuple[int, list[str]]] = []

    def release(mail: Any, recipients: Any) -> str:
        released.append((mail.number, list(recipients)))
        return "250 Ok"

    return Browser(create_app(replace(parts, release=release), threading.Event()).test_client()), released


def message(subject: str = "<b>Grüße</b>", message_id: str = "<1@example.com>") -> bytes:
    """A mail with a text, an html with a script and an inline image, and that image."""
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = subject, "a@example.com", "b@example.com"
    made["Message-ID"] = message_id
    made.set_content("plain, https://a.example/verify")
    made.add_alternative('<script>alert(1)</script><img src="cid:logo">', subtype="html")
    made.add_attachment(b"\x89PNG", "image", "png", filename='lo"go.png', cid="<logo>")
    return made.as_bytes()
