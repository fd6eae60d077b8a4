"""The whole system on this machine: starts and stops all parts in order."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from local.backends import CALLER, Backend, BackendOptions, Tokens
from local.backends.embedded import EmbeddedBackend
from local.backends.google import GoogleBackend
from local.clients import firestore_client
from local.errors import PartFailed
from local.inbox import Inbox
from local.options import StackOptions
from local.ports import LOOPBACK, free_port
from local.processes import Family
from local.scheduler import Scheduler
from local.services import SERVICES, Service, environment, service_command
from local.topics import create_topics
from local.web import WebServer, create_app
from local.web.console import Documents

BACKENDS: Mapping[str, Callable[[BackendOptions], Backend]] = {
    "google": GoogleBackend,
    "embedded": EmbeddedBackend,
}


class Stack:
    """One running system. As a context manager, it starts and stops with the block.

    `ready` has the addresses of all parts (DESIGN section 10); `inbox` is the mail server, `logs` the directory with
    one file per service. Services are named `dispatcher` and `sender`.
    """

    def __init__(self, options: StackOptions) -> None:
        self.options = options
        self.inbox = Inbox()
        self.ready: dict[str, str] = {}
        self._running = ExitStack()
        self._services: dict[str, Service] = {}
        self._tokens: Tokens | None = None
        self._backend: Backend | None = None
        self._failure = ""
        self._failed = threading.Event()
        self.logs = Path(tempfile.gettempdir())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Return when everything answers. After a failure (`CannotStart`, `PartFailed`) nothing is left running."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, in the reverse order of the start. Safe to call twice."""
        self._running.close()

    def wait(self) -> None:
        """Block while the stack is healthy. Raises `PartFailed` when it no longer is."""
        self._failed.wait()
        self.check()

    def check(self) -> None:
        """Raises `PartFailed` if a part has failed permanently."""
        if self._failed.is_set():
            raise PartFailed(self._failure)

    def token(self, name: str) -> str | None:
        """A token for calls of a service, valid for at least ten minutes; None if it verifies none."""
        return self._tokens.token(CALLER, f"{self._services[name].url}/") if self._tokens else None

    def start_service(self, name: str) -> None:
        """Start a service that was killed, and return when it answers."""
        self._services[name].start()

    def move(self, name: str, collection: str) -> None:
        """Stop a service with SIGTERM, and start it with another MAIL_COLLECTION. The trigger stays where it is."""
        self._services[name].restart({"MAIL_COLLECTION": collection})

    def watch(self, collection: str) -> None:
        """Move the trigger to another collection. Services refuse the events of a collection that is not theirs."""
        if self._backend is not None:
            self._backend.watch(collection)

    def kill(self, name: str) -> None:
        """Kill a service and its workers at once, with SIGKILL."""
        self._services[name].kill()

    def terminate(self, name: str) -> None:
        """Stop a service with SIGTERM, as Cloud Run does, and wait until it has ended."""
        self._services[name].stop()

    def pause(self, name: str) -> None:
        """Freeze a service and its workers; when this returns, they are stopped."""
        self._services[name].pause()

    def resume(self, name: str) -> None:
        """Resume a paused service."""
        self._services[name].resume()

    def ensure_running(self) -> None:
        """Resume what is paused, start what is not running, and return when everything answers. Raises `PartFailed`."""
        self.check()
        for service in self._services.values():
            service.ensure_running()

    def _start(self) -> None:
        self.logs = Path(self._running.enter_context(tempfile.TemporaryDirectory(prefix="firepost-")))
        ports = {name: free_port() for name in SERVICES}
        backend = self._start_backend(f"http://{LOOPBACK}:{ports['dispatcher']}/")
        self._running.callback(self.inbox.stop)
        self.inbox.start()
        urls = {name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()}
        create_topics(
            backend.pubsub, self.options, **urls
        )  # before the services: a sender that pulls does not wait for them
        self._start_services(backend, ports)
        self._start_scheduler()
        web = self._start_web(backend)
        self.ready = {
            "firestore": backend.firestore,
            "pubsub": backend.pubsub,
            "dispatcher": self._services["dispatcher"].url,
            "sender": self._services["sender"].url,
            "console": f"{web.url}/console",
            "inbox": web.url,
            "smtp": self.inbox.address,
            "project": self.options.project,
            "topic": self.options.setting("MAIL_TOPIC"),
        }

    def _start_backend(self, events_url: str) -> Backend:
        backend = BACKENDS[self.options.backend](
            BackendOptions(
                project=self.options.project,
                collection=self.options.setting("MAIL_COLLECTION"),
                events_url=events_url,
                firestore_port=self.options.firestore_port,
                pubsub_port=self.options.pubsub_port,
                on_failure=self._fail,
                faults=self.options.faults,
                seed=self.options.seed,
                sign_events=self.options.has_tokens,
                limit_events=self.options.limit_events,
            )
        )
        self._running.callback(backend.stop)
        backend.start()
        self._backend = backend
        self._tokens = backend.tokens if self.options.has_tokens else None
        return backend

    def _start_services(self, backend: Backend, ports: Mapping[str, int]) -> None:
        """Start both at once, because most of a start is spent importing."""
        family = Family()
        self._running.callback(family.stop)
        for name, port in ports.items():
            variables = environment(
                self.options,
                firestore=backend.firestore,
                pubsub=backend.pubsub,
                smtp_uri=self.options.smtp_uri or self.inbox.uri,
                port=port,
            )
            if self._tokens is not None:
                variables |= {
                    "OIDC_AUDIENCE": f"http://{LOOPBACK}:{port}/",
                    "OIDC_SERVICE_ACCOUNTS": CALLER,
                    "OIDC_CERTIFICATES_URL": self._tokens.certs_url,
                }
            command = service_command(name, self.options.sender, self.logs / f"{name}.log", variables)
            service = Service(command, port, family, supervise=self.options.supervise, on_failure=self._fail)
            self._services[name] = service
            self._running.callback(service.stop)
            service.launch()
        for service in self._services.values():
            service.await_ready()

    def _start_scheduler(self) -> None:
        if self.options.reconcile_seconds is not None:
            url = f"{self._services['dispatcher'].url}/reconcile"
            scheduler = Scheduler(url, self.options.reconcile_seconds, partial(self.token, "dispatcher"))
            self._running.callback(scheduler.stop)
            scheduler.start()

    def _start_web(self, backend: Backend) -> WebServer:
        client = firestore_client(backend.firestore, self.options.project)
        self._running.callback(client.close)
        documents = Documents(client, self.options.setting("MAIL_COLLECTION"))
        web = WebServer(create_app(self.inbox, documents, self.token))
        self._running.callback(web.stop)
        web.start()
        return web

    def _fail(self, text: str) -> None:
        """Called by a part that has failed permanently, from any thread; the first failure is reported."""
        if not self._failed.is_set():
            self._failure = text
            self._failed.set()


def write_ready_file(path: Path, ready: Mapping[str, str]) -> None:
    """Write `ready` as JSON, atomically: the file is complete as soon as it exists."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(ready, indent=2) + "\n")
    draft.replace(path)
