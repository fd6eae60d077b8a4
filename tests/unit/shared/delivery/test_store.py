"""Claims, their ends and marks under races, lost answers and an unreachable Firestore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NoReturn

import pytest

from sender.worker.claims import Claims
from shared.delivery.machine import out
from shared.delivery.model import DELETE, Changes, Decision, DocumentState, Lease, Reason, Result, State
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.delivery.store import Claim, ClaimRequest, Conflict, Finish, MailStore, Release
from shared.errors import ErrorCode, FirepostError, InvalidMessage, Unavailable
from shared.firestore.database import Snapshot, Stale, Unwritable, Version, Write
from shared.firestore.values import Value, decode_fields, decode_time, encode
from tests import assembly
from tests.assembly import LEASE
from tests.fakes import Clock, MemoryDatabase

MAIL = {"to": "a@b.c", "message": {"subject": "s", "text": "t"}}
SENT = Result(State.SUCCESS, info={"accepted": ["a@b.c"]})
REFUSED = Result(State.ERROR, error="No.", error_code=ErrorCode.REJECTED)
LATER = Result(State.ERROR, error="Later.", error_code=ErrorCode.TEMPORARY, unsettled=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database() -> MemoryDatabase:
    database = MemoryDatabase()
    database.put("mail/a", MAIL)
    return database


@pytest.fixture
def store(database: MemoryDatabase) -> Claims:
    return assembly.claims(database)


def claim(store: Claims, clock: Clock, path: str = "mail/a") -> Claim:
    claimed = store.begin(ClaimRequest(path, clock.now))
    assert isinstance(claimed, Claim)
    return claimed


def finish(store: Claims, held: Claim, result: Result, clock: Clock) -> Reason:
    return store.end(Finish(held, result, clock.now, 0.5)).reason


def delivery(database: MemoryDatabase, path: str = "mail/a") -> dict[str, object]:
    found: dict[str, object] = database.documents[path].fields["delivery"]
    return found


def test_a_claim_takes_the_lease(store: Claims, database: MemoryDatabase, clock: Clock) -> None:
    assert claim(store, clock).lease == Lease(1, clock.now + LEASE)
    assert delivery(database)["state"] == "PROCESSING"


def test_the_second_of_two_racing_claims_sees_the_lease(store: Claims, database: MemoryDatabase, clock: Clock) -> None:
    database.meanwhile = lambda: claim(assembly.claims(database), clock)
    second = store.begin(ClaimRequest("mail/a", clock.now + timedelta(microseconds=1)))
    assert second == Decision(Reason.LEASE_HELD, acknowledge=False)


def test_an_edit_between_read_and_claim_is_in_the_mail(store: Claims, database: MemoryDatabase, clock: Clock) -> None:
    database.meanwhile = lambda: database.edit("mail/a", {"to": "new@b.c"})
    assert claim(store, clock).fields["to"] == "new@b.c"


@pytest.mark.parametrize("lost", [1, 2])
def test_a_claim_whose_answer_is_lost_is_still_ours(
    store: Claims, database: MemoryDatabase, clock: Clock, lost: int
) -> None:
    database.lose_answers = lost
    held = claim(store, clock)
    assert held.lease.attempt == 1
    assert finish(store, held, SENT, clock) is Reason.FINISHED


def test_a_result_whose_answer_is_lost_is_written_once(store: Claims, database: MemoryDatabase, clock: Clock) -> None:
    held = claim(store, clock)
    database.lose_answers = 1
    writes: list[str] = []
    database.on_write = lambda path, old, new: writes.append(path)
    assert finish(store, held, SENT, clock) is Reason.FINISHED
    assert writes == ["mail/a"]


def test_an_edit_while_sending_does_not_hinder_the_result(
    store: Claims, database: MemoryDatabase, clock: Clock
) -> None:
    held = claim(store, clock)
    database.edit("mail/a", {"note": "seen"})
    assert finish(store, held, SENT, clock) is Reason.FINISHED
    assert delivery(database)["state"] == "SUCCESS"
    assert database.documents["mail/a"].fields["note"] == "seen"


def test_a_retry_that_a_user_sets_while_sending_is_honoured(
    store: Claims, database: MemoryDatabase, clock: Clock
) -> None:
    held = claim(store, clock)
    database.edit("mail/a", {"delivery.state": "RETRY"})
    assert store.begin(ClaimRequest("mail/a", clock.now)) == Decision(Reason.LEASE_HELD, acknowledge=False)
    assert finish(store, held, SENT, clock) is Reason.REQUEUED
    again = claim(store, clock)
    assert again.lease.attempt == 2
    assert again.seed != held.seed


def test_a_late_result_replaces_the_guess(store: Claims, database: MemoryDatabase, clock: Clock) -> None:
    held = claim(store, clock)
    clock.advance(LEASE)
    assert store.begin(ClaimRequest("mail/a", clock.now)) != held
    assert delivery(database)["errorCode"] == "lease-expired"
    assert finish(store, held, SENT, clock) is Reason.LATE_RESULT
    assert (delivery(database)["state"], delivery(database)["error"]) == ("SUCCESS", None)
    assert "errorCode" not in delivery(database)


def test_a_late_result_never_lands_on_a_newer_attempt(store: Claims, database: MemoryDatabase, clock: Clock) -> None:
    held = claim(store, clock)
    clock.advance(LEASE)
    store.begin(ClaimRequest("mail/a", clock.now))
    database.edit("mail/a", {"delivery.state": "RETRY"})
    newer = claim(store, clock)
    assert finish(store, held, SENT, clock) is Reason.OUTDATED
    assert finish(store, newer, REFUSED, clock) is Reason.FINISHED
    assert delivery(database)["error"] == "No."


def test_a_deleted_document_stays_deleted(store: Claims, database: MemoryDatabase, clock: Clock) -> None:
    held = claim(store, clock)
    database.put("mail/a", None)
    assert finish(store, held, SENT, clock) is Reason.DELETED
    assert store.begin(ClaimRequest("mail/a", clock.now)) == Decision(Reason.DELETED)


def test_a_released_claim_leaves_no_trace(store: Claims, database: MemoryDatabase, clock: Clock) -> None:
    held = claim(store, clock)
    assert store.end(Release(held, clock.now + LEASE)).reason is Reason.RELEASED
    assert delivery(database)["attempts"] == 0
    assert delivery(database)["nextAttemptTime"] == clock.now + LEASE


def test_a_lost_claim_is_not_released(store: Claims, database: MemoryDatabase, clock: Clock) -> None:
    held = claim(store, clock)
    finish(store, held, SENT, clock)
    assert store.end(Release(held)).reason is Reason.OUTDATED
    assert delivery(database)["state"] == "SUCCESS"


class TestUndisturbed:
    """Where nobody else writes, a claim and its end are one write each, without a transaction."""

    @pytest.fixture
    def database(self, database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch) -> MemoryDatabase:
        def refuse(*_: object) -> NoReturn:
            pytest.fail("A transaction takes three requests where one will do.")

        monkeypatch.setattr(database, "transact", refuse)
        return database

    def test_attempt(self, store: Claims, database: MemoryDatabase, clock: Clock) -> None:
        held = claim(store, clock)
        assert (held.path, held.known, held.fields) == ("mail/a", DocumentState(), MAIL)
        assert finish(store, held, SENT, clock) is Reason.FINISHED
        assert delivery(database)["endTime"] == clock.now

    def test_release(self, store: Claims, database: MemoryDatabase, clock: Clock) -> None:
        later = clock.now + LEASE
        assert store.end(Release(claim(store, clock), later)).reason is Reason.RELEASED
        assert {name: delivery(database)[name] for name in ("state", "attempts", "nextAttemptTime")} == {
            "state": "PENDING",
            "attempts": 0,
            "nextAttemptTime": later,
        }


class TestDisturbed:
    """Where somebody else has written meanwhile, a release does what is still right."""

    def test_a_release_leaves_a_users_wish(self, store: Claims, database: MemoryDatabase, clock: Clock) -> None:
        held = claim(store, clock)
        database.edit("mail/a", {"delivery.state": "RETRY"})
        assert store.end(Release(held)).reason is Reason.REQUEUED
        assert (delivery(database)["state"], delivery(database)["attempts"]) == ("RETRY", 0)

    def test_a_release_after_an_edit_says_when_to_try_again(
        self, store: Claims, database: MemoryDatabase, clock: Clock
    ) -> None:
        held = claim(store, clock)
        database.edit("mail/a", {"note": "newer"})
        assert store.end(Release(held, clock.now + LEASE)).reason is Reason.RELEASED
        assert delivery(database)["nextAttemptTime"] == clock.now + LEASE

    @pytest.mark.parametrize("edited", [False, True], ids=["as it was", "after an edit"])
    def test_a_release_says_what_the_mail_waits_for(
        self, store: Claims, database: MemoryDatabase, clock: Clock, edited: bool
    ) -> None:
        held = claim(store, clock)
        if edited:
            database.edit("mail/a", {"note": "newer"})
        notes = out(clock.now, "nobody there", ErrorCode.CONNECTION)
        assert store.end(Release(held, clock.now + LEASE, notes)).reason is Reason.RELEASED
        assert delivery(database)["outageTime"] == clock.now
        assert (delivery(database)["error"], delivery(database)["errorCode"]) == ("nobody there", "connection")

    def test_a_release_whose_answer_is_lost_has_happened(
        self, store: Claims, database: MemoryDatabase, clock: Clock
    ) -> None:
        held = claim(store, clock)
        database.lose_answers = 1
        store.end(Release(held))
        assert delivery(database)["state"] == "PENDING"


class TestTransact:
    def test_decides_from_the_document_as_it_is(self, database: MemoryDatabase) -> None:
        seen: list[tuple[DocumentState | None, datetime | None]] = []
        decided = Decision(Reason.DUE, write={"delivery.state": "RETRY"})

        def decide(known: DocumentState | None, written: datetime | None) -> Decision:
            seen.append((known, written))
            return decided

        store = assembly.store(database)
        written = decode_time(database.documents["mail/a"].version)
        done = store.transact("mail/a", decide)
        assert (done, done.known) == (decided, DocumentState())
        assert delivery(database)["state"] == "RETRY"
        database.put("mail/a", None)
        decided = Decision(Reason.DELETED)
        assert store.transact("mail/a", decide) == decided
        assert seen == [(DocumentState(), written), (None, None)]


def test_an_attempt_that_may_be_repeated_leaves_the_next_ones_time(database: MemoryDatabase, clock: Clock) -> None:
    policy = Policy(LEASE, max_attempts=2)
    store, states = assembly.claims(database, policy), assembly.store(database, policy)
    first = claim(store, clock)
    later, sent = Finish(first, LATER, clock.now, 0.5), Finish(first, SENT, clock.now, 0.5)
    ends = [states.changes_after(each)["delivery.state"] for each in (later, sent)]
    assert ends == [State.RETRY, State.SUCCESS]
    store.end(later)
    next_attempt = clock.now + timedelta(seconds=15)
    assert (delivery(database)["state"], delivery(database)["nextAttemptTime"]) == ("RETRY", next_attempt)
    clock.advance(timedelta(minutes=1))
    last = Finish(claim(store, clock), LATER, clock.now, 0.5)
    assert states.changes_after(last)["delivery.state"] is State.ERROR


def test_an_attempt_is_not_repeated_after_the_mail_has_expired(database: MemoryDatabase, clock: Clock) -> None:
    policy = Policy(LEASE, max_attempts=2)
    database.edit("mail/a", {"expiresAt": clock.now + timedelta(seconds=15)})
    ended = Finish(claim(assembly.claims(database, policy), clock), LATER, clock.now, 0.5)
    changes = assembly.store(database, policy).changes_after(ended)
    assert (changes["delivery.state"], changes["delivery.errorCode"]) == (State.ERROR, ErrorCode.EXPIRED)


def test_the_last_attempt_of_a_cancelled_mail_is_recorded_as_an_error(database: MemoryDatabase, clock: Clock) -> None:
    store = assembly.claims(database, Policy(LEASE, max_attempts=2))
    held = claim(store, clock)
    database.edit("mail/a", {"delivery.state": "CANCELLED"})
    assert finish(store, held, LATER, clock) is Reason.CANCELLED
    [entry] = database.documents["mail/a"].fields["delivery"]["history"]
    assert entry["state"] == "ERROR"


class TestSeed:
    """A rerun of an attempt makes the same mail, with the same Message-ID."""

    @pytest.mark.parametrize("inline", [False, True], ids=["a-document", "an-inline-mail"])
    def test_of_a_rerun_is_the_same(self, database: MemoryDatabase, clock: Clock, inline: bool) -> None:
        store = assembly.claims(database, Policy(LEASE, max_attempts=2, lease_expiry=LeaseExpiryPolicy.RETRY))
        path, mail = ("mail/new", MAIL) if inline else ("mail/a", None)
        first = store.begin(ClaimRequest(path, clock.now, mail))
        clock.advance(2 * LEASE)
        again = store.begin(ClaimRequest(path, clock.now, mail))
        assert isinstance(first, Claim)
        assert isinstance(again, Claim)
        assert (again.lease.attempt, again.seed) == (2, first.seed)

    def test_an_inline_mail_is_as_firestore_will_return_it(self, store: Claims, clock: Clock) -> None:
        mail = {"to": "a@b.c", "headers": {"X-B": 1.0, "X-A": "é"}, "message": {"text": "t"}}
        made = store.begin(ClaimRequest("mail/new", clock.now, mail))
        assert isinstance(made, Claim)
        again = decode_fields(Value.FromString(encode(mail).SerializeToString()).map_value.fields)
        assert repr(made.fields) == repr(again)

    def test_of_a_document_created_anew_is_another(self, store: Claims, database: MemoryDatabase, clock: Clock) -> None:
        first = claim(store, clock)
        database.put("mail/a", None)
        database.put("mail/a", MAIL)
        assert claim(store, clock).seed != first.seed


class Refusing(MemoryDatabase):
    """Has answers of its own for some documents, and refuses changes that do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.unreadable: dict[str, FirepostError] = {}
        self.answers: dict[str, list[FirepostError]] = {}
        self.fits: Callable[[Changes], bool] = lambda changes: True
        for name in "abc":
            self.put(f"mail/{name}", MAIL)

    def read(self, paths: Sequence[str]) -> list[Snapshot | FirepostError | None]:
        found = zip(paths, super().read(paths), strict=True)
        return [self.unreadable.pop(path, document) for path, document in found]

    def write(self, writes: Sequence[Write]) -> list[Version | FirepostError]:
        return [self._answered(write) for write in writes]

    def transact(self, path: str, decide: Any) -> Any:
        def fitting(snapshot: Snapshot | None) -> tuple[Any, Changes | None]:
            decision, changes = decide(snapshot)
            if changes and not self.fits(changes):
                raise Unwritable("too large")
            return decision, changes

        return super().transact(path, fitting)

    def _answered(self, write: Write) -> Version | FirepostError:
        if answers := self.answers.get(write.path):
            return answers.pop(0)
        if not self.fits(write.changes):
            return Unwritable("too large")
        return super().write([write])[0]


def is_short(changes: Changes) -> bool:
    """Whether no value is longer than what a nearly full document has room for."""
    return all(len(str(value)) <= 100 for value in changes.values())


class TestForMany:
    """Each document has its own outcome, whatever happens to the others."""

    @pytest.fixture
    def database(self) -> Refusing:
        return Refusing()

    @pytest.mark.parametrize("error", [Unavailable("down"), Unwritable("no name")])
    def test_a_document_that_cannot_be_read_is_claimed_alone(
        self, database: Refusing, clock: Clock, error: FirepostError
    ) -> None:
        database.unreadable = {"mail/b": error}
        requests = [ClaimRequest(f"mail/{name}", clock.now) for name in "abc"]
        outcomes = assembly.store(database).claim(requests)
        assert [type(outcome).__name__ for outcome in outcomes] == ["Claim", "Conflict", "Claim"]

    def test_an_unanswered_claim_names_the_lease_that_may_exist(self, database: Refusing, clock: Clock) -> None:
        database.answers = {"mail/b": [Unavailable("down")]}
        requests = [ClaimRequest(f"mail/{name}", clock.now) for name in "abc"]
        first, conflict, third = assembly.store(database).claim(requests)
        assert isinstance(first, Claim)
        assert isinstance(third, Claim)
        assert conflict == Conflict(Lease(1, clock.now + LEASE))

    @pytest.mark.parametrize("error", [Unavailable("down"), Unwritable("too large"), Stale("changed")])
    def test_an_unwritable_result_does_not_affect_others(
        self, database: Refusing, clock: Clock, error: FirepostError
    ) -> None:
        store = assembly.store(database)
        claims = [each for each in store.claim([ClaimRequest(f"mail/{name}", clock.now) for name in "abc"])]
        database.answers = {"mail/b": [error]}
        endings = [Finish(each, SENT, clock.now, 0.5) for each in claims if isinstance(each, Claim)]
        assert store.end(endings) == [Decision(Reason.FINISHED), Conflict(), Decision(Reason.FINISHED)]
        assert store.end_alone(endings[1]).reason is Reason.FINISHED

    @pytest.mark.parametrize(
        ("result", "left"),
        [
            pytest.param(
                Result(State.SUCCESS, info={"accepted": ["a@b.c"] * 100}, warnings=("w" * 1000,)),
                {"state": "SUCCESS", "error": None},
                id="success",
            ),
            pytest.param(
                Result(State.ERROR, error="x" * 1000, error_code=ErrorCode.REJECTED),
                {"state": "ERROR", "error": "x" * 100, "errorCode": "rejected"},
                id="error",
            ),
        ],
    )
    def test_a_result_too_long_for_the_document_is_written_without_its_details(
        self, database: Refusing, clock: Clock, result: Result, left: dict[str, object]
    ) -> None:
        database.fits = is_short
        store = assembly.claims(database)
        assert finish(store, claim(store, clock), result, clock) is Reason.FINISHED
        assert {name: delivery(database)[name] for name in left} == left
        assert "info" not in delivery(database)
        assert delivery(database)["warnings"] == ["The rest of the result did not fit into the document."]

    def test_a_result_too_long_for_the_document_still_redacts_it(self, database: Refusing, clock: Clock) -> None:
        database.fits = is_short
        retained = {"message": {"subject": "Hi"}, "delivery.redacted": True, "delivery.rendered": {"text": "x" * 1000}}
        result = Result(State.SUCCESS, info={"response": "x" * 1000}, retained=retained)
        store = assembly.claims(database)
        assert finish(store, claim(store, clock), result, clock) is Reason.FINISHED
        assert database.documents["mail/a"].fields["message"] == {"subject": "Hi"}
        assert delivery(database)["redacted"] is True
        assert "rendered" not in delivery(database)

    @pytest.mark.parametrize(
        ("progress", "state"),
        [
            pytest.param(None, State.RETRY, id="nobody-was-reached"),
            pytest.param({"accepted": ["x" * 1000]}, State.ERROR, id="those-reached-would-get-it-again"),
        ],
    )
    def test_a_result_too_long_for_the_document_is_retried_only_if_nobody_was_reached(
        self, database: Refusing, clock: Clock, progress: dict[str, object] | None, state: State
    ) -> None:
        database.fits = is_short
        result = Result(
            State.ERROR,
            error="x" * 1000,
            error_code=ErrorCode.TEMPORARY,
            unsettled=True,
            progress=progress,
            retry_after=90,
        )
        store = assembly.claims(database, replace(assembly.POLICY, max_attempts=3))
        assert finish(store, claim(store, clock), result, clock) is Reason.FINISHED
        assert delivery(database)["state"] == state
        if state is State.RETRY:
            assert delivery(database)["nextAttemptTime"] == clock.now + timedelta(seconds=90)

    @pytest.mark.parametrize("state", [State.SUCCESS, State.ERROR])
    def test_a_document_without_any_room_still_gets_the_state(
        self, database: Refusing, clock: Clock, state: State
    ) -> None:
        store = assembly.claims(database)
        held = claim(store, clock)
        database.fits = lambda changes: (
            [path for path in changes if changes[path] not in (DELETE, {})] == ["delivery.state"]
        )
        retained = {"message": {}, "template": DELETE}
        result = Result(state, error="No.", error_code=ErrorCode.REJECTED, retained=retained)
        assert finish(store, held, result, clock) is Reason.FINISHED
        assert (delivery(database)["state"], delivery(database)["attempts"]) == (state, 1)
        message = {} if state is State.SUCCESS else MAIL["message"]
        assert database.documents["mail/a"].fields["message"] == message

    def test_a_result_that_nothing_fits_of_is_an_error(self, database: Refusing, clock: Clock) -> None:
        store = assembly.claims(database)
        held = claim(store, clock)
        database.fits = lambda changes: False
        with pytest.raises(Unwritable):
            finish(store, held, SENT, clock)

    def test_a_release_that_firestore_refuses_is_an_error(self, database: Refusing, clock: Clock) -> None:
        store = assembly.claims(database)
        held = claim(store, clock)
        database.fits = lambda changes: False
        with pytest.raises(Unwritable):
            store.end(Release(held))

    @pytest.mark.parametrize(
        ("answers", "outcome"),
        [
            pytest.param([Stale("changed")], False, id="changed-since"),
            pytest.param([Unwritable("too large")], Unwritable, id="never"),
            pytest.param([Unavailable("contention")] * 2, True, id="not-this-time"),
        ],
    )
    def test_a_failed_mark_does_not_affect_others(
        self, database: Refusing, answers: list[FirepostError], outcome: Any
    ) -> None:
        database.answers = {"mail/b": list(answers)}
        changes = {"delivery": {"state": "PENDING"}}
        marks = [Write(path, changes, document.version) for path, document in database.documents.items()]
        first, second, third = assembly.store(database).mark(marks)
        assert (first, third) == (True, True)
        assert second is outcome or isinstance(second, outcome)

    @pytest.mark.parametrize(
        ("fits", "left"),
        [
            pytest.param(
                lambda changes: list(changes) == ["delivery"],
                {"state": "ERROR", "errorCode": "rejected", "error": "x" * 100},
                id="brief",
            ),
            pytest.param(
                lambda changes: list(changes) == ["delivery"] and len(str(changes)) < 120,
                {"state": "ERROR", "errorCode": "rejected", "error": "x" * 30},
                id="briefer",
            ),
            pytest.param(
                lambda changes: list(changes) == ["delivery.state"],
                {"state": "ERROR", "info": "y" * 99},
                id="only-the-state",
            ),
            pytest.param(lambda changes: False, {"state": "PROCESSING", "info": "y" * 99}, id="nothing"),
        ],
    )
    @pytest.mark.parametrize("writer", ["mark", "conclude"])
    def test_of_an_error_as_much_is_written_as_fits(
        self, database: Refusing, writer: str, fits: Callable[[Changes], bool], left: dict[str, str]
    ) -> None:
        version = database.edit("mail/a", {"delivery": {"state": "PROCESSING", "info": "y" * 99}})
        database.fits = fits
        changes = {"delivery.state": State.ERROR, "delivery.error": "x" * 200, "delivery.errorCode": "rejected"}
        store = assembly.store(database)
        if writer == "mark":
            [written] = store.mark([Write("mail/a", changes, version)])
            failed = isinstance(written, Unwritable)
        else:
            decision = Decision(Reason.DEAD_LETTER, write=changes)
            with suppress(Unwritable):
                assert store.conclude("mail/a", lambda known, at: decision).reason is Reason.DEAD_LETTER
            failed = delivery(database)["state"] == "PROCESSING"
        assert (delivery(database), failed) == (left, left["state"] == "PROCESSING")

    def test_a_shorter_error_spares_a_document_that_has_changed(self, database: Refusing) -> None:
        version = database.documents["mail/a"].version
        database.edit("mail/a", {"delivery": {"state": "RETRY"}})
        database.answers = {"mail/a": [Unwritable("too large")]}
        changes = {"delivery.state": State.ERROR, "delivery.error": "x", "delivery.errorCode": "rejected"}
        assert assembly.store(database).mark([Write("mail/a", changes, version)]) == [False]
        assert delivery(database) == {"state": "RETRY"}

    def test_other_marks_are_not_shortened(self, database: Refusing) -> None:
        database.fits = lambda changes: list(changes) == ["delivery.state"]
        changes = {"delivery.state": State.PENDING, "delivery.nextAttemptTime": None}
        mark = Write("mail/a", changes, database.documents["mail/a"].version)
        assert isinstance(assembly.store(database).mark([mark])[0], Unwritable)

    def test_a_conclusion_that_needs_no_write_is_one(self, database: Refusing) -> None:
        decision = Decision(Reason.FINAL_STATE)
        assert assembly.store(database).conclude("mail/a", lambda known, at: decision) == decision

    def test_a_mark_that_always_fails_is_unavailable(self, database: Refusing) -> None:
        database.answers = {"mail/a": [Unavailable("down")] * 10**6}
        mark = Write("mail/a", {"delivery": {"state": "PENDING"}}, database.documents["mail/a"].version)
        store = assembly.store(database, patience=0)
        assert isinstance(store.mark([mark])[0], Unavailable)


class Forgetful(MemoryDatabase):
    """Leaves the last outcome out of the answers of one method."""

    forgets = ""

    def read(self, paths: Sequence[str]) -> list[Snapshot | FirepostError | None]:
        return super().read(paths)[: -1 if self.forgets == "read" else None]

    def write(self, writes: Sequence[Write]) -> list[Version | FirepostError]:
        return super().write(writes)[: -1 if self.forgets == "write" else None]


class TestAnswersOfAnotherLength:
    """They are an error: an outcome that belongs to no document must not be taken for another one's."""

    @pytest.fixture
    def database(self) -> Forgetful:
        database = Forgetful()
        database.put("mail/a", MAIL)
        database.put("mail/b", MAIL)
        return database

    @pytest.mark.parametrize("forgets", ["read", "write"])
    def test_to_claims(self, database: Forgetful, clock: Clock, forgets: str) -> None:
        database.forgets = forgets
        with pytest.raises(ValueError):
            assembly.store(database).claim([ClaimRequest(f"mail/{name}", clock.now) for name in "ab"])

    def test_to_their_ends(self, database: Forgetful, clock: Clock) -> None:
        store = assembly.store(database)
        claims = store.claim([ClaimRequest(f"mail/{name}", clock.now) for name in "ab"])
        database.forgets = "write"
        with pytest.raises(ValueError):
            store.end([Release(each) for each in claims if isinstance(each, Claim)])

    def test_to_marks(self, database: Forgetful) -> None:
        database.forgets = "write"
        marks = [Write(path, {"note": "new"}, document.version) for path, document in database.documents.items()]
        with pytest.raises(ValueError):
            assembly.store(database).mark(marks)


class TestInline:
    def test_a_mail_without_document_gets_one_and_is_claimed_in_the_same_write(
        self, store: Claims, database: MemoryDatabase, clock: Clock
    ) -> None:
        held = store.begin(ClaimRequest("mail/new", clock.now, MAIL))
        assert isinstance(held, Claim)
        assert database.documents["mail/new"].fields["to"] == "a@b.c"
        assert finish(store, held, SENT, clock) is Reason.FINISHED

    def test_the_same_mail_again_is_sent_once(self, store: Claims, clock: Clock) -> None:
        held = store.begin(ClaimRequest("mail/new", clock.now, MAIL))
        assert isinstance(held, Claim)
        finish(store, held, SENT, clock)
        assert store.begin(ClaimRequest("mail/new", clock.now, MAIL)) == Decision(Reason.FINAL_STATE)

    def test_another_mail_under_the_same_id_is_refused(self, store: Claims, clock: Clock) -> None:
        store.begin(ClaimRequest("mail/new", clock.now, MAIL))
        with pytest.raises(InvalidMessage) as refused:
            store.begin(ClaimRequest("mail/new", clock.now, {**MAIL, "to": "other@b.c"}))
        assert refused.value.reason == "id-conflict"
        assert "mail/new" in str(refused.value)

    @pytest.mark.parametrize(
        ("to", "refused"),
        [
            pytest.param("a@b.c", False, id="the-same"),
            pytest.param("other@b.c", True, id="another"),
            pytest.param({"a@b.c": True}, True, id="another-type"),
        ],
    )
    def test_a_redacted_mail_is_still_the_same_mail(
        self, store: Claims, database: MemoryDatabase, clock: Clock, to: object, refused: bool
    ) -> None:
        held = store.begin(ClaimRequest("mail/new", clock.now, MAIL))
        assert isinstance(held, Claim)
        kept = {"message.text": DELETE, "delivery.redacted": True}
        finish(store, held, Result(State.SUCCESS, info={}, retained=kept), clock)
        if refused:
            with pytest.raises(InvalidMessage):
                store.begin(ClaimRequest("mail/new", clock.now, {**MAIL, "to": to}))
        else:
            assert store.begin(ClaimRequest("mail/new", clock.now, {**MAIL, "to": to})) == Decision(Reason.FINAL_STATE)

    def test_a_creation_whose_answer_is_lost_is_still_ours(
        self, store: Claims, database: MemoryDatabase, clock: Clock
    ) -> None:
        database.lose_answers = 1
        assert isinstance(store.begin(ClaimRequest("mail/new", clock.now, MAIL)), Claim)

    def test_a_mail_due_later_is_created_and_left_to_the_dispatcher(
        self, store: Claims, database: MemoryDatabase, clock: Clock
    ) -> None:
        decision = store.begin(ClaimRequest("mail/new", clock.now, {**MAIL, "sendAt": clock.now + LEASE}))
        assert decision == Decision(Reason.NOT_DUE)
        assert "delivery" not in database.documents["mail/new"].fields


def test_patience_ends(database: MemoryDatabase, clock: Clock) -> None:
    store = assembly.claims(database, patience=0)
    held = claim(store, clock)
    database.edit("mail/a", {"note": "newer"})
    database.lose_answers = 1000
    with pytest.raises(Unavailable):
        finish(store, held, SENT, clock)


class TestRepetition:
    """While Firestore fails, an operation for one document is repeated."""

    @pytest.mark.parametrize("patient", ["with-results", "with-others"])
    def test_results_have_a_patience_of_their_own(self, database: MemoryDatabase, clock: Clock, patient: str) -> None:
        results, others = (60, 0) if patient == "with-results" else (0, 60)
        store = MailStore(database, assembly.POLICY, results, assembly.no_sleep, others)

        def is_repeated(ending: type[Finish | Release]) -> bool:
            database.put("mail/a", MAIL)
            [held] = store.claim([ClaimRequest("mail/a", clock.now)])
            assert isinstance(held, Claim)
            database.lose_answers = 1
            try:
                store.end_alone(Finish(held, SENT, clock.now, 0.5) if ending is Finish else Release(held))
            except Unavailable:
                return False
            return True

        assert (is_repeated(Finish), is_repeated(Release)) == (results > 0, others > 0)

    def test_waits_are_random_and_twice_as_long_each_time(
        self, database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tenacity.wait.random.uniform", lambda _, longest: longest)
        waits: list[float] = []
        store = MailStore(database, assembly.POLICY, sleep=waits.append, retry_seconds=60)
        database.lose_answers = 8
        retry = Decision(Reason.DUE, write={"delivery.state": "RETRY"})
        assert store.transact("mail/a", lambda known, written: retry) == retry
        assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2]

    def test_what_is_not_an_outage_is_not_repeated(self, database: MemoryDatabase) -> None:
        calls: list[None] = []

        def fail(*_: object) -> NoReturn:
            calls.append(None)
            raise ValueError

        with pytest.raises(ValueError):
            assembly.store(database).transact("mail/a", fail)
        assert len(calls) == 1


def test_the_fake_refuses_a_stale_write(database: MemoryDatabase) -> None:
    """The tests above rely on it."""
    version = database.documents["mail/a"].version
    database.edit("mail/a", {"note": "newer"})
    [outcome] = database.write([Write("mail/a", {"note": "mine"}, version)])
    assert isinstance(outcome, Stale)
