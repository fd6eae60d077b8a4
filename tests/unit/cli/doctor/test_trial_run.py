"""A run of test mails, and the count of documents, with a mailbox that a test writes the story of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import pytest

from cli.doctor.finding import Verdict
from cli.doctor.trial import TRIALS
from cli.doctor.trial_run import TrialRun, new_run
from cli.doctor.unread import COUNTS, find_unread
from cli.exits import Unreachable
from cli.mail import Mail
from cli.mailbox import Mailbox
from cli.selection import Query
from tests.unit.cli.builders import NOW, mail

PATIENCE = 60.0


class Story(Mailbox):
    """Documents that change as time passes: `tell` says what `delivery` is after so many seconds."""

    def __init__(self, **delivery: Any) -> None:
        self.now = 0.0
        self.delivery = delivery
        self.ends = 1.0
        self.written: dict[str, Mapping[str, Any]] = {}
        self.deleted: list[str] = []
        self.broken: set[str] = set()

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now

    def _try(self, what: str) -> None:
        if what in self.broken:
            raise Unreachable(f"Can't work with Firestore: {what} is denied")

    def create(self, path: str, fields: Mapping[str, Any]) -> None:
        self._try("create")
        self.written[path] = fields

    def get(self, path: str) -> Mail | None:
        self._try("get")
        is_seen = self.now >= self.ends and not path.endswith("-4")
        return mail(path, **(self.delivery if is_seen else {}))

    def delete(self, mail: Mail) -> None:
        self._try("delete")
        self.deleted.append(mail.path)


def run(story: Story) -> TrialRun:
    return TrialRun(story, "mail", "ada@example.com", "r", PATIENCE, story.clock, story.sleep)


def test_mails_are_sent_at_once_and_their_documents_deleted() -> None:
    story = Story(state="SUCCESS")
    found = list(run(story).send(NOW))
    assert [finding.verdict for finding in found] == [Verdict.OK] * 4
    assert story.deleted == list(story.written) == [trial.path("mail", "r") for trial in TRIALS]
    assert story.now < 15, "one that gets no event is not waited for longer than the others"


def test_documents_of_failed_mails_are_kept() -> None:
    story = Story(state="ERROR", errorCode="auth")
    found = list(run(story).send(NOW))
    assert [finding.verdict for finding in found] == [Verdict.WRONG] * 3 + [Verdict.OK]
    assert story.deleted == [TRIALS[3].path("mail", "r")]


def test_waiting_ends() -> None:
    story = Story(state="SUCCESS")
    story.ends = 1e9
    found = list(run(story).send(NOW))
    assert story.now == PATIENCE
    assert "nothing has seen its event within 60 s" in found[0].detail


@pytest.mark.parametrize(
    ("broken", "verdict", "words"),
    [
        ("create", Verdict.WRONG, "create is denied"),
        ("get", Verdict.UNKNOWN, "get is denied"),
        ("delete", Verdict.OK, "could not be deleted"),
    ],
)
def test_firestore_that_refuses_is_a_finding(broken: str, verdict: Verdict, words: str) -> None:
    story = Story(state="SUCCESS")
    story.broken = {broken}
    found = list(run(story).send(NOW))
    assert {finding.verdict for finding in found} == {verdict}
    assert all(words in finding.detail for finding in found)
    assert len(found) == len(TRIALS)


def test_a_run_says_when_it_was() -> None:
    assert new_run(NOW, "1a2b") == "20261124-120000-1a2b"


class Counting(Mailbox):
    """Each count is the next of these numbers."""

    def __init__(self, *rounds: tuple[int, int, int, int]) -> None:
        self.numbers = [number for each in rounds for number in each]
        self.pauses = 0

    def count(self, query: Query) -> int:
        if not self.numbers:
            raise Unreachable("Firestore gave up")
        return self.numbers.pop(0)

    def sleep(self, seconds: float) -> None:
        self.pauses += 1


#: All, with a state, unfinished, scheduled.
FINE = (10, 10, 2, 2)
LACKING = (10, 9, 2, 2)
MOVING = (10, 9, 3, 2)


@pytest.mark.parametrize(
    ("rounds", "verdict", "pauses"),
    [
        ([FINE], Verdict.OK, 0),
        ([MOVING], Verdict.OK, 0),
        ([LACKING, FINE], Verdict.OK, 1),
        ([LACKING] * COUNTS, Verdict.WRONG, COUNTS - 1),
        ([], Verdict.UNKNOWN, 0),
        ([LACKING], Verdict.UNKNOWN, 1),
    ],
)
def test_documents_are_counted_until_there_are_none_but_new_ones(
    rounds: list[tuple[int, int, int, int]], verdict: Verdict, pauses: int
) -> None:
    mailbox = Counting(*rounds)
    assert find_unread(mailbox, mailbox.sleep).verdict is verdict
    assert mailbox.pauses == pauses


def test_what_firestore_says_is_an_exception_of_the_command_line() -> None:
    assert issubclass(Unreachable, click.ClickException)
