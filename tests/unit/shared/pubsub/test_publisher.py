"""The publisher over real gRPC, with a Pub/Sub server that returns prepared responses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import tenacity
from google.pubsub_v1.types import pubsub as api

from shared.errors import Unavailable
from shared.pubsub.publisher import MAX_MESSAGES, TopicPublisher, Unpublishable, connect_publisher
from tests.patience import patience

WORKERS = 8
_Request, _Response = api.PublishRequest.pb(), api.PublishResponse.pb()


class Topic:
    """Records its requests; `failures` are the codes of the next responses, None for success."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.failures: list[grpc.StatusCode | None] = []
        self.open = threading.Event()
        self.open.set()

    def publish(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        self.open.wait(patience(10))
        code = self.failures.pop(0) if self.failures else None
        if code is None and any(message.data == b"bad" for message in request.messages):
            code = grpc.StatusCode.INVALID_ARGUMENT
        if code is not None:
            context.abort(code, "as told")
        return _Response(message_ids=[str(number) for number, _ in enumerate(request.messages)])

    @property
    def sizes(self) -> list[int]:
        return [len(request.messages) for request in self.requests]


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def publisher(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> Iterator[TopicPublisher]:
    method = grpc.unary_unary_rpc_method_handler(topic.publish, _Request.FromString, _Response.SerializeToString)
    with ThreadPoolExecutor(WORKERS) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", {"Publish": method}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
        client = connect_publisher()
        yield TopicPublisher(client, "p", "mail")
        client.transport.close()
        server.stop(None).wait()


def test_a_message_is_published_unchanged(publisher: TopicPublisher, topic: Topic) -> None:
    publisher.publish(b"data", {"reason": "new"})
    [request] = topic.requests
    [message] = request.messages
    assert request.topic == "projects/p/topics/mail"
    assert (message.data, dict(message.attributes)) == (b"data", {"reason": "new"})


def together(publisher: TopicPublisher, topic: Topic, *data: bytes) -> list[Unavailable | None]:
    """Publish each message in a separate thread while another keeps Pub/Sub busy; returns the outcomes."""

    def outcome(data: bytes) -> Unavailable | None:
        try:
            publisher.publish(data, {})
        except Unavailable as error:
            return error
        return None

    topic.open.clear()
    with ThreadPoolExecutor(len(data) + 1) as threads:
        first = threads.submit(outcome, b"first")
        others = [threads.submit(outcome, each) for each in data]
        topic.open.set()
        assert first.result() is None
        return [other.result() for other in others]


def test_concurrent_messages_share_requests(publisher: TopicPublisher, topic: Topic) -> None:
    assert together(publisher, topic, *[b"x"] * 20) == [None] * 20
    assert sum(topic.sizes) == 21
    assert len(topic.sizes) < 21


def test_more_messages_than_a_request_takes_are_split(publisher: TopicPublisher, topic: Topic) -> None:
    assert len(publisher.publish_all([(b"x", {})] * (MAX_MESSAGES + 1))) == MAX_MESSAGES + 1
    assert topic.sizes == [MAX_MESSAGES, 1]


def test_a_refused_message_fails_by_itself(publisher: TopicPublisher, topic: Topic) -> None:
    outcomes = together(publisher, topic, b"good", b"bad", b"good")
    assert [outcome and str(outcome) for outcome in outcomes] == [
        None,
        "Pub/Sub did not accept the message: INVALID_ARGUMENT",
        None,
    ]
    assert isinstance(outcomes[1], Unpublishable)


def test_a_transient_failure_is_retried(publisher: TopicPublisher, topic: Topic) -> None:
    topic.failures = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL]
    publisher.publish(b"data", {})
    assert topic.sizes == [1, 1, 1]


def test_a_lasting_failure_is_raised(publisher: TopicPublisher, topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher._retrying, "stop", tenacity.stop_after_attempt(3))
    topic.failures = [grpc.StatusCode.UNAVAILABLE] * 3
    with pytest.raises(Unavailable, match="UNAVAILABLE"):
        publisher.publish(b"data", {})


@pytest.mark.parametrize(
    ("code", "is_the_messages_fault"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, True),
        (grpc.StatusCode.OUT_OF_RANGE, True),
        (grpc.StatusCode.PERMISSION_DENIED, False),
        (grpc.StatusCode.NOT_FOUND, False),
        (grpc.StatusCode.FAILED_PRECONDITION, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, False),
    ],
)
def test_a_refusal_is_not_retried(
    publisher: TopicPublisher, topic: Topic, code: grpc.StatusCode, is_the_messages_fault: bool
) -> None:
    topic.failures = [code]
    with pytest.raises(Unavailable, match=code.name) as caught:
        publisher.publish(b"data", {})
    assert isinstance(caught.value, Unpublishable) is is_the_messages_fault
    assert topic.sizes == [1]
