"""Messages that come together: what they share, and that each has its own outcome all the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from local.waiting import wait_until
from sender import handful
from sender.attempt import Attempts, Verdict
from sender.compose import Defaults, compose
from sender.downloads.downloader import Downloads
from sender.handful import HandfulSender, Pace
from sender.handler import Sender
from sender.transport.envelope import Envelope, Receipt
from shared import bulk_store, coalescer, tracing
from shared.addresses import Address
from shared.bulk_store import BulkStore
from shared.database import PreparedWrite, Snapshot, Unwritable, Version
from shared.deadline import Deadline
from shared.errors import ErrorCode, FirepostError, NotSent, Unavailable
from shared.policy import LeaseExpiryPolicy, Policy
from shared.push import Delivered
from shared.states import Changes
from shared.store import MailStore
from tests.fakes import Clock, MemoryDatabase, MemoryPublisher

LEASE = timedelta(seconds=60)
POLICY = Policy(LEASE)
PATIENCE = 10
SENT = Verdict(True, "sent")


class Database(MemoryDatabase):
    """Remembers its requests.

    The next `failing` bulk writes fail as a whole: before, or after they were done. `on_bulk_write` runs once, right
    before the next one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []
        self.writes: list[int] = []
        self.on_bulk_write: Callable[[], object] = lambda: None
        self.failing = 0
        self.is_done_nevertheless = False

    def get_many(self, paths: Sequence[str]) -> list[Snapshot | None]:
        self.reads.append(len(paths))
        return super().get_many(paths)

    def write_many(self, writes: Sequence[PreparedWrite]) -> list[Version | FirepostError]:
        self.writes.append(len(writes))
        meanwhile, self.on_bulk_write = self.on_bulk_write, lambda: None
        meanwhile()
        if self.failing:
            self.failing -= 1
            if self.is_done_nevertheless:
                super().write_many(writes)
            raise Unavailable("down")
        return super().write_many(writes)


class Transport:
    """A mail server that takes everything. `on_mail` is called with the recipient before it does."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.on_mail: Callable[[str], object] = lambda recipient: None

    def send(self, envelope: Envelope, data: bytes, deadline: Deadline) -> Receipt:
        [recipient] = envelope.recipients
        self.on_mail(recipient)
        self.sent.append(recipient)
        return Receipt((recipient,), (), (), "250 Ok")

    def close(self) -> None:
        """Nothing is open."""


class World:
    """A sender, and threads that hand it messages."""

    def __init__(self, threads: ThreadPoolExecutor, policy: Policy = POLICY) -> None:
        self.at_once, self.policy = 8, policy
        self.clock, self.database, self.transport = Clock(), Database(), Transport()
        self.pace = Pace(32)
        self.attributes: dict[str, dict[str, str]] = {}
        self._threads = threads
        self.sender = self.new_sender()

    def new_sender(self) -> HandfulSender:
        store = MailStore(self.database, self.policy, sleep=lambda seconds: None)
        attempts = Attempts(
            store,
            self.transport,
            compose=partial(compose, defaults=Defaults(Address("", "shop@example.com"))),
            downloads=Downloads(),
            clock=self.clock,
        )
        sender = Sender(store, attempts, MemoryPublisher(), collection="mail", attempt_seconds=50, clock=self.clock)
        bulk = BulkStore(self.database, self.policy, sleep=lambda seconds: None)
        return HandfulSender(
            sender,
            attempts,
            bulk,
            pace=self.pace,
            at_once=self.at_once,
            wait_seconds=PATIENCE,
            queue_seconds=PATIENCE,
            work_seconds=PATIENCE,
        )

    def write(self, *names: str) -> None:
        for name in names:
            self.database.put(f"mail/{name}", {"to": f"{name}@b.c", "message": {"subject": "s", "text": "t"}})

    def handle(self, name: str) -> Verdict:
        data = json.dumps({"document": f"mail/{name}"}).encode()
        return self.sender.handle(Delivered(data, self.attributes.get(name, {}), "77"))

    def together(self, names: Sequence[str]) -> list[Future[Verdict]]:
        """The messages of these documents, all of which come while another mail is being sent."""
        self.write("first")
        is_sending, go_on, react = threading.Event(), threading.Event(), self.transport.on_mail

        def on_mail(recipient: str) -> None:
            if recipient == "first@b.c":
                is_sending.set()
                go_on.wait(PATIENCE)
            else:
                react(recipient)

        self.transport.on_mail = on_mail
        first = self._threads.submit(self.handle, "first")
        assert is_sending.wait(PATIENCE)
        self.database.reads.clear()
        futures = [self._threads.submit(self.handle, name) for name in names]
        assert wait_until(lambda: self.waiting() == len(set(names)), PATIENCE, pause=0.001)
        go_on.set()
        assert first.result(PATIENCE) == SENT
        return futures

    def waiting(self) -> int:
        batch = self.sender._together._open
        return len(batch.items) if batch else 0

    def delivery(self, name: str) -> dict[str, Any]:
        delivery: dict[str, Any] = self.database.documents[f"mail/{name}"].fields.get("delivery", {})
        return delivery


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(32) as threads:
        yield World(threads)


def results(futures: Sequence[Future[Verdict]]) -> list[str]:
    """The reasons of the verdicts, marked where the message comes again; or the errors."""
    found = []
    for future in futures:
        try:
            verdict = future.result(PATIENCE)
            found.append(verdict.reason if verdict.acknowledge else f"({verdict.reason})")
        except FirepostError as error:
            found.append(str(error))
    return found


def test_mails_that_come_together_share_one_read_and_two_writes(world: World) -> None:
    world.write(*"abcde")
    assert results(world.together("abcde")) == ["sent"] * 5
    assert (world.database.reads, world.database.writes) == ([5], [5, 5])
    assert {world.delivery(name)["state"] for name in "abcde"} == {"SUCCESS"}


def test_a_mail_that_comes_alone_is_written_alone(world: World) -> None:
    world.write("a")
    assert world.handle("a") == SENT
    assert (world.database.reads, world.database.writes) == ([], [])
    assert world.delivery("a")["state"] == "SUCCESS"


def test_each_has_its_own_outcome(world: World) -> None:
    def on_mail(recipient: str) -> None:
        if recipient == "refused@b.c":
            raise NotSent(ErrorCode.REJECTED, "550 No.")
        if recipient == "bug@b.c":
            raise ZeroDivisionError

    world.transport.on_mail = on_mail
    world.write("a", "refused", "bug", "held", "ended", "z")
    world.database.edit("mail/held", {"delivery": {"state": "PROCESSING", "leaseExpireTime": world.clock.now + LEASE}})
    world.database.edit("mail/ended", {"delivery": {"state": "SUCCESS"}})
    world.database.put("mail/invalid", {"message": {"subject": "s", "text": "t"}})
    names = ["a", "refused", "bug", "held", "ended", "missing", "invalid", "z"]
    assert results(world.together(names)) == [
        *("sent", "rejected", "unknown", "(lease-held)", "final-state", "deleted", "validation", "sent")
    ]


def test_two_messages_about_one_document_send_it_once(world: World) -> None:
    world.write("a", "b")
    assert sorted(results(world.together("aab"))) == ["final-state", "sent", "sent"]
    assert sorted(world.transport.sent) == ["a@b.c", "b@b.c", "first@b.c"]


def test_a_document_that_is_edited_before_the_claim_is_claimed_alone_with_the_edit(world: World) -> None:
    world.write(*"abc")
    world.database.on_bulk_write = lambda: world.database.edit("mail/b", {"to": "new@b.c"})
    assert results(world.together("abc")) == ["sent"] * 3
    assert sorted(world.transport.sent) == ["a@b.c", "c@b.c", "first@b.c", "new@b.c"]


def test_an_edit_while_sending_does_not_hinder_the_result(world: World) -> None:
    world.write(*"abc")
    world.transport.on_mail = lambda recipient: world.database.edit("mail/a", {"note": recipient})
    assert results(world.together("abc")) == ["sent"] * 3
    assert world.delivery("a")["state"] == "SUCCESS"
    assert world.database.documents["mail/a"].fields["note"] == "c@b.c"


class TestSlowServer:
    @pytest.fixture(autouse=True)
    def _short_patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handful, "_LONGEST_SECONDS", 0.01)
        monkeypatch.setattr(coalescer, "TAKE_BACK_SECONDS", 0.01)

    def test_mails_that_would_have_to_wait_are_sent_in_threads_of_their_own(self, world: World) -> None:
        all_at_once = threading.Barrier(3, timeout=PATIENCE)
        world.transport.on_mail = lambda recipient: all_at_once.wait()
        world.write(*"abc")
        assert results(world.together("abc")) == ["sent"] * 3
        assert world.database.writes[0] == 3, "claimed together"

    @pytest.mark.parametrize("hanging", "abc")
    def test_a_mail_that_hangs_keeps_no_other_and_no_result_waiting(self, world: World, hanging: str) -> None:
        go_on = threading.Event()
        world.transport.on_mail = lambda recipient: recipient[0] != hanging or go_on.wait(PATIENCE)
        world.write(*"abc")
        futures = world.together("abc")
        others = [name for name in "abc" if name != hanging]
        assert wait_until(lambda: all(world.delivery(name).get("state") == "SUCCESS" for name in others), PATIENCE)
        assert world.delivery(hanging)["state"] == "PROCESSING"
        go_on.set()
        assert results(futures) == ["sent"] * 3
        assert sorted(world.transport.sent) == ["a@b.c", "b@b.c", "c@b.c", "first@b.c"]


class TestFirestoreFails:
    @pytest.mark.parametrize("claims_and_results", [1, 2])
    @pytest.mark.parametrize("is_done", [False, True])
    def test_for_a_moment_and_every_mail_is_sent_once(
        self, world: World, is_done: bool, claims_and_results: int
    ) -> None:
        world.write(*"abc")
        world.database.failing, world.database.is_done_nevertheless = claims_and_results, is_done
        assert results(world.together("abc")) == ["sent"] * 3
        assert sorted(world.transport.sent) == ["a@b.c", "b@b.c", "c@b.c", "first@b.c"]
        assert {world.delivery(name)["attempts"] for name in "abc"} == {1}

    def test_for_long_before_the_claim_and_nothing_is_sent(self, world: World) -> None:
        world.write(*"abc")
        world.database.failing = 10**9
        world.sender._store._patiently.stop = lambda state: state.attempt_number > 2
        assert results(world.together("abc")) == ["down"] * 3
        assert world.transport.sent == ["first@b.c"]

    def test_for_long_after_sending_and_an_operator_reads_which_results_are_lost(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(recipient: str) -> None:
            world.database.failing = 10**9

        world.transport.on_mail = fail
        world.sender._store._most_patiently.stop = lambda state: state.attempt_number > 2
        world.write(*"abc")
        assert results(world.together("abc")) == ["down"] * 3
        assert caplog.messages.count("the attempt's result could not be written") == 3

    def test_to_answer_for_one_write_that_it_has_done_and_the_deadline_stays_within_the_lease(
        self, world: World
    ) -> None:
        write_many = world.database.write_many

        def unanswered(writes: Sequence[PreparedWrite]) -> list[Version | FirepostError]:
            world.database.write_many = write_many  # type: ignore[method-assign]
            write_many(writes)
            return [Unavailable("no answer") for _ in writes]

        world.database.write_many = unanswered  # type: ignore[method-assign]
        world.write(*"abc")
        assert results(world.together("abc")) == ["sent"] * 3
        assert sorted(world.transport.sent) == ["a@b.c", "b@b.c", "c@b.c", "first@b.c"]
        assert {world.delivery(name)["attempts"] for name in "abc"} == {1}


def test_a_read_that_is_refused_is_taken_apart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    get_many = world.database.get_many

    def refused(paths: Sequence[str]) -> list[Snapshot | None]:
        if len(paths) > 1:
            raise Unwritable("one of them is no name")
        return get_many(paths)

    monkeypatch.setattr(world.database, "get_many", refused)
    world.write(*"abc")
    assert results(world.together("abc")) == ["sent"] * 3


def test_a_bug_about_one_result_costs_no_other_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = world.database.prepare_update

    def prepare_update(path: str, changes: Changes, version: Version) -> PreparedWrite:
        if path == "mail/b" and changes["delivery.state"] == "SUCCESS":
            raise TypeError("a bug")
        return prepare(path, changes, version)

    monkeypatch.setattr(world.database, "prepare_update", prepare_update)
    world.write(*"abc")
    first, second, third = world.together("abc")
    assert results([first, third]) == ["sent"] * 2
    assert isinstance(second.exception(PATIENCE), TypeError)


def test_a_result_too_long_for_its_document_is_written_without_its_details(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = world.database.prepare_update

    def prepare_update(path: str, changes: Changes, version: Version) -> PreparedWrite:
        if path == "mail/full" or (path == "mail/b" and "delivery.info" in changes):
            raise Unwritable("too large")
        return prepare(path, changes, version)

    monkeypatch.setattr(world.database, "prepare_update", prepare_update)
    world.write("a", "b", "full")
    assert results(world.together(["a", "b", "full"])) == ["sent", "sent", "unwritable"]
    assert "info" in world.delivery("a")
    assert world.delivery("b")["state"] == "SUCCESS"
    assert "info" not in world.delivery("b")


def test_each_mail_is_logged_in_its_own_trace(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, dict[str, str]] = {}
    world.transport.on_mail = lambda recipient: seen.update({recipient[0]: tracing.attributes()})
    world.attributes = {name: {tracing.TRACEPARENT: f"00-{name * 32}-{name * 16}-01"} for name in "ab"}
    world.write(*"abc")
    assert results(world.together("abc")) == ["sent"] * 3
    assert seen == {**world.attributes, "c": {}}


def test_results_that_are_too_long_for_one_request_go_in_several(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_store, "MAX_REQUEST_BYTES", 250)  # a write to the fake counts 100
    world.write(*"abcde")
    assert results(world.together("abcde")) == ["sent"] * 5
    assert world.database.writes == [2, 2, 1] * 2


def test_who_waits_for_a_turn_when_the_sender_shuts_down_claims_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world.at_once = 1
    world.sender = world.new_sender()
    world.write("a")
    go_on = threading.Event()
    with ThreadPoolExecutor() as threads:
        world.write("first")
        world.transport.on_mail = lambda recipient: go_on.wait(PATIENCE)
        first = threads.submit(world.handle, "first")
        assert wait_until(lambda: world.sender._together._under_way == 1, PATIENCE, pause=0.001)
        waiting = threads.submit(world.handle, "a")
        assert wait_until(lambda: world.waiting() == 1, PATIENCE, pause=0.001)
        world.sender.drain()
        assert results([waiting]) == ["(released)"]
        assert "message released" in caplog.messages
        go_on.set()
        assert results([first]) == ["sent"]
    assert "delivery" not in world.database.documents["mail/a"].fields


def test_a_sender_that_shuts_down_gives_back_what_has_not_reached_the_server(world: World) -> None:
    world.transport.on_mail = lambda recipient: world.sender.drain()
    world.write(*"abc")
    assert results(world.together("abc")) == ["sent", "(released)", "(released)"]
    assert [(world.delivery(name)["state"], world.delivery(name)["attempts"]) for name in "abc"] == [
        *(("SUCCESS", 1), ("PENDING", 0), ("PENDING", 0))
    ]


class Death:
    """Ends the process at the n-th time that it turns to the outside, right before or right after that."""

    def __init__(self, world: World, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left = nth
        write_many, send = world.database.write_many, world.transport.send

        def write(writes: Sequence[PreparedWrite]) -> list[Version | FirepostError]:
            self._strike()
            written = write_many(writes)
            self._strike()
            return written

        def hand_over(envelope: Envelope, data: bytes, deadline: Deadline) -> Receipt:
            is_first = envelope.recipients == ("first@b.c",)
            None if is_first else self._strike()
            receipt = send(envelope, data, deadline)
            None if is_first else self._strike()
            return receipt

        monkeypatch.setattr(world.database, "write_many", write)
        monkeypatch.setattr(world.transport, "send", hand_over)

    def _strike(self) -> None:
        self._left -= 1
        if self._left <= 0:  # and nothing that the process would do later happens, either
            raise SystemExit


@pytest.mark.parametrize("policy", LeaseExpiryPolicy)
@pytest.mark.parametrize("nth", range(1, 11))
def test_wherever_a_process_dies_every_mail_ends_as_the_policy_wants(
    nth: int, policy: LeaseExpiryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims and results are written in two steps, before and after; three mails in six: ten places to die."""
    with monkeypatch.context() as mortal, ThreadPoolExecutor(8) as threads:
        world = World(threads, policy=Policy(LEASE, 3, policy))
        world.write(*"abc")
        Death(world, nth, mortal)
        for future in world.together("abc"):
            assert isinstance(future.exception(PATIENCE), SystemExit | Unavailable)
    died_with = [name for name in "abc" if world.delivery(name).get("state") == "PROCESSING"]
    sent_before = list(world.transport.sent)
    world.clock.advance(LEASE)
    world.sender = world.new_sender()
    assert all(world.handle(name).acknowledge for name in "abc")
    for name in "abc":
        count, delivery = world.transport.sent.count(f"{name}@b.c"), world.delivery(name)
        if policy is LeaseExpiryPolicy.RETRY or name not in died_with:
            assert delivery["state"] == "SUCCESS"
            assert 1 <= count <= 1 + sent_before.count(f"{name}@b.c")
        else:
            assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "lease-expired")
            assert count == sent_before.count(f"{name}@b.c")


@pytest.mark.parametrize(
    ("seconds", "most"),
    [
        pytest.param([], 32, id="nothing-known-yet"),
        pytest.param([0.001] * 20, 32, id="next-door"),
        pytest.param([0.009] * 20, 10, id="in-the-same-region"),
        pytest.param([0.5] * 20, 1, id="far-away"),
        pytest.param([0.5] * 20 + [0.009] * 20, 10, id="quicker-than-before"),
        pytest.param([0.009] * 20 + [0.5] * 60, 1, id="slower-than-before"),
        pytest.param([0.009, 0.3] * 20, 10, id="when-threads-wait-for-each-other"),
    ],
)
def test_a_handful_is_what_gets_done_in_a_tenth_of_a_second(seconds: list[float], most: int) -> None:
    pace = Pace(32)
    for each in seconds:
        pace.note(each)
    assert pace.most() == most
