"""Crashes at the worst moments: nothing is lost, and nothing is sent twice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
import requests

from local.ports import free_port
from local.processes import Command, Family
from local.services import ROOT, environment
from tests.gate import Gate
from tests.integration.system import PATIENCE, System, wait_for
from tests.smtp_script import Stall

pytestmark = pytest.mark.integration

MESSAGE = {"subject": "s", "text": "t"}


@pytest.mark.parametrize("moment", ["RCPT", "DATA"])
def test_a_sender_killed_before_the_mail_leaves_no_mail_and_a_document_that_says_it_does_not_know(
    system: System, moment: str
) -> None:
    address = f"before-{moment.lower()}@example.com"
    stall = system.server.when(moment).stall()
    path = system.write({"to": address, "message": MESSAGE})
    assert stall.reached.wait(PATIENCE)
    assert system.delivery(path)["state"] == "PROCESSING"
    restart_sender(system, stall, path)
    delivery = system.concluded(path)
    assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "lease-expired")
    assert not system.mails_to(address)
    system.retry(path)
    delivery = system.concluded(path, attempts=2)
    assert [(each["state"], each["errorCode"]) for each in delivery["history"]] == [
        ("ERROR", "lease-expired"),
        ("SUCCESS", None),
    ]
    assert len(system.mails_to(address)) == 1


def test_a_sender_killed_after_the_mail_has_sent_it_once_and_the_document_does_not_claim_to_know(
    system: System,
) -> None:
    stall = system.server.when("BODY").stall()
    path = system.write({"to": "after@example.com", "message": MESSAGE})
    assert stall.reached.wait(PATIENCE)
    restart_sender(system, stall, path)
    delivery = system.concluded(path)
    assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "lease-expired")
    assert len(system.mails_to("after@example.com")) == 1


def test_a_sender_that_was_only_slow_replaces_the_guess_with_the_truth(system: System) -> None:
    """It is frozen with the mail accepted, beyond its lease; another sender concludes the lease; then it resumes."""
    stall = system.server.when("BODY").stall()
    path = system.write({"to": "slow@example.com", "message": MESSAGE})
    assert stall.reached.wait(PATIENCE)
    system.stack.pause("sender")
    stall.release()
    with another_process(system, "sender", "push") as url:
        wait_for(lambda: system.push({"document": path}, url=url).ok, "the lease has expired")
    assert system.delivery(path)["errorCode"] == "lease-expired"
    system.stack.resume("sender")
    delivery = system.in_state(path, "SUCCESS")
    assert [(each["attempt"], each["state"]) for each in delivery["history"]] == [(1, "SUCCESS")]
    assert delivery["attempts"] == 1
    assert len(system.mails_to("slow@example.com")) == 1


def test_a_retry_set_while_sending_makes_a_second_mail_and_no_third(system: System) -> None:
    stall = system.server.when("BODY").stall()
    path = system.write({"to": "again@example.com", "message": MESSAGE})
    assert stall.reached.wait(PATIENCE)
    system.server.forget_rules()
    system.retry(path)
    wait_for(lambda: system.push({"document": path}).text == "lease-held\n", "the retry waits for the lease")
    stall.release()
    assert system.concluded(path, attempts=2)["state"] == "SUCCESS"
    first, second = system.mails_to("again@example.com")
    assert message_id(first.data) != message_id(second.data)


def test_a_document_deleted_while_sending_stays_deleted(system: System) -> None:
    stall = system.server.when("BODY").stall()
    path = system.write({"to": "deleted@example.com", "message": MESSAGE})
    assert stall.reached.wait(PATIENCE)
    system.firestore.document(path).delete()
    stall.release()
    system.server.wait_until(lambda: len(system.mails_to("deleted@example.com")) == 1)
    wait_for(lambda: system.push({"document": path}).text == "deleted\n", "the sender sees that it is gone")
    assert not system.document(path)


def test_duplicate_pushes_at_the_same_time_send_once(system: System) -> None:
    system.stack.kill("dispatcher")
    path = system.write({"to": "dup@example.com", "message": MESSAGE})
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: system.push({"document": path}, str(n)), range(24)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert [answer.text for answer in answers].count("sent\n") == 1
    system.stack.start_service("dispatcher")
    assert system.concluded(path)["attempts"] == 1
    assert len(system.mails_to("dup@example.com")) == 1


def test_a_push_ahead_of_the_dispatchers_write_is_no_reason_for_a_second_mail(system: System) -> None:
    """Reordered: the message is processed before the event, then the event arrives."""
    system.stack.kill("dispatcher")
    path = system.write({"to": "early@example.com", "message": MESSAGE})
    assert system.push({"document": path}).text == "sent\n"
    system.stack.start_service("dispatcher")
    later = system.write({"to": "later@example.com", "message": MESSAGE})
    system.concluded(later)
    assert system.concluded(path)["attempts"] == 1
    assert len(system.mails_to("early@example.com")) == 1


def test_a_dispatcher_killed_between_publish_and_pending_loses_nothing(system: System) -> None:
    """It takes 10 s: the dispatcher asks Firestore first what is paused, and waits so long for an answer."""
    stall = system.server.when("BODY", "torn@example.com").stall()
    system.stack.kill("dispatcher")
    with Gate(system.stack.ready["firestore"]) as gate:
        port = urlsplit(system.stack.ready["dispatcher"]).port
        with another_process(system, "dispatcher", port=port, firestore=gate.address):
            gate.close()
            path = system.write({"to": "torn@example.com", "message": MESSAGE})
            assert gate.held.wait(PATIENCE), "the dispatcher wants to write"
            assert stall.reached.wait(PATIENCE), "so it has published: the mail is on its way"
    stall.release()
    system.stack.start_service("dispatcher")
    assert system.concluded(path)["state"] == "SUCCESS"
    later = system.write({"to": "later@example.com", "message": MESSAGE})
    system.concluded(later)
    assert len(system.mails_to("torn@example.com")) == 1


def restart_sender(system: System, stall: Stall, path: str) -> None:
    """Kill the sender where it is with the mail, and make the mail server continue normally.

    Google's emulator repeats a message so soon that it may give it up before a lease of more than four seconds expires.
    So there the message comes again from here.
    """
    system.stack.kill("sender")
    system.server.forget_rules()
    stall.release()
    system.stack.start_service("sender")
    if system.stack.options.backend == "google":
        expires = system.delivery(path)["leaseExpireTime"]
        wait_for(lambda: datetime.now(UTC) > expires, "the lease has expired")
        system.publish({"document": path})


@contextmanager
def another_process(system: System, *module: str, port: int | None = None, firestore: str = "") -> Iterator[str]:
    """Another service beside the stack's own; killed at the end of the block. Yields its URL."""
    port = port or free_port()
    variables = environment(
        system.stack.options,
        firestore=firestore or system.stack.ready["firestore"],
        pubsub=system.stack.ready["pubsub"],
        smtp_uri=system.server.uri(),
        port=port,
    )
    url = f"http://127.0.0.1:{port}"
    log = system.stack.logs / f"another-{port}.log"
    command = Command("another", (sys.executable, "-m", *module), log, {**os.environ, **variables}, ROOT)
    family = Family()
    process = family.start(command, on_exit=lambda status: None)
    try:
        wait_for(lambda: answers(f"{url}/health"), f"{module} answers")
        yield url
    finally:
        process.kill()
        family.stop()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.RequestException:
        return False


def message_id(data: bytes) -> bytes:
    return next(line for line in data.split(b"\r\n") if line.lower().startswith(b"message-id:"))
