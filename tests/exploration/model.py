"""The steps that are possible in a world: one atomic step of a process, or one failure.

The decisions are Firepost's own (`Rules`). The model covers the environment: Firestore's conditional writes and
transactions, redelivery by Pub/Sub and Eventarc, a mail server, and processes that die between any two steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache

from shared.delivery.machine import SENDING, out, released
from shared.delivery.model import AT_REST, Changes, Decision, DocumentState, Reason, Result, State
from shared.errors import ErrorCode, NotSent
from tests.exploration.checks import (
    EXPIRED,
    Author,
    check_acceptance,
    check_claim,
    check_out_of_patience,
    check_result,
    check_unwritten,
    check_waiting,
    check_write,
)
from tests.exploration.rules import Rules
from tests.exploration.world import (
    ANSWERS,
    START,
    TICK,
    Answer,
    Answered,
    Asked,
    Claimed,
    Event,
    Found,
    Handling,
    Noting,
    Read,
    Releasing,
    Sender,
    World,
    after,
    outdated,
    state_of,
)

_GIVEN_UP = Result(State.ERROR, error="!", error_code=ErrorCode.DEAD_LETTER)

Steps = Iterable[tuple[str, World]]

#: Enough times to cover every decision about an event; at the last one, all leases have expired.
_TIMES = [START + ticks * TICK for ticks in (*range(8), 50)]


class Model:
    """The transition relation under given rules. A step that breaks an invariant raises `Violation`."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.policy = rules.policy
        self._has_effect = cache(self._find_effect)

    def begin(self, world: World) -> World:
        """The world after an application has written the document."""
        return world._replace(events=frozenset({Event(None, world.document)}))

    def interference(self, world: World) -> Steps:
        """All other steps: failures, what operators and users do, and the passing of time."""
        yield from self._senders_in_trouble(world)
        yield from self._others_in_trouble(world)
        yield from self._operator(world)
        yield from self._outside(world)

    def progress(self, world: World) -> Steps:
        """Firepost's own steps without failures, each with a label, for each of the mail server's answers."""
        for index, sender in enumerate(world.senders):
            if sender is not None:
                yield from self._sender(world, index, sender)
        yield from self._dispatcher(world)
        if world.messages and None in world.senders:
            taken = world._replace(messages=world.messages - 1)
            yield "message", self._read(taken, world.senders.index(None), Asked(world.an_instant()))
        yield from self._reconciler(world)

    def can_work_off(self, world: World) -> bool:
        """Whether a message delivered now would be acknowledged."""
        return self._on_message(world, world.document, Asked(world.now)).acknowledge

    # Senders

    def _sender(self, world: World, index: int, sender: Sender) -> Steps:
        match sender:
            case Asked():
                yield "read", self._read(world, index, sender)
            case Read():
                yield "claim", self._claim(world, index, sender)
            case Claimed(began=None) if world.paused:
                yield "put off, as mail is paused", world.with_sender(index, self._put_off(world, sender))
            case Claimed(noted=False):
                yield "note that it sends", self._note(world, index, sender)
            case Claimed(began=None) if world.document is not None and world.document.expires_at is not None:
                yield "hand over", self._begin(world, index, sender, world.document)
            case Claimed():
                for answer in (*ANSWERS, Answer.DOWN) if world.left.failover else ANSWERS:
                    yield f"server: {answer.name}", self._answer(world, index, sender, answer)
            case Answered():
                yield "finish", self._finish(world, index, sender).with_sender(index, None)
            case Releasing():
                yield "release", self._release(world, index, sender)

    def _read(self, world: World, index: int, sender: Asked) -> World:
        decision = self._on_message(world, world.document, sender)
        if decision.write is None:
            return self._decided(world, index, decision)
        return world.with_sender(index, Read(sender.now, world.document, decision.lease or sender.written))

    def _claim(self, world: World, index: int, sender: Read) -> World:
        decision = self._claim_decision(world, sender)
        if decision.write is None:
            return self._decided(world, index, decision)
        if decision.lease:
            check_claim(world.with_sender(index, None))
        return self._decided(self._write(world, Author.CLAIM, decision.write), index, decision)

    def _claim_decision(self, world: World, sender: Read) -> Decision:
        """The decision of a conditional write; if that is stale, a transaction decides again."""
        seen = sender.seen if sender.fresh or not self.rules.conditional else world.document
        return self._on_message(world, seen, sender)

    def _on_message(self, world: World, seen: DocumentState | None, sender: Asked | Read) -> Decision:
        decision = self.rules.on_message(seen, sender.now, self.policy, sender.written)
        return self._paused(decision, seen, sender.now) if world.paused else decision

    def _paused(self, decision: Decision, seen: DocumentState | None, now: datetime) -> Decision:
        return decision if seen is None else self.rules.while_paused(decision, seen, now, self.policy)

    def _decided(self, world: World, index: int, decision: Decision) -> World:
        if decision.lease:
            claimed = Claimed(decision.lease, noted=not self.policy.notes_sending)
            return world.with_sender(index, claimed)._replace(request_pending=False)
        free = world.with_sender(index, None)
        return free if decision.acknowledge else free.sent_again()

    def _note(self, world: World, index: int, sender: Claimed) -> World:
        if sender.fresh:
            write: Changes | None = SENDING
        else:
            write = self.rules.on_sending(world.document, sender.lease).write
        if write is None:
            return world.with_sender(index, Releasing(sender.lease, None, fresh=False))
        noted = self._write(world, Author.SENDING, write)._replace(noted=True)
        return noted.with_sender(index, sender._replace(noted=True, fresh=True))

    def _put_off(self, world: World, sender: Claimed) -> Releasing:
        known = world.document or DocumentState()
        return Releasing(sender.lease, known.waiting_since(world.now), sender.fresh)

    def _begin(self, world: World, index: int, sender: Claimed, document: DocumentState) -> World:
        if self.rules.expired(document, world.now):
            return world.with_sender(index, Answered(sender.lease, Answer.TOO_LATE, world.now, sender.fresh))
        return world.with_sender(index, sender._replace(began=world.now))

    def _answer(self, world: World, index: int, sender: Claimed, answer: Answer) -> World:
        known, failure = answer, answer.failure
        if sender.first is not None and isinstance(failure, NotSent):
            known = sender.first  # if two transports fail, the first one's error counts
        answered = world.with_sender(index, Answered(sender.lease, known, world.now, sender.fresh))
        if answer.taken:
            answered = answered._replace(accepted=min(answered.accepted, answered.requests) + 1)
            check_acceptance(answered, sender, self.policy)
        if world.left.failover and sender.first is None and failure is not None and self.rules.may_fail_over(failure):
            return answered.with_sender(index, sender._replace(first=answer))
        return answered

    def _finish(self, world: World, index: int, sender: Answered) -> World:
        known, result = world.document, sender.answer.result
        if sender.fresh:
            expires_at = known.expires_at if known else None
            write: Changes | None = self.rules.concluded(
                result, sender.lease.attempt, sender.ended, self.policy, 0.0, expires_at
            )
        else:
            write = self.rules.on_result(known, sender.lease, result, sender.ended, self.policy, 0.0).write
        if write is None:
            check_unwritten(world, sender)
            return world
        check_result(world, sender, write)
        return self._write(world, Author.RESULT, write)

    def _release(self, world: World, index: int, sender: Releasing) -> World:
        """At shutdown, Pub/Sub redelivers the message; with a time to try again (`later`), it is acknowledged."""
        idle = self._written_release(world, sender).with_sender(index, None)
        return idle if sender.later else idle.sent_again()

    def _written_release(self, world: World, sender: Releasing) -> World:
        if sender.fresh:
            expires_at = world.document.expires_at if world.document else None
            write: Changes | None = released(sender.lease, sender.later, expires_at, _notes(sender))
        else:
            write = self.rules.on_release(world.document, sender.lease, sender.later, _notes(sender)).write
        return world if write is None else self._write(world, Author.RELEASE, write)

    def _senders_in_trouble(self, world: World) -> Steps:
        for index, sender in enumerate(world.senders):
            if sender is None:
                continue
            if isinstance(sender, Claimed) and sender.began is None and world.left.releases:
                spent = world.spent("releases")
                yield "gives back", spent.with_sender(index, Releasing(sender.lease, None, sender.fresh))
                later = Releasing(sender.lease, world.now + TICK, sender.fresh)
                yield "puts off", spent.with_sender(index, later)
            if isinstance(sender, Claimed) and sender.began is None and world.left.outages:
                yield "server is out", self._out(world.spent("outages"), index, sender)
            if world.left.crashes:
                yield "sender dies", world.spent("crashes").with_sender(index, None).sent_again()
            if world.left.lost_answers:
                yield from self._sender_unanswered(world.spent("lost_answers"), index, sender)

    def _out(self, world: World, index: int, sender: Claimed) -> World:
        """The mail waits for its server; or its patience is over, and the attempt ends."""
        delivery = world.document.delivery if world.document else None
        since = self.policy.outage_since(delivery.outage_time if delivery else None, world.now)
        pause = self.rules.outage_pause(self.policy, ErrorCode.CONNECTION, since, world.now, timedelta())
        if pause is None:
            check_out_of_patience(world, since, self.policy)
            return world.with_sender(index, Answered(sender.lease, Answer.OUT, world.now, sender.fresh))
        check_waiting(world, since, self.policy)
        return world.with_sender(index, Releasing(sender.lease, world.now + pause, sender.fresh, since))

    def _sender_unanswered(self, world: World, index: int, sender: Sender) -> Steps:
        """The sender's write succeeds, but the answer is lost, so the sender repeats it."""
        match sender:
            case Read():
                if lease := self._claim_decision(world, sender).lease:
                    claimed = self._claim(world, index, sender)
                    yield "claim, unanswered", claimed.with_sender(index, Asked(sender.now, lease))
            case Claimed(noted=False):
                done = self._note(world, index, sender)
                if isinstance(done.senders[index], Claimed):
                    yield "note, unanswered", done.with_sender(index, sender._replace(fresh=False))
            case Answered():
                done = self._finish(world, index, sender)
                yield "finish, unanswered", done.with_sender(index, sender._replace(fresh=False))
            case Releasing():
                done = self._written_release(world, sender)
                yield "release, unanswered", done.with_sender(index, sender._replace(fresh=False))

    # Dispatcher and reconciler

    def _dispatcher(self, world: World) -> Steps:
        if world.dispatcher is not None:
            yield "dispatcher's second half", self._handled(world, world.dispatcher)
            return
        for event in world.events:
            yield "event", self._handle(world, event)

    def _handled(self, world: World, handling: Handling) -> World:
        idle = world._replace(dispatcher=None)
        return self._second_half(idle, Author.DISPATCHER, self._on(handling), handling.fresh)

    def _others_in_trouble(self, world: World) -> Steps:
        """The dispatcher or the reconciler dies before or after its write; the latter starts again every minute."""
        if world.dispatcher is not None and world.left.crashes:
            event = world.dispatcher.event._replace(fresh=world.dispatcher.fresh)
            died = world.spent("crashes")._replace(dispatcher=None)
            yield "dispatcher dies", died._replace(events=died.events | {event})
            done = self._handled(world.spent("crashes"), world.dispatcher)
            yield "dispatcher dies, its work done", done._replace(events=done.events | {outdated(event)})
        if world.reconciler is not None and world.left.crashes:
            yield "reconciler dies", world.spent("crashes")._replace(reconciler=None)
        if world.left.repeats and world.dispatcher is None:
            for event in world.events:
                repeated = self._handle(world.spent("repeats"), event)
                yield "event, to be repeated", repeated._replace(events=world.events)

    def _handle(self, world: World, event: Event) -> World:
        handling = Handling(event, world.now, event.fresh, world.paused)
        begun = world._replace(events=world.events - {event}, dispatcher=handling)
        return self._settled(self._first_half(begun, Author.DISPATCHER, self._on(handling), event.fresh))

    def _on(self, handling: Handling) -> Decision:
        decision = self.rules.on_event(handling.event.old, handling.event.new, handling.at, self.policy)
        return self._paused(decision, handling.event.new, handling.at) if handling.paused else decision

    def _reconciler(self, world: World) -> Steps:
        idle = world._replace(reconciler=None)
        match world.reconciler:
            case None if world.document is not None and self._has_work(world.document, world):
                yield "reconciler finds it", world._replace(reconciler=Found(world.document))
            case Found(seen, fresh):
                noted = Noting(seen, world.now, fresh, world.paused)
                decision = self._on_reconcile(noted)
                noting = world._replace(reconciler=noted)
                begun = self._first_half(noting, Author.RECONCILER, decision, fresh)
                yield "reconciler's first half", self._settled(begun)
            case Noting() as noted:
                decision = self._on_reconcile(noted)
                yield "reconciler's second half", self._second_half(idle, Author.RECONCILER, decision, noted.fresh)

    def _on_reconcile(self, noted: Noting) -> Decision:
        decision = self.rules.on_reconcile(noted.seen, noted.at, noted.at, self.policy)
        return self._paused(decision, noted.seen, noted.at) if noted.paused else decision

    def _has_work(self, known: DocumentState, world: World) -> bool:
        delivery = known.delivery
        if delivery is None:
            return False  # no query finds it
        is_due = delivery.next_attempt_time is not None and delivery.next_attempt_time <= world.now
        if delivery.state in AT_REST and not is_due:
            return False
        decision = self._on_reconcile(Noting(known, world.now, fresh=True, paused=world.paused))
        return decision.publish or decision.write is not None

    def _first_half(self, world: World, author: Author, decision: Decision, fresh: bool) -> World:
        return self._half(world, author, decision, fresh, publishing=self.rules.publishes_first)

    def _second_half(self, world: World, author: Author, decision: Decision, fresh: bool) -> World:
        if author is Author.DISPATCHER and self._must_publish(decision, fresh):
            return world.sent_again()
        return self._half(world, author, decision, fresh, publishing=not self.rules.publishes_first)

    def _half(self, world: World, author: Author, decision: Decision, fresh: bool, publishing: bool) -> World:
        if publishing:
            return world.sent_again() if decision.publish else world
        if decision.write is None or not (fresh or not self.rules.conditional):
            return world
        return self._write(world, author, decision.write)

    def _must_publish(self, decision: Decision, fresh: bool) -> bool:
        """Whether a document has changed that the dispatcher would only schedule, as mail is paused."""
        return decision.reason is Reason.PAUSED and decision.write is not None and not fresh

    # Outside

    def _operator(self, world: World) -> Steps:
        if world.paused:
            yield "mail is resumed", world._replace(paused=False)
        elif world.left.pauses:
            yield "mail is paused", world.spent("pauses")._replace(paused=True)

    def _outside(self, world: World) -> Steps:
        left, document = world.left, world.document
        if left.ticks:
            yield "time passes", world.spent("ticks")._replace(now=world.now + TICK)
        if left.repeats and world.messages:
            yield "message is repeated", world.spent("repeats").sent_again()
        if document is None:
            return
        if left.user_requests:
            for state in (State.RETRY, State.PENDING):
                requested = self._put(world.spent("user_requests"), after(document, {"delivery.state": state}))
                asked = requested._replace(requests=world.requests + 1, request_pending=True, running=None)
                yield f"user: {state}", asked
        if left.cancellations:
            yield "user: CANCELLED", self._cancelled(world.spent("cancellations"), document)
        if left.deletions:
            yield "user deletes it", self._put(world.spent("deletions"), None)._replace(request_pending=False)
        if left.dead_letters and world.messages:
            yield "message is given up", self._give_up(world._replace(messages=world.messages - 1))

    def _cancelled(self, world: World, document: DocumentState) -> World:
        """A request without an attempt is withdrawn; an attempt that has begun may still send the mail."""
        cancelled = self._put(world, after(document, {"delivery.state": State.CANCELLED}))
        return cancelled._replace(
            requests=world.requests - world.request_pending,
            request_pending=False,
            running=frozenset(sender.lease for sender in world.senders if isinstance(sender, Claimed)),
        )

    def _give_up(self, world: World) -> World:
        spent = world.spent("dead_letters")
        decision = self.rules.on_dead_letter(world.document, False, True, world.now, _GIVEN_UP, self.policy)
        if decision.write is not None:
            return self._write(spent, Author.DEAD_LETTER, decision.write)._replace(request_pending=False)
        return spent.sent_again() if decision.publish else spent

    # Firestore

    def _write(self, world: World, author: Author, changes: Changes) -> World:
        new = after(world.document, changes)
        check_write(world, author, new)
        has_expired = (state_of(world.document), state_of(new)) in EXPIRED
        return self._put(world._replace(request_pending=False) if has_expired else world, new)

    def _put(self, world: World, new: DocumentState | None) -> World:
        """Write a new version of the document: every version known so far becomes stale, and an event follows."""
        events = (*map(outdated, world.events), Event.of(world.document, new))
        written = world._replace(
            document=new,
            events=frozenset(event for event in events if self._has_effect(event)),
            senders=tuple(map(outdated, world.senders)),
            dispatcher=outdated(world.dispatcher),
            reconciler=outdated(world.reconciler),
        )
        return self._settled(written)

    def _settled(self, world: World) -> World:
        """Remove dispatchers and reconcilers whose write will do nothing, because another write came first."""
        if not self.rules.conditional:
            return world
        handling = world.dispatcher
        if handling is not None and not handling.fresh and not self._must_publish(self._on(handling), fresh=False):
            world = world._replace(dispatcher=None)
        if world.reconciler is not None and not world.reconciler.fresh:
            world = world._replace(reconciler=None)
        return world

    def _find_effect(self, event: Event) -> bool:
        """Whether an event may lead to a message or a write at any time."""
        decisions = [self.rules.on_event(event.old, event.new, time, self.policy) for time in _TIMES]
        return any(each.publish or (each.write is not None and event.fresh) for each in decisions)


def _notes(sender: Releasing) -> Changes | None:
    return None if sender.since is None else out(sender.since, "nobody there", ErrorCode.CONNECTION)
