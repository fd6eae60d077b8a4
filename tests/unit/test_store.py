"""What the store makes of races, lost answers and an unreachable Firestore."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NoReturn

import pytest

from shared.batching import batching
from shared.database import Stale
from shared.errors import ErrorCode, InvalidMessage, Unavailable
from shared.policy import LeaseExpiryPolicy, Policy
from shared.states import DELETE, Decision, Known, Lease, Reason, Result, State
from shared.store import Claim, MailStore, patience
from shared.values import decode_time
from tests.fakes import Clock, MemoryDatabase

LEASE = timedelta(seconds=60)
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


@pytest.fixture(params=["plain", "batching"])
def store(request: pytest.FixtureRequest, database: MemoryDatabase) -> MailStore:
    used = batching(database, size=100 if request.param == "batching" else 1, wait_ms=0)
    return MailStore(used, Policy(LEASE), sleep=lambda seconds: None)


def claim(store: MailStore, clock: Clock, path: str = "mail/a") -> Claim:
    claimed = store.claim(path, clock.now)
    assert isinstance(claimed, Claim)
    return claimed


def delivery(database: MemoryDatabase, path: str = "mail/a") -> dict[str, object]:
    found: dict[str, object] = database.documents[path].fields["delivery"]
    return found


def test_a_claim_takes_the_lease(store: MailStore, database: MemoryDatabase, clock: Clock) -> None:
    assert claim(store, clock).lease == Lease(1, clock.now + LEASE)
    assert delivery(database)["state"] == "PROCESSING"


def test_the_second_of_two_racing_claims_sees_the_lease(
    store: MailStore, database: MemoryDatabase, clock: Clock
) -> None:
    database.meanwhile = lambda: claim(store, clock)
    second = store.claim("mail/a", clock.now + timedelta(microseconds=1))
    assert second == Decision(Reason.LEASE_HELD, acknowledge=False)


def test_an_edit_between_read_and_claim_is_in_the_mail(
    store: MailStore, database: MemoryDatabase, clock: Clock
) -> None:
    database.meanwhile = lambda: database.edit("mail/a", {"to": "new@b.c"})
    assert claim(store, clock).fields["to"] == "new@b.c"


@pytest.mark.parametrize("lost", [1, 2])
def test_a_claim_whose_answer_is_lost_is_still_ours(
    store: MailStore, database: MemoryDatabase, clock: Clock, lost: int
) -> None:
    database.lose_answers = lost
    held = claim(store, clock)
    assert held.lease.attempt == 1
    assert store.finish(held, SENT, clock.now, 0.5) is Reason.FINISHED


def test_a_result_whose_answer_is_lost_is_written_once(
    store: MailStore, database: MemoryDatabase, clock: Clock
) -> None:
    held = claim(store, clock)
    database.lose_answers = 1
    writes: list[str] = []
    database.on_write = lambda path, old, new: writes.append(path)
    assert store.finish(held, SENT, clock.now, 0.5) is Reason.FINISHED
    assert writes == ["mail/a"]


def test_an_edit_while_sending_does_not_hinder_the_result(
    store: MailStore, database: MemoryDatabase, clock: Clock
) -> None:
    held = claim(store, clock)
    database.edit("mail/a", {"note": "seen"})
    assert store.finish(held, SENT, clock.now, 0.5) is Reason.FINISHED
    assert delivery(database)["state"] == "SUCCESS"
    assert database.documents["mail/a"].fields["note"] == "seen"


def test_a_retry_that_a_user_sets_while_sending_is_honoured(
    store: MailStore, database: MemoryDatabase, clock: Clock
) -> None:
    held = claim(store, clock)
    database.edit("mail/a", {"delivery.state": "RETRY"})
    assert store.claim("mail/a", clock.now) == Decision(Reason.LEASE_HELD, acknowledge=False)
    assert store.finish(held, SENT, clock.now, 0.5) is Reason.REQUEUED
    again = claim(store, clock)
    assert again.lease.attempt == 2
    assert again.message_id_stem != held.message_id_stem


def test_a_late_result_replaces_the_guess(store: MailStore, database: MemoryDatabase, clock: Clock) -> None:
    held = claim(store, clock)
    clock.advance(LEASE)
    assert store.claim("mail/a", clock.now) != held
    assert delivery(database)["errorCode"] == "lease-expired"
    assert store.finish(held, SENT, clock.now, 0.5) is Reason.LATE_RESULT
    assert (delivery(database)["state"], delivery(database)["error"]) == ("SUCCESS", None)
    assert "errorCode" not in delivery(database)


def test_a_late_result_never_lands_on_a_newer_attempt(store: MailStore, database: MemoryDatabase, clock: Clock) -> None:
    held = claim(store, clock)
    clock.advance(LEASE)
    store.claim("mail/a", clock.now)
    database.edit("mail/a", {"delivery.state": "RETRY"})
    newer = claim(store, clock)
    assert store.finish(held, SENT, clock.now, 0.5) is Reason.OUTDATED
    assert store.finish(newer, REFUSED, clock.now, 0.5) is Reason.FINISHED
    assert delivery(database)["error"] == "No."


def test_a_deleted_document_stays_deleted(store: MailStore, database: MemoryDatabase, clock: Clock) -> None:
    held = claim(store, clock)
    database.put("mail/a", None)
    assert store.finish(held, SENT, clock.now, 0.5) is Reason.DELETED
    assert store.claim("mail/a", clock.now) == Decision(Reason.DELETED)


def test_a_mark_on_a_changed_document_is_left_undone(store: MailStore, database: MemoryDatabase) -> None:
    version = database.documents["mail/a"].version
    database.edit("mail/a", {"note": "newer"})
    assert not store.mark("mail/a", {"delivery": {"state": "PENDING"}}, version)
    assert "delivery" not in database.documents["mail/a"].fields


def test_a_mark_on_an_unchanged_document_is_written(store: MailStore, database: MemoryDatabase) -> None:
    version = database.documents["mail/a"].version
    assert store.mark("mail/a", {"delivery": {"state": "PENDING"}}, version)
    assert delivery(database) == {"state": "PENDING"}


@pytest.fixture
def no_transactions(database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        pytest.fail("A transaction takes three calls where one will do.")

    monkeypatch.setattr(database, "transact", refuse)


@pytest.mark.usefixtures("no_transactions")
class TestUndisturbed:
    """Where nobody else writes, each step is one write without a transaction."""

    def test_attempt(self, store: MailStore, database: MemoryDatabase, clock: Clock) -> None:
        held = claim(store, clock)
        assert (held.known, held.fields) == (Known(), MAIL)
        assert store.finish(held, SENT, clock.now, 0.5) is Reason.FINISHED
        assert delivery(database)["endTime"] == clock.now

    def test_release(self, store: MailStore, database: MemoryDatabase, clock: Clock) -> None:
        later = clock.now + LEASE
        assert store.release(claim(store, clock), later) is Reason.RELEASED
        assert {name: delivery(database)[name] for name in ("state", "attempts", "nextAttemptTime")} == {
            "state": "PENDING",
            "attempts": 0,
            "nextAttemptTime": later,
        }


class TestDisturbed:
    def test_a_release_leaves_a_users_wish(self, store: MailStore, database: MemoryDatabase, clock: Clock) -> None:
        held = claim(store, clock)
        database.edit("mail/a", {"delivery.state": "RETRY"})
        assert store.release(held) is Reason.REQUEUED
        assert (delivery(database)["state"], delivery(database)["attempts"]) == ("RETRY", 0)

    def test_a_release_after_an_edit_says_when_to_try_again(
        self, store: MailStore, database: MemoryDatabase, clock: Clock
    ) -> None:
        held = claim(store, clock)
        database.edit("mail/a", {"note": "newer"})
        assert store.release(held, clock.now + LEASE) is Reason.RELEASED
        assert delivery(database)["nextAttemptTime"] == clock.now + LEASE

    def test_a_release_is_repeated_while_firestore_does_not_answer(
        self, store: MailStore, database: MemoryDatabase, clock: Clock
    ) -> None:
        held = claim(store, clock)
        database.lose_answers = 1
        store.release(held)
        assert delivery(database)["state"] == "PENDING"


def test_what_is_settled_is_decided_from_the_document_as_it_is(store: MailStore, database: MemoryDatabase) -> None:
    seen: list[tuple[Known | None, datetime | None]] = []
    decided = Decision(Reason.DUE, write={"delivery.state": "RETRY"})

    def decide(known: Known | None, written: datetime | None) -> Decision:
        seen.append((known, written))
        return decided

    written = decode_time(database.documents["mail/a"].version)
    assert store.settle("mail/a", decide) == decided
    assert delivery(database)["state"] == "RETRY"
    database.put("mail/a", None)
    decided = Decision(Reason.DELETED)
    assert store.settle("mail/a", decide) == decided
    assert seen == [(Known(), written), (None, None)]


def test_an_attempt_that_may_be_repeated_leaves_the_next_ones_time(database: MemoryDatabase, clock: Clock) -> None:
    store = MailStore(database, Policy(LEASE, max_attempts=2), sleep=lambda seconds: None)
    first = claim(store, clock)
    assert (store.ending(first, LATER), store.ending(first, SENT)) == (State.RETRY, State.SUCCESS)
    store.finish(first, LATER, clock.now, 0.5)
    assert (delivery(database)["state"], delivery(database)["nextAttemptTime"]) == (
        "RETRY",
        clock.now + timedelta(seconds=15),
    )
    clock.now += timedelta(minutes=1)
    assert store.ending(claim(store, clock), LATER) is State.ERROR


class TestMessageId:
    """A rerun of an attempt sends the mail under the same Message-ID."""

    @pytest.mark.parametrize("inline", [False, True], ids=["a-document", "an-inline-mail"])
    def test_of_a_rerun_is_the_same(self, database: MemoryDatabase, clock: Clock, inline: bool) -> None:
        policy = Policy(LEASE, max_attempts=2, lease_expiry=LeaseExpiryPolicy.RETRY)
        store = MailStore(database, policy, sleep=lambda seconds: None)
        path, mail = ("mail/new", MAIL) if inline else ("mail/a", None)
        first = store.claim(path, clock.now, mail)
        clock.now += 2 * LEASE
        again = store.claim(path, clock.now, mail)
        assert isinstance(first, Claim)
        assert isinstance(again, Claim)
        assert (again.lease.attempt, again.message_id_stem) == (2, first.message_id_stem)

    def test_of_a_document_created_anew_is_another(
        self, store: MailStore, database: MemoryDatabase, clock: Clock
    ) -> None:
        first = claim(store, clock)
        database.put("mail/a", None)
        database.put("mail/a", MAIL)
        assert claim(store, clock).message_id_stem != first.message_id_stem


class TestInline:
    def test_a_mail_without_document_gets_one_and_is_claimed_in_the_same_write(
        self, store: MailStore, database: MemoryDatabase, clock: Clock
    ) -> None:
        held = store.claim("mail/new", clock.now, MAIL)
        assert isinstance(held, Claim)
        assert database.documents["mail/new"].fields["to"] == "a@b.c"
        assert store.finish(held, SENT, clock.now, 0.5) is Reason.FINISHED

    def test_the_same_mail_again_is_sent_once(self, store: MailStore, clock: Clock) -> None:
        held = store.claim("mail/new", clock.now, MAIL)
        assert isinstance(held, Claim)
        store.finish(held, SENT, clock.now, 0.5)
        assert store.claim("mail/new", clock.now, MAIL) == Decision(Reason.FINAL_STATE)

    def test_another_mail_under_the_same_id_is_refused(self, store: MailStore, clock: Clock) -> None:
        store.claim("mail/new", clock.now, MAIL)
        with pytest.raises(InvalidMessage) as refused:
            store.claim("mail/new", clock.now, {**MAIL, "to": "other@b.c"})
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
    def test_what_was_redacted_after_it_was_sent_is_still_the_same_mail(
        self, store: MailStore, database: MemoryDatabase, clock: Clock, to: object, refused: bool
    ) -> None:
        held = store.claim("mail/new", clock.now, MAIL)
        assert isinstance(held, Claim)
        kept = {"message.text": DELETE, "delivery.redacted": True}
        store.finish(held, Result(State.SUCCESS, info={}, keeping=kept), clock.now, 0.5)
        if refused:
            with pytest.raises(InvalidMessage):
                store.claim("mail/new", clock.now, {**MAIL, "to": to})
        else:
            assert store.claim("mail/new", clock.now, {**MAIL, "to": to}) == Decision(Reason.FINAL_STATE)

    def test_a_creation_whose_answer_is_lost_is_still_ours(
        self, store: MailStore, database: MemoryDatabase, clock: Clock
    ) -> None:
        database.lose_answers = 1
        assert isinstance(store.claim("mail/new", clock.now, MAIL), Claim)

    def test_a_mail_due_later_is_created_and_left_to_the_dispatcher(
        self, store: MailStore, database: MemoryDatabase, clock: Clock
    ) -> None:
        decision = store.claim("mail/new", clock.now, {**MAIL, "sendAt": clock.now + LEASE})
        assert decision == Decision(Reason.NOT_DUE)
        assert "delivery" not in database.documents["mail/new"].fields


def test_patience_ends(database: MemoryDatabase, clock: Clock) -> None:
    store = MailStore(database, Policy(LEASE), finish_patience=0, sleep=lambda seconds: None)
    held = claim(store, clock)
    database.lose_answers = 1000
    with pytest.raises(Unavailable):
        store.finish(held, SENT, clock.now, 0.5)


class TestPatience:
    def test_waits_are_random_and_twice_as_long_each_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tenacity.wait.random.uniform", lambda _, longest: longest)
        waits: list[float] = []
        answers = iter([Unavailable("later")] * 8)

        def ask() -> str:
            for error in answers:
                raise error
            return "answer"

        assert patience(60, waits.append)(ask) == "answer"
        assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2]

    def test_what_is_not_an_outage_is_not_repeated(self) -> None:
        calls: list[None] = []

        def fail() -> NoReturn:
            calls.append(None)
            raise ValueError

        with pytest.raises(ValueError):
            patience(1, lambda seconds: None)(fail)
        assert len(calls) == 1


def test_the_fake_refuses_a_stale_write(database: MemoryDatabase) -> None:
    """The tests above stand on it."""
    version = database.documents["mail/a"].version
    database.edit("mail/a", {"note": "newer"})
    with pytest.raises(Stale):
        database.update("mail/a", {"note": "mine"}, version)
