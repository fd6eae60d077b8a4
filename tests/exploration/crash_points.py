"""Runs the services' own code over in-memory fakes that let a process die at every external call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from dispatcher.events import DocumentChange
from sender.message.compose import Mail
from sender.transport.envelope import Begin, Envelope, Receipt, at_once
from sender.worker.handler import Sender
from shared.deadline import Deadline
from shared.delivery.machine import SENDING
from shared.delivery.model import FINAL, DocumentState
from shared.delivery.pause import Pause
from shared.delivery.policy import Policy
from shared.errors import FirepostError, Unavailable
from shared.firestore.database import Decide, Snapshot, Version, Write
from shared.pubsub.publisher import Message
from shared.pubsub.push import ReceivedMessage
from tests.assembly import COMPOSER, LEASE, DispatcherParts, SenderParts
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher, MemoryTransport

PATH: Final = "mail/a"

_T = TypeVar("_T")


class Died(BaseException):
    """The process died. Not an `Exception`, so that no handler in the process catches it."""


class Moment(StrEnum):
    """The moments right before and right after an external call."""

    PUBLISH = "publish"
    PUBLISHED = "published"
    WRITE = "write"
    WRITTEN = "written"
    COMPOSE = "compose"
    CONNECT = "connect"
    HAND_OVER = "hand over"
    TAKEN = "taken"


class Trap:
    """Kills the process that reaches a moment for the n-th time; only once."""

    def __init__(self, moment: Moment, nth: int) -> None:
        self._deadly = (moment, nth)
        self._counts: Counter[Moment] = Counter()
        self.sprung = False

    def at(self, moment: Moment) -> None:
        self._counts[moment] += 1
        if (moment, self._counts[moment]) == self._deadly and not self.sprung:
            self.sprung = True
            raise Died


class MortalDatabase(MemoryDatabase):
    def __init__(self, trap: Trap) -> None:
        super().__init__()
        self._trap = trap

    def write(self, writes: Sequence[Write]) -> list[Version | FirepostError]:
        if any(write.changes is SENDING for write in writes):
            return super().write(writes)  # the moments of the transport surround it
        self._trap.at(Moment.WRITE)
        written = super().write(writes)
        self._trap.at(Moment.WRITTEN)
        return written

    def transact(self, path: str, decide: Decide[_T]) -> tuple[_T, Snapshot | None, Version | None]:
        self._trap.at(Moment.WRITE)
        done = super().transact(path, decide)
        self._trap.at(Moment.WRITTEN)
        return done


class MortalPublisher(MemoryPublisher):
    def __init__(self, trap: Trap) -> None:
        super().__init__()
        self._trap = trap

    def publish_all(self, messages: Sequence[Message]) -> Sequence[str | Unavailable]:
        self._trap.at(Moment.PUBLISH)
        answers = super().publish_all(messages)
        self._trap.at(Moment.PUBLISHED)
        return answers


class MortalTransport(MemoryTransport):
    def __init__(self, trap: Trap) -> None:
        super().__init__()
        self._trap = trap

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin = at_once) -> Receipt:
        def begin_and_die() -> None:
            begin()
            self._trap.at(Moment.HAND_OVER)

        self._trap.at(Moment.CONNECT)
        receipt = super().send(envelope, data, deadline, begin_and_die)
        self._trap.at(Moment.TAKEN)
        return receipt


class Place:
    """All of Firepost around one document, with redelivery of whatever is not acknowledged."""

    def __init__(self, policy: Policy, trap: Trap) -> None:
        self.policy, self.trap, self.clock = policy, trap, Clock()
        self.database, self.topic, self.transport = MortalDatabase(trap), MortalPublisher(trap), MortalTransport(trap)
        self.events: list[DocumentChange] = []
        self.database.on_write = self._observe
        parts = DispatcherParts(
            policy, self.database, self.topic, clock=self.clock, pause=lambda: self._sender_parts.pause
        )
        self.dispatcher, self.reconciler, self.dead_letters = (
            parts.dispatcher(),
            parts.reconciler(),
            parts.dead_letters(),
        )
        self.refused = MemoryPublisher()
        self._sender_parts = SenderParts(
            policy, self.database, self.transport, self.refused, self.clock, self._compose, jitter=0.0
        )
        self.shuts_down = False
        self.on_compose: Callable[[], object] = lambda: None
        self.sender = self.new_sender()

    def new_sender(self) -> Sender:
        return self._sender_parts.sender()

    def pause(self, pause: Pause) -> None:
        """From now on, this is paused, and every process knows."""
        self._sender_parts.pause = pause

    def write(self, **fields: Any) -> None:
        """Write the document, as an application does."""
        self.database.put(PATH, {"to": "a@b.c", "message": {"subject": "s", "text": "t"}, **fields})

    def work(self) -> None:
        """Handle all events and messages, each in a process that may die."""
        while self.events:
            with suppress(Died):
                self.dispatcher.handle(self.events[0])
                self.events.pop(0)
        for delivered in list(self.topic.published):
            with suppress(Died):
                if self.sender.handle(ReceivedMessage(*delivered, "1")).acknowledge:
                    self.topic.published.remove(delivered)

    def reconcile(self) -> None:
        """Run the reconciler, as happens every minute."""
        with suppress(Died):
            self.reconciler.run()

    def give_up(self) -> None:
        """Dead-letter every message: Pub/Sub delivers it to the dead-letter handler until it is acknowledged."""
        while self.topic.published:
            data, attributes = self.topic.published[0]
            counted = {**attributes, "CloudPubSubDeadLetterSourceDeliveryCount": "100"}
            with suppress(Died):
                self.dead_letters.handle(ReceivedMessage(data, counted, "1"))
                self.topic.published.pop(0)

    def conclude_refused(self) -> None:
        """Handle the messages that the sender has refused."""
        while self.refused.published:
            self.dead_letters.handle(ReceivedMessage(*self.refused.published.pop(0), "1", self.clock.now))

    def end(self) -> str:
        """Let time pass until everything has ended; returns the document's state and the number of mails sent."""
        self.shuts_down, self.sender = False, self.new_sender()
        for _ in range(10):
            self.work()
            self.reconcile()
            self.clock.advance(LEASE)
        assert not self.events
        assert not self.topic.published
        delivery = self.database.documents[PATH].fields["delivery"]
        assert delivery["state"] in FINAL
        code = f" ({delivery['errorCode']})" if "errorCode" in delivery else ""
        count = len(self.transport.sent)
        return f"{delivery['state']}{code}, {count} mail{'' if count == 1 else 's'}"

    def _compose(self, *args: Any, **kwargs: Any) -> Mail:
        self.trap.at(Moment.COMPOSE)
        self.on_compose()
        if self.shuts_down:
            self.sender.drain()
        return COMPOSER(*args, **kwargs)

    def _observe(self, path: str, old: Snapshot | None, new: Snapshot | None) -> None:
        before, after = (DocumentState.of(snapshot.fields) if snapshot else None for snapshot in (old, new))
        self.events.append(DocumentChange(path, before, after, new.version if new else Version()))


def plainly(place: Place) -> None:
    """A document is written and its mail sent."""
    place.write()
    place.work()


def later(place: Place) -> None:
    """A scheduled document is written, and its time comes."""
    place.write(sendAt=place.clock.now + LEASE)
    place.work()
    place.clock.advance(LEASE)
    place.reconcile()


def shutting_down(place: Place) -> None:
    """The sender gets SIGTERM while it composes the mail."""
    place.shuts_down = True
    plainly(place)


def given_up(place: Place) -> None:
    """The message of a user's RETRY can't be handled for so long that Pub/Sub dead-letters it."""
    place.write(delivery={"state": "RETRY"})
    while place.events:
        place.dispatcher.handle(place.events.pop(0))
    place.give_up()


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """A process dies when the story reaches a moment for the n-th time."""

    story: Callable[[Place], None]
    moment: Moment
    nth: int

    def end_under(self, policy: Policy) -> str:
        place = Place(policy, Trap(self.moment, self.nth))
        self.story(place)
        assert place.trap.sprung, "nobody died"
        return place.end()


#: By their names in the table of docs/reliability.md.
CRASH_POINTS: Final[Mapping[str, CrashPoint]] = {
    "dispatcher, before it publishes": CrashPoint(plainly, Moment.PUBLISH, 1),
    "dispatcher, between publishing and writing PENDING": CrashPoint(plainly, Moment.PUBLISHED, 1),
    "dispatcher, after writing PENDING": CrashPoint(plainly, Moment.WRITTEN, 1),
    "dispatcher, before it writes a schedule": CrashPoint(later, Moment.WRITE, 1),
    "sender, before the claim is written": CrashPoint(plainly, Moment.WRITE, 2),
    "sender, after the claim is written": CrashPoint(plainly, Moment.WRITTEN, 2),
    "sender, while it composes the mail": CrashPoint(plainly, Moment.COMPOSE, 1),
    "sender, before it hands the mail over": CrashPoint(plainly, Moment.CONNECT, 1),
    "sender, while it hands the mail over": CrashPoint(plainly, Moment.HAND_OVER, 1),
    "sender, when the mail server has the mail": CrashPoint(plainly, Moment.TAKEN, 1),
    "sender, before the result is written": CrashPoint(plainly, Moment.WRITE, 3),
    "sender, after the result is written": CrashPoint(plainly, Moment.WRITTEN, 3),
    "sender, before it gives a claim back (shutdown)": CrashPoint(shutting_down, Moment.WRITE, 3),
    "sender, after it gave a claim back (shutdown)": CrashPoint(shutting_down, Moment.WRITTEN, 3),
    "reconciler, before it publishes": CrashPoint(later, Moment.PUBLISH, 1),
    "reconciler, between publishing and noting it": CrashPoint(later, Moment.WRITE, 2),
    "reconciler, after noting it": CrashPoint(later, Moment.WRITTEN, 2),
    "dead-letter handler, before it writes ERROR": CrashPoint(given_up, Moment.WRITE, 2),
    "dead-letter handler, after it wrote ERROR": CrashPoint(given_up, Moment.WRITTEN, 2),
}
