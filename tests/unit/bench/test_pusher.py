"""The pusher with a real Pub/Sub and a real HTTP server, and its body as the services read it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.pubsub_v1.types import PubsubMessage

from bench.pusher import push_body
from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.clients import publisher_client, subscriber_client
from local.ports import LOOPBACK, free_port
from local.services import ROOT
from local.waiting import wait_until
from shared.pubsub.push import unwrap

TOPIC, SUBSCRIPTION = "projects/demo/topics/mail", "projects/demo/subscriptions/mail-sender"


def test_the_services_can_read_a_push() -> None:
    message = PubsubMessage(
        data=b"\x00data", attributes={"a": "b"}, message_id="7", publish_time=Timestamp(seconds=5, nanos=250_000_000)
    )
    received = unwrap(push_body(PubsubMessage.pb(message), SUBSCRIPTION))
    assert (received.data, received.attributes, received.message_id) == (b"\x00data", {"a": "b"}, "7")
    assert received.published and received.published.timestamp() == 5.25


class Endpoint(BaseHTTPRequestHandler):
    """Refuses every message the first time."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message_id = body["message"]["messageId"]
        self.send_response_only(200 if message_id in self.seen else 503)
        self.seen.append(message_id)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def backend() -> Iterator[EmbeddedBackend]:
    started = EmbeddedBackend(BackendOptions("demo", "unwatched", f"http://{LOOPBACK}:{free_port()}/"))
    started.start()
    yield started
    started.stop()


def test_refused_messages_are_pushed_again(backend: EmbeddedBackend) -> None:
    with (
        publisher_client(backend.pubsub) as publisher,
        subscriber_client(backend.pubsub) as subscriber,
        ThreadingHTTPServer((LOOPBACK, 0), Endpoint) as server,
    ):
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        publisher.create_topic(name=TOPIC)
        subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
        ids = publisher.publish(topic=TOPIC, messages=[PubsubMessage(data=b"%d" % n) for n in range(5)]).message_ids
        url = f"http://{LOOPBACK}:{server.server_port}"
        pusher = subprocess.Popen([sys.executable, "-m", "bench.pusher", backend.pubsub, SUBSCRIPTION, url], cwd=ROOT)
        try:
            assert wait_until(lambda: len(Endpoint.seen) == 10, 30, pause=0.01)
            assert sorted(Endpoint.seen) == sorted([*ids, *ids])
            assert wait_until(lambda: backend.wait_until_delivered(0), 10, pause=0.01)
        finally:
            pusher.terminate()
            pusher.wait()
            server.shutdown()
