"""Assembles the services as production does, with defaults for everything that a test does not care about.

If a constructor changes, this is the only place in the tests to adapt.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from dispatcher.app import Handlers
from dispatcher.dead_letters import DeadLetters
from dispatcher.handler import Dispatcher
from dispatcher.lifecycle import EventsTopic, Lifecycle, Place
from dispatcher.outbox import Outbox
from dispatcher.reconciler import PAGE, Reconciler
from dispatcher.shadow import Shadow
from local.waiting import wait_until
from sender.document.addresses import Address
from sender.downloads.downloader import Downloads
from sender.memory.budget import MemoryBudget
from sender.message.compose import Compose, Composer, Defaults
from sender.transport.envelope import Transport
from sender.worker.attempt import Attempts
from sender.worker.claims import Claims
from sender.worker.composing import Composing
from sender.worker.handler import Limits, Sender
from sender.worker.shadow import ShadowSender
from shared.batcher import Batcher, Batching
from shared.control import Control
from shared.delivery.lanes import DEFAULT_LANE, NO_LANES, Lanes
from shared.delivery.pause import Pause
from shared.delivery.policy import Policy
from shared.delivery.store import MailStore
from shared.firestore.database import Database
from shared.pubsub.publisher import BulkPublisher, Publisher
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher, MemoryTransport
from tests.patience import patience

LEASE: Final = timedelta(seconds=60)
POLICY: Final = Policy(LEASE)
COLLECTION: Final = "mail"
NOT_PAUSED: Final = Pause()
#: Seconds that a test waits only if it hangs.
PATIENCE: Final = patience(10)
#: Batches that wait for all the items that a test submits.
TOGETHER: Final = Batching(wait_seconds=PATIENCE)

LIMITS: Final = Limits(claimed=64, queue_seconds=PATIENCE, attempt_seconds=50, batching=TOGETHER)

COMPOSER: Final = Composer(Defaults(Address("Shop", "shop@example.com")))


def no_sleep(seconds: float) -> None:
    """Makes a store retry at once."""


def store(database: Database, policy: Policy = POLICY, *, patience: float = 5.0) -> MailStore:
    return MailStore(database, policy, patience, no_sleep, patience)


def claims(database: Database, policy: Policy = POLICY, *, patience: float = 5.0) -> Claims:
    return Claims(store(database, policy, patience=patience), TOGETHER)


def memory_budget(size: int = 2**30, *, waiting: int = 10, wait_seconds: float = PATIENCE) -> MemoryBudget:
    return MemoryBudget(size, waiting=waiting, wait_seconds=wait_seconds)


def unclaimed(database: MemoryDatabase, path: str) -> bool:
    return "delivery" not in database.documents[path].fields


@dataclass
class SenderParts:
    """A sender's parts and environment; each call of `sender` is a new process in the same environment."""

    policy: Policy = POLICY
    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    transport: Transport = field(default_factory=MemoryTransport)
    dead_letters: Publisher = field(default_factory=MemoryPublisher)
    clock: Callable[[], datetime] = field(default_factory=Clock)
    compose: Compose = COMPOSER
    limits: Limits = LIMITS
    memory: MemoryBudget = field(default_factory=lambda: memory_budget())
    monotonic: Callable[[], float] = time.monotonic
    jitter: float = 0.5
    lanes: Lanes = NO_LANES
    lane: str = DEFAULT_LANE
    pause: Pause = NOT_PAUSED

    def sender(self) -> Sender:
        attempts = Attempts(
            self.transport,
            compose=lambda *args, **kwargs: self.compose(*args, **kwargs),
            downloads=Downloads(),
            clock=self.clock,
            memory=self.memory,
            policy=self.policy,
            check=lambda transport: self.pause.check(self.lane, transport),
            jitter=lambda: self.jitter,
        )
        return Sender(
            store(self.database, self.policy),
            attempts,
            self.dead_letters,
            self.limits,
            collection=COLLECTION,
            pause=lambda: self.pause,
            clock=self.clock,
            monotonic=self.monotonic,
            lanes=self.lanes,
            lane=self.lane,
        )

    def shadow(self) -> ShadowSender:
        composing = Composing(lambda *args, **kwargs: self.compose(*args, **kwargs), Downloads())
        return ShadowSender(
            self.database,
            composing,
            self.memory,
            self.limits,
            self.policy,
            collection=COLLECTION,
            clock=self.clock,
            monotonic=self.monotonic,
        )


class KnownControl(Control):
    """What is paused, without a control document."""

    def __init__(self, known: Callable[[], Pause]) -> None:
        self.pause = known  # type: ignore[method-assign]


@dataclass
class DispatcherParts:
    """A dispatcher's parts and environment. Its processes read what is paused, unless `pause` says it."""

    policy: Policy = POLICY
    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    topic: BulkPublisher = field(default_factory=MemoryPublisher)
    lifecycle: Publisher | None = None
    eventarc: Place | None = None
    clock: Callable[[], datetime] = field(default_factory=Clock)
    batching: Batching = TOGETHER
    monotonic: Callable[[], float] = time.monotonic
    patience: float = 5.0
    lanes: Lanes = NO_LANES
    pause: Callable[[], Pause] | None = None

    def outbox(self) -> Outbox:
        return Outbox(self.topic, store(self.database, self.policy, patience=self.patience), self.batching)

    def dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.outbox(), self.policy, self.clock, self.control().pause, self.monotonic, lanes=self.lanes
        )

    def reconciler(
        self, seconds: float = 40.0, page: int = PAGE, stopping: threading.Event | None = None
    ) -> Reconciler:
        return Reconciler(
            self.database,
            self.outbox(),
            self.policy,
            COLLECTION,
            self.control(),
            self.clock,
            seconds,
            self.monotonic,
            page=page,
            lanes=self.lanes,
            stopping=stopping,
        )

    def control(self) -> Control:
        return Control(self.database, COLLECTION) if self.pause is None else KnownControl(self.pause)

    def dead_letters(self) -> DeadLetters:
        return DeadLetters(store(self.database, self.policy), self.policy, COLLECTION, self.clock)

    def handlers(self) -> Handlers:
        topic = EventsTopic(self.lifecycle) if self.lifecycle is not None else None
        places = [place for place in (topic, self.eventarc) if place is not None]
        lifecycle = Lifecycle(places) if places else None
        dispatcher, reconciler, dead_letters = self.dispatcher(), self.reconciler(), self.dead_letters()
        return Handlers(dispatcher.handle, dispatcher.log_ignored, reconciler.run, dead_letters.handle, lifecycle)

    def shadow_handlers(self) -> Handlers:
        shadow = Shadow(self.topic, self.monotonic)
        return Handlers(shadow.handle, shadow.log_ignored, shadow.reconcile, shadow.dead_letter)


def limits(**changes: object) -> Limits:
    """`LIMITS` with these changes."""
    return replace(LIMITS, **changes)  # type: ignore[arg-type]


def collected(batcher: Batcher[Any, Any], count: int) -> None:
    """Wait until `count` items are in the open batch."""
    assert wait_until(lambda: len(waiting(batcher)) == count, PATIENCE, pause=0.001), waiting(batcher)


def waiting(batcher: Batcher[Any, Any]) -> Sequence[object]:
    """The items of the open batch."""
    batch = batcher._open
    return [] if batch is None else list(batch.items)
