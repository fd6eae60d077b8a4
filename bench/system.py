"""The measured system: both services as in production, Firestore, Pub/Sub, and a mail server."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.request import urlopen

from google.pubsub_v1.types import PubsubMessage, PushConfig

from bench.documents import Documents
from bench.ledger import Ledger
from bench.plan import Mode
from bench.programs import Programs
from bench.proxy import Counts, Proxy
from local.backends import Backend, BackendOptions
from local.clients import publisher_client, subscriber_client
from local.errors import PartFailed
from local.options import StackOptions
from local.ports import LOOPBACK, free_port
from local.processes import Command, Family
from local.services import INHERITED, ROOT, START_SECONDS, Service, environment
from local.stack import BACKENDS
from local.topics import create_topics, subscription_path, topic_path
from local.waiting import wait_until
from shared.pubsub import message

DISPATCHER, SENDER = "dispatcher", "sender"
DISPATCHER_MODULE = ("dispatcher",)
#: Pub/Sub accepts a thousand messages per request.
_MESSAGES_PER_REQUEST = 1000
#: Seconds between two looks whether a service that starts answers.
_START_POLL_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a system.

    `dispatcher` is arguments of `python -m`. The mail server is `bench.sink` or the program `smtp_sink`; or there is
    none. With `counted`, the services' calls to Firestore and Pub/Sub are counted, and slower.
    """

    backend: str
    mode: Mode
    dispatcher: tuple[str, ...] = DISPATCHER_MODULE
    has_mail_server: bool = True
    smtp_sink: Path | None = None
    counted: bool = False


class System:
    """As a context manager, it starts and stops with the block, and leaves nothing behind.

    `ledger` has the arrivals; None if nobody records them.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.counts = {DISPATCHER: Counts(), SENDER: Counts()}
        self._options = StackOptions(
            backend=parts.backend,
            settings=parts.mode.settings,
            supervise=False,
            verify_tokens=False,
            sender="pull" if parts.mode.pulls else "push",
        )
        self._services: dict[str, Service] = {}
        self._failures: list[str] = []
        self._is_pushed_concurrently = parts.mode.pulls or parts.backend != "google"
        self._control_port = free_port()
        self._running = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def check(self) -> None:
        """Raises `PartFailed` if a part has died."""
        if self._failures:
            raise PartFailed(self._failures[0])

    def measured_groups(self) -> dict[str, set[int]]:
        """The process groups of both services (the sender's of all lanes), without a stand-in for the dispatcher."""
        names = {SENDER: self._options.senders}
        if self.parts.dispatcher == DISPATCHER_MODULE:
            names[DISPATCHER] = {DISPATCHER: ""}
        groups = {service: {self._services[name].group for name in some} for service, some in names.items()}
        return {service: {group for group in some if group is not None} for service, some in groups.items()}

    def start_again(self, service: str) -> float:
        """Stop a service and start it; returns the seconds from the process's start until it answers `GET /health`."""
        stopped = self._services[service]
        stopped.stop()
        begin = time.monotonic()
        stopped.launch()
        if not wait_until(lambda: _answers(stopped.url), START_SECONDS, _START_POLL_SECONDS):
            raise PartFailed(f"The {service} does not start again.")
        return time.monotonic() - begin

    def push_concurrently(self) -> None:
        """Push as many messages at a time as Pub/Sub would, if Google's emulator does not."""
        if self._is_pushed_concurrently:
            return
        self._is_pushed_concurrently = True
        self._stop_pushing()
        url = self._services[SENDER].url
        self._programs.start_module("pusher", ("bench.pusher", self._backend.pubsub, self._subscription, url))

    def publish(self, names: list[str]) -> None:
        """Publish a message for each of the documents."""
        encoded = (message.encode(f"{self._collection}/{name}", "new") for name in names)
        messages = [PubsubMessage(data=data, attributes=attributes) for data, attributes in encoded]
        topic = topic_path(self._options.project, self._options.setting("MAIL_TOPIC"))
        with publisher_client(self._backend.pubsub) as publisher:
            for begin in range(0, len(messages), _MESSAGES_PER_REQUEST):
                publisher.publish(topic=topic, messages=messages[begin : begin + _MESSAGES_PER_REQUEST])

    def _start(self) -> None:
        logs = Path(self._running.enter_context(tempfile.TemporaryDirectory(prefix="firepost-bench-")))
        family = Family()
        self._running.callback(family.stop)
        self._programs = Programs(family, logs, self._failures.append)
        dispatcher_port = free_port()
        self._backend = self._start_backend(f"http://{LOOPBACK}:{dispatcher_port}/")
        ports = {name: dispatcher_port if name == DISPATCHER else free_port() for name in self._options.services}
        urls = {name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()}
        create_topics(self._backend.pubsub, self._options, urls)
        self._start_services(ports, self._start_mail_server(), family, logs)
        self.documents = Documents(self._backend.firestore, self._options.project, self._collection)

    @property
    def _collection(self) -> str:
        return self._options.setting("MAIL_COLLECTION")

    @property
    def _subscription(self) -> str:
        return subscription_path(self._options.project, self._options.subscription(SENDER))

    def _stop_pushing(self) -> None:
        with subscriber_client(self._backend.pubsub) as subscriber:
            subscriber.modify_push_config(subscription=self._subscription, push_config=PushConfig())

    def _start_backend(self, events_url: str) -> Backend:
        backend = BACKENDS[self.parts.backend](
            BackendOptions(self._options.project, self._collection, events_url, on_failure=self._failures.append)
        )
        self._running.callback(backend.stop)
        backend.start()
        return backend

    def _start_mail_server(self) -> int:
        """Start the mail server; returns its port."""
        if self.parts.smtp_sink is not None:
            self.ledger = None
            return self._programs.start_smtp_sink(self.parts.smtp_sink)
        if self.parts.has_mail_server:
            port, self.ledger = self._programs.start_sink(self.parts.mode.smtp_delay_ms)
            return port
        self.ledger = Ledger(self._control_port)
        return free_port()

    def _start_services(self, ports: Mapping[str, int], smtp_port: int, family: Family, logs: Path) -> None:
        for name, port in ports.items():
            module = self.parts.dispatcher if name == DISPATCHER else self.parts.mode.sender
            command = Command(
                name,
                (sys.executable, "-m", *module),
                logs / f"{name}.log",
                self._variables(name, port, smtp_port),
                ROOT,
            )
            service = Service(command, port, family, supervise=False, on_failure=self._failures.append)
            self._services[name] = service
            self._running.callback(service.stop)
            service.launch()
        for service in self._services.values():
            service.await_ready()

    def _variables(self, service: str, port: int, smtp_port: int) -> dict[str, str]:
        firestore, pubsub = self._backend.firestore, self._backend.pubsub
        if self.parts.counted:
            firestore, pubsub = (self._start_proxy(target, service) for target in (firestore, pubsub))
        lane = self._options.senders.get(service)
        own = {"LANE": lane, "MAIL_SUBSCRIPTION": self._options.subscription(service)} if lane else {}
        smtp_uri = f"smtp://{LOOPBACK}:{smtp_port}"
        inherited = {key: os.environ[key] for key in INHERITED if key in os.environ}
        variables = environment(self._options, firestore=firestore, pubsub=pubsub, smtp_uri=smtp_uri, port=port)
        return inherited | variables | own | {"CONTROL_PORT": str(self._control_port)}

    def _start_proxy(self, target: str, service: str) -> str:
        proxy = Proxy(target, self.counts[service])
        self._running.callback(proxy.stop)
        proxy.start()
        return proxy.address


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/health", timeout=START_SECONDS) as answer:  # noqa: S310  # of our own service
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False
