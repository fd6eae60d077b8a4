from __future__ import annotations

from cli.mail import Mail
from cli.view import mail_step
from cli.watch import POLL_SECONDS, Outcome, follow
from tests.unit.cli.builders import NOW, mail


class Time:
    """A clock that only moves by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def watched(*looks: Mail | None, seconds: float | None = None) -> tuple[Outcome, list[str]]:
    """The outcome, and the states that were shown; all further reads return the last of `looks`."""
    time, shown, left = Time(), list[str](), list(looks)
    outcome, _ = follow(
        lambda: left.pop(0) if len(left) > 1 else left[0],
        lambda each: shown.append(f"{each.state}{(each.delivery or {}).get('attempts', '')}"),
        seconds,
        time.clock,
        time.sleep,
    )
    return outcome, shown


NEW, PENDING, FIRST = mail(), mail(state="PENDING"), mail(state="PROCESSING", attempts=1)
SECOND, SENT, FAILED = mail(state="PROCESSING", attempts=2), mail(state="SUCCESS"), mail(state="ERROR")


def test_each_step_is_shown_once() -> None:
    looks = (NEW, NEW, PENDING, FIRST, FIRST, SECOND, SENT)
    assert watched(*looks) == (Outcome.ENDED, ["", "PENDING", "PROCESSING1", "PROCESSING2", "SUCCESS"])


def test_a_document_that_a_published_mail_will_create_is_waited_for() -> None:
    assert watched(None, None, FAILED) == (Outcome.ENDED, ["ERROR"])


def test_a_deleted_document_is_not() -> None:
    assert watched(PENDING, None) == (Outcome.DELETED, ["PENDING"])


def test_the_time_is_limited() -> None:
    assert watched(PENDING, seconds=10 * POLL_SECONDS) == (Outcome.TIMEOUT, ["PENDING"])
    assert watched(None, seconds=0) == (Outcome.TIMEOUT, [])


def test_a_step_shows_what_matters_in_its_state() -> None:
    info = {"accepted": ["a", "b"], "rejected": ["c"], "pending": []}
    steps = [
        mail(),
        mail(state="PENDING", nextAttemptTime=NOW),
        mail(state="PROCESSING", attempts=2),
        mail(state="SUCCESS", info=info),
        mail(state="ERROR", error="550\nNo"),
    ]
    assert [mail_step(step, NOW).plain.removeprefix("12:00:00  ") for step in steps] == [
        "(new)  mail/a",
        "PENDING  mail/a  not before 2026-11-24T12:00:00Z",
        "PROCESSING  mail/a  attempt 2",
        "SUCCESS  mail/a  accepted for 2 of 3",
        "ERROR  mail/a  550 No",
    ]
