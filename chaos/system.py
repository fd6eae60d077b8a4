"""The system under chaos: the real services over the embedded backend with its faults.

Two senders compete for the mails of the default lane, and one has another lane.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from google.pubsub_v1.types import Subscription

from chaos.mailserver import Log, MailServer
from chaos.plan import DISPATCHER, LANE, MAIL_SERVERS, SENDER_A, SENDER_B, SENDER_LANE, Interruption, Plan, Planned
from dispatcher.reconciler import PAGE
from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend, Faults
from local.backends.embedded.eventarc import RETRY
from local.clients import subscriber_client
from local.options import StackOptions
from local.ports import LOOPBACK, free_port
from local.processes import Family
from local.scheduler import Scheduler
from local.services import Service, environment, service_command
from local.topics import LONGEST_BACKOFF, create_topics, sender_subscription, topic_path
from shared.delivery.bound import Surroundings

LEASE_SECONDS = 6
FROZEN_SECONDS = LEASE_SECONDS + 2.0
OUTAGE_SECONDS = 5.0
RECONCILE_SECONDS = 1.0

#: Documents whose ids begin with this are offered to both senders at the same time.
CONTESTED = "duel"
#: The suffix of the second sender's subscription.
RIVAL = "-rival"

SETTINGS: Mapping[str, str] = {
    "LEASE_SECONDS": str(LEASE_SECONDS),
    "ATTEMPT_SECONDS": "4",
    "ACK_DEADLINE_SECONDS": "10",
    "RETRY_FIRST_SECONDS": "1",
    "RETRY_LONGEST_SECONDS": "3",
    "STRANDED_AFTER": "20",
    "LANES": LANE,
}


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An interruption that has occurred; `begin` and `end` are in monotonic seconds, and equal for a death."""

    process: str
    what: Interruption
    begin: float
    end: float


class ChaoticSystem:
    """As a context manager, it starts and stops with the block, and leaves nothing behind."""

    def __init__(self, plan: Plan, settings: Mapping[str, str], sender: str) -> None:
        """`settings` are the services' environment variables, besides `SETTINGS`; `sender` is `push` or `pull`."""
        self.plan = plan
        self.log = Log()
        self.interrupted: list[Interrupted] = []
        self.options = StackOptions(
            backend="embedded",
            settings={**SETTINGS, **settings},
            supervise=False,
            sender=sender,
            verify_tokens=False,
        )
        self.mail_servers = {name: MailServer(plan, self.log, name) for name in (SENDER_A, SENDER_B, SENDER_LANE)}
        #: What the second sender fails over to; it has no outage.
        self.spare = MailServer(plan, self.log, SENDER_B)
        self._services: dict[str, Service] = {}
        self._thaws: list[threading.Timer] = []
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

    def arrange(self, planned: Planned) -> None:
        """Interrupt a process, now or when a mail reaches the planned point."""
        if planned.process == MAIL_SERVERS:
            self._take_mail_servers_out(planned)
        elif planned.what in (Interruption.KILL_AT_RCPT, Interruption.KILL_AT_DATA):
            self.mail_servers[planned.process].at_next(planned.what, lambda: self._kill(planned))
        elif planned.what is Interruption.FREEZE:
            self._freeze(planned)
        else:
            self._kill(planned)

    def surroundings(self, mails: int) -> Surroundings:
        """How the stand-ins repeat, with so many documents at most in each state."""
        return Surroundings(
            event_pause=timedelta(seconds=RETRY.maximum),
            message_pause=timedelta(seconds=LONGEST_BACKOFF.seconds),
            interval=timedelta(seconds=RECONCILE_SECONDS),
            page=PAGE,
            queued=mails,
            processing=mails,
        )

    def calm(self) -> None:
        """Stop the faults between the services and their cloud."""
        self.backend.faults.clear()
        for thaw in self._thaws:
            thaw.join()

    def _kill(self, planned: Planned) -> None:
        service = self._services[planned.process]
        self._note(planned)
        service.kill()
        service.launch()

    def _freeze(self, planned: Planned) -> None:
        service = self._services[planned.process]
        self._note(planned)
        service.pause()
        self._later(FROZEN_SECONDS, service.resume)

    def _take_mail_servers_out(self, planned: Planned) -> None:
        self._note(planned)
        for server in self.mail_servers.values():
            server.is_out = True
        self._later(OUTAGE_SECONDS, self._bring_mail_servers_back)

    def _bring_mail_servers_back(self) -> None:
        for server in self.mail_servers.values():
            server.is_out = False

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do it then, and before the run gets calm."""
        timer = threading.Timer(seconds, act)
        self._thaws.append(timer)
        timer.start()

    def _note(self, planned: Planned) -> None:
        now = time.monotonic()
        end = now + FROZEN_SECONDS if planned.what is Interruption.FREEZE else now
        self.interrupted.append(Interrupted(planned.process, planned.what, now, end))

    def _start(self) -> None:
        self.logs = Path(self._running.enter_context(tempfile.TemporaryDirectory(prefix="firepost-chaos-")))
        ports = {name: free_port() for name in (DISPATCHER, *self.mail_servers)}
        self.backend = self._start_backend(f"http://{LOOPBACK}:{ports[DISPATCHER]}/")
        for server in (*self.mail_servers.values(), self.spare):
            server.start()
            self._running.callback(server.stop)
        self._create_topics({name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()})
        self._start_services(ports, self.logs)
        scheduler = Scheduler(f"{self._services[DISPATCHER].url}/reconcile", RECONCILE_SECONDS)
        self._running.callback(scheduler.stop)
        scheduler.start()
        make_unreliable(self.backend.faults, self.plan)

    def _start_backend(self, events_url: str) -> EmbeddedBackend:
        collection = self.options.setting("MAIL_COLLECTION")
        backend = EmbeddedBackend(BackendOptions(self.options.project, collection, events_url))
        self._running.callback(backend.stop)
        backend.start()
        return backend

    def _start_services(self, ports: Mapping[str, int], logs: Path) -> None:
        family = Family()
        self._running.callback(family.stop)
        for name, port in ports.items():
            mail_server = self.mail_servers.get(name, self.mail_servers[SENDER_A])
            variables = environment(
                self.options,
                firestore=self.backend.firestore,
                pubsub=self.backend.pubsub,
                smtp_uri=mail_server.uri,
                port=port,
            )
            if name == SENDER_B:
                variables["MAIL_SUBSCRIPTION"] = self.options.subscription("sender") + RIVAL
                variables |= {
                    "FAILOVER": "spare",
                    "TRANSPORTS": "spare",
                    "SPARE_SMTP_CONNECTION_URI": self.spare.uri,
                    "SPARE_FAILOVER_DOMAINS": "example.com",
                }
            if name == SENDER_LANE:
                variables |= {"LANE": LANE, "MAIL_SUBSCRIPTION": self.options.subscription(name)}
            command = service_command(name, self.options.sender, logs / f"{name}.log", variables)
            service = Service(command, port, family, supervise=False, on_failure=lambda text: None)
            self._services[name] = service
            self._running.callback(service.stop)
            service.launch()
        for service in self._services.values():
            service.await_ready()

    def _create_topics(self, urls: Mapping[str, str]) -> None:
        """The usual topics, plus one subscription: another sender competes for some mails of the default lane."""
        options = self.options
        create_topics(self.backend.pubsub, options, {**urls, "sender": urls[SENDER_A]})
        topic, dead_letters = (
            topic_path(options.project, options.setting(name)) for name in ("MAIL_TOPIC", "DEAD_LETTER_TOPIC")
        )
        rival: Subscription = sender_subscription(options, "sender", topic, dead_letters, f"{urls[SENDER_B]}/")
        rival.name += RIVAL
        rival.filter = f'hasPrefix(attributes.document, "{options.setting("MAIL_COLLECTION")}/{CONTESTED}")'
        with subscriber_client(self.backend.pubsub) as subscriber:
            subscriber.create_subscription(request=rival)


def make_unreliable(faults: Faults, plan: Plan) -> None:
    """Make Firestore, Pub/Sub and Eventarc behave as on a bad day."""
    status = grpc.StatusCode
    for rpc in ("Commit", "BatchWrite"):
        faults.on(rpc).randomly(0.03, plan.fault_seed(f"lost {rpc}")).lose_response()
        faults.on(rpc).randomly(0.02, plan.fault_seed(f"aborted {rpc}")).fail(status.ABORTED)
        faults.on(rpc).randomly(0.02, plan.fault_seed(f"failed {rpc}")).fail(status.UNAVAILABLE)
    faults.on("BatchGetDocuments").randomly(0.02, plan.fault_seed("failed read")).fail(status.UNAVAILABLE)
    faults.on("RunQuery").randomly(0.05, plan.fault_seed("failed query")).fail(status.UNAVAILABLE)
    faults.on("Publish").randomly(0.02, plan.fault_seed("lost publish")).lose_response()
    faults.on("Acknowledge").randomly(0.05, plan.fault_seed("failed acknowledgement")).fail(status.UNAVAILABLE)
    faults.on("StreamingPull").randomly(0.2, plan.fault_seed("failed stream")).fail(status.UNAVAILABLE)
    for name, deliveries in (("events", faults.events), ("pushes", faults.pushes)):
        deliveries.duplicate(0.05, plan.fault_seed(f"{name} duplicated"))
        deliveries.reorder(0.05, plan.fault_seed(f"{name} reordered"))
        deliveries.delay(1.0, 0.02, plan.fault_seed(f"{name} delayed"))
        deliveries.drop(0.02, plan.fault_seed(f"{name} dropped"))
