"""The interpretation of reply texts, including real replies of providers."""

from __future__ import annotations

import time

import pytest

from sender.transport.smtp import wording
from sender.transport.smtp.replies import Reply, Step, classify, wait_after
from shared.errors import ErrorCode
from tests.unit.sender.transport.replies import OWN, SAID, Said


@pytest.mark.parametrize("said", SAID, ids=str)
def test_real_replies_are_classified_correctly(said: Said) -> None:
    assert classify(said.step, said.reply) is said.code
    assert wait_after(said.step, said.reply) == said.wait


def test_there_are_at_least_100_distinct_real_replies() -> None:
    assert len([said for said in SAID if said.source != OWN]) >= 100
    assert len({(said.step, said.lines) for said in SAID}) == len(SAID)


@pytest.mark.parametrize("code", [450, 550])
@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("You have exceeded the maximum number of messages per day", True),
        ("Outgoing mail quota exceeded", True),
        ("Monthly quota exceeded", True),
        ("Sorry, too many SMTP sessions from your host", True),
        ("connection-rate limit: 10/min", True),
        ("The system is overloaded", True),
        ("Please slow down", True),
        ("The mailbox for user is full, quota exceeded", False),
        ("User quota exceeded", False),
        ("Message too big; limit is 10240000 bytes", False),
        ("The mail exceeds the sending limit of 25MB in size", False),
        ("Too many hops", False),
        ("Too many unrecognized commands", False),
        ("Message content rejected, score exceeds limit", False),
        ("Relaying denied", False),
        ("TLS is required for sending", False),
        ("The user is receiving too many messages per hour", False),
        ("No such user as too-many-connections@example.com", False),
    ],
)
def test_a_sending_limit_is_distinguished_from_other_limits_for_any_code(text: str, limit: bool, code: int) -> None:
    throttled = classify(Step.BODY, Reply(code, (text,))) is ErrorCode.THROTTLED
    assert throttled == limit


def test_the_lines_of_a_reply_are_read_as_one_text() -> None:
    assert classify(Step.BODY, Reply(550, ("5.7.1 Daily sending", "5.7.1 limit exceeded"))) is ErrorCode.THROTTLED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Greylisted, please try again in 300 seconds", 300),
        ("Greylisted for 5 minutes", 300),
        ("Greylisting in action, please come back in 00:05:00", 300),
        ("try again after 1 hour", 3600),
        ("please retry in an hour", 3600),
        ("Try again in 5 minutes 30 seconds", 330),
        ("Try again in 2 hours and 5 minutes", 7500),
        ("retry in 5m", 300),
        ("Please wait at least 10 minutes before sending", 600),
        ("temporarily blocked for 30 min", 1800),
        ("will be blocked for 3 days", 86_400),
        (f"try again in {'9' * 5000} seconds", 86_400),
        ("try again in 0 seconds", None),
        ("Please try again later", None),
        ("limit of 100 messages in 60 minutes", None),
        ("Try again later: at most 100 messages per 60 minutes", None),
    ],
)
def test_an_announced_wait_is_read(text: str, seconds: float | None) -> None:
    assert wording.announced_wait(text) == seconds


def test_a_permanent_refusal_has_no_wait() -> None:
    assert wait_after(Step.RCPT, Reply(550, ("5.1.1 No such user, try again in 5 minutes",))) is None


@pytest.mark.parametrize("piece", ["try again ", "too many ", "user ", "recipient is ", "9", "a ", "in 5 minutes "])
def test_any_text_is_read_in_linear_time(piece: str) -> None:
    reply = Reply(450, (piece * 60_000,))
    start = time.monotonic()
    classify(Step.RCPT, reply)
    wait_after(Step.RCPT, reply)
    assert time.monotonic() - start < 1
