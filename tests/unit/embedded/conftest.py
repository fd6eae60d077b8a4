"""A running embedded backend, Google's own clients for it, and a server that receives its deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest
from google.cloud import firestore
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.subscriber import SubscriberClient

from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.clients import firestore_client, publisher_client, subscriber_client
from local.waiting import wait_until

PROJECT = "demo-embedded"


@dataclass(frozen=True)
class Delivery:
    """One POST that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Receives POSTs; answers with the statuses in `answers`, one after the other, and then with 204."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.answers: list[int] = []
        self._lock = Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(receiver.take(Delivery(self.path, dict(self.headers.items()), body)))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log no requests."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # so that simultaneous connections don't have to be retried

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def take(self, delivery: Delivery) -> int:
        with self._lock:
            self.deliveries.append(delivery)
            return self.answers.pop(0) if self.answers else 204

    def wait_for(self, count: int) -> list[Delivery]:
        """The deliveries so far, once there are this many."""
        assert wait_until(lambda: len(self.deliveries) >= count, seconds=5, pause=0.002), self.deliveries
        return list(self.deliveries)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def limit_events() -> bool:
    return True


@pytest.fixture
def backend(receiver: Receiver, limit_events: bool) -> Iterator[EmbeddedBackend]:
    backend = EmbeddedBackend(BackendOptions(PROJECT, "mail", receiver.url, limit_events=limit_events))
    backend.start()
    yield backend
    backend.stop()


@pytest.fixture
def db(backend: EmbeddedBackend) -> Iterator[firestore.Client]:
    client = firestore_client(backend.firestore, PROJECT)
    yield client
    client.close()


@pytest.fixture
def publisher(backend: EmbeddedBackend) -> Iterator[PublisherClient]:
    client = publisher_client(backend.pubsub)
    yield client
    client.transport.close()


@pytest.fixture
def subscriber(backend: EmbeddedBackend) -> Iterator[SubscriberClient]:
    client = subscriber_client(backend.pubsub)
    yield client
    client.transport.close()


class Topic:
    """A topic, and a factory of subscriptions to it."""

    def __init__(self, publisher: PublisherClient, subscriber: SubscriberClient, name: str = "mail") -> None:
        self.name = f"projects/{PROJECT}/topics/{name}"
        self._publisher = publisher
        self._subscriber = subscriber
        publisher.create_topic(name=self.name)

    def subscribe(self, name: str = "sender", **settings: Any) -> str:
        path = f"projects/{PROJECT}/subscriptions/{name}"
        self._subscriber.create_subscription(request={"name": path, "topic": self.name, **settings})
        return path

    def publish(self, *texts: str, ordering_key: str = "", **attributes: str) -> list[str]:
        messages: Any = [
            {"data": text.encode(), "attributes": attributes, "ordering_key": ordering_key} for text in texts
        ]
        return list(self._publisher.publish(topic=self.name, messages=messages).message_ids)


@pytest.fixture
def topic(publisher: PublisherClient, subscriber: SubscriberClient) -> Topic:
    return Topic(publisher, subscriber)


@pytest.fixture
def dead_topic(publisher: PublisherClient, subscriber: SubscriberClient) -> Topic:
    return Topic(publisher, subscriber, "dead")
