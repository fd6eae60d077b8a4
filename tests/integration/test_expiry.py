"""Mails that expire or are cancelled, on the real stack: none goes out late or unwanted. The reconciler runs here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.system import PATIENCE, Configuration, System, wait_for
from tests.patience import patience

pytestmark = pytest.mark.integration

MESSAGE = {"subject": "Your code", "text": "1234"}
#: An attempt has most of its lease.
LEASE_SECONDS = round(patience(8))
#: Time for everything up to the mail server, and less than an attempt has.
SOON = timedelta(seconds=LEASE_SECONDS / 2)


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    settings = {
        "LEASE_SECONDS": f"{LEASE_SECONDS}",
        "ACK_DEADLINE_SECONDS": f"{LEASE_SECONDS + 6}",
        # More than the retries before a mail expires.
        "MAX_ATTEMPTS": "20",
        "RETRY_FIRST_SECONDS": "1",
        "RETRY_LONGEST_SECONDS": "2",
    }
    return Configuration(reconcile_seconds=0.3, settings=settings)


def now() -> datetime:
    return datetime.now(UTC)


def assert_expired(system: System, path: str, address: str, code: str = "expired") -> None:
    delivery = system.ended(path)
    assert (delivery["state"], delivery["errorCode"]) == ("ERROR", code)
    assert not system.mails_to(address)


def a_control_mail_is_sent(system: System, send_at: datetime | None = None) -> None:
    control = system.write({"to": "control@example.com", "message": MESSAGE, "sendAt": send_at})
    assert system.ended(control)["state"] == "SUCCESS"


@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA"])
def test_a_code_expires_while_the_mail_server_stalls(system: System, moment: str) -> None:
    address = f"stalled-{moment.lower()}@example.com"
    stall = system.server.when(moment).stall()
    path = system.write({"to": address, "message": MESSAGE, "expiresAt": now() + SOON})
    assert stall.reached.wait(PATIENCE)
    assert_expired(system, path, address)
    stall.release()
    system.server.forget_rules()
    system.retry(path)
    delivery = wait_for(
        lambda: (d := system.delivery(path))["state"] == "ERROR" and "No attempt" in d["error"] and d, "it ends again"
    )
    assert delivery["errorCode"] == "expired"
    assert "later 'expiresAt'" in delivery["error"]
    system.retry(path, expiresAt=now() + timedelta(hours=1))
    assert wait_for(lambda: system.delivery(path)["state"] == "SUCCESS", "it is sent after all")


def test_a_code_expires_while_the_mail_server_defers_it(system: System) -> None:
    system.server.when("RCPT", "deferred@").reply("451 4.3.0 Later")
    path = system.write({"to": "deferred@example.com", "message": MESSAGE, "expiresAt": now() + SOON})
    assert system.attempts(path, 1)[0]["after"] in ("RETRY", "ERROR")
    assert_expired(system, path, "deferred@example.com")
    system.server.forget_rules()
    a_control_mail_is_sent(system)
    assert not system.mails_to("deferred@example.com")


def test_a_mail_whose_handing_over_began_in_time_is_sent(system: System) -> None:
    stall = system.server.when("BODY").stall()
    expires_at = now() + SOON
    path = system.write({"to": "in-time@example.com", "message": MESSAGE, "expiresAt": expires_at})
    assert stall.reached.wait(PATIENCE)
    wait_for(lambda: now() > expires_at, "it has expired")
    assert system.delivery(path)["state"] == "PROCESSING"
    stall.release()
    assert system.ended(path)["state"] == "SUCCESS"


@pytest.mark.parametrize("inline", [False, True], ids=["document", "inline"])
@pytest.mark.parametrize(
    ("ahead", "code"),
    [
        pytest.param({"expiresAt": -1}, "expired", id="expired"),
        pytest.param({"sendAt": 3600, "expiresAt": 1800}, "validation", id="before-it-may-be-sent"),
    ],
)
def test_a_mail_that_can_not_be_sent_in_time_ends_at_once(
    system: System, ahead: dict[str, float], code: str, inline: bool
) -> None:
    name = f"never-{code}-{'inline' if inline else 'document'}"
    times = {field: now() + timedelta(seconds=seconds) for field, seconds in ahead.items()}
    path = f"mail/{name}"
    mail: dict[str, Any] = {"to": f"{name}@example.com", "message": MESSAGE}
    if inline:
        system.publish({"mail": mail | {field: time.isoformat() for field, time in times.items()}, "id": name})
    else:
        system.write(mail | times, path)
    assert_expired(system, path, f"{name}@example.com", code)


@pytest.mark.parametrize("value", ["soon", 4102444800, "2026-12-24T18:00:00"])
def test_an_unreadable_expiry_is_an_error(system: System, value: object) -> None:
    path = system.write({"to": "unreadable@example.com", "message": MESSAGE, "expiresAt": value})
    assert_expired(system, path, "unreadable@example.com", "validation")
    assert "'expiresAt'" in system.delivery(path)["error"]


def test_a_mail_cancelled_while_it_is_scheduled_is_not_sent_until_somebody_wants_it(system: System) -> None:
    send_at = now() + SOON
    path = system.write({"to": "cancelled@example.com", "message": MESSAGE, "sendAt": send_at})
    system.in_state(path, "PENDING")
    system.firestore.document(path).update({"delivery.state": "CANCELLED"})
    a_control_mail_is_sent(system, send_at + timedelta(seconds=1))
    wait_for(lambda: "nextAttemptTime" not in system.delivery(path), "it is off the schedule")
    assert system.delivery(path)["state"] == "CANCELLED"
    assert not system.mails_to("cancelled@example.com")
    system.retry(path)
    assert wait_for(lambda: system.delivery(path)["state"] == "SUCCESS", "it is sent after all")


@pytest.mark.parametrize(
    ("reply", "state"), [("250 2.0.0 Ok", "SUCCESS"), ("451 4.3.0 Later", "ERROR")], ids=["sent", "deferred"]
)
def test_a_mail_cancelled_while_it_is_being_sent_tells_what_became_of_it(
    system: System, reply: str, state: str
) -> None:
    address = f"running-{state.lower()}@example.com"
    rule = system.server.when("BODY")
    stall = rule.stall()
    rule.reply(reply)
    path = system.write({"to": address, "message": MESSAGE})
    assert stall.reached.wait(PATIENCE)
    system.firestore.document(path).update({"delivery.state": "CANCELLED"})
    stall.release()
    delivery = system.ended(path)
    assert (delivery["state"], delivery["attempts"]) == (state, 1)
    system.server.forget_rules()
    a_control_mail_is_sent(system, now() + SOON)
    assert system.delivery(path)["attempts"] == 1, "no further attempt follows"


def test_a_mail_cancelled_while_its_sender_vanishes_stays_cancelled(system: System) -> None:
    """It takes 10 s: the lease of the vanished sender must end before its document is seen again."""
    stall = system.server.when("RCPT", "vanished@").stall()
    path = system.write({"to": "vanished@example.com", "message": MESSAGE})
    assert stall.reached.wait(PATIENCE)
    system.firestore.document(path).update({"delivery.state": "CANCELLED"})
    system.stack.kill("sender")
    stall.release()
    system.stack.ensure_running()
    a_control_mail_is_sent(system, now() + timedelta(seconds=LEASE_SECONDS + 1))
    assert system.delivery(path)["state"] == "CANCELLED"
    assert not system.mails_to("vanished@example.com")
