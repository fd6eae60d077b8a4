"""The sender that pulls: the push sender's tests, which apply to it as well, and its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.ports import free_port
from local.services import ROOT, environment
from sender.entrypoints.pull import PAUSE_SECONDS
from shared.delivery.policy import LONGEST_LEASE_SECONDS
from tests.integration.system import PATIENCE, Configuration, Fields, System
from tests.integration.test_faults import (
    MESSAGE,
    test_a_sender_killed_after_the_mail_has_sent_it_once_and_the_document_does_not_claim_to_know,
    test_a_sender_killed_before_the_mail_leaves_no_mail_and_a_document_that_says_it_does_not_know,
)
from tests.integration.test_outcomes import (
    test_a_corrected_document_is_sent_on_retry_under_a_new_message_id,
    test_a_document_becomes_a_mail_and_says_so_with_the_extensions_types,
    test_a_document_of_nearly_a_mebibyte_is_sent,
    test_a_message_that_can_never_work_is_dead_lettered,
    test_one_accepted_recipient_is_success,
)
from tests.integration.test_reliability import (
    test_documents_written_while_nothing_runs_are_sent_later,
    test_sigterm_under_load_loses_nothing_and_sends_nothing_twice,
)

pytestmark = pytest.mark.integration

__all__ = [
    "test_a_corrected_document_is_sent_on_retry_under_a_new_message_id",
    "test_a_document_becomes_a_mail_and_says_so_with_the_extensions_types",
    "test_a_document_of_nearly_a_mebibyte_is_sent",
    "test_a_message_that_can_never_work_is_dead_lettered",
    "test_a_sender_killed_after_the_mail_has_sent_it_once_and_the_document_does_not_claim_to_know",
    "test_a_sender_killed_before_the_mail_leaves_no_mail_and_a_document_that_says_it_does_not_know",
    "test_documents_written_while_nothing_runs_are_sent_later",
    "test_one_accepted_recipient_is_success",
    "test_sigterm_under_load_loses_nothing_and_sends_nothing_twice",
]


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return Configuration(sender="pull")


_HOLDS_ON = "Google's Pub/Sub emulator goes on delivering to the stream of a client that was killed"
#: Tests that can't run on Google's emulator, and why. Those that kill a sender take over 10 s on the embedded one, too:
#: a message comes again when its ack deadline ends, and Pub/Sub allows none below 10 s.
NOT_ON_GOOGLE = {
    "test_a_sender_killed_after_the_mail_has_sent_it_once_and_the_document_does_not_claim_to_know": _HOLDS_ON,
    "test_a_sender_killed_before_the_mail_leaves_no_mail_and_a_document_that_says_it_does_not_know": _HOLDS_ON,
    "test_documents_written_while_nothing_runs_are_sent_later": _HOLDS_ON,
    "test_the_message_of_a_leased_document_is_redelivered_at_intervals_and_finally_dead_lettered": (
        "Google's Pub/Sub emulator does not always redeliver a second time, for an unknown reason"
    ),
}


@pytest.fixture(autouse=True)
def skip_what_googles_emulator_can_not_do(backend: str, request: pytest.FixtureRequest) -> None:
    if backend == "google" and request.node.originalname in NOT_ON_GOOGLE:
        pytest.skip(NOT_ON_GOOGLE[request.node.originalname])


def test_the_message_of_a_leased_document_is_redelivered_at_intervals_and_finally_dead_lettered(system: System) -> None:
    """Each delivery counts against the subscription's limit (five here), so they must not come in a burst.

    It takes 40 s: four pauses of the sender's and the subscription's back-off.
    """
    path = system.new_path()
    begin = datetime.now(UTC)
    expires = begin + timedelta(seconds=LONGEST_LEASE_SECONDS)
    delivery = {"state": "PROCESSING", "attempts": 1, "leaseExpireTime": expires}
    system.write({"to": "held@example.com", "message": MESSAGE, "delivery": delivery}, path)
    system.publish({"document": path})
    assert system.dead_letter({"document": path})
    refusals = [entry["time"] for entry in sender_log(system.stack.logs) if entry.get("document") == path]
    assert len(refusals) == 5
    assert (datetime.now(UTC) - begin).total_seconds() >= 4 * PAUSE_SECONDS
    assert not system.mails_to("held@example.com")


def test_mails_are_sent_later_if_firestore_is_unreachable(system: System) -> None:
    system.stack.terminate("sender")
    path = system.write({"to": "outage@example.com", "message": MESSAGE})
    with sender_process(system, FIRESTORE_EMULATOR_HOST=f"127.0.0.1:{free_port()}") as process:
        assert process.stdout is not None
        assert any('"unavailable: ' in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    system.stack.start_service("sender")
    assert system.concluded(path)["state"] == "SUCCESS"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_on_request(system: System, number: signal.Signals) -> None:
    stall = system.server.when("RCPT", f"ends-{number}").stall()
    system.stack.terminate("sender")
    path = system.write({"to": f"ends-{number}@example.com", "message": MESSAGE})
    with sender_process(system) as process:
        assert stall.reached.wait(PATIENCE)
        process.send_signal(number)
        stall.release()
        assert process.wait(PATIENCE) == 0
    assert system.delivery(path)["state"] in ("SUCCESS", "PENDING")
    system.stack.start_service("sender")
    assert system.concluded(path)["state"] == "SUCCESS"
    assert len(system.mails_to(f"ends-{number}@example.com")) == 1


def test_a_missing_subscription_is_reported_in_one_line(system: System) -> None:
    with sender_process(system, MAIL_SUBSCRIPTION="nowhere") as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.startswith(
        "Firepost can't go on: projects/demo-firepost/subscriptions/nowhere can't be pulled from: "
    )
    assert errors.count("\n") == 1


def sender_log(logs: Path) -> list[Fields]:
    entries: list[dict[str, Any]] = [json.loads(line) for line in (logs / "sender.log").read_text().splitlines()]
    return entries


@contextmanager
def sender_process(system: System, **changes: str) -> Iterator[subprocess.Popen[str]]:
    """A sender beside the stack's own, with other settings; its output can be read."""
    variables = environment(
        system.stack.options,
        firestore=system.stack.ready["firestore"],
        pubsub=system.stack.ready["pubsub"],
        smtp_uri=system.server.uri(),
        port=free_port(),
    )
    with subprocess.Popen(
        [sys.executable, "-m", "sender", "pull"],
        env={**os.environ, "PYTHONUNBUFFERED": "1", **variables, **changes},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
