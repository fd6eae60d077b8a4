"""The SendGrid transport, against a local HTTPS server that answers as SendGrid documents."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sender.net.http import Answer, HttpsEndpoint
from sender.transport.envelope import Receipt
from sender.transport.sendgrid import SendGridAccount, SendGridTransport, pause, refusal
from shared.errors import Deferred, DeliveryFailed, ErrorCode, NotSent, OutcomeUnknown
from tests.https_server import HttpsServer, deaf_port
from tests.sendgrid_schema import complaints
from tests.unit.sender.transport.builders import ANA, BOB, envelope, soon, trusting

NOW = 1_700_000_000.0
BODY = {
    "personalizations": [{"to": [{"email": ANA}], "cc": [{"email": BOB}]}],
    "from": {"email": "shop@example.com"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "there"}],
}
DATA = json.dumps(BODY).encode()


def transport_to(url: str, margin: float = 0.05) -> SendGridTransport:
    account = SendGridAccount(HttpsEndpoint.parse("SENDGRID_API_URL", url, trusting()), "SG.key")
    return SendGridTransport(account, margin, wall_clock=lambda: NOW)


@pytest.fixture
def transport(https: HttpsServer) -> SendGridTransport:
    return transport_to(https.url)


def send(transport: SendGridTransport, seconds: float = 5.0) -> Receipt:
    return transport.send(envelope(ANA, BOB), DATA, soon(seconds))


def failure(transport: SendGridTransport, seconds: float = 5.0) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        send(transport, seconds)
    return caught.value


def errors(*messages: str, field: str | None = "from") -> bytes:
    return json.dumps({"errors": [{"message": each, "field": field, "help": None} for each in messages]}).encode()


def test_a_key_that_sendgrid_quotes_is_masked(https: HttpsServer, transport: SendGridTransport) -> None:
    https.answer(401, {}, json.loads(errors("The key SG.key is not valid")))
    assert "The key *** is not valid. Check SENDGRID_API_KEY" in str(failure(transport))


def test_a_mail_is_accepted_for_all_recipients_and_has_a_queue_id(
    https: HttpsServer, transport: SendGridTransport
) -> None:
    https.answer(202, {"X-Message-Id": "14c5d75ce93"})
    assert send(transport) == Receipt((ANA, BOB), (), (), "status=202", "14c5d75ce93")
    [request] = https.requests
    assert (request.method, request.path) == ("POST", "/v3/mail/send")
    assert request.headers["authorization"] == "Bearer SG.key"
    assert request.headers["content-type"] == "application/json"
    assert complaints(request.json) == []


def test_sandbox_mode_answers_200(https: HttpsServer, transport: SendGridTransport) -> None:
    https.answer(200)
    assert send(transport).queue_id is None


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        pytest.param(
            400,
            errors("The subject is required.", field="subject"),
            ErrorCode.REJECTED,
            "SendGrid answered 400: subject: The subject is required.",
            id="an invalid mail",
        ),
        pytest.param(413, errors("Too large"), ErrorCode.REJECTED, "answered 413: from: Too large.", id="too large"),
        pytest.param(404, b"<html>", ErrorCode.REJECTED, "SendGrid answered 404.", id="a page"),
        pytest.param(401, errors("bad key"), ErrorCode.AUTH, "Check SENDGRID_API_KEY", id="an invalid key"),
        pytest.param(
            403,
            errors("The from address does not match a verified Sender Identity."),
            ErrorCode.AUTH,
            "Verify in SendGrid the sender",
            id="an unverified sender",
        ),
        pytest.param(429, errors("too many requests"), ErrorCode.THROTTLED, "too many requests", id="no time given"),
        pytest.param(500, b"", ErrorCode.TEMPORARY, "SendGrid answered 500.", id="broken"),
        pytest.param(503, b"", ErrorCode.TEMPORARY, "SendGrid answered 503.", id="not available"),
        pytest.param(502, b"", ErrorCode.UNKNOWN, "It may or may not have accepted the mail", id="bad gateway"),
        pytest.param(504, b"", ErrorCode.UNKNOWN, "It may or may not have accepted the mail", id="slow gateway"),
        pytest.param(301, b"", ErrorCode.UNKNOWN, "check SENDGRID_API_URL", id="somewhere else"),
        pytest.param(204, b"", ErrorCode.UNKNOWN, "SendGrid's mail API never answers that", id="unexpected"),
    ],
)
def test_each_answer_has_its_error_code(
    https: HttpsServer, transport: SendGridTransport, status: int, body: bytes, code: ErrorCode, words: str
) -> None:
    https.answer(status, {}, body)
    failed = failure(transport)
    assert failed.code is code
    assert words in str(failed)
    assert isinstance(failed, OutcomeUnknown) == (code is ErrorCode.UNKNOWN)


def test_addresses_that_sendgrid_quotes_are_removed() -> None:
    body = errors("We found the first duplicate instance of [ana@example.com] in personalizations.0.cc.")
    text = str(refusal(Answer(400, {}, body)))
    assert "duplicate instance of [(an address)]" in text
    assert "ana" not in text


@pytest.mark.parametrize("character", ["x", "@", "a@", "[", " ", '"'])
def test_an_answer_is_read_in_linear_time(character: str) -> None:
    body = errors(character * (200_000 // len(character)))
    started = time.process_time()
    refusal(Answer(400, {}, body))
    assert time.process_time() - started < 0.5


def test_a_deeply_nested_answer_is_ignored() -> None:
    assert str(refusal(Answer(400, {}, b"[" * 100_000))) == "SendGrid answered 400."


@pytest.mark.parametrize(
    "body",
    [b"[]", b'{"errors": "none"}', b'{"errors": [5, {"message": 6}]}', b"\xff", b'{"errors": [{"message": ""}]}'],
)
def test_an_error_without_a_message_is_reported_by_its_status(body: bytes) -> None:
    assert str(refusal(Answer(400, {}, body))) == "SendGrid answered 400."


def test_long_or_unprintable_messages_are_cut(https: HttpsServer) -> None:
    text = str(refusal(Answer(400, {}, errors("\x1b[31m" + "x" * 5000))))
    assert len(text) < 600
    assert text.isprintable()


def test_the_rate_limit_defers_this_mail_and_later_ones_until_it_is_reset(
    https: HttpsServer, transport: SendGridTransport
) -> None:
    https.answer(429, {"X-RateLimit-Reset": str(int(NOW) + 40)}, errors("too many requests", field=None))
    for _ in range(2):
        with pytest.raises(Deferred, match="rate limit") as caught:
            send(transport)
        assert caught.value.seconds == pytest.approx(40, abs=1)
    assert len(https.requests) == 1


def test_mail_is_sent_again_after_the_pause(https: HttpsServer) -> None:
    https.answer(429, {"X-RateLimit-Reset": str(int(NOW) + 1)})
    transport, now = transport_to(https.url), time.monotonic()
    with pytest.raises(Deferred):
        send(transport)
    later = soon()
    later = type(later)(later.at, lambda: now + 2)
    assert transport.send(envelope(ANA), DATA, later).accepted == (ANA,)


@pytest.mark.parametrize(
    ("status", "reset", "seconds"),
    [
        (429, "1700000030", 30.0),
        (429, "1699999999", 1.0),
        (429, "1800000000", 3600.0),
        (429, "soon", 0.0),
        (429, None, 0.0),
        (202, "1700000030", 0.0),
    ],
)
def test_the_pause_is_sendgrids_within_bounds(status: int, reset: str | None, seconds: float) -> None:
    headers: dict[str, Any] = {} if reset is None else {"x-ratelimit-reset": reset}
    assert pause(Answer(status, headers, b""), NOW) == seconds


@pytest.mark.parametrize("manner", ["drop", "silence", "drip", "nonsense"])
def test_without_an_answer_to_a_complete_request_the_outcome_is_unknown(
    https: HttpsServer, transport: SendGridTransport, manner: str
) -> None:
    https.misbehave(manner)
    start = time.monotonic()
    failed = failure(transport, seconds=0.3)
    assert isinstance(failed, OutcomeUnknown)
    assert time.monotonic() - start < 2
    assert len(https.requests) == 1


def test_an_acceptance_counts_even_if_its_body_never_ends(https: HttpsServer, transport: SendGridTransport) -> None:
    https.misbehave("half")
    assert send(transport).queue_id == "q1"


def test_if_the_api_cannot_be_reached_nothing_is_sent() -> None:
    with deaf_port() as port:
        pass
    failed = failure(transport_to(f"https://localhost:{port}"))
    assert isinstance(failed, NotSent)
    assert failed.code is ErrorCode.CONNECTION
    assert str(failed) == f"The mail could not be handed over to SendGrid (localhost:{port}): Connection refused."


def test_without_a_tls_handshake_nothing_is_sent() -> None:
    with deaf_port() as port:
        failed = failure(transport_to(f"https://localhost:{port}"), seconds=0.2)
    assert isinstance(failed, NotSent)
    assert failed.code is ErrorCode.CONNECTION


def test_a_request_is_not_started_after_the_latest_start(https: HttpsServer, transport: SendGridTransport) -> None:
    with pytest.raises(NotSent):
        transport.send(envelope(ANA), DATA, soon().starting_within(0))
    assert https.requests == []


def test_one_that_was_started_before_is_waited_for(https: HttpsServer, transport: SendGridTransport) -> None:
    https.misbehave("silence")
    start = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        transport.send(envelope(ANA), DATA, soon(0.6).starting_within(0.3))
    assert time.monotonic() - start > 0.5


def test_a_request_is_not_started_within_the_margin(https: HttpsServer) -> None:
    failed = failure(transport_to(https.url, margin=6.0))
    assert failed.code is ErrorCode.TEMPORARY
    assert https.requests == []


def test_nothing_is_sent_after_close(https: HttpsServer, transport: SendGridTransport) -> None:
    transport.close()
    with pytest.raises(Deferred) as caught:
        send(transport)
    assert caught.value.seconds is None
    assert https.requests == []


def test_the_key_is_not_in_the_repr() -> None:
    assert "SG.key" not in repr(SendGridAccount(HttpsEndpoint.parse("X", "https://x.test", trusting()), "SG.key"))


def test_nothing_is_requested_if_the_mail_may_not_be_handed_over(
    https: HttpsServer, transport: SendGridTransport
) -> None:
    def refuse() -> None:
        raise Deferred(None, "no")

    with pytest.raises(Deferred, match="no"):
        transport.send(envelope(ANA), DATA, soon(), refuse)
    assert https.requests == []
