"""Claims, their ends and marks under races, lost answers and an unreachable Firestore."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from sender.worker.claims import Claims
from shared.delivery.model import DELETE, Changes, Decision, Lease, Reason, Result, State
from shared.delivery.store import Claim, ClaimRequest, Conflict, Finish, Release
from shared.errors import ErrorCode, FirepostError, InvalidMessage, Unavailable
from shared.firestore.database import Snapshot, Stale, Unwritable, Version, Write
from tests import assembly
from tests.assembly import LEASE
from tests.fakes import Clock, MemoryDatabase

MAIL = {"to": "a@b.c", "message": {"subject": "s", "text": "t"}}
SENT = Result(State.SUCCESS, info={"accepted": ["a@b.c"]})
REFUSED = Result(State.ERROR, error="No.", error_code=ErrorCode.REJECTED)


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
    return store.end(Finish(held, result, clock.now, 0.5))


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
    assert again.message_id_local_part != held.message_id_local_part


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
    assert store.end(Release(held, clock.now + LEASE)) is Reason.RELEASED
    assert delivery(database)["attempts"] == 0
    assert delivery(database)["nextAttemptTime"] == clock.now + LEASE


def test_a_lost_claim_is_not_released(store: Claims, database: MemoryDatabase, clock: Clock) -> None:
    held = claim(store, clock)
    finish(store, held, SENT, clock)
    assert store.end(Release(held)) is Reason.OUTDATED
    assert delivery(database)["state"] == "SUCCESS"


class Refusing(MemoryDatabase):
    """Has prepared answers for reads and writes of some documents; `details` don't fit in any of them."""

    def __init__(self) -> None:
        super().__init__()
        self.unreadable: dict[str, FirepostError] = {}
        self.answers: dict[str, list[FirepostError]] = {}
        self.full: set[str] = set()
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
            if path in self.full and changes and "delivery.info" in changes:
                raise Unwritable("too large")
            return decision, changes

        return super().transact(path, fitting)

    def _answered(self, write: Write) -> Version | FirepostError:
        if answers := self.answers.get(write.path):
            return answers.pop(0)
        if write.path in self.full and "delivery.info" in write.changes:
            return Unwritable("too large")
        return super().write([write])[0]


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
        assert store.end(endings) == [Reason.FINISHED, Conflict(), Reason.FINISHED]
        assert store.end_alone(endings[1]) is Reason.FINISHED

    def test_a_result_too_long_for_the_document_is_written_without_its_details(
        self, database: Refusing, clock: Clock
    ) -> None:
        database.full = {"mail/a"}
        store = assembly.claims(database)
        assert finish(store, claim(store, clock), SENT, clock) is Reason.FINISHED
        assert delivery(database)["state"] == "SUCCESS"
        assert "info" not in delivery(database)

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
        database.answers = {"mail/b": answers}
        changes = {"delivery": {"state": "PENDING"}}
        marks = [Write(path, changes, document.version) for path, document in database.documents.items()]
        first, second, third = assembly.store(database).mark(marks)
        assert (first, third) == (True, True)
        assert second is outcome or isinstance(second, outcome)

    def test_a_mark_that_always_fails_is_unavailable(self, database: Refusing) -> None:
        database.answers = {"mail/a": [Unavailable("down")] * 10**6}
        mark = Write("mail/a", {"delivery": {"state": "PENDING"}}, database.documents["mail/a"].version)
        store = assembly.store(database, patience=0)
        assert isinstance(store.mark([mark])[0], Unavailable)


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

    @pytest.mark.parametrize(
        ("to", "refused"), [pytest.param("a@b.c", False, id="the-same"), pytest.param("other@b.c", True, id="another")]
    )
    def test_a_redacted_mail_is_still_the_same_mail(
        self, store: Claims, database: MemoryDatabase, clock: Clock, to: str, refused: bool
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


def test_the_fake_refuses_a_stale_write(database: MemoryDatabase) -> None:
    """The tests above rely on it."""
    version = database.documents["mail/a"].version
    database.edit("mail/a", {"note": "newer"})
    [outcome] = database.write([Write("mail/a", {"note": "mine"}, version)])
    assert isinstance(outcome, Stale)
