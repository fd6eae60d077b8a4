"""Starts and stops the embedded servers as one backend of the local stack."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import grpc

from local.backends import CALLER, BackendOptions
from local.backends.embedded import fault_flags, rpc
from local.backends.embedded.attached import Attached
from local.backends.embedded.eventarc import Eventarc
from local.backends.embedded.faults import Faults
from local.backends.embedded.firestore import service as firestore
from local.backends.embedded.firestore.store import Store
from local.backends.embedded.front import Front
from local.backends.embedded.observer import Observer
from local.backends.embedded.pubsub import publisher, subscriber
from local.backends.embedded.pubsub.broker import Broker
from local.backends.embedded.tokens import TokenIssuer
from local.waiting import wait_until

#: Seconds that calls in flight may take to end once the backend stops.
STOP_SECONDS = 0.5


class EmbeddedBackend:
    """Firestore and Pub/Sub in this process's memory; see `local.backends.Backend`.

    `faults` injects faults. All data is lost at `stop`.
    """

    def __init__(self, options: BackendOptions) -> None:
        self.faults = Faults()
        fault_flags.apply(self.faults, options.faults, options.seed)
        self._options = options
        self._issuer = TokenIssuer()
        self._eventarc = Eventarc(
            options.project,
            options.collection,
            options.events_url,
            self.faults.events,
            partial(self._issuer.token, CALLER, options.events_url) if options.sign_events else None,
            options.limit_events,
        )
        self._watchers = [self._eventarc.watch, Observer(options.project, options.on_change).watch]
        self._broker = Broker(_microseconds, self._issuer, self.faults.pushes)
        self._firestore: firestore.FirestoreService | None = None
        self._attached: Attached | None = None
        self._running = ExitStack()
        self._servers: list[grpc.Server] = []
        self._firestore_port = options.firestore_port
        self._pubsub_port = options.pubsub_port

    @property
    def firestore(self) -> str:
        """The address (`host:port`) of the Firestore API; known once started."""
        if self._options.attach_to is not None:
            return self._options.attach_to
        return f"127.0.0.1:{self._firestore_port}"

    @property
    def pubsub(self) -> str:
        """The address (`host:port`) of the Pub/Sub API; known once started."""
        return f"127.0.0.1:{self._pubsub_port}"

    @property
    def reads(self) -> int:
        """Documents read since the start; see `FirestoreService`."""
        return self._firestore.reads if self._firestore else 0

    @property
    def tokens(self) -> TokenIssuer:
        """See `Backend`; the certificates have the format of Google's."""
        return self._issuer

    def start(self) -> None:
        """Return when both APIs answer. Raises `CannotStart` if a port is taken."""
        sockets = Path(self._running.enter_context(rpc.socket_directory()))
        front = Front(self._options.on_failure)
        self._running.callback(front.stop)
        if self._options.attach_to is None:
            self._firestore_port = front.open(self._options.firestore_port, sockets / "firestore", "Firestore")
        self._pubsub_port = front.open(self._options.pubsub_port, sockets / "pubsub", "Pub/Sub")
        self._running.callback(self._issuer.stop)
        self._issuer.start()
        self._running.callback(self._stop_servers)
        if self._options.attach_to is None:
            store = Store(_microseconds)
            store.watchers += self._watchers
            self._firestore = firestore.FirestoreService(store)
            self._serve({firestore.SERVICE: self._firestore.rpcs()}, sockets / "firestore")
        else:
            self._attach(self._options.attach_to, self._options.collection)
        self._serve(
            {
                publisher.SERVICE: publisher.PublisherService(self._broker).rpcs(),
                subscriber.SERVICE: subscriber.SubscriberService(self._broker).rpcs(),
            },
            sockets / "pubsub",
        )
        front.start()

    def watch(self, collection: str) -> None:
        """See `Backend`."""
        self._eventarc.collection = collection
        if self._options.attach_to is not None:
            self._attach(self._options.attach_to, collection)

    def waiting(self) -> Mapping[str, int]:
        """See `Backend`."""
        return self._broker.waiting_in_each()

    def stop(self) -> None:
        """End all calls, deliveries and threads; safe to call twice, and after a failed start."""
        self._running.close()

    def wait_until_delivered(self, seconds: float) -> bool:
        """Whether every event and every message is accepted by its receiver within `seconds`."""
        return wait_until(lambda: not self._eventarc.waiting() and not self._broker.waiting(), seconds, pause=0.01)

    def _serve(self, services: rpc.Services, path: Path) -> None:
        self._servers.append(rpc.serve(services, self.faults, path))

    def _attach(self, address: str, collection: str) -> None:
        """Watch the collection in the emulator at this address, instead of the one before."""
        if self._attached is not None:
            self._attached.stop()
        self._attached = Attached(address, self._options.project, collection, self._watchers)
        self._running.callback(self._attached.stop)
        self._attached.start()

    def _stop_servers(self) -> None:
        for ended in [server.stop(STOP_SECONDS) for server in self._servers]:
            ended.wait()
        self._servers.clear()  # its threads end when nobody holds a server any more
        self._eventarc.stop()
        with self._broker.lock:
            self._broker.close()


def _microseconds() -> int:
    return time.time_ns() // 1000
