"""The counting proxy, between a real client and a real server."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest
from google.api_core.exceptions import NotFound
from google.pubsub_v1.types import PubsubMessage, StreamingPullRequest

from bench.documents import Documents, mail
from bench.proxy import Counts, Proxy
from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.clients import firestore_client, publisher_client, subscriber_client
from local.ports import free_port
from local.waiting import wait_until


@pytest.fixture(scope="module")
def backend() -> Iterator[EmbeddedBackend]:
    started = EmbeddedBackend(BackendOptions("demo", "unwatched", f"http://127.0.0.1:{free_port()}/"))
    started.start()
    yield started
    started.stop()


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def firestore(backend: EmbeddedBackend, counts: Counts) -> Iterator[str]:
    proxy = Proxy(backend.firestore, counts)
    proxy.start()
    yield proxy.address
    proxy.stop()


@pytest.fixture
def pubsub(backend: EmbeddedBackend, counts: Counts) -> Iterator[str]:
    proxy = Proxy(backend.pubsub, counts)
    proxy.start()
    yield proxy.address
    proxy.stop()


def test_documents_are_counted_not_only_calls(firestore: str, counts: Counts) -> None:
    Documents(firestore, "demo", "mail").write((f"p-{number}", mail(f"p-{number}", "p", 10)) for number in range(150))
    assert counts.taken() == {"BatchWrite": 2, "documents written": 150}


def test_a_read_and_a_commit(firestore: str, counts: Counts) -> None:
    client = firestore_client(firestore, "demo")
    document = client.document("mail/read")
    document.set({"a": 1})
    assert document.get().to_dict() == {"a": 1}
    client.close()
    assert counts.taken() == {"Commit": 1, "documents written": 1, "BatchGetDocuments": 1, "documents read": 1}


def test_errors_are_passed_through(firestore: str) -> None:
    client = firestore_client(firestore, "demo")
    with pytest.raises(NotFound, match="missing"):
        client.document("mail/missing").update({"a": 1})
    client.close()


def test_messages_are_counted_on_both_ways(pubsub: str, counts: Counts) -> None:
    topic, subscription = "projects/demo/topics/t-proxy", "projects/demo/subscriptions/s-proxy"
    with publisher_client(pubsub) as publisher, subscriber_client(pubsub) as subscriber:
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic)
        counts.taken()
        publisher.publish(topic=topic, messages=[PubsubMessage(data=b"1"), PubsubMessage(data=b"2")])
        received = subscriber.pull(subscription=subscription, max_messages=10).received_messages
        subscriber.acknowledge(subscription=subscription, ack_ids=[each.ack_id for each in received])
    counted = counts.taken()
    assert counted["messages published"] == counted["acknowledged"] == 2
    assert counted["Publish"] == counted["Acknowledge"] == 1


def test_a_stream_without_a_deadline_stays_open(pubsub: str, counts: Counts) -> None:
    topic, subscription = "projects/demo/topics/t-stream", "projects/demo/subscriptions/s-stream"
    with publisher_client(pubsub) as publisher, subscriber_client(pubsub) as subscriber:
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic)
        asks = queue.SimpleQueue[StreamingPullRequest | None]()
        asks.put(StreamingPullRequest(subscription=subscription, stream_ack_deadline_seconds=10))
        stream = subscriber.streaming_pull(requests=iter(asks.get, None), timeout=None)
        publisher.publish(topic=topic, messages=[PubsubMessage(data=b"1")])
        [received] = next(iter(stream)).received_messages
        counts.taken()
        asks.put(StreamingPullRequest(ack_ids=[received.ack_id]))
        assert wait_until(lambda: counts.taken()["acknowledged"] == 1, 10, pause=0.005)
        asks.put(None)
