from __future__ import annotations

import socket
import ssl

import pytest

from sender.transport.smtp.replies import ConnectionSpent, Reply, Step, classify, describe_loss, loss, refusal
from shared.errors import ErrorCode, NotSent


@pytest.mark.parametrize(
    ("step", "reply", "code"),
    [
        (Step.CONNECT, "421 4.7.0 Try again later", ErrorCode.THROTTLED),
        (Step.CONNECT, "554 5.7.1 No service for you", ErrorCode.REJECTED),
        (Step.STARTTLS, "454 4.7.0 TLS not available", ErrorCode.CONNECTION),
        (Step.AUTH, "535 5.7.8 Bad credentials", ErrorCode.AUTH),
        (Step.AUTH, "504 5.5.4 Unrecognized mechanism", ErrorCode.AUTH),
        (Step.AUTH, "454 4.7.0 Temporary authentication failure", ErrorCode.THROTTLED),
        (Step.AUTH, "432 4.7.12 A password transition is needed", ErrorCode.TEMPORARY),
        (Step.MAIL, "530 5.7.0 Authentication required", ErrorCode.AUTH),
        (Step.MAIL, "550 5.7.1 Not your address", ErrorCode.REJECTED),
        (Step.MAIL, "454 Throttling failure: Maximum sending rate exceeded.", ErrorCode.THROTTLED),
        (Step.MAIL, "432 4.3.2 Concurrent connections: sender thread limit exceeded", ErrorCode.THROTTLED),
        (Step.MAIL, "451 4.3.0 Disk full", ErrorCode.TEMPORARY),
        (Step.RCPT, "450 4.7.1 Too many messages, slow down", ErrorCode.THROTTLED),
        (Step.RCPT, "550 5.7.28 Your rate limit has been reached", ErrorCode.THROTTLED),
        (Step.RCPT, "550 5.1.1 No such user as rate-limit@example.com", ErrorCode.REJECTED),
        (Step.RCPT, "452 4.2.2 The mailbox is over its quota", ErrorCode.TEMPORARY),
        (Step.RCPT, "454 4.7.1 Relay access denied", ErrorCode.TEMPORARY),
        (Step.DATA, "554 5.5.1 No valid recipients", ErrorCode.REJECTED),
        (Step.DATA, "250 Ok", ErrorCode.CONNECTION),
        (Step.BODY, "421 4.3.2 Shutting down", ErrorCode.THROTTLED),
        (Step.BODY, "552 5.3.4 Too big", ErrorCode.REJECTED),
    ],
    ids=str,
)
def test_each_reply_has_its_error_code(step: Step, reply: str, code: ErrorCode) -> None:
    assert classify(step, Reply(int(reply[:3]), (reply[4:],))) is code


@pytest.mark.parametrize(
    ("code", "message", "text"),
    [
        (250, b"2.0.0 Ok: queued as 4F2", "250 2.0.0 Ok: queued as 4F2"),
        (250, b"first\nsecond\nthird", "250-first\n250-second\n250 third"),
        (250, b"", "250"),
        (550, "5.1.1 Unknown: jürgen".encode(), "550 5.1.1 Unknown: jürgen"),
        (550, b"caf\xe9", "550 caf\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_reply_has_the_format_of_nodemailers_response(code: int, message: bytes, text: str) -> None:
    assert str(Reply.decode(code, message)) == text


@pytest.mark.parametrize(
    ("step", "kind"),
    [(Step.MAIL, ConnectionSpent), (Step.DATA, ConnectionSpent), (Step.BODY, NotSent)],
)
def test_421_calls_for_another_connection_until_the_content_was_sent(step: Step, kind: type[NotSent]) -> None:
    assert type(refusal("mx.test:25", step, Reply(421, ("Bye",)))) is kind


def test_a_refusal_names_the_server_the_step_and_the_reply() -> None:
    error = refusal("mx.test:587", Step.MAIL, Reply(550, ("5.7.1 Not you",)))
    assert str(error) == "The mail server mx.test:587 refused the sender (MAIL FROM): 550 5.7.1 Not you"


def test_a_refused_login_says_what_to_check() -> None:
    assert "SMTP_PASSWORD" in str(refusal("mx.test:587", Step.AUTH, Reply(535, ("No",))))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError("timed out"), "mx.test:25 did not answer the sender (MAIL FROM) in time."),
        (socket.gaierror(-2, "Name or service not known"), "could not be found: Name or service not known."),
        (ConnectionResetError(104, "Connection reset by peer"), "was lost at the sender (MAIL FROM): Connection reset"),
        (ssl.SSLEOFError(8, "EOF occurred"), "was lost at the sender (MAIL FROM): EOF occurred."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_lost_connection_is_described(error: OSError, words: str) -> None:
    assert words in describe_loss("mx.test:25", Step.MAIL, error)
    assert loss("mx.test:25", Step.MAIL, error).code is ErrorCode.CONNECTION
