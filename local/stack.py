"""The whole system on this machine: starts and stops all parts in order."""

from __future__ import annotations

import json
import logging
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
from local.documents import Documents
from local.errors import PartFailed
from local.inbox import Inbox
from local.keeping import KeptDocuments, load_letters, reserved, save_letters
from local.mailstore import MailStore
from local.options import CONSOLE_PORT, SMTP_PORT, StackOptions
from local.ports import LOOPBACK, claim_port, free_port, listening
from local.processes import Family
from local.queues import Queues
from local.release import Release
from local.scheduler import Scheduler
from local.services import Service, environment, service_command
from local.switches import Switches
from local.topics import create_topics, kept_dead_letters, topic_path
from local.web import Parts, WebServer, create_app
from local.web.pause import PauseNote
from shared.observability.logs import JsonFormatter

BACKENDS: Mapping[str, Callable[[BackendOptions], Backend]] = {
    "google": GoogleBackend,
    "embedded": EmbeddedBackend,
}


#: The name of the stack's own log, beside those of the services.
STACK = "stack"
#: The files in the directory `data`, beside the mails.
DOCUMENTS, LETTERS = "documents.jsonl", "dead-letters.jsonl"
#: A signal that the kernel gives to another thread does not wake the main one, which runs Python's handler.
SIGNAL_SECONDS = 0.2


class Stack:
    """One running system. As a context manager, it starts and stops with the block.

    `ready` has the addresses of all parts (DESIGN section 10); `inbox` is the mail server, `logs` the directory with
    one file per service. Services are named `dispatcher`, `sender` and, with LANES, `sender-bulk` and so on.
    """

    def __init__(self, options: StackOptions) -> None:
        """Raises `Misconfigured` if `release_uri` is wrong."""
        self.options = options
        self.inbox: Inbox  # from the start on
        self.ready: dict[str, str] = {}
        self._running = ExitStack()
        self._services: dict[str, Service] = {}
        self._tokens: Tokens | None = None
        self._backend: Backend | None = None
        self._documents: Documents | None = None
        self._release = Release(options.release_uri) if options.release_uri else None
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
        while not self._failed.wait(SIGNAL_SECONDS):
            pass
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
        self._start_log()
        data = self.options.data
        if data is not None:
            self._running.enter_context(reserved(data))
        ports = {name: free_port() for name in self.options.services}
        backend = self._start_backend(f"http://{LOOPBACK}:{ports['dispatcher']}/")
        queues = self._queues(backend)
        self._start_inbox()
        urls = {name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()}
        letters = load_letters(data / LETTERS) if data is not None else []
        # Before the services: a sender that pulls does not wait for them.
        create_topics(backend.pubsub, self.options, urls, letters)
        kept = self._keep(backend, queues)
        self._start_services(backend, ports)
        if kept is not None:
            kept.restore()
        self._start_scheduler()
        web = self._start_web(backend, queues)
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

    def _start_log(self) -> None:
        """What the stack itself has to say is in the console, too: such as that a document is in another project."""
        handler = logging.FileHandler(self.logs / f"{STACK}.log", encoding="utf-8")
        handler.setFormatter(JsonFormatter(STACK, self.options.project))
        self._running.callback(handler.close)
        logger = logging.getLogger("local")
        logger.addHandler(handler)
        self._running.callback(logger.removeHandler, handler)

    def _start_backend(self, events_url: str) -> Backend:
        for port, option in (
            (self.options.firestore_port, "--firestore-port"),
            (self.options.pubsub_port, "--pubsub-port"),
        ):
            claim_port(port, option)  # it says so more clearly than a server that can't start
        backend = BACKENDS[self.options.backend](
            BackendOptions(
                project=self.options.project,
                collection=self.options.setting("MAIL_COLLECTION"),
                events_url=events_url,
                firestore_port=self.options.firestore_port,
                pubsub_port=self.options.pubsub_port,
                on_failure=self._fail,
                on_change=self._changed,
                faults=self.options.faults,
                seed=self.options.seed,
                sign_events=self.options.has_tokens,
                limit_events=self.options.limit_events,
                attach_to=self.options.firestore,
            )
        )
        self._running.callback(backend.stop)
        backend.start()
        self._backend = backend
        self._tokens = backend.tokens if self.options.has_tokens else None
        return backend

    def _queues(self, backend: Backend) -> Queues:
        project, topic = self.options.project, self.options.setting("MAIL_TOPIC")
        return Queues(
            backend.pubsub,
            project,
            topic=topic_path(project, topic),
            dead_letters=kept_dead_letters(self.options),
            waiting=backend.waiting,
        )

    def _keep(self, backend: Backend, queues: Queues) -> KeptDocuments | None:
        """Save documents and dead letters at the end, after the services and before the backend stop."""
        data = self.options.data
        if data is None:
            return None
        documents = KeptDocuments(data / DOCUMENTS, backend.firestore, self.options.project)
        self._running.callback(save_letters, data / LETTERS, queues.letters)
        self._running.callback(documents.save)
        return documents

    def _start_inbox(self) -> None:
        data = self.options.data
        store = MailStore((data or self.logs) / "mails", lasting=data is not None)
        self.inbox = Inbox(store, listening(self.options.smtp_port, SMTP_PORT, "--smtp-port"))
        self._running.callback(self.inbox.stop)
        self.inbox.start()

    def _start_services(self, backend: Backend, ports: Mapping[str, int]) -> None:
        """Start all at once, because most of a start is spent importing."""
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
            if name in self.options.senders:
                variables |= {
                    "MAIL_SUBSCRIPTION": self.options.subscription(name),
                    "LANE": self.options.senders[name],
                }
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

    def _start_web(self, backend: Backend, queues: Queues) -> WebServer:
        options, stopping = self.options, threading.Event()
        client = firestore_client(backend.firestore, options.project)
        self._running.callback(client.close)
        self._documents = Documents(client, options.setting("MAIL_COLLECTION"))
        faults = backend.faults if isinstance(backend, EmbeddedBackend) else None
        parts = Parts(
            documents=self._documents,
            inbox=self.inbox,
            queues=queues,
            switches=Switches(self.inbox, faults, options.faults, options.seed),
            logs={name: self.logs / f"{name}.log" for name in (*self.options.services, STACK)},
            token=self.token,
            release=self._release.send if self._release else None,
            pause=PauseNote(client, options.setting("MAIL_COLLECTION")).text,
        )
        listener = listening(options.console_port, CONSOLE_PORT, "--console-port")
        web = WebServer(create_app(parts, stopping), listener, stopping)
        self._running.callback(web.stop)
        web.start()
        return web

    def _changed(self, path: str) -> None:
        """Called by the backend for each document that was written, from any thread."""
        if self._documents is not None:
            self._documents.changed(path)

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
