"""The embedded Pub/Sub as Google's own clients and push endpoints see it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import google.auth.transport.requests
import pytest
import requests
from google.api_core import exceptions
from google.cloud.pubsub_v1 import SubscriberClient as StreamingClient
from google.cloud.pubsub_v1.types import FlowControl
from google.oauth2 import id_token
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.subscriber import SubscriberClient

from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.clients import publisher_client, subscriber_client
from local.waiting import wait_until
from tests.patience import patience
from tests.unit.embedded.conftest import PROJECT, Receiver, Topic

QUICK = {"minimum_backoff": {"nanos": 10_000_000}, "maximum_backoff": {"nanos": 20_000_000}}


def pushed(receiver: Receiver, count: int) -> list[Any]:
    return [json.loads(delivery.body) for delivery in receiver.wait_for(count)]


def pulled(subscriber: SubscriberClient, subscription: str, limit: int = 10) -> list[Any]:
    return list(subscriber.pull(subscription=subscription, max_messages=limit).received_messages)


# Push


def test_a_push_is_wrapped_as_google_wraps_it(topic: Topic, receiver: Receiver) -> None:
    subscription = topic.subscribe(push_config={"push_endpoint": f"{receiver.url}push?token=1"})
    (message_id,) = topic.publish("hello", document="mail/a")
    (envelope,) = pushed(receiver, 1)
    time = envelope["message"]["publishTime"]
    assert envelope == {
        "message": {
            "attributes": {"document": "mail/a"},
            "data": base64.b64encode(b"hello").decode(),
            "messageId": message_id,
            "message_id": message_id,
            "publishTime": time,
            "publish_time": time,
        },
        "subscription": subscription,
    }
    assert receiver.deliveries[0].path == "/push?token=1"
    assert receiver.deliveries[0].headers["content-type"] == "application/json"
    assert "authorization" not in receiver.deliveries[0].headers


@pytest.mark.parametrize(
    ("wanted", "audience"),
    [({"audience": "https://sender.example"}, "https://sender.example"), ({}, None)],
    ids=["given", "the endpoint if none is given"],
)
def test_a_push_token_can_be_verified_as_google_s(
    backend: EmbeddedBackend, topic: Topic, receiver: Receiver, wanted: dict[str, str], audience: str | None
) -> None:
    token = {"service_account_email": "push@example.iam.gserviceaccount.com", **wanted}
    topic.subscribe(push_config={"push_endpoint": receiver.url, "oidc_token": token})
    topic.publish("hello")
    scheme, _, text = receiver.wait_for(1)[0].headers["authorization"].partition(" ")
    with requests.Session() as session:
        fetch = google.auth.transport.requests.Request(session)
        claims = id_token.verify_token(
            text, fetch, audience=audience or receiver.url, certs_url=backend.tokens.certs_url
        )
        with pytest.raises(ValueError, match="audience"):
            id_token.verify_token(text, fetch, audience="https://else.example", certs_url=backend.tokens.certs_url)
    assert scheme == "Bearer"
    assert claims["iss"] == "https://accounts.google.com"
    assert (claims["email"], claims["email_verified"]) == ("push@example.iam.gserviceaccount.com", True)
    assert claims["exp"] - claims["iat"] == 3600


def test_a_refused_push_is_repeated_and_an_accepted_one_is_not(topic: Topic, receiver: Receiver) -> None:
    receiver.answers = [500, 404, 302, 204]
    topic.subscribe(push_config={"push_endpoint": receiver.url}, retry_policy=QUICK)
    topic.publish("hello")
    receiver.wait_for(4)
    topic.publish("last")
    assert len({envelope["message"]["messageId"] for envelope in pushed(receiver, 5)}) == 2


def test_pushes_are_concurrent(topic: Topic, receiver: Receiver) -> None:
    together = threading.Barrier(10, timeout=patience(5))
    take = receiver.take
    receiver.take = lambda delivery: (together.wait(), take(delivery))[1]  # type: ignore[method-assign]
    topic.subscribe(push_config={"push_endpoint": receiver.url})
    topic.publish(*map(str, range(10)))
    receiver.wait_for(10)


def test_messages_with_a_key_are_pushed_in_order(topic: Topic, receiver: Receiver) -> None:
    receiver.answers = [204, 500, 500]
    topic.subscribe(push_config={"push_endpoint": receiver.url}, enable_message_ordering=True, retry_policy=QUICK)
    for text in ("a", "b", "c"):
        topic.publish(text, ordering_key="k")
    envelopes = pushed(receiver, 5)
    assert [base64.b64decode(one["message"]["data"]) for one in envelopes] == [b"a", b"b", b"b", b"b", b"c"]
    assert {one["message"]["orderingKey"] for one in envelopes} == {"k"}


def test_a_message_that_fails_too_often_goes_to_the_dead_letter_topic(
    topic: Topic, dead_topic: Topic, receiver: Receiver, subscriber: SubscriberClient
) -> None:
    receiver.answers = [500] * 5
    letters = dead_topic.subscribe("letters")
    topic.subscribe(
        push_config={"push_endpoint": receiver.url},
        dead_letter_policy={"dead_letter_topic": dead_topic.name, "max_delivery_attempts": 5},
        retry_policy=QUICK,
    )
    topic.publish("hello", document="mail/a")
    assert [envelope["deliveryAttempt"] for envelope in pushed(receiver, 5)] == [1, 2, 3, 4, 5]
    (letter,) = pulled(subscriber, letters)
    attributes = dict(letter.message.attributes)
    assert attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime")
    assert attributes == {
        "document": "mail/a",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "sender",
        "CloudPubSubDeadLetterSourceSubscriptionProject": PROJECT,
    }


def test_push_can_be_switched_to_pull(topic: Topic, receiver: Receiver, subscriber: SubscriberClient) -> None:
    subscription = topic.subscribe(push_config={"push_endpoint": receiver.url})
    subscriber.modify_push_config(request={"subscription": subscription, "push_config": {}})
    topic.publish("hello")
    assert [one.message.data for one in pulled(subscriber, subscription)] == [b"hello"]
    assert receiver.deliveries == []


# Pull


def test_pull_waits_for_a_message(topic: Topic, subscriber: SubscriberClient) -> None:
    subscription = topic.subscribe()
    late = threading.Timer(0.05, topic.publish, ["hello"])
    late.start()
    assert [one.message.data for one in pulled(subscriber, subscription)] == [b"hello"]
    late.join()


def test_an_extended_deadline_keeps_a_message_and_a_refusal_frees_it(
    topic: Topic, subscriber: SubscriberClient
) -> None:
    subscription = topic.subscribe()
    topic.publish("hello")
    (first,) = pulled(subscriber, subscription)
    for seconds in (60, 0):
        subscriber.modify_ack_deadline(subscription=subscription, ack_ids=[first.ack_id], ack_deadline_seconds=seconds)
    (second,) = pulled(subscriber, subscription)
    assert (second.message.message_id, second.ack_id != first.ack_id) == (first.message.message_id, True)


def test_streaming_pull_delivers_and_acknowledges_many(
    backend: EmbeddedBackend, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = topic.subscribe()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", backend.pubsub)
    received: list[str] = []
    refused: set[str] = set()

    def take(message: Any) -> None:
        if not refused:
            refused.add(message.message_id)
            message.nack()
            return
        received.append(message.message_id)
        message.ack()

    with StreamingClient() as client:
        flow = FlowControl(max_messages=7)
        future = client.subscribe(subscription, callback=take, flow_control=flow)
        sent = {message_id for _ in range(10) for message_id in topic.publish(*map(str, range(10)))}
        assert wait_until(lambda: len(received) >= 100, seconds=10, pause=0.005), len(received)
        assert wait_until(lambda: backend.wait_until_delivered(seconds=0), seconds=5, pause=0.005)
        future.cancel()
        future.result(timeout=patience(5))
    assert set(received) == sent
    assert refused <= set(received)


# Topics and subscriptions


def path(kind: str, name: str) -> str:
    return f"projects/{PROJECT}/{kind}/{name}"


@pytest.fixture(scope="module")
def lasting() -> Iterator[EmbeddedBackend]:
    """For tests that leave nothing behind."""
    backend = EmbeddedBackend(BackendOptions(PROJECT, "mail", "http://127.0.0.1:9/"))
    backend.start()
    yield backend
    backend.stop()


def test_a_message_at_pubsub_s_limits_is_taken(topic: Topic) -> None:
    attributes = {f"k{n}".ljust(256, "."): "ö" * 512 for n in range(100)}
    assert topic.publish("x", **attributes)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda p, s, t: p.create_topic(name=t.name), exceptions.AlreadyExists),
        (lambda p, s, t: p.create_topic(name=path("topics", "1st")), exceptions.InvalidArgument),
        (lambda p, s, t: p.create_topic(name=path("topics", "google")), exceptions.InvalidArgument),
        (lambda p, s, t: p.get_topic(topic=path("topics", "none")), exceptions.NotFound),
        (lambda p, s, t: p.publish(topic=path("topics", "none"), messages=[{"data": b"x"}]), exceptions.NotFound),
        (lambda p, s, t: p.publish(topic=t.name, messages=[{"ordering_key": "k"}]), exceptions.InvalidArgument),
        (lambda p, s, t: t.publish("x", **{f"k{n}": "v" for n in range(101)}), exceptions.InvalidArgument),
        (lambda p, s, t: t.publish("x", **{"k" * 257: "v"}), exceptions.InvalidArgument),
        (lambda p, s, t: t.publish("x", **{"": "v"}), exceptions.InvalidArgument),
        (lambda p, s, t: t.publish("x", k="ö" * 513), exceptions.InvalidArgument),
        (lambda p, s, t: t.publish("x" * 10_000_001), exceptions.InvalidArgument),
        (lambda p, s, t: (t.subscribe("same"), t.subscribe("same")), exceptions.AlreadyExists),
        (lambda p, s, t: t.subscribe(ack_deadline_seconds=601), exceptions.InvalidArgument),
        (lambda p, s, t: t.subscribe(filter="nonsense"), exceptions.InvalidArgument),
        (lambda p, s, t: t.subscribe(push_config={"push_endpoint": "sender"}), exceptions.InvalidArgument),
        (lambda p, s, t: t.subscribe(enable_exactly_once_delivery=True), exceptions.MethodNotImplemented),
        (
            lambda p, s, t: t.subscribe(dead_letter_policy={"dead_letter_topic": path("topics", "none")}),
            exceptions.NotFound,
        ),
        (
            lambda p, s, t: t.subscribe(dead_letter_policy={"dead_letter_topic": t.name, "max_delivery_attempts": 4}),
            exceptions.OutOfRange,
        ),
        (lambda p, s, t: s.pull(subscription=path("subscriptions", "none"), max_messages=1), exceptions.NotFound),
        (lambda p, s, t: s.acknowledge(subscription=t.subscribe(), ack_ids=["x"]), exceptions.InvalidArgument),
        (lambda p, s, t: s.seek(request={"subscription": t.subscribe()}), exceptions.MethodNotImplemented),
        (lambda p, s, t: p.detach_subscription(request={}), exceptions.MethodNotImplemented),
    ],
)
def test_google_s_errors(
    lasting: EmbeddedBackend, call: Callable[..., object], error: type[exceptions.GoogleAPICallError]
) -> None:
    with publisher_client(lasting.pubsub) as publisher, subscriber_client(lasting.pubsub) as subscriber:
        topic = Topic(publisher, subscriber)
        try:
            with pytest.raises(error):
                call(publisher, subscriber, topic)
        finally:
            for name in publisher.list_topic_subscriptions(topic=topic.name):
                subscriber.delete_subscription(subscription=name)
            publisher.delete_topic(topic=topic.name)


def test_settings_are_completed_updated_listed_and_deleted(
    publisher: PublisherClient, subscriber: SubscriberClient, topic: Topic
) -> None:
    name = topic.subscribe(retry_policy={})
    update: Any = {
        "subscription": {"name": name, "ack_deadline_seconds": 30, "labels": {"a": "b"}},
        "update_mask": {"paths": ["ack_deadline_seconds", "labels", "retry_policy"]},
    }
    before = subscriber.get_subscription(subscription=name)
    assert (before.ack_deadline_seconds, before.retry_policy.maximum_backoff.seconds) == (10, 600)
    after = subscriber.update_subscription(request=update)
    assert (after.ack_deadline_seconds, dict(after.labels), "retry_policy" in after) == (30, {"a": "b"}, False)
    project = f"projects/{PROJECT}"
    assert list(subscriber.list_subscriptions(project=project)) == [after]
    assert [one.name for one in publisher.list_topics(project=project)] == [topic.name]
    assert list(publisher.list_topic_subscriptions(topic=topic.name)) == [name]
    publisher.delete_topic(topic=topic.name)
    assert subscriber.get_subscription(subscription=name).topic == "_deleted-topic_"
    subscriber.delete_subscription(subscription=name)
    assert list(subscriber.list_subscriptions(project=project)) == []
