from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from cli.doctor.finding import Verdict
from cli.doctor.trial import TRIALS, Trial, is_over, may_be_deleted, story
from cli.mail import Mail
from sender.document.document import parse_document
from tests.unit.cli.builders import NOW, mail

ORDINARY, SPACE, LARGE, HUGE = TRIALS
SENT: dict[str, Any] = {
    "state": "SUCCESS",
    "startTime": NOW + timedelta(seconds=0.4),
    "endTime": NOW + timedelta(seconds=1.1),
    "info": {"response": "250 2.0.0 Ok: queued as 17\n"},
}


@pytest.mark.parametrize("trial", TRIALS)
def test_a_test_mail_can_be_sent_and_is_marked(trial: Trial) -> None:
    fields = trial.fields("ada@example.com", "run", NOW)
    parse_document(fields)
    assert fields["message"]["subject"].startswith("Firepost doctor run: ")
    assert len(fields["message"]["text"]) < 200, "what makes a document large does not make its mail large"
    assert trial.size <= len(json.dumps(fields)) < 2**20


def test_there_is_one_that_ends_in_a_space_and_one_that_is_too_large_for_an_event() -> None:
    assert [trial.path("mail", "r") for trial in TRIALS if trial.path("mail", "r").endswith(" ")] == [
        "mail/firepost-doctor-r-2 "
    ]
    assert [trial for trial in TRIALS if trial.is_too_large] == [HUGE]


@pytest.mark.parametrize(
    ("trial", "seen", "verdict", "words"),
    [
        (
            ORDINARY,
            mail(**SENT),
            Verdict.OK,
            "event seen, published after 0.4 s, accepted and written after 1.1 s: 250",
        ),
        (ORDINARY, mail(state="SUCCESS"), Verdict.OK, "no text"),
        (HUGE, mail(**SENT), Verdict.OK, "250 2.0.0 Ok: queued as 17"),
        (HUGE, mail(), Verdict.OK, "too large for an event, as expected"),
        (SPACE, mail("mail/a "), Verdict.WRONG, "('mail/a ' is kept): nothing has seen its event within 60 s"),
        (ORDINARY, mail(state="PENDING"), Verdict.WRONG, "message published, but no sender has claimed it within 60 s"),
        (HUGE, mail(state="PENDING"), Verdict.WRONG, "message published"),
        (
            ORDINARY,
            mail(state="PENDING", nextAttemptTime=NOW, error="421 slow down"),
            Verdict.WRONG,
            "put off until 2026-11-24 12:00:00+00:00: 421 slow down",
        ),
        (ORDINARY, mail(state="RETRY"), Verdict.WRONG, "no sender has claimed it"),
        (LARGE, mail(state="PROCESSING"), Verdict.WRONG, "claimed, but no result was written"),
        (
            ORDINARY,
            mail(state="ERROR", errorCode="auth", error="535\x1b[2J refused"),
            Verdict.WRONG,
            "ended in ERROR, auth: 535\\x1b[2J refused",
        ),
        (ORDINARY, mail(state="ERROR", error="x" * 5000), Verdict.WRONG, "no code: " + "x" * 200 + " …"),
        (ORDINARY, mail(state="SENT"), Verdict.WRONG, "something else has set its state to SENT"),
        (ORDINARY, None, Verdict.WRONG, "the document is gone"),
    ],
)
def test_the_hop_that_fails_is_named(trial: Trial, seen: Mail | None, verdict: Verdict, words: str) -> None:
    finding = story(trial, seen, 60)
    assert finding.check == trial.check
    assert finding.verdict is verdict
    assert words in finding.detail
    assert bool(finding.remedy) == (verdict is Verdict.WRONG)


@pytest.mark.parametrize(
    ("huge", "ordinary", "waited", "quiet", "over"),
    [
        (mail(**SENT), mail(**SENT), 1, 0, True),
        (mail(), mail(**SENT), 5, 5, False),
        (mail(), mail(**SENT), 12, 10, True),
        (mail(), mail(state="PROCESSING"), 30, 20, False),
        (mail(), mail(), 30, 30, False),
        (mail(state="PENDING"), mail(**SENT), 30, 20, False),
        (mail(), None, 30, 20, True),
        (mail(), mail(), 60, 60, True),
        (mail(state="ERROR"), mail(state="ERROR"), 1, 0, True),
    ],
)
def test_it_waits_for_what_may_still_come(
    huge: Mail, ordinary: Mail | None, waited: int, quiet: int, over: bool
) -> None:
    assert is_over({HUGE: huge, ORDINARY: ordinary}, waited, quiet, 60) is over


@pytest.mark.parametrize(
    ("trial", "seen", "deleted"),
    [
        (ORDINARY, mail(**SENT), True),
        (HUGE, mail(), True),
        (ORDINARY, mail(), False),
        (ORDINARY, mail(state="ERROR"), False),
        (HUGE, mail(state="PENDING"), False),
        (ORDINARY, None, False),
    ],
)
def test_documents_that_tell_more_are_kept(trial: Trial, seen: Any, deleted: bool) -> None:
    assert may_be_deleted(trial, seen) is deleted
