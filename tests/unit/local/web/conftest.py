"""The web pages over real parts: an embedded backend with the stack's topics, an inbox, logs; no services."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache
from werkzeug.test import TestResponse

from local.backends.embedded import EmbeddedBackend, Faults
from local.clients import publisher_client, subscriber_client
from local.documents import Documents
from local.inbox import Inbox
from local.mailstore import MailStore
from local.options import StackOptions
from local.ports import listening_at
from local.queues import Queues
from local.switches import Switches
from local.topics import create_topics, kept_dead_letters, topic_path
from local.web import Parts, create_app
from tests.unit.lasting import LastingBackend
from tests.unit.local.conftest import PROJECT

ORIGIN = "http://127.0.0.1"
TOKENS = {"sender": "signed", "dispatcher": None}


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(MailStore(tmp_path / "mails"), listening_at(0, ""))
    yield inbox
    inbox.stop()


@pytest.fixture
def store(inbox: Inbox) -> MailStore:
    return inbox.store


OPTIONS = StackOptions(project=PROJECT, verify_tokens=False, sender="pull")


def make_topics(backend: EmbeddedBackend) -> None:
    create_topics(backend.pubsub, OPTIONS, dict.fromkeys(OPTIONS.services, "http://127.0.0.1:9"))


def delete_topics(backend: EmbeddedBackend) -> None:
    project = f"projects/{PROJECT}"
    with subscriber_client(backend.pubsub) as subscriber, publisher_client(backend.pubsub) as publisher:
        for subscription in subscriber.list_subscriptions(project=project):
            subscriber.delete_subscription(subscription=subscription.name)
        for topic in publisher.list_topics(project=project):
            publisher.delete_topic(topic=topic.name)


def queues_of(backend: EmbeddedBackend) -> Queues:
    return Queues(
        backend.pubsub, PROJECT, topic_path(PROJECT, "mail"), kept_dead_letters(OPTIONS), waiting=backend.waiting
    )


@pytest.fixture(scope="session")
def topics(lasting: LastingBackend) -> None:
    """The stack's topics and subscriptions, for all tests of pages."""
    make_topics(lasting.backend)


@pytest.fixture
def queues(backend: EmbeddedBackend, topics: None) -> Iterator[Queues]:
    """Empty queues."""
    yield queues_of(backend)
    if any(backend.waiting().values()):
        delete_topics(backend)
        make_topics(backend)


@pytest.fixture
def logs(tmp_path: Path) -> dict[str, Path]:
    return {"dispatcher": tmp_path / "dispatcher.log", "sender": tmp_path / "sender.log"}


@pytest.fixture
def parts(documents: Documents, inbox: Inbox, queues: Queues, backend: EmbeddedBackend, logs: dict[str, Path]) -> Parts:
    return Parts(documents, inbox, queues, Switches(inbox, backend.faults, (), seed=0), logs, TOKENS.get)


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


Browse = Callable[[Parts], Browser]


@pytest.fixture(scope="session")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Browse:
    """Opens the pages of a stack. The templates are compiled once for all of them."""
    compiled = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))

    def open_pages(parts: Parts) -> Browser:
        app = create_app(parts, threading.Event())
        app.jinja_env.bytecode_cache = compiled
        return Browser(app.test_client())

    return open_pages


@pytest.fixture
def browser(parts: Parts, browse: Browse) -> Browser:
    return browse(parts)


@pytest.fixture(scope="session")
def calm(
    lasting: LastingBackend, topics: None, browse: Browse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """The pages of a stack in which nothing happens, for requests that read, and for those that are refused.

    All tests share them, because an app takes 8 ms to build.
    """
    inbox = Inbox(MailStore(tmp_path_factory.mktemp("calm")), listening_at(0, ""))
    switches = Switches(inbox, Faults(), (), seed=0)
    parts = Parts(Documents(lasting.client, "mail"), inbox, queues_of(lasting.backend), switches, {}, TOKENS.get)
    yield browse(parts)
    inbox.stop()


@pytest.fixture
def releasing(parts: Parts, browse: Browse) -> tuple[Browser, list[tuple[int, list[str]]]]:
    """Pages that may release mails, and the mails that they have released."""
    released: list[tuple[int, list[str]]] = []

    def release(mail: Any, recipients: Any) -> str:
        released.append((mail.number, list(recipients)))
        return "250 Ok"

    return browse(replace(parts, release=release)), released


def message(subject: str = "<b>Grüße</b>", message_id: str = "<1@example.com>") -> bytes:
    """A mail with a text, an html with a script and an inline image, and that image."""
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = subject, "a@example.com", "b@example.com"
    made["Message-ID"] = message_id
    made.set_content("plain, https://a.example/verify")
    made.add_alternative('<script>alert(1)</script><img src="cid:logo">', subtype="html")
    made.add_attachment(b"\x89PNG", "image", "png", filename='lo"go.png', cid="<logo>")
    return made.as_bytes()
