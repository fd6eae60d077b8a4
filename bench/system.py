"""The system that is measured: both services as in production, a Firestore, a Pub/Sub, and a mail server."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from google.pubsub_v1.types import PushConfig

from bench.documents import Documents
from bench.sink import Sink
from local.backends import Backend, BackendOptions
from local.clients import subscriber_client
from local.errors import PartFailed
from local.options import StackOptions
from local.ports import LOOPBACK, accepts, free_port
from local.processes import Child, Command, Family, last_lines
from local.services import ROOT, Service, environment, service_command
from local.stack import BACKENDS
from local.topics import create_topics, subscription_path
from local.waiting import wait_until

DISPATCHER, SENDER = "dispatcher", "sender"


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs: the services as arguments of `python -m`, environment variables for both, and the backend."""

    backend: str
    dispatcher: tuple[str, ...] = ("dispatcher",)
    sender: tuple[str, ...] = ("sender", "push")
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)


class System:
    """As a context manager it is started and stopped with the block; after that, nothing of it is left."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.options = StackOptions(backend=parts.backend, settings=parts.settings, supervise=False)
        self._services: dict[str, Service] = {}
        self._failures: list[str] = []
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
        """Raises `PartFailed` when a part has died."""
        if self._failures:
            raise PartFailed(self._failures[0])

    def group(self, service: str) -> int:
        """The process group of a service."""
        group = self._services[service].group
        assert group is not None, "the system was started"  # noqa: S101
        return group

    def start_pusher(self) -> None:
        """Have the messages pushed by `bench.pusher` from now on, and no longer by the backend."""
        subscription = self._subscription
        with subscriber_client(self.backend.pubsub) as subscriber:
            subscriber.modify_push_config(subscription=subscription, push_config=PushConfig())
        arguments = ("bench.pusher", self.backend.pubsub, subscription, self._services[SENDER].url)
        self._start_child("pusher", arguments)

    def _start(self) -> None:
        self.logs = Path(self._running.enter_context(tempfile.TemporaryDirectory(prefix="firepost-bench-")))
        self._family = Family()
        self._running.callback(self._family.stop)
        ports = {name: free_port() for name in (DISPATCHER, SENDER)}
        self.backend = self._start_backend(f"http://{LOOPBACK}:{ports[DISPATCHER]}/")
        self.smtp_port = self._start_sink()
        self._start_services(ports)
        urls = {name: service.url for name, service in self._services.items()}
        create_topics(self.backend.pubsub, self.options, **urls)
        self.documents = Documents(
            self.backend.firestore, self.options.project, self.options.setting("MAIL_COLLECTION")
        )

    @property
    def _subscription(self) -> str:
        return subscription_path(self.options.project, f"{self.options.setting('MAIL_TOPIC')}-sender")

    def _start_backend(self, events_url: str) -> Backend:
        collection = self.options.setting("MAIL_COLLECTION")
        backend = BACKENDS[self.parts.backend](
            BackendOptions(self.options.project, collection, events_url, on_failure=self._failures.append)
        )
        self._running.callback(backend.stop)
        backend.start()
        return backend

    def _start_sink(self) -> int:
        smtp_port, control_port = free_port(), free_port()
        sink = self._start_child("sink", ("bench.sink", str(smtp_port), str(control_port)))
        address = f"{LOOPBACK}:{control_port}"
        if not wait_until(lambda: accepts(address) or not sink.alive, 30.0):
            raise PartFailed(f"The sink did not start:\n{last_lines(sink.command.log)}")
        self.sink = Sink(control_port)
        return smtp_port

    def _start_child(self, name: str, arguments: tuple[str, ...]) -> Child:
        log = self.logs / f"{name}.log"
        command = Command(name, (sys.executable, "-m", *arguments), log, directory=ROOT)
        return self._family.start(command, self._reporter(command))

    def _reporter(self, command: Command) -> Callable[[int], None]:
        def report(status: int) -> None:
            self._failures.append(f"The {command.name} ended with status {status}:\n{last_lines(command.log)}")

        return report

    def _start_services(self, ports: Mapping[str, int]) -> None:
        modules = {DISPATCHER: self.parts.dispatcher, SENDER: self.parts.sender}
        for name, port in ports.items():
            variables = environment(
                self.options,
                firestore=self.backend.firestore,
                pubsub=self.backend.pubsub,
                smtp_uri=f"smtp://{LOOPBACK}:{self.smtp_port}",
                port=port,
            )
            command = dataclasses.replace(
                service_command(name, self.logs / f"{name}.log", variables),
                arguments=(sys.executable, "-m", *modules[name]),
            )
            service = Service(command, port, self._family, supervise=False, on_failure=self._failures.append)
            self._services[name] = service
            self._running.callback(service.stop)
            service.launch()
        for service in self._services.values():
            service.await_ready()
