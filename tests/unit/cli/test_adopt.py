"""Adopting: the mails without a delivery are found and queued, in pieces if need be, and nothing else is."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from cli.adopt import Scan
from cli.exits import Unreachable
from cli.mail import Mail
from cli.mailbox import PAGE, Mailbox
from cli.selection import NEW, Selection
from cli.set_state import Pace
from shared.delivery.model import State
from shared.errors import FirepostError, Unavailable
from shared.firestore.database import FirestoreDatabase, Version, Write
from tests.unit.cli.builders import mail
from tests.unit.cli.conftest import Store

MAIL: dict[str, Any] = {"to": "ada@example.com", "message": {"subject": "s", "text": "t"}}
FAST = ("--rate", "1000000")


def sent(state: str = "SUCCESS") -> dict[str, Any]:
    return MAIL | {"delivery": {"state": state, "attempts": 1}}


def paths(count: int) -> list[str]:
    return [f"mail/{number:05}" for number in range(count)]


def continuation(text: str) -> str:
    found = re.search(r"Continue with --after (\S+)", text)
    assert found, text
    return found[1]


def test_only_mails_without_a_delivery_are_queued(store: Store) -> None:
    states = ("PENDING", "RETRY", "PROCESSING", "SUCCESS", "ERROR", "ODD")
    store.write({f"mail/{state}": sent(state) for state in states} | {"mail/a": MAIL, "mail/z": {}, "other/b": MAIL})
    result = store.run("adopt", "--yes")
    assert (result.exit_code, result.stdout) == (0, "mail/a  set\nmail/z  set\n")
    assert result.stderr.startswith("8 documents read. 2 set to RETRY. The oldest was written ")
    assert "Continue" not in result.stderr
    assert store.states() == {**{state: state for state in states}, "a": "RETRY", "z": "RETRY"}
    assert store.states("other") == {"b": None}
    again = store.run("adopt", "--yes")
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "8 documents read. 0 set to RETRY.\n")


@pytest.mark.parametrize("delivery", [None, {}, {"startTime": None}])
def test_an_empty_delivery_is_none(store: Store, delivery: object) -> None:
    store.write({"mail/a": MAIL | {"delivery": delivery}})
    assert store.run("adopt", "--yes").exit_code == 0
    assert store.states() == {"a": "RETRY"}


def test_a_dry_run_changes_nothing(store: Store) -> None:
    store.write({"mail/a": MAIL, "mail/b": sent(), "mail/c": MAIL})
    result = store.run("adopt", "--dry-run", "--json")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"document": path, "result": "would-set"} for path in ("mail/a", "mail/c")
    ]
    assert result.stderr.startswith("3 documents read. 2 would be set to RETRY. The oldest was written ")
    assert store.states() == {"a": None, "b": "SUCCESS", "c": None}


def test_a_limited_run_says_where_to_continue_until_all_are_queued(store: Store) -> None:
    store.write({path: MAIL if int(path[-1]) % 2 else sent() for path in paths(10)})
    after: tuple[str, ...] = ()
    queued = []
    for _ in range(3):
        result = store.run("adopt", "--limit", "2", *after)
        queued += result.stdout.splitlines()
        if "Continue" in result.stderr:
            after = ("--after", continuation(result.stderr))
    assert queued == [f"mail/0000{number}  set" for number in (1, 3, 5, 7, 9)]


@pytest.mark.parametrize("after", ["mail/00004", "00004", "mail/00004a"])
def test_a_run_continues_after_a_path_that_need_not_exist(store: Store, after: str) -> None:
    store.write(dict.fromkeys(paths(7), MAIL))
    result = store.run("adopt", "--yes", "--after", after)
    assert result.stdout == "mail/00005  set\nmail/00006  set\n"


@pytest.mark.parametrize("identifier", ["a b", "ü", "--after", "'", "__id7__", "Z" * 200])
def test_any_id_can_be_continued_after(store: Store, identifier: str) -> None:
    store.write({f"mail/{identifier}": MAIL})
    assert store.run("adopt", "--limit", "1").stdout == f"mail/{identifier}  set\n"
    rest = store.run("adopt", "--yes", "--after", f"mail/{identifier}")
    assert (rest.exit_code, rest.stderr) == (0, "0 documents read. 0 set to RETRY.\n")


def test_a_document_that_changes_meanwhile_is_left_to_who_changed_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(dict.fromkeys(paths(3), MAIL))
    write = Mailbox.set_state

    def late(mailbox: Mailbox, mails: Any, state: State) -> Sequence[str | Unreachable | None]:
        store.client.document("mail/00001").update({"delivery": {"state": "PROCESSING"}})
        store.client.document("mail/00002").delete()
        return write(mailbox, mails, state)

    monkeypatch.setattr(Mailbox, "set_state", late)
    result = store.run("adopt", "--yes")
    assert result.stdout.splitlines() == [
        "mail/00000  set",
        "mail/00001  skipped: changed",
        "mail/00002  skipped: changed",
    ]
    assert store.states() == {"00000": "RETRY", "00001": "PROCESSING"}


def test_a_document_without_room_for_a_state_is_skipped(store: Store) -> None:
    store.write({"mail/a": {"x": "y" * 1_048_400, "y": "y" * 110}, "mail/b": MAIL})
    result = store.run("adopt", "--yes")
    assert result.stdout.splitlines() == ["mail/a  skipped: unwritable", "mail/b  set"]


def test_only_those_written_in_a_range_of_time(store: Store) -> None:
    store.write({"mail/a": MAIL})
    written = store.client.document("mail/a").get().create_time.isoformat()
    store.write({"mail/b": MAIL})
    assert store.run("adopt", "--dry-run", "--until", written).stdout == "mail/a  would be set\n"
    assert store.run("adopt", "--dry-run", "--since", "1h").stdout.count("would be set") == 2
    assert store.run("adopt", "--dry-run", "--until", "1h").stdout == ""


def test_an_interrupted_run_says_where_to_continue(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(dict.fromkeys(paths(5), MAIL))
    write = Mailbox.set_state

    def interrupted(mailbox: Mailbox, mails: Any, state: State) -> Sequence[str | Unreachable | None]:
        if mails[0].path == "mail/00002":
            raise KeyboardInterrupt
        return write(mailbox, mails, state)

    monkeypatch.setattr(Mailbox, "set_state", interrupted)
    result = store.run("adopt", "--yes", "--rate", "7")
    assert result.exit_code == 1
    assert result.stderr.startswith("5 documents read. 2 set to RETRY.")
    assert continuation(result.stderr) == "mail/00001"
    monkeypatch.setattr(Mailbox, "set_state", write)
    rest = store.run("adopt", "--yes", "--after", "mail/00001")
    assert rest.stdout == "".join(f"mail/0000{number}  set\n" for number in (2, 3, 4))


def test_a_failure_in_the_middle_of_a_batch_is_told_with_what_was_done(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(dict.fromkeys(paths(4), MAIL))
    write = FirestoreDatabase.write

    def failing(database: FirestoreDatabase, writes: Sequence[Write]) -> Sequence[Version | FirepostError]:
        """Firestore takes all but one."""
        taken = iter(write(database, [each for each in writes if each.path != "mail/00001"]))
        return [Unavailable("It is down.") if each.path == "mail/00001" else next(taken) for each in writes]

    monkeypatch.setattr("cli.mailbox.PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(FirestoreDatabase, "write", failing)
    result = store.run("adopt", "--yes", *FAST)
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [
        "mail/00000  set",
        "mail/00001  skipped: unanswered",
        "mail/00002  set",
        "mail/00003  set",
    ]
    assert "4 documents read. 3 set to RETRY; skipped: 1 unanswered." in result.stderr
    assert continuation(result.stderr) == "mail/00000"
    assert "Can't work with Firestore" in result.stderr
    monkeypatch.setattr(FirestoreDatabase, "write", write)
    assert store.run("adopt", "--yes", "--after", "mail/00000").stdout == "mail/00001  set\n"


def test_without_a_terminal_a_large_run_needs_a_yes(store: Store) -> None:
    store.write({"mail/a": MAIL})
    refused = store.run("adopt", "--since", "2026-01-01T00:00Z")
    assert refused.exit_code == 2
    assert "All mails of 'mail' without delivery since 2026-01-01T00:00:00Z would be set to RETRY:" in refused.stderr
    assert store.states() == {"a": None}
    assert store.run("adopt", "--limit", "20").exit_code == 0


def test_a_foreign_path_is_refused(store: Store) -> None:
    result = store.run("adopt", "--after", "users/x")
    assert (result.exit_code, "not a document in the collection 'mail'" in result.stderr) == (2, True)


class Endless:
    """A mailbox of new mails that exist only while they are read."""

    def __init__(self, count: int) -> None:
        self.count = count

    def pages(self, *_: object, **__: object) -> Iterator[list[Mail]]:
        for start in range(0, self.count, PAGE):
            yield [mail(f"mail/{number}") for number in range(start, start + PAGE)]

    def set_state(self, mails: Sequence[Mail], state: State) -> Sequence[str | Unreachable | None]:
        return [None for _ in mails]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_collection() -> None:
    scan = Scan(Selection(NEW), None, None)
    tracemalloc.start()
    try:
        for _ in scan.run(cast(Mailbox, Endless(100 * PAGE)), Pace(1e9), lambda _: None):
            pass
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (scan.read, scan.tally.set, scan.is_complete) == (100 * PAGE, 100 * PAGE, True)
    assert most < 1_000_000  # a page is a tenth of that


def test_many_pages_are_queued_at_a_high_rate(store: Store) -> None:
    count = 4 * PAGE + 1
    store.write(dict.fromkeys(paths(count), MAIL))
    result = store.run("adopt", "--yes", *FAST)
    assert result.stderr.startswith(f"{count:,} documents read. {count:,} set to RETRY.")
    assert set(store.states().values()) == {"RETRY"}


class TestOfFew:
    """`list` and `retry` with --state NEW do the same for few."""

    def test_they_are_listed(self, store: Store) -> None:
        store.write({"mail/a": MAIL, "mail/b": sent(), "mail/c": MAIL})
        listed = store.run("list", "--state", "NEW", "--json")
        assert sorted(json.loads(line)["document"] for line in listed.stdout.splitlines()) == ["mail/a", "mail/c"]

    def test_they_are_queued(self, store: Store) -> None:
        store.write({"mail/a": MAIL, "mail/b": sent("ERROR"), "mail/c": MAIL})
        assert store.run("retry", "--state", "NEW").stdout == "mail/a  set\nmail/c  set\n"
        assert store.states() == {"a": "RETRY", "b": "ERROR", "c": "RETRY"}
        assert store.run("retry", "--state", "NEW").exit_code == 1

    @pytest.mark.parametrize("command", ["list", "retry"])
    def test_they_have_no_error_code(self, store: Store, command: str) -> None:
        result = store.run(command, "--state", "NEW", "--error-code", "auth")
        assert (result.exit_code, "has no error" in result.stderr) == (2, True)
