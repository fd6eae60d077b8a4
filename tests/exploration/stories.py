"""Stories about one mail, told by the services' own classes; with right rules all end well, and so do their logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import pytest

from dispatcher.outbox import Effect, Executed, Outbox
from sender.worker.attempt import Attempts
from shared.delivery.model import DocumentState
from shared.delivery.pause import Kind, Part, Pause, Resumed
from shared.delivery.policy import BackOff, LeaseExpiryPolicy, Policy
from shared.delivery.store import Claim, ClaimRequest
from shared.errors import Deferred, ErrorCode, FirepostError, NotSent, Outage, OutcomeUnknown
from shared.firestore.database import Version, Write
from shared.observability.logs import JsonFormatter
from shared.pubsub.push import ReceivedMessage
from tests import assembly
from tests.assembly import LEASE
from tests.exploration.crash_points import PATH, Moment, Place, Trap
from tests.exploration.rules import Rules
from tests.fakes import MemoryDatabase

_SOON: Final = timedelta(seconds=1)


def asks_again_while_it_is_sent(place: Place) -> None:
    """The user sets RETRY while the mail server is working on the first attempt."""
    _while_it_is_sent(place, lambda: place.database.edit(PATH, {"delivery.state": "RETRY"}))
    place.write()
    place.work()


def freezes_while_it_sends(place: Place) -> None:
    """The sender's lease expires, the user asks again, and another sender makes the next attempt meanwhile."""

    def meanwhile() -> None:
        place.clock.advance(2 * LEASE)
        place.reconcile()
        place.database.edit(PATH, {"delivery.state": "RETRY"})
        _dispatch(place)
        place.new_sender().handle(ReceivedMessage(*place.topic.published[-1], "1"))

    _while_it_is_sent(place, meanwhile)
    place.write()
    place.work()


def freezes_before_it_sends(place: Place) -> None:
    """The sender freezes while it composes, beyond its lease, and another one gets the message meanwhile."""

    def meanwhile() -> None:
        place.on_compose = lambda: None
        place.clock.advance(2 * LEASE)
        place.new_sender().handle(_message(place))

    place.on_compose = meanwhile
    place.write()
    place.work()


def is_delivered_twice_at_once(place: Place) -> None:
    """Pub/Sub delivers the message to another sender while the first one sends."""
    _while_it_is_sent(place, lambda: place.new_sender().handle(_message(place)))
    place.write()
    place.work()


def is_delivered_again(place: Place) -> None:
    """Pub/Sub delivers the message again after the mail was sent."""
    _queue(place)
    message = _message(place)
    place.work()
    place.sender.handle(message)


def dies_before_it_sends(place: Place) -> None:
    """The sender dies before the mail server gets anything, and the message is delivered again after its lease."""
    _dies(place, Moment.CONNECT)


def dies_while_it_sends(place: Place) -> None:
    """The same while it hands the mail over."""
    _dies(place, Moment.HAND_OVER)


def loses_the_race_for_a_claim(place: Place) -> None:
    """Another sender claims the document between read and write, and dies."""

    def claim() -> None:
        place.clock.advance(timedelta(microseconds=1))
        assembly.claims(place.database, place.policy).begin(ClaimRequest(PATH, place.clock.now))

    _queue(place)
    place.database.meanwhile = claim
    place.sender.handle(_message(place))


def sends_between_read_and_claim(place: Place) -> None:
    """Another sender sends the mail between this one's read and its write."""
    _queue(place)
    place.database.meanwhile = lambda: place.new_sender().handle(_message(place))
    place.sender.handle(_message(place))


def hears_no_answer(place: Place) -> None:
    """The connection is lost after the mail was handed over."""
    place.transport.fail = OutcomeUnknown("lost")
    place.write()
    place.work()


def is_put_off_once(place: Place) -> None:
    """The mail server refuses temporarily; the mail is tried again when it is due."""
    place.transport.fail = NotSent(ErrorCode.TEMPORARY, "451")
    place.write()
    place.work()
    place.transport.fail = None
    place.clock.advance(2 * _SOON)
    place.reconcile()
    place.work()


def waits_for_its_server(place: Place) -> None:
    """The mail server is out, and the mail is sent when it is back."""
    place.transport.fail = Outage(ErrorCode.CONNECTION, "nobody there")
    place.write()
    place.work()
    place.transport.fail = None
    place.clock.advance(LEASE)
    place.reconcile()
    place.work()


def waits_for_its_server_in_vain(place: Place) -> None:
    """The mail server stays out for longer than the mail waits for it."""
    place.transport.fail = Outage(ErrorCode.CONNECTION, "nobody there")
    place.write()
    place.work()
    place.clock.advance(place.policy.outage_patience)
    place.reconcile()
    place.work()


def shuts_down_too_late(place: Place) -> None:
    """The sender gets SIGTERM while it composes, and its lease has expired by then."""

    def too_late() -> None:
        place.clock.advance(2 * LEASE)
        place.reconcile()
        place.sender.drain()

    place.on_compose = too_late
    place.write()
    place.work()


def asks_again(place: Place) -> None:
    """The user sets RETRY on a mail that was sent."""
    place.write()
    place.work()
    place.database.edit(PATH, {"delivery.state": "RETRY"})
    place.work()


def is_given_up_while_it_is_sent(place: Place) -> None:
    """Pub/Sub gives the message up while a sender works on it."""

    def give_up() -> None:
        data, attributes = place.topic.published[0]
        counted = {**attributes, "CloudPubSubDeadLetterSourceDeliveryCount": "100"}
        place.dead_letters.handle(ReceivedMessage(data, counted, "1", place.clock.now))

    _while_it_is_sent(place, give_up)
    place.write()
    place.work()


def is_cancelled_while_it_is_queued(place: Place) -> None:
    """The user cancels a mail whose message is on its way."""
    _queue(place)
    place.database.edit(PATH, {"delivery.state": "CANCELLED"})
    place.work()


def is_cancelled_while_it_is_sent(place: Place) -> None:
    """The user cancels while the mail server takes the mail: the result is the truth."""
    _while_it_is_sent(place, lambda: place.database.edit(PATH, {"delivery.state": "CANCELLED"}))
    place.write()
    place.work()


def is_cancelled_while_it_fails(place: Place) -> None:
    """The user cancels while the mail server puts the mail off: no other attempt follows."""

    def cancel() -> None:
        place.database.edit(PATH, {"delivery.state": "CANCELLED"})
        place.transport.fail = NotSent(ErrorCode.TEMPORARY, "451")

    place.on_compose = cancel
    place.write()
    place.work()


def is_cancelled_while_the_sender_shuts_down(place: Place) -> None:
    """The user cancels, and the sender gets SIGTERM before it sends."""

    def end() -> None:
        place.database.edit(PATH, {"delivery.state": "CANCELLED"})
        place.sender.drain()

    place.on_compose = end
    place.write()
    place.work()


def expires_before_it_is_delivered(place: Place) -> None:
    """The message comes when the mail has expired."""
    place.write(expiresAt=place.clock.now + _SOON)
    _dispatch(place)
    place.clock.advance(2 * _SOON)
    place.work()


def expires_in_the_queue(place: Place) -> None:
    """The message is lost, and the reconciler finds the mail when it has expired."""
    place.write(expiresAt=place.clock.now + _SOON)
    _dispatch(place)
    place.topic.published.clear()
    place.clock.advance(2 * _SOON)
    place.reconcile()


def expires_while_it_is_composed(place: Place) -> None:
    """The mail expires between its claim and its handing over."""
    place.on_compose = lambda: place.clock.advance(3 * _SOON)
    place.write(expiresAt=place.clock.now + _SOON)
    place.work()


def expires_while_it_is_sent_and_asked_for_again(place: Place) -> None:
    """The mail expires during an attempt, the user sets RETRY meanwhile, and another message comes."""

    def ask() -> None:
        place.clock.advance(2 * _SOON)
        place.database.edit(PATH, {"delivery.state": "RETRY"})
        place.new_sender().handle(_message(place))

    _while_it_is_sent(place, ask)
    place.write(expiresAt=place.clock.now + _SOON)
    place.work()


def expires_while_it_waits(place: Place) -> None:
    """The mail server asks for a pause that is longer than the mail has."""
    place.transport.fail = Deferred(60.0, "later")
    place.write(expiresAt=place.clock.now + _SOON)
    place.work()
    place.clock.advance(2 * _SOON)
    place.reconcile()


def expires_before_it_could_be_tried_again(place: Place) -> None:
    """The mail server refuses temporarily, and the mail expires before the back-off has passed."""
    place.transport.fail = NotSent(ErrorCode.TEMPORARY, "451")
    place.write(expiresAt=place.clock.now + _SOON / 2)
    place.work()


def expires_and_hears_no_answer(place: Place) -> None:
    """The connection is lost after a mail that expires was handed over."""
    place.transport.fail = OutcomeUnknown("lost")
    place.write(expiresAt=place.clock.now + LEASE)
    place.work()


def is_in_time(place: Place) -> None:
    """The mail is sent before it expires."""
    place.write(expiresAt=place.clock.now + LEASE)
    place.work()


def is_written_while_mail_is_paused(place: Place) -> None:
    """All mail is paused when the mail is written, and resumed later."""
    place.pause(Pause(place.clock.now))
    place.write()
    place.work()
    place.reconcile()
    place.pause(Pause())
    place.reconcile()
    place.work()


def waits_when_mail_is_paused(place: Place) -> None:
    """All mail is paused while the message is on its way; a user asks for the mail again meanwhile."""
    _queue(place)
    place.pause(Pause(place.clock.now))
    place.work()
    place.database.edit(PATH, {"delivery.state": "RETRY"})
    place.work()
    place.reconcile()
    place.pause(Pause())
    place.reconcile()
    place.work()


def waits_for_its_transport(place: Place) -> None:
    """The transport is paused when the mail is to be handed over, and resumed later."""
    _wait_for(Part(Kind.TRANSPORT, "default"), place)


def waits_for_its_lane(place: Place) -> None:
    """The lane is paused when the mail is to be composed, and resumed later."""
    _wait_for(Part(Kind.LANE, "default"), place)


def _wait_for(part: Part, place: Place) -> None:
    now = place.clock.now
    place.pause(Pause(None, {part: now}))
    place.write()
    place.work()
    place.pause(Pause(resumed=Resumed(now, None, now)))
    place.reconcile()
    place.pause(Pause())
    place.reconcile()
    place.work()


STORIES: Final[Sequence[Callable[[Place], None]]] = (
    asks_again_while_it_is_sent,
    freezes_while_it_sends,
    freezes_before_it_sends,
    is_delivered_twice_at_once,
    is_delivered_again,
    dies_before_it_sends,
    dies_while_it_sends,
    loses_the_race_for_a_claim,
    sends_between_read_and_claim,
    hears_no_answer,
    is_put_off_once,
    waits_for_its_server,
    waits_for_its_server_in_vain,
    shuts_down_too_late,
    asks_again,
    is_given_up_while_it_is_sent,
    is_cancelled_while_it_is_queued,
    is_cancelled_while_it_is_sent,
    is_cancelled_while_it_fails,
    is_cancelled_while_the_sender_shuts_down,
    expires_before_it_is_delivered,
    expires_in_the_queue,
    expires_while_it_is_composed,
    expires_while_it_is_sent_and_asked_for_again,
    expires_while_it_waits,
    expires_before_it_could_be_tried_again,
    expires_and_hears_no_answer,
    is_in_time,
    is_written_while_mail_is_paused,
    waits_when_mail_is_paused,
    waits_for_its_transport,
    waits_for_its_lane,
)


def _while_it_is_sent(place: Place, act: Callable[[], object]) -> None:
    """Let `act` happen during the first SMTP transaction."""

    def once(recipients: tuple[str, ...]) -> None:
        place.transport.on_mail = lambda recipients: None
        act()

    place.transport.on_mail = once


def _dies(place: Place, moment: Moment) -> None:
    place.trap = Trap(moment, 1)
    place.transport._trap = place.trap
    place.write()
    place.work()
    place.clock.advance(2 * LEASE)
    place.sender.handle(_message(place))


def _queue(place: Place) -> None:
    """Write the document and let the dispatcher do its work."""
    place.write()
    _dispatch(place)


def _dispatch(place: Place) -> None:
    while place.events:
        place.dispatcher.handle(place.events.pop(0))


def _message(place: Place) -> ReceivedMessage:
    return ReceivedMessage(*place.topic.published[0], "1")


# Policies, logs and rules


ONCE: Final = Policy(LEASE, stranded_after=timedelta(days=1))
TWICE: Final = Policy(LEASE, 2, LeaseExpiryPolicy.ERROR, back_off=BackOff(_SOON, _SOON))
AGAIN_IF_UNSENT: Final = Policy(LEASE, 2, LeaseExpiryPolicy.RETRY_UNSENT, back_off=BackOff(_SOON, _SOON))
WHATEVER_HAPPENED: Final = Policy(LEASE, 3, LeaseExpiryPolicy.RETRY, back_off=BackOff(_SOON, _SOON))


def told(story: Callable[[Place], None], policy: Policy) -> tuple[list[Mapping[str, Any]], MemoryDatabase]:
    """The log entries of a story, as the services write them, and the documents that it leaves."""
    with _logging() as lines:
        place = Place(policy, Trap(Moment.PUBLISH, 0))
        place.dispatcher._outbox._monotonic = _ticking()
        story(place)
        place.dispatcher.log_ignored()
    return [entry for line in lines if "event" in (entry := json.loads(line))], place.database


def _ticking() -> Callable[[], float]:
    """A monotonic clock on which a second passes between two readings."""
    ticks = iter(range(10**9))
    return lambda: float(next(ticks))


@contextmanager
def _logging() -> Iterator[list[str]]:
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(JsonFormatter("test", "p").format(record))

    logger, handler = logging.getLogger("firepost"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def put_into_services(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the services' classes decide by these rules."""
    store = "shared.delivery.store"
    monkeypatch.setattr(
        f"{store}.on_message",
        lambda known, now, policy, written=None: rules.on_message(known, now, policy, written),
    )
    monkeypatch.setattr(
        f"{store}.on_release",
        lambda known, lease, later=None, notes=None: rules.on_release(known, lease, later, notes),
    )
    monkeypatch.setattr(f"{store}.on_sending", rules.on_sending)
    for module in (store, "dispatcher.handler", "dispatcher.reconciler"):
        monkeypatch.setattr(f"{module}.while_paused", rules.while_paused)
    monkeypatch.setattr(f"{store}.on_result", rules.on_result)
    monkeypatch.setattr(f"{store}.concluded", rules.concluded)
    monkeypatch.setattr("dispatcher.handler.on_event", rules.on_event)
    monkeypatch.setattr("dispatcher.reconciler.on_reconcile", rules.on_reconcile)
    monkeypatch.setattr("dispatcher.dead_letters.on_dead_letter", rules.on_dead_letter)
    if rules.outage_pause is not Policy.outage_pause:
        monkeypatch.setattr(Attempts, "_wait_for", _waiting_by(rules))
    if rules.expired is not DocumentState.expired:
        monkeypatch.setattr(Attempts, "_deadline", lambda attempts, attempt: attempt.start.deadline)
    if not rules.conditional:
        monkeypatch.setattr(MemoryDatabase, "_outcome", _unconditional)
    if not rules.publishes_first:
        monkeypatch.setattr(Outbox, "execute_all", _marking_first)


def _waiting_by(rules: Rules) -> Callable[[Attempts, Outage, Claim], None]:
    """`Attempts._wait_for` under these rules, which the audit's own policy does not know."""
    wait_for = Attempts._wait_for

    def wait(self: Attempts, outage: Outage, claim: Claim) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Policy, "outage_pause", rules.outage_pause)
            wait_for(self, outage, claim)

    return wait


def _unconditional(self: MemoryDatabase, write: Write) -> Version | FirepostError:
    self._interleave()
    return self.edit(write.path, write.changes) if write.path in self.documents else self.put(write.path, {})


def _marking_first(self: Outbox, effects: Sequence[Effect]) -> Sequence[Executed | FirepostError]:
    writes = [Write(effect.path, effect.changes, effect.version) for effect in effects if effect.changes is not None]
    marked = dict(zip((write.path for write in writes), self._store.mark(writes), strict=True))
    marked_at = self._monotonic()
    failed = self._publish(effects)
    after = marked_at - self._monotonic()
    return [
        failed.get(effect.path) or Executed(bool(marked[effect.path]), after if effect.message else None)
        if effect.path in marked
        else failed.get(effect.path) or Executed(None)
        for effect in effects
    ]
