"""Real mail servers' behaviour, through the whole system: by push and by pull, with TLS and without.

tests/unit/sender/transport/test_mail_servers.py covers every odd server; these tests show the result for users.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import trustme

from tests.integration.system import Configuration, Fields, System, wait_for
from tests.smtp_server import EXTENSIONS, Idle

pytestmark = pytest.mark.integration

AUTHORITY = trustme.CA()
PASSWORD = "s3cret+pass/word"
ADA, BOB, CLEO = "ada@example.com", "bob@example.com", "cleo@example.com"


@pytest.fixture(scope="module")
def backend() -> str:
    return "embedded"


@pytest.fixture(scope="module", params=["push", "pull"])
def configuration(request: pytest.FixtureRequest) -> Configuration:
    options = json.dumps({"ca": AUTHORITY.cert_pem.bytes().decode(), "servername": "localhost"})
    settings = {"TLS_OPTIONS": options, "MAX_ATTEMPTS": "3"}
    return Configuration(sender=request.param, login=f"shop:{PASSWORD}", settings=settings)


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def system(system: System, request: pytest.FixtureRequest) -> Iterator[System]:
    server = system.server
    server.tls = None
    if request.param:
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("localhost").configure_cert(server.tls)
    for session in server.sessions:  # those of the previous test
        session.hang_up()
    server.wait_until(lambda: all(session.ended for session in server.sessions))
    yield system
    server.idle, server.extensions, server.replies_together = None, EXTENSIONS, False


def mail(*recipients: str) -> Fields:
    return {"to": list(recipients or [ADA]), "message": {"subject": "s", "text": "t"}}


def attempted(system: System, *recipients: str) -> Fields:
    """The delivery of a new mail after its first attempt, with any result."""
    path = system.write(mail(*recipients))

    def look() -> Fields | None:
        delivery = system.delivery(path)
        return (
            delivery if delivery.get("attempts") == 1 and delivery["state"] in ("SUCCESS", "ERROR", "RETRY") else None
        )

    return wait_for(look, f"{path} was attempted", found_instead=lambda: system.delivery(path))


def sessions_since(system: System, before: int) -> int:
    return len(system.server.sessions) - before


@pytest.mark.parametrize(
    "idle",
    [
        pytest.param(Idle(0.1, "451 4.4.2 Timeout waiting for data from client."), id="Amazon SES"),
        pytest.param(Idle(0.1, "451 4.4.2 Timeout waiting for data from client.", stays=True), id="stays"),
        pytest.param(Idle(0.1, "554 5.4.0 Session over"), id="554"),
        pytest.param(Idle(0.1), id="silent"),
        pytest.param(Idle(0.1, resets=True), id="reset"),
    ],
)
def test_a_goodbye_to_an_idle_connection_is_no_answer_to_the_next_mail(system: System, idle: Idle) -> None:
    system.server.idle = idle
    assert attempted(system)["state"] == "SUCCESS"
    last = system.server.sessions[-1]
    system.server.wait_until(lambda: last.ended or last.farewell_said)
    system.server.idle = None
    delivery = attempted(system, BOB)
    assert (delivery["state"], delivery["info"]["accepted"]) == ("SUCCESS", [BOB])
    assert system.server.accepted[-1].session == last.number + 1


@pytest.mark.parametrize(
    ("event", "reply"),
    [
        ("DATA", "452 4.4.5 Maximum number of messages per session exceeded."),
        ("MAIL", "451 Mails per session limit exceeded"),
        ("MAIL", "550 5.7.0 No more in this session"),
        ("RCPT", "452 4.5.3 Too many recipients in this session"),
    ],
)
def test_a_sessions_limit_is_not_the_mails_failure(system: System, event: str, reply: str) -> None:
    system.server.when(event, nth_in_session=3).reply(reply)
    before = len(system.server.sessions)
    assert [attempted(system)["state"] for _ in range(5)] == ["SUCCESS"] * 5
    assert sessions_since(system, before) == 3


def test_a_daily_limit_is_throttling_and_waits_long(system: System) -> None:
    system.server.when("BODY").reply("550 5.4.5 Daily user sending limit exceeded.")
    delivery = attempted(system)
    assert (delivery["state"], delivery["errorCode"]) == ("RETRY", "throttled")
    assert 3500 < seconds_until(delivery["nextAttemptTime"]) <= 3600
    system.server.forget_rules()
    assert attempted(system)["state"] == "SUCCESS"


def test_a_greylisting_servers_wait_is_the_next_attempts_time(system: System) -> None:
    system.server.when("RCPT", BOB).reply("450 4.2.0 Greylisted, please try again in 5 minutes")
    delivery = attempted(system, ADA, BOB)
    assert (delivery["state"], delivery["info"]["pending"]) == ("RETRY", [BOB])
    assert 250 < seconds_until(delivery["nextAttemptTime"]) <= 300
    alone = attempted(system, BOB)
    assert (alone["state"], alone["errorCode"]) == ("RETRY", "temporary")
    assert 250 < seconds_until(alone["nextAttemptTime"]) <= 300


def seconds_until(moment: Any) -> float:
    seconds: float = (moment - datetime.now(UTC)).total_seconds()
    return seconds


def test_too_many_recipients_wait_while_the_rest_goes_on(system: System) -> None:
    system.server.when("RCPT", BOB).reply("552 5.5.3 Too many recipients")
    system.server.when("RCPT", CLEO).reply("552 5.2.2 Mailbox full")
    info = attempted(system, ADA, BOB, CLEO)["info"]
    assert (info["accepted"], info["pending"], info["rejected"]) == ([ADA], [BOB], [CLEO])


def test_odd_servers_get_their_mail(system: System) -> None:
    system.server.when("DATA").reply("250 OK")
    system.server.extensions = (*EXTENSIONS[2:], f"SIZE {'9' * 5000}")
    assert attempted(system)["state"] == "SUCCESS"


@pytest.mark.parametrize(
    ("event", "reply"),
    [
        ("MAIL", ("550-No", "220 Hi")),
        ("DATA", ("354 Go ahead", "250 2.0.0 Ok: queued")),
        ("RCPT", ("250 2.1.5 Ok", "550 5.1.1 No")),
    ],
)
def test_malicious_replies_are_an_error_and_never_unknown(system: System, event: str, reply: tuple[str, ...]) -> None:
    system.server.replies_together = True
    system.server.when(event).reply(*reply)
    before = len(system.server.mails)
    delivery = attempted(system)
    assert (delivery["state"], delivery["errorCode"]) == ("RETRY", "connection")
    assert len(system.server.mails) == before


def test_no_secret_that_a_server_echoes_is_in_the_document(system: System) -> None:
    echo = base64.b64encode(f"\0shop\0{PASSWORD}".encode()).decode()
    system.server.when("MAIL").reply(*[f"550-{PASSWORD} {echo}"] * 200, "550 5.7.1 No")
    failed = attempted(system)
    assert (failed["state"], failed["errorCode"]) == ("ERROR", "rejected")
    system.server.forget_rules()
    system.server.when("BODY").reply(*[f"250-{PASSWORD} {echo}"] * 200, "250 Ok")
    sent = attempted(system)
    for words in (failed["error"], sent["info"]["response"]):
        assert PASSWORD not in words
        assert echo[:20] not in words
        assert len(words) < 2100
