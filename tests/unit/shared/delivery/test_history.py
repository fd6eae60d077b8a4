"""`delivery.history` through claims, results, expired leases and everything that happens in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatcher.events import DocumentChange
from sender.worker.claims import Claims
from shared.delivery import history
from shared.delivery.model import DELETE, Decision, DocumentState, Reason, Result, State
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.delivery.store import Claim, ClaimRequest, Finish, Release
from shared.errors import ErrorCode
from shared.firestore.database import Version
from shared.firestore.values import encode
from tests import assembly
from tests.assembly import LEASE, DispatcherParts
from tests.fakes import Clock, MemoryDatabase

PATH = "mail/a"
MAIL = {"to": "a@b.c", "message": {"subject": "s", "text": "t"}}
SENT = Result(State.SUCCESS, info={"accepted": ["a@b.c"]}, transport="default", message_id="<1@b.c>", response="250 Ok")
LATER = Result(
    State.ERROR, error="451", error_code=ErrorCode.TEMPORARY, unsettled=True, transport="default", response="451 Later"
)
TWICE = Policy(LEASE, max_attempts=2, lease_expiry=LeaseExpiryPolicy.RETRY)


class Mailbox:
    """One mail, and everything that may happen to it."""

    def __init__(self, policy: Policy = assembly.POLICY) -> None:
        self.policy, self.clock, self.database = policy, Clock(), MemoryDatabase()
        self.database.put(PATH, MAIL)

    def claims(self) -> Claims:
        return assembly.claims(self.database, self.policy)

    def claim(self) -> Claim:
        claim = self.claims().begin(ClaimRequest(PATH, self.clock.now))
        assert isinstance(claim, Claim)
        return claim

    def finish(self, claim: Claim, result: Result = SENT, seconds: float = 1) -> Reason:
        self.clock.advance(timedelta(seconds=seconds))
        return self.claims().end(Finish(claim, result, self.clock.now, 0.5)).reason

    def user_sets(self, state: str) -> None:
        self.database.edit(PATH, {"delivery.state": state})

    @property
    def delivery(self) -> Mapping[str, Any]:
        delivery: Mapping[str, Any] = self.database.documents[PATH].fields["delivery"]
        return delivery

    @property
    def history(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.delivery["history"]
        return found

    def told(self) -> list[tuple[int, str, str | None]]:
        return [(entry["attempt"], entry["state"], entry["errorCode"]) for entry in self.history]


def test_a_result_and_its_attempt_are_one_write() -> None:
    mail = Mailbox()
    began, claim = mail.clock.now, mail.claim()
    assert "history" not in mail.delivery
    writes: list[str] = []
    mail.database.on_write = lambda path, old, new: writes.append(path)
    mail.finish(claim, seconds=3)
    assert writes == [PATH]
    assert mail.history == [
        {
            "attempt": 1,
            "startTime": began,
            "endTime": began + timedelta(seconds=3),
            "state": "SUCCESS",
            "errorCode": None,
            "transport": "default",
            "messageId": "<1@b.c>",
            "response": "250 Ok",
        }
    ]


def test_attempts_follow_one_another() -> None:
    mail = Mailbox(TWICE)
    mail.finish(mail.claim(), LATER)
    mail.clock.advance(timedelta(days=1))
    mail.finish(mail.claim(), LATER)
    mail.user_sets("RETRY")
    mail.finish(mail.claim())
    assert mail.told() == [(1, "RETRY", "temporary"), (2, "ERROR", "temporary"), (3, "SUCCESS", None)]
    assert [entry["response"] for entry in mail.history] == ["451 Later", "451 Later", "250 Ok"]


def test_an_edit_meanwhile_leaves_the_history_as_it_would_be() -> None:
    mail = Mailbox()
    claim = mail.claim()
    mail.database.edit(PATH, {"note": "mine"})
    assert mail.finish(claim) is Reason.FINISHED
    assert mail.told() == [(1, "SUCCESS", None)]


def test_a_result_whose_answer_is_lost_is_there_once() -> None:
    mail = Mailbox()
    claim = mail.claim()
    mail.database.lose_answers = 1
    assert mail.finish(claim) is Reason.FINISHED
    assert mail.told() == [(1, "SUCCESS", None)]


def test_a_released_claim_leaves_nothing() -> None:
    mail = Mailbox()
    mail.claims().end(Release(mail.claim()))
    assert "history" not in mail.delivery
    mail.finish(mail.claim())
    assert mail.told() == [(1, "SUCCESS", None)]


def test_a_user_who_asks_again_meanwhile_finds_the_attempt_in_the_history() -> None:
    mail = Mailbox()
    claim = mail.claim()
    mail.user_sets("RETRY")
    assert mail.finish(claim) is Reason.REQUEUED
    assert (mail.delivery["state"], mail.told()) == ("RETRY", [(1, "SUCCESS", None)])
    mail.finish(mail.claim(), LATER)
    assert mail.told() == [(1, "SUCCESS", None), (2, "ERROR", "temporary")]


class TestExpiredLease:
    """The holder of a lease has vanished."""

    def in_an_event(self, mail: Mailbox) -> None:
        document = mail.database.documents[PATH]
        known, version = DocumentState.of(document.fields), document.version
        self.dispatcher(mail).dispatcher().handle(DocumentChange(PATH, None, known, version))

    def by_the_reconciler(self, mail: Mailbox) -> None:
        self.dispatcher(mail).reconciler().run()

    def at_redelivery(self, mail: Mailbox) -> None:
        assert isinstance(mail.claims().begin(ClaimRequest(PATH, mail.clock.now)), Decision)

    def dispatcher(self, mail: Mailbox) -> DispatcherParts:
        return DispatcherParts(mail.policy, mail.database, clock=mail.clock)

    @pytest.mark.parametrize("find", [in_an_event, by_the_reconciler, at_redelivery])
    def test_whoever_finds_it_adds_the_attempt(self, find: Any) -> None:
        mail = Mailbox()
        mail.finish(mail.claim(), LATER)
        mail.user_sets("RETRY")
        began, _ = mail.clock.now, mail.claim()
        mail.clock.advance(2 * LEASE)
        find(self, mail)
        assert mail.told() == [(1, "ERROR", "temporary"), (2, "ERROR", "lease-expired")]
        assert (mail.history[1]["startTime"], mail.history[1]["endTime"]) == (began, mail.clock.now)

    def test_a_late_result_replaces_the_guess(self) -> None:
        mail = Mailbox()
        claim = mail.claim()
        mail.clock.advance(LEASE)
        self.at_redelivery(mail)
        assert mail.told() == [(1, "ERROR", "lease-expired")]
        assert mail.finish(claim) is Reason.LATE_RESULT
        assert mail.told() == [(1, "SUCCESS", None)]

    @pytest.mark.parametrize("find", [in_an_event, by_the_reconciler, at_redelivery])
    def test_it_is_not_forgotten_when_the_mail_that_is_asked_for_again_has_expired(self, find: Any) -> None:
        mail = Mailbox()
        mail.claim()
        mail.user_sets("RETRY")
        mail.clock.advance(2 * LEASE)
        mail.database.edit(PATH, {"expiresAt": mail.clock.now})
        find(self, mail)
        assert mail.delivery["errorCode"] == "expired"
        assert mail.told() == [(1, "ERROR", "lease-expired")]

    def test_an_outdated_result_changes_nothing(self) -> None:
        mail = Mailbox(TWICE)
        claim = mail.claim()
        mail.clock.advance(LEASE)
        newer = mail.claim()
        assert mail.finish(claim) is Reason.OUTDATED
        assert mail.told() == [(1, "ERROR", "lease-expired")]
        mail.finish(newer)
        assert mail.told() == [(1, "ERROR", "lease-expired"), (2, "SUCCESS", None)]

    def test_a_claim_whose_answer_is_lost_has_added_it_once(self) -> None:
        mail = Mailbox(TWICE)
        mail.claim()
        mail.clock.advance(LEASE)
        mail.database.lose_answers = 1
        mail.finish(mail.claim())
        assert mail.told() == [(1, "ERROR", "lease-expired"), (2, "SUCCESS", None)]

    def test_a_user_who_asked_again_meanwhile_finds_it_too(self) -> None:
        mail = Mailbox()
        mail.claim()
        mail.user_sets("RETRY")
        mail.clock.advance(LEASE)
        mail.finish(mail.claim())
        assert mail.told() == [(1, "ERROR", "lease-expired"), (2, "SUCCESS", None)]


class TestBounds:
    def test_the_last_twenty_attempts_are_kept(self) -> None:
        mail = Mailbox()
        for _ in range(history.MOST_ENTRIES + 5):
            mail.finish(mail.claim(), LATER)
            mail.user_sets("RETRY")
        assert [entry["attempt"] for entry in mail.history] == list(range(6, 26))

    def test_texts_are_cut(self) -> None:
        mail = Mailbox()
        mail.finish(mail.claim(), replace(SENT, response="5" * 2_000))
        assert mail.history[0]["response"] == "5" * 500

    def test_a_document_without_room_for_it_has_none(self) -> None:
        mail = Mailbox()
        mail.finish(mail.claim(), replace(LATER, response="4" * 500))
        mail.user_sets("RETRY")
        claim = mail.claim()
        mail.database.most_bytes = encode(mail.database.documents[PATH].fields).ByteSize()
        assert mail.finish(claim) is Reason.FINISHED
        assert (mail.delivery["state"], mail.delivery["info"]) == ("SUCCESS", {"accepted": ["a@b.c"]})
        assert "history" not in mail.delivery

    def test_an_expired_lease_without_room_for_it_ends_without(self) -> None:
        mail = Mailbox()
        earlier = [{"attempt": number} for number in range(2, 22)]
        mail.database.edit(PATH, {"delivery": {"info": {"accepted": ["a@b.c"] * 50}, "history": earlier}})
        version = mail.database.edit(PATH, {"delivery.state": "PROCESSING", "delivery.attempts": 1})
        mail.database.most_bytes = encode(mail.database.documents[PATH].fields).ByteSize()
        known = DocumentState.of(mail.database.documents[PATH].fields)
        parts = DispatcherParts(mail.policy, mail.database, clock=mail.clock)
        parts.dispatcher().handle(DocumentChange(PATH, known, known, Version(seconds=version.seconds)))
        assert (mail.delivery["state"], mail.delivery["errorCode"]) == ("ERROR", "lease-expired")
        assert (len(mail.delivery["info"]["accepted"]), "history" in mail.delivery) == (50, False)


class TestRedaction:
    def test_no_words_of_mail_servers_are_left(self) -> None:
        mail = Mailbox(TWICE)
        mail.finish(mail.claim(), LATER)
        assert mail.history[0]["response"] == "451 Later"
        mail.clock.advance(timedelta(days=1))
        mail.finish(mail.claim(), replace(SENT, retained={"message.text": DELETE, "delivery.redacted": True}))
        assert mail.told() == [(1, "RETRY", "temporary"), (2, "SUCCESS", None)]
        assert [entry["response"] for entry in mail.history] == [None, None]


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ENTRY = history.ended(3, NOW, NOW, State.RETRY, "temporary", "default", "<1@b.c>", "451")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        pytest.param(None, (), id="none"),
        pytest.param({"attempt": 1}, (), id="no-list"),
        pytest.param([1, "x", None, [], {}], (), id="no-entries"),
        pytest.param([{"attempt": "1"}, {"attempt": True}, {"attempt": 1.0}], (), id="no-attempt-number"),
        pytest.param([dict(ENTRY)], (ENTRY,), id="as-written"),
        pytest.param([{**ENTRY, "more": 1}], (ENTRY,), id="an-unknown-key"),
        pytest.param(
            [{"attempt": 3, "startTime": "x", "state": 7, "response": ["x"]}],
            ({**dict.fromkeys(ENTRY), "attempt": 3},),
            id="wrong-types",
        ),
        pytest.param([{**ENTRY, "response": "5" * 10**6}], ({**ENTRY, "response": "5" * 500},), id="too-long"),
        pytest.param([dict(ENTRY)] * 10_000, (ENTRY,) * 20, id="too-many"),
    ],
)
def test_what_anyone_wrote_is_read_with_known_keys_types_and_lengths(value: object, read: object) -> None:
    assert history.entries(value) == read


@pytest.mark.parametrize("end", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), NOW])
def test_the_start_of_an_attempt_can_be_told_from_any_lease(end: datetime) -> None:
    assert history.start_of(end, LEASE, NOW) <= NOW
