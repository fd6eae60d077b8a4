"""The pull entry point, against the embedded Pub/Sub over gRPC and, where time matters, a fake client."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from google.api_core.exceptions import ServiceUnavailable
from google.cloud.pubsub_v1 import SubscriberClient
from google.cloud.pubsub_v1.subscriber.scheduler import ThreadScheduler
from google.cloud.pubsub_v1.types import FlowControl
from google.pubsub_v1.types import ReceivedMessage as PubsubMessage
from grpc import StatusCode

from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.clients import publisher_client, subscriber_client
from local.waiting import wait_until
from sender.entrypoints import ack_deadlines, pull
from sender.entrypoints.ack_deadlines import LONGEST_HOLD, AckDeadlines
from sender.entrypoints.health import health_endpoint
from sender.entrypoints.pull import PAUSE_SECONDS, Flow, Puller, work_off
from sender.worker.attempt import HandlerResult
from shared.errors import Misconfigured, PullFailed, Unavailable
from shared.pubsub.push import ReceivedMessage
from tests.patience import patience

SUBSCRIPTION = "projects/p/subscriptions/mail-sender"
TOPIC = "projects/p/topics/mail"
SENT, HELD = HandlerResult(True, "sent"), HandlerResult(False, "lease-held")

Handle = Callable[[ReceivedMessage], HandlerResult]


# What becomes of a message


def received(data: bytes = b"hello", **attributes: str) -> Any:
    published = datetime(2026, 11, 24, 12, tzinfo=UTC)
    message = {"data": data, "attributes": attributes, "message_id": "7", "publish_time": published}
    return PubsubMessage.pb(PubsubMessage(ack_id="a", message=message))


def raises(error: Exception) -> Handle:
    def handle(received: ReceivedMessage) -> HandlerResult:
        raise error

    return handle


@pytest.mark.parametrize(
    ("handle", "done", "logged"),
    [
        pytest.param(lambda _: SENT, True, "", id="sent"),
        pytest.param(lambda _: HandlerResult(True, "final-state"), True, "", id="nothing to do"),
        pytest.param(lambda _: HELD, False, "", id="another sender holds the lease"),
        pytest.param(raises(Unavailable("no Firestore")), False, "unavailable: no Firestore", id="no Firestore"),
        pytest.param(raises(ZeroDivisionError()), False, "unforeseen error", id="a bug"),
    ],
)
def test_a_message_is_acknowledged_only_when_it_is_done(
    handle: Handle, done: bool, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert work_off(handle, received()) is done
    assert "\n".join(caplog.messages) == logged


def test_the_sender_gets_what_was_published() -> None:
    seen: list[ReceivedMessage] = []

    def handle(received: ReceivedMessage) -> HandlerResult:
        seen.append(received)
        return SENT

    work_off(handle, received(b"data", version="1"))
    assert seen == [ReceivedMessage(b"data", {"version": "1"}, "7", datetime(2026, 11, 24, 12, tzinfo=UTC))]


# Over the stream


class Sender:
    """Handles messages as the test says, and counts how many at a time."""

    def __init__(self, handle: Handle = lambda _: SENT) -> None:
        self.handled: list[str] = []
        self.drained = threading.Event()
        self.most_at_a_time = 0
        self._at_a_time = 0
        self._handle = handle
        self._lock = threading.Lock()

    def handle(self, received: ReceivedMessage) -> HandlerResult:
        with self._lock:
            self.handled.append(received.data.decode())
            self._at_a_time += 1
            self.most_at_a_time = max(self.most_at_a_time, self._at_a_time)
        try:
            return self._handle(received)
        finally:
            with self._lock:
                self._at_a_time -= 1

    def drain(self) -> None:
        self.drained.set()


class World:
    """A subscription on an embedded Pub/Sub, and a puller of it in a thread."""

    def __init__(self, backend: EmbeddedBackend, client: SubscriberClient) -> None:
        self.backend = backend
        self.publisher = publisher_client(backend.pubsub)
        self.subscriber = subscriber_client(backend.pubsub)
        self.publisher.create_topic(name=TOPIC)
        self.client = client
        self._running: list[tuple[Puller, threading.Thread]] = []
        self.failures: list[Exception] = []

    def subscribe(self) -> None:
        self.subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC, ack_deadline_seconds=10)

    def publish(self, *texts: str) -> None:
        messages: Any = [{"data": text.encode()} for text in texts]
        self.publisher.publish(topic=TOPIC, messages=messages)

    def pull(self, sender: Any, messages: int = 4, threads: int = 4, grace: float = 5, size: int = 1 << 20) -> Puller:
        puller = Puller(self.client, SUBSCRIPTION, Flow(messages, size, 10), sender, threads)

        def run() -> None:
            try:
                puller.run(grace)
            except Exception as error:
                self.failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        self._running.append((puller, thread))
        return puller

    def stop(self) -> None:
        """Stop all pullers, and return when they have ended."""
        for puller, thread in self._running:
            puller.stop()
            thread.join(patience(10))
            assert not thread.is_alive()

    def left(self) -> list[str]:
        """The messages that another puller gets now."""
        request = {"subscription": SUBSCRIPTION, "max_messages": 9, "return_immediately": True}
        with pytest.warns(DeprecationWarning, match="return_immediately"):  # which tests may
            found = self.subscriber.pull(request=request)
        return sorted(each.message.data.decode() for each in found.received_messages)

    def close(self) -> None:
        self.stop()
        self.publisher.transport.close()
        self.subscriber.transport.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    backend = EmbeddedBackend(BackendOptions("p", "mail", "http://127.0.0.1:9/"))
    backend.start()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", backend.pubsub)
    with SubscriberClient() as client:
        world = World(backend, client)
        yield world
        world.close()
    backend.stop()


def soon(condition: Callable[[], bool]) -> bool:
    return wait_until(condition, seconds=10, pause=0.005)


def test_messages_are_handled_and_acknowledged(world: World) -> None:
    world.subscribe()
    sender = Sender()
    world.pull(sender)
    texts = [str(number) for number in range(50)]
    world.publish(*texts)
    assert soon(lambda: world.backend.wait_until_delivered(0))
    assert sorted(sender.handled) == sorted(texts)


@pytest.mark.parametrize("limit", [{"messages": 2}, {"size": 150}], ids=["messages", "bytes"])
def test_flow_control_limits_unanswered_messages(world: World, limit: dict[str, int]) -> None:
    """A message has a little over 100 bytes, so the second one exceeds 150 bytes and the third is not delivered."""
    world.subscribe()
    go_on = threading.Event()
    sender = Sender(lambda _: (go_on.wait(patience(10)), SENT)[1])
    world.publish(*(f"{number:0100}" for number in range(6)))
    world.pull(sender, **limit)
    assert soon(lambda: sender.most_at_a_time == 2)
    assert len(world.left()) == 4
    go_on.set()


def test_an_idle_thread_takes_the_next_message_while_all_others_are_busy(world: World) -> None:
    world.subscribe()
    work = TenAtATime()
    sender = Sender(work.handle)
    world.publish(*work.texts)
    world.pull(sender, messages=10, threads=10)
    assert soon(lambda: len(sender.handled) == 10)
    work.finish(sender.handled[0])
    assert soon(lambda: len(sender.handled) == 11)
    work.finish(*work.texts)


def test_a_message_that_is_not_acknowledged_is_redelivered_after_a_pause(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even though this subscription has no retry policy and would redeliver at once."""
    monkeypatch.setattr(pull, "PAUSE_SECONDS", 1)
    world.subscribe()
    times: list[float] = []

    def handle(_: ReceivedMessage) -> HandlerResult:
        times.append(time.monotonic())
        return SENT if len(times) > 1 else HELD

    world.pull(Sender(handle))
    world.publish("held")
    assert soon(lambda: world.backend.wait_until_delivered(0) and len(times) == 2)
    assert times[1] - times[0] >= 1


def test_shutdown_finishes_running_attempts_and_gives_back_waiting_messages(world: World) -> None:
    world.subscribe()
    sender = Sender()
    sender._handle = lambda _: (sender.drained.wait(patience(10)), SENT)[1]
    world.publish("0", "1", "2", "3", "4")
    world.pull(sender, messages=5, threads=2)
    assert soon(lambda: len(sender.handled) == 2)
    world.stop()
    begun = set(sender.handled)
    assert world.left() == sorted({"0", "1", "2", "3", "4"} - begun)
    assert len(begun) == 2


def test_a_message_released_at_shutdown_is_redelivered_at_once(world: World) -> None:
    world.subscribe()
    sender = Sender()
    sender._handle = lambda _: (sender.drained.wait(patience(10)), HandlerResult(False, "released"))[1]
    world.publish("released")
    world.pull(sender)
    assert soon(lambda: bool(sender.handled))
    world.stop()
    assert world.left() == ["released"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_whichever_thread_gets_it(world: World, number: signal.Signals) -> None:
    """The kernel chooses the thread, and Python runs the handler in the main one, when that wakes."""
    world.subscribe()
    puller = Puller(world.client, SUBSCRIPTION, Flow(4, 1 << 20, 10), Sender(), 4)

    def receive_signal() -> None:
        assert soon(lambda: puller.is_well)
        signal.pthread_kill(threading.get_ident(), number)

    with handlers_restored():
        receiver = threading.Thread(target=receive_signal)
        receiver.start()
        pull.serve(puller, address="127.0.0.1", port=0, grace_seconds=5, health=lambda: "ok")
        receiver.join()


@contextmanager
def handlers_restored() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_an_attempt_that_hangs_does_not_keep_the_process_alive(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.subscribe()
    never = threading.Event()
    sender = Sender(lambda _: (never.wait(), SENT)[1])
    world.publish("stuck")
    world.pull(sender, grace=1.1)
    assert soon(lambda: bool(sender.handled))
    world.stop()
    assert "1 attempts did not end in time; their leases will expire" in caplog.messages
    never.set()


def test_a_broken_stream_is_opened_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.backend.faults.on("StreamingPull").nth(1).fail(StatusCode.UNAVAILABLE)
    world.subscribe()
    sender = Sender()
    puller = world.pull(sender)
    world.publish("after all")
    assert soon(lambda: sender.handled == ["after all"])
    assert "the stream broke: ServiceUnavailable" in caplog.messages
    assert puller.is_well


def test_a_stream_that_ends_after_a_while_without_mail_is_not_a_failure(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "_GOOD_SECONDS", 0)
    world.backend.faults.on("StreamingPull").nth(1).fail(StatusCode.UNAVAILABLE)
    world.subscribe()
    sender = Sender()
    world.pull(sender)
    world.publish("mail")
    assert soon(lambda: sender.handled == ["mail"])
    assert caplog.messages == []


@pytest.mark.parametrize("code", [None, StatusCode.PERMISSION_DENIED], ids=["missing", "not allowed"])
def test_the_puller_ends_if_it_cannot_pull_from_the_subscription(world: World, code: StatusCode | None) -> None:
    if code:
        world.subscribe()
        world.backend.faults.on("StreamingPull").nth(1).fail(code)
    sender = Sender()
    puller = world.pull(sender)
    assert soon(lambda: bool(world.failures))
    (failure,) = world.failures
    assert isinstance(failure, PullFailed)
    assert SUBSCRIPTION in str(failure)
    assert sender.drained.is_set()
    assert not puller.is_well


# Why the library's `subscribe` is not used (docs/decisions/0012)


class TenAtATime:
    """Eleven messages for ten threads; the work on each ends when the test says so."""

    def __init__(self) -> None:
        self._gates = {str(number): threading.Event() for number in range(11)}
        self.texts = list(self._gates)

    def handle(self, received: ReceivedMessage) -> HandlerResult:
        self._gates[received.data.decode()].wait(patience(10))
        return SENT

    def finish(self, *texts: str) -> None:
        for text in texts:
            self._gates[text].set()


def test_the_library_would_leave_a_thread_idle_and_a_message_to_nobody(world: World) -> None:
    """If this fails, the library has improved and the decision should be reviewed.

    The library pauses the stream at its limit of messages and resumes below four fifths of it. A message that Pub/Sub
    sends meanwhile is neither handled by the idle thread nor given back at shutdown.
    """
    world.subscribe()
    work, begun = TenAtATime(), []

    def work_on(message: Any) -> None:
        begun.append(message.data.decode())
        work.handle(ReceivedMessage(message.data, {}, ""))
        message.ack()

    world.publish(*work.texts)
    stream = world.client.subscribe(
        SUBSCRIPTION,
        work_on,
        FlowControl(max_messages=10),
        ThreadScheduler(ThreadPoolExecutor(10)),
        await_callbacks_on_shutdown=True,
    )
    assert soon(lambda: len(begun) == 10)
    work.finish(begun[0])
    assert not wait_until(lambda: len(begun) == 11, seconds=0.3)
    stream.cancel()
    assert soon(lambda: all("BidirectionalStream" not in thread.name for thread in threading.enumerate()))
    work.finish(*work.texts)
    stream.result(10)
    assert len(begun) == 10
    assert world.left() == []


# AckDeadlines


class Client:
    """Records the answers, and fails if `broken`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str | int, list[str]]] = []
        self.broken = False

    def acknowledge(self, *, ack_ids: list[str], **_: Any) -> None:
        self._note("done", ack_ids)

    def modify_ack_deadline(self, *, ack_ids: list[str], ack_deadline_seconds: int, **_: Any) -> None:
        self._note(ack_deadline_seconds, ack_ids)

    def _note(self, what: str | int, ack_ids: list[str]) -> None:
        self.calls.append((what, sorted(ack_ids)))
        if self.broken:
            raise ServiceUnavailable("out of order")


@pytest.fixture
def client() -> Client:
    return Client()


def start(client: Any, seconds: Any) -> AckDeadlines:
    held = AckDeadlines(client, SUBSCRIPTION, seconds)
    held.start()
    return held


def test_answers_given_at_the_same_time_share_a_request(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ack_deadlines, "_COLLECT_SECONDS", 0.1)
    held = start(client, 60)
    held.hold("abcd")
    for ack_id in "abc":
        held.acknowledge(ack_id)
    held.give_back("d", PAUSE_SECONDS)
    held.give_back("e", 0)
    held.close(5)
    assert client.calls == [("done", ["a", "b", "c"]), (PAUSE_SECONDS, ["d"]), (0, ["e"])]


def test_a_failed_answer_does_not_stop_later_ones(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.broken = True
    held = start(client, 60)
    held.acknowledge("a")
    assert soon(lambda: bool(client.calls))
    client.broken = False
    held.acknowledge("b")
    held.close(5)
    assert client.calls == [("done", ["a"]), ("done", ["b"])]
    assert caplog.messages == ["answering Pub/Sub failed for 1 messages, which may be redelivered: ServiceUnavailable"]


def test_ack_deadlines_are_extended_until_messages_are_answered(client: Client) -> None:
    seconds = 0.06
    held = start(client, seconds)
    held.hold(["long", "short"])
    held.acknowledge("short")
    assert soon(lambda: client.calls.count((seconds, ["long"])) >= 2)  # type: ignore[arg-type]
    held.acknowledge("long")
    held.close(5)
    after = client.calls.index(("done", ["long"]))
    assert client.calls[after + 1 :] == []


def test_the_ack_deadline_of_a_stuck_message_is_no_longer_extended(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    held = start(client, 0.03)
    held.hold(["stuck"])
    assert soon(lambda: bool(caplog.messages))
    renewed = len(client.calls)
    held.close(5)
    assert 0 < renewed <= 3 * LONGEST_HOLD
    assert caplog.messages == ["1 messages are stuck; their ack deadlines are no longer extended"]


# Health


def test_health_reports_whether_the_process_is_well() -> None:
    well = [True, False]
    with health_endpoint("127.0.0.1", 0, lambda: well.pop(0)) as port:
        answers = [
            requests.get(f"http://127.0.0.1:{port}/{path}", timeout=patience(5)) for path in ("health", "healthz", "")
        ]
    assert [answer.status_code for answer in answers] == [200, 503, 404]
    assert answers[0].text == "ok\n"


def test_health_says_what_the_process_does() -> None:
    with health_endpoint("127.0.0.1", 0, lambda: True, lambda: "ok, in shadow mode") as port:
        answer = requests.get(f"http://127.0.0.1:{port}/health", timeout=patience(5))
    assert answer.text == "ok, in shadow mode\n"


def test_a_port_in_use_is_reported_as_a_wrong_setting() -> None:
    with health_endpoint("127.0.0.1", 0, lambda: True) as port:
        taken = health_endpoint("127.0.0.1", port, lambda: True)
        with pytest.raises(Misconfigured, match=f"PORT={port} "):
            taken.__enter__()


@pytest.mark.parametrize(
    ("failures", "longest"), [(0, 0.1), (1, 0.2), (5, 3.2), (10, 30), (10_000, 30)], ids="after {0}".format
)
def test_the_back_off_grows_with_each_failed_stream(failures: int, longest: float) -> None:
    assert timedelta(seconds=pull._backoff(failures, 1.0)) == timedelta(seconds=longest)
