"""The system under test from a user's view: documents, a topic, and a mail server that follows instructions."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import requests
from google.api_core.exceptions import DeadlineExceeded
from google.cloud.firestore import Client
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient

from local.clients import firestore_client
from local.options import StackOptions
from local.stack import Stack
from shared.observability.events import Event
from tests.patience import patience
from tests.smtp_server import ScriptedServer

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

PATIENCE = patience(60.0)
#: Short, so that tests of expired leases are short; long enough for any attempt here.
LEASE_SECONDS = round(patience(4))

Fields = dict[str, Any]

#: The value of a setting that is to be the mail server's URI, which is not known before it runs.
SMTP = "SMTP"


def wait_for(
    look: Callable[[], _T | Literal[False] | None],
    what: str,
    seconds: float = PATIENCE,
    found_instead: Callable[[], object] = lambda: "",
) -> _T:
    """The first truthy result of `look`; `found_instead` explains a failure.

    It looks less often the longer it waits: a look costs milliseconds of a CPU that others need.
    """
    began = time.monotonic()
    never = threading.Event()
    while (found := look()) is None or found is False:
        waited = time.monotonic() - began
        assert waited < seconds, f"not within {seconds:g} s: {what}; {found_instead()}"
        never.wait(min(0.1, max(0.02, waited / 10)))
    return found


class System:
    """A running stack, with the means to play the application, the operator and the mail server."""

    def __init__(self, stack: Stack, server: ScriptedServer) -> None:
        self.stack = stack
        self.server = server
        self.firestore: Client = firestore_client(stack.ready["firestore"], stack.options.project)
        os.environ["PUBSUB_EMULATOR_HOST"] = stack.ready["pubsub"]
        try:
            self.publisher = PublisherClient()
            self.subscriber = SubscriberClient()
        finally:
            del os.environ["PUBSUB_EMULATOR_HOST"]
        self._ids = itertools.count()

    def close(self) -> None:
        self.publisher.stop()
        self.publisher.transport.close()
        self.subscriber.close()
        self.firestore.close()

    def restore(self) -> None:
        """Restore the state after the start: everything runs, the mail server accepts everything, no document is left.

        Raises `PartFailed` or the errors of Firestore's client if that fails.
        """
        self.server.reset()
        self.stack.ensure_running()
        if left := list(self.firestore.collection("mail").list_documents(timeout=PATIENCE)):
            batch = self.firestore.batch()
            for document in left:
                batch.delete(document)
            batch.commit(timeout=PATIENCE)

    def new_path(self) -> str:
        return f"mail/test-{next(self._ids)}"

    def write(self, fields: Mapping[str, Any], path: str | None = None) -> str:
        """Write a document as an application does."""
        path = path or self.new_path()
        self.firestore.document(path).set(dict(fields))
        return path

    def retry(self, path: str, **changes: Any) -> None:
        """Request another attempt as a user does."""
        self.firestore.document(path).update({**changes, "delivery.state": "RETRY"})

    def document(self, path: str) -> Fields:
        return self.firestore.document(path).get().to_dict() or {}

    def delivery(self, path: str) -> Fields:
        snapshot = self.firestore.document(path).get(["delivery"])  # not the rest, which may be large
        delivery = (snapshot.to_dict() or {}).get("delivery")
        return delivery if isinstance(delivery, dict) else {}

    def concluded(self, path: str, attempts: int = 1) -> Fields:
        """The delivery, once it has ended after this many attempts."""

        def look() -> Fields | None:
            delivery = self.delivery(path)
            ended = delivery.get("state") in ("SUCCESS", "ERROR") and delivery["attempts"] == attempts
            return delivery if ended else None

        what = f"{path} has ended after {attempts} attempts"
        return wait_for(look, what, found_instead=lambda: self.delivery(path))

    def ended(self, path: str) -> Fields:
        """The delivery, once it is in a final state, after any number of attempts."""

        def look() -> Fields | None:
            delivery = self.delivery(path)
            return delivery if delivery.get("state") in ("SUCCESS", "ERROR") else None

        return wait_for(look, f"{path} has ended", found_instead=lambda: self.delivery(path))

    def in_state(self, path: str, state: str) -> Fields:
        return wait_for(
            lambda: delivery if (delivery := self.delivery(path)).get("state") == state else None, f"{path} is {state}"
        )

    def publish(self, data: Any, topic_id: str = "", /, **attributes: str) -> str:
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        topic = f"projects/{self.stack.options.project}/topics/{topic_id or self.stack.ready['topic']}"
        message_id: str = self.publisher.publish(topic, raw, **attributes).result(timeout=PATIENCE)
        return message_id

    def push(self, data: Any, message_id: str = "1", url: str = "") -> requests.Response:
        """Push a message as Pub/Sub does, so that a test can repeat it, or choose the moment."""
        raw = base64.b64encode(json.dumps(data).encode()).decode()
        body = {"message": {"data": raw, "messageId": message_id}, "subscription": "projects/p/subscriptions/s"}
        token = self.stack.token("sender")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.post(url or self.stack.ready["sender"], json=body, headers=headers, timeout=PATIENCE)

    def dead_letter(self, data: Any) -> Mapping[str, str]:
        """The attributes of the dead letter with this data, once it has arrived."""
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        subscription = f"projects/{self.stack.options.project}/subscriptions/mail-dead-letter-pull"

        def look() -> Mapping[str, str] | None:
            try:
                pulled = self.subscriber.pull(subscription=subscription, max_messages=100, timeout=2)
            except DeadlineExceeded:
                return None
            received = pulled.received_messages
            if received:
                ids = [each.ack_id for each in received]
                self.subscriber.acknowledge(subscription=subscription, ack_ids=ids)
            return next((dict(each.message.attributes) for each in received if each.message.data == raw), None)

        return wait_for(look, "the dead letter has arrived")

    def log(self, service: str, path: str, event: Event) -> list[Fields]:
        """A service's log entries about a document, oldest first."""
        text = (self.stack.logs / f"{service}.log").read_text()
        entries = map(json.loads, text[: text.rfind("\n") + 1].splitlines())  # the last line may be half written
        return [entry for entry in entries if (entry.get("event"), entry.get("document")) == (event, path)]

    def attempts(self, path: str, count: int) -> list[Fields]:
        """The sender's log entries about its attempts at a document, once there are this many."""

        def look() -> list[Fields] | None:
            return found if len(found := self.log("sender", path, Event.ATTEMPT)) >= count else None

        return wait_for(look, f"{count} attempts at {path} are logged")

    def mails_to(self, address: str) -> list[Any]:
        return [mail for mail in self.server.accepted if address in mail.recipients]


@dataclass(frozen=True)
class Configuration:
    """The options of a system, in addition to the backend.

    The reconciler runs every `reconcile_seconds`, or never. With `login`, USER:PASSWORD, the mail server requires it.
    `sender` is the subscription type: `push` or `pull`. `settings` override those that all systems have; the value SMTP
    stands for the mail server's URI. `project` is the id of the project. With `limit_events`, events that are too large
    for Eventarc are dropped.
    """

    reconcile_seconds: float | None = None
    login: str = ""
    sender: str = "push"
    settings: Mapping[str, str] = field(default_factory=dict)
    project: str = "demo-firepost"
    limit_events: bool = True


@contextmanager
def running(backend: str, configuration: Configuration) -> Iterator[System]:
    """A separate system, without a supervisor: a killed service stays dead until the test restarts it."""
    login = configuration.login
    with ScriptedServer(users=dict([login.split(":")]) if login else None) as server:
        options = StackOptions(
            backend=backend,
            project=configuration.project,
            smtp_uri=server.uri(login),
            settings={
                "LEASE_SECONDS": str(LEASE_SECONDS),
                "ACK_DEADLINE_SECONDS": str(LEASE_SECONDS + 6),
                "USERS_COLLECTION": "users",
                "TEMPLATES_COLLECTION": "templates",
                **{
                    name: server.uri(login) if value == SMTP else value
                    for name, value in configuration.settings.items()
                },
            },
            supervise=False,
            reconcile_seconds=configuration.reconcile_seconds,
            delivery_attempts=5,
            sender=configuration.sender,
            limit_events=configuration.limit_events,
        )
        with Stack(options) as stack:
            system = System(stack, server)
            try:
                yield system
            finally:
                system.close()


class SystemKeeper:
    """Keeps the last system running, for the next test with the same configuration."""

    def __init__(self) -> None:
        self._kept: tuple[str, Configuration] | None = None
        self._system: System | None = None
        self._running = ExitStack()

    @contextmanager
    def lend(self, backend: str, configuration: Configuration) -> Iterator[System]:
        """A system for one test. The test's effects are undone; if that fails, the next test gets a new system."""
        system = self._started(backend, configuration)
        try:
            yield system
        finally:
            try:
                system.restore()
            except Exception:
                _log.exception("the system can't be restored; the next test gets a new one")
                self.close()

    def close(self) -> None:
        """Stop the system, if one is kept."""
        self._kept = self._system = None
        self._running.close()

    def _started(self, backend: str, configuration: Configuration) -> System:
        if self._system is None or self._kept != (backend, configuration):
            self.close()
            self._system = self._running.enter_context(running(backend, configuration))
            self._kept = backend, configuration
        return self._system
