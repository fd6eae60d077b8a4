"""Concurrent messages: they share requests, and each still has its own outcome."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.waiting import wait_until
from sender.worker.claim_slots import ClaimSlots
from shared.delivery.model import Reason
from shared.errors import ErrorCode, FirepostError, NotSent, Unavailable
from shared.firestore.database import Snapshot, Unwritable, Version, Write
from shared.observability import tracing
from tests.assembly import LEASE, PATIENCE, limits, unclaimed
from tests.together import Together, outcomes


@pytest.fixture
def world() -> Iterator[Together]:
    with ThreadPoolExecutor(32) as threads:
        yield Together(threads)


def test_concurrent_mails_share_one_read_and_two_writes(world: Together) -> None:
    world.write(*"abcde")
    assert outcomes(world.together("abcde", results=5)) == ["sent"] * 5
    assert (world.database.reads, world.database.writes) == ([1, 5], [1, 5, 1, 5])
    assert {world.delivery(name)["state"] for name in "abcde"} == {"SUCCESS"}


def test_each_has_its_own_outcome(world: Together) -> None:
    def on_mail(recipients: tuple[str, ...]) -> None:
        if recipients == ("refused@b.c",):
            raise NotSent(ErrorCode.REJECTED, "550 No.")
        if recipients == ("bug@b.c",):
            raise ZeroDivisionError

    world.transport.on_mail = on_mail
    world.write("a", "refused", "bug", "held", "ended", "z")
    world.database.edit("mail/held", {"delivery": {"state": "PROCESSING", "leaseExpireTime": world.clock.now + LEASE}})
    world.database.edit("mail/ended", {"delivery": {"state": "SUCCESS"}})
    world.database.edit("mail/z", {"delivery": {"state": "PENDING", "attempts": 2**63 - 1}})
    world.database.put("mail/invalid", {"message": {"subject": "s", "text": "t"}})
    names = ["a", "refused", "bug", "held", "ended", "missing", "invalid", "z"]
    assert outcomes(world.together(names)) == [
        *("sent", "rejected", "unknown", "(lease-held)", "final-state", "deleted", "validation", "sent")
    ]


def test_two_messages_about_one_document_send_it_once(world: Together) -> None:
    world.write("a", "b")
    found = sorted(outcomes(world.together("aab")))
    assert found[-2:] == ["sent", "sent"]
    assert found[0] in ("(lease-held)", "final-state")
    assert world.sent() == ["a", "b"]


def test_a_document_edited_right_before_its_claim_is_sent_with_the_edit(world: Together) -> None:
    def edit(method: str, paths: Sequence[str]) -> None:
        if method == "write" and len(paths) == 3:
            world.database.edit("mail/b", {"to": "new@b.c"})

    world.database.before = edit
    world.write(*"abc")
    assert outcomes(world.together("abc")) == ["sent"] * 3
    assert world.sent() == ["a", "c", "new"]


def test_an_edit_while_sending_does_not_prevent_the_result(world: Together) -> None:
    world.write(*"abc")
    world.transport.on_mail = lambda recipients: world.database.edit("mail/a", {"note": "seen"})
    assert outcomes(world.together("abc", results=3)) == ["sent"] * 3
    assert world.delivery("a")["state"] == "SUCCESS"
    assert world.database.documents["mail/a"].fields["note"] == "seen"


def test_mails_are_sent_concurrently(world: Together) -> None:
    all_at_once = threading.Barrier(3, timeout=PATIENCE)
    world.transport.on_mail = lambda recipients: recipients == ("first@b.c",) or all_at_once.wait()
    world.write(*"abc")
    assert outcomes(world.together("abc")) == ["sent"] * 3


@pytest.mark.parametrize("hanging", "abc")
def test_a_mail_that_hangs_delays_no_other_mail_and_no_result(world: Together, hanging: str) -> None:
    go_on = threading.Event()
    world.transport.on_mail = lambda recipients: recipients != (f"{hanging}@b.c",) or go_on.wait(PATIENCE)
    world.write(*"abc")
    futures = world.together("abc")
    others = [name for name in "abc" if name != hanging]
    assert wait_until(lambda: all(world.delivery(name).get("state") == "SUCCESS" for name in others), PATIENCE)
    assert world.delivery(hanging)["state"] == "PROCESSING"
    go_on.set()
    assert outcomes(futures) == ["sent"] * 3
    assert world.sent() == ["a", "b", "c"]


class Failing:
    """Makes Firestore fail the n-th batched request of a kind, before or after executing it."""

    def __init__(self, world: Together, method: str, nth: int, is_done: bool) -> None:
        self._left, self._is_done = nth, is_done
        self._original = getattr(world.database, method)
        setattr(world.database, method, self._answer)

    def _answer(self, items: Sequence[Any]) -> list[Any]:
        if len(items) == 1:
            return self._original(items)  # type: ignore[no-any-return]
        self._left -= 1
        if self._left:
            return self._original(items)  # type: ignore[no-any-return]
        if self._is_done:
            self._original(items)
        return [Unavailable("down") for _ in items]


class TestFirestoreFails:
    @pytest.mark.parametrize(
        ("method", "nth", "is_done"),
        [
            pytest.param("read", 1, False, id="reading-documents"),
            pytest.param("write", 1, False, id="writing-claims"),
            pytest.param("write", 1, True, id="answering-after-writing-claims"),
            pytest.param("write", 2, False, id="writing-results"),
            pytest.param("write", 2, True, id="answering-after-writing-results"),
        ],
    )
    def test_once_and_every_mail_is_sent_once(self, world: Together, method: str, nth: int, is_done: bool) -> None:
        world.write(*"abc")
        Failing(world, method, nth, is_done)
        assert outcomes(world.together("abc", results=3)) == ["sent"] * 3
        assert world.sent() == ["a", "b", "c"]
        assert {(world.delivery(name)["state"], world.delivery(name)["attempts"]) for name in "abc"} == {("SUCCESS", 1)}

    def test_persistently_before_the_claim_and_nothing_is_sent(
        self, world: Together, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(world.sender._store, "_retry_seconds", 0)
        world.write(*"abc")
        world.database.before = _down
        assert outcomes(world.together("abc")) == ["down"] * 3
        assert world.sent() == []

    def test_persistently_after_sending_and_the_lost_results_are_logged(
        self, world: Together, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(world.sender._store, "_finish_retry_seconds", 0)
        world.write(*"abc")
        is_sent = threading.Event()

        def on_mail(recipients: tuple[str, ...]) -> None:
            if recipients != ("first@b.c",):
                is_sent.set()

        def before(method: str, paths: Sequence[str]) -> None:
            if is_sent.is_set():
                _down(method, paths)

        world.transport.on_mail, world.database.before = on_mail, before
        assert outcomes(world.together("abc", results=3)) == ["down"] * 3
        lost = [vars(record)["fields"]["document"] for record in caplog.records if record.levelname == "CRITICAL"]
        assert sorted(lost) == ["mail/a", "mail/b", "mail/c"]


def _down(method: str, paths: Sequence[str]) -> None:
    raise Unavailable("down")


class TestOneResult:
    """One of three results can't be written; the other two are."""

    @pytest.fixture
    def bad_details(self, world: Together, monkeypatch: pytest.MonkeyPatch) -> FirepostError:
        """Makes Firestore refuse details in the document `b`."""
        write, transact = world.database.write, world.database.transact

        def is_too_long(each: Write) -> bool:
            return each.path == "mail/b" and "delivery.info" in each.changes

        def refusing(writes: Sequence[Write]) -> list[Version | FirepostError]:
            return [
                Unwritable("too large")
                if each.path == "mail/b" and "delivery.info" in each.changes
                else write([each])[0]
                for each in writes
            ]

        def fitting(path: str, decide: Any) -> Any:
            def decided(snapshot: Snapshot | None) -> Any:
                decision, changes = decide(snapshot)
                if path == "mail/b" and "delivery.info" in (changes or {}):
                    raise Unwritable("too large")
                return decision, changes

            return transact(path, decided)

        monkeypatch.setattr(world.database, "write", refusing)
        monkeypatch.setattr(world.database, "transact", fitting)
        return Unwritable("too large")

    def test_that_is_too_large_for_its_document_is_written_without_details(
        self, world: Together, bad_details: FirepostError
    ) -> None:
        world.write(*"abc")
        assert outcomes(world.together("abc")) == ["sent"] * 3
        assert ["info" in world.delivery(name) for name in "abc"] == [True, False, True]
        assert {world.delivery(name)["state"] for name in "abc"} == {"SUCCESS"}

    def test_that_raises_a_bug_does_not_affect_the_others(
        self, world: Together, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        with_entry = world.sender._store._with_entry

        def broken(write: Any, finish: Any, *others: Any) -> Any:
            if finish.claim.path == "mail/b":
                raise ZeroDivisionError("a bug")
            return with_entry(write, finish, *others)

        monkeypatch.setattr(world.sender._store, "_with_entry", broken)
        world.write(*"abc")
        first, second, third = world.together("abc", results=3)
        assert outcomes([first, third]) == ["sent"] * 2
        assert isinstance(second.exception(PATIENCE), ZeroDivisionError)
        assert {world.delivery(name)["state"] for name in "ac"} == {"SUCCESS"}


def test_each_mail_is_logged_in_its_own_trace(world: Together) -> None:
    seen: dict[str, dict[str, str]] = {}
    traces = {name: {tracing.TRACEPARENT: f"00-{name * 32}-{name * 16}-01"} for name in "ab"}
    world.transport.on_mail = lambda recipients: seen.update({recipients[0][0]: tracing.attributes()})
    world.attributes = traces
    world.write(*"abc")
    assert outcomes(world.together("abc")) == ["sent"] * 3
    assert seen == {**traces, "c": {}, "f": {}}


class TestClaimSlots:
    """The number of mails that are claimed and not yet sent is limited."""

    @pytest.fixture
    def go_on(self, world: Together) -> Iterator[threading.Event]:
        """The only slot is taken until this is set."""
        go_on = threading.Event()
        world.transport.on_mail = lambda recipients: go_on.wait(PATIENCE)
        yield go_on
        go_on.set()

    def with_the_only_slot_taken(self, world: Together, queue_seconds: float = PATIENCE) -> Any:
        world.parts.limits = limits(claimed=1, queue_seconds=queue_seconds)
        world.sender = world.parts.sender()
        world.write("a", "b")
        at_server, on_mail = threading.Event(), world.transport.on_mail

        def arrive(recipients: tuple[str, ...]) -> None:
            at_server.set()
            on_mail(recipients)

        world.transport.on_mail = arrive
        first = world.submit("a")
        assert at_server.wait(PATIENCE)
        return first

    def test_a_mail_waits_unclaimed_until_another_is_sent(self, world: Together, go_on: threading.Event) -> None:
        first, second = self.with_the_only_slot_taken(world), world.submit("b")
        assert unclaimed(world.database, "mail/b")
        go_on.set()
        assert outcomes([first, second]) == ["sent", "sent"]

    def test_writing_a_result_needs_no_slot(self, world: Together, go_on: threading.Event) -> None:
        both = threading.Barrier(2, timeout=PATIENCE)

        def writing(method: str, paths: Sequence[str]) -> None:
            if world.delivery(paths[0][-1]).get("state") == "PROCESSING" and list(paths) == ["mail/a"]:
                both.wait()
            if method == "read" and list(paths) == ["mail/b"]:
                both.wait()

        first, second = self.with_the_only_slot_taken(world), world.submit("b")
        world.database.before = writing
        go_on.set()
        assert outcomes([first, second]) == ["sent", "sent"]

    def test_a_mail_without_a_slot_in_time_is_not_claimed_and_its_message_is_redelivered(
        self, world: Together, go_on: threading.Event, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        first = self.with_the_only_slot_taken(world, queue_seconds=0.01)
        assert outcomes([world.submit("b")]) == ["(busy)"]
        assert unclaimed(world.database, "mail/b")
        assert "message busy" in caplog.messages
        go_on.set()
        assert outcomes([first]) == ["sent"]

    def test_a_mail_that_waits_at_shutdown_is_released_at_once(self, world: Together, go_on: threading.Event) -> None:
        first, second = self.with_the_only_slot_taken(world), world.submit("b")
        world.sender.drain()
        assert outcomes([second]) == ["(released)"]
        assert unclaimed(world.database, "mail/b")
        go_on.set()
        assert outcomes([first]) == ["sent"], "it had reached the mail server"

    def test_the_slot_is_freed_whatever_the_outcome(self, world: Together) -> None:
        world.parts.limits = limits(claimed=1, queue_seconds=0)
        world.sender = world.parts.sender()
        world.write("ok")
        world.database.put("mail/invalid", {"message": {"subject": "s", "text": "t"}})
        world.transport.fail = ZeroDivisionError()
        assert [world.handle(name).reason for name in ("invalid", "missing", "ok")] == [
            *("validation", "deleted", "unknown")
        ]
        world.transport.fail = None
        world.write("ok")
        assert world.handle("ok").reason == "sent"

    def test_slots_are_counted_until_closed(self) -> None:
        slots = ClaimSlots(lambda waiting: 2, wait_seconds=0)
        assert [slots.acquire() for _ in range(3)] == [None, None, Reason.BUSY]
        slots.release()
        assert slots.acquire() is None
        slots.close()
        slots.release()
        assert slots.acquire() is Reason.RELEASED

    def test_a_slot_that_is_there_because_many_wait_is_taken(self) -> None:
        slots = ClaimSlots(lambda waiting: 2 if waiting else 1, wait_seconds=PATIENCE)
        assert slots.acquire() is None
        with ThreadPoolExecutor(2) as two:
            waiting = [two.submit(slots.acquire) for _ in range(2)]
            assert wait_until(lambda: any(future.done() for future in waiting), PATIENCE)
            slots.release()
            slots.release()
            assert [future.result(PATIENCE) for future in waiting] == [None, None]


def test_at_shutdown_mails_that_have_not_reached_the_server_are_released(world: Together) -> None:
    """One mail is already at the server; the other two are claimed but not composed."""
    composing, drained = world.parts.compose, threading.Event()
    at_server = threading.Event()

    def compose(*args: Any, **kwargs: Any) -> Any:
        if args[0]["to"] in ("b@b.c", "c@b.c"):
            assert drained.wait(PATIENCE)
        return composing(*args, **kwargs)

    world.parts.compose = compose

    def on_mail(recipients: tuple[str, ...]) -> None:
        if recipients != ("first@b.c",):
            at_server.set()
            drained.wait(PATIENCE)

    world.transport.on_mail = on_mail
    world.write(*"abc")
    futures = world.together("abc")
    assert at_server.wait(PATIENCE)
    world.sender.drain()
    drained.set()
    assert outcomes(futures) == ["sent", "(released)", "(released)"]
    assert [(world.delivery(name)["state"], world.delivery(name)["attempts"]) for name in "abc"] == [
        *(("SUCCESS", 1), ("PENDING", 0), ("PENDING", 0))
    ]
