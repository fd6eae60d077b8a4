"""`python -m cli doctor` with a local stack, of which one part fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli import subscription
from cli.__main__ import cli
from cli.doctor import trial, unread
from cli.doctor.trial import TRIALS
from cli.target import EMULATORS
from local.stack import write_ready_file
from tests.integration.system import Configuration, System, wait_for

pytestmark = pytest.mark.integration

MAILS = [each.check for each in TRIALS]

Examine = Callable[..., tuple[int, dict[str, dict[str, Any]]]]


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    """A system of its own: other tests may leave dead letters."""
    return Configuration(project="demo-doctor")


@pytest.fixture
def examine(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """Run the command; returns its exit code, and its findings by check."""
    for name in EMULATORS:  # --local sets them; this restores them
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(subscription, "EMPTY_SECONDS", 1.0)
    monkeypatch.setattr(trial, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(unread, "PAUSE_SECONDS", 0.1)
    path = tmp_path / "ready.json"
    write_ready_file(path, system.stack.ready)

    def run(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
        result = CliRunner().invoke(cli, ["--local", str(path), "doctor", "--json", *arguments])
        findings = [json.loads(line) for line in result.stdout.splitlines()]
        return result.exit_code, {finding["check"]: finding for finding in findings}

    return run


def documents(system: System) -> list[str]:
    return [document.id for document in system.firestore.collection("mail").list_documents()]


def test_a_stack_in_order_is_fine_and_keeps_no_test_documents(examine: Examine, system: System) -> None:
    code, found = examine("--to", "doctor-1@example.com")
    assert code == 0
    assert {check for check, finding in found.items() if finding["verdict"] == "ok"} >= {
        "dispatcher",
        "sender",
        "dead-letters",
        *MAILS,
    }
    assert "too large for an event" in found["mail-600-kb"]["detail"]
    assert len(system.mails_to("doctor-1@example.com")) == 3
    assert documents(system) == []


def test_without_an_address_nothing_is_written(examine: Examine, system: System) -> None:
    code, found = examine()
    assert code == 0
    assert {found[check]["verdict"] for check in MAILS} == {"skipped"}
    assert found["trigger"]["detail"] == "not on the local stack"
    assert documents(system) == []


def test_a_sender_that_is_down_is_named(examine: Examine, system: System) -> None:
    system.stack.kill("sender")
    code, found = examine("--to", "doctor-2@example.com", "--wait", "3")
    assert code == 1
    assert "can't be reached" in found["sender"]["detail"]
    assert "message published, but no sender has claimed it" in found["mail-ordinary"]["detail"]
    assert "message published, but no sender has claimed it" in found["mail-space"]["detail"]


def test_a_dispatcher_that_is_down_is_named_and_its_documents_are_found(examine: Examine, system: System) -> None:
    system.stack.kill("dispatcher")
    code, found = examine("--to", "doctor-3@example.com", "--wait", "2")
    assert code == 1
    assert "can't be reached" in found["dispatcher"]["detail"]
    assert "nothing has seen its event" in found["mail-ordinary"]["detail"]
    assert len(documents(system)) == 3, "all but the one that may get no event"
    _, found = examine()
    assert found["documents"]["verdict"] == "wrong"
    assert "3 of 3 have no delivery.state" in found["documents"]["detail"]
    assert "cli adopt" in found["documents"]["remedy"]


def test_a_mail_server_that_refuses_is_quoted(examine: Examine, system: System) -> None:
    system.server.when("RCPT", "doctor-4@example.com").reply("550 5.1.1 No such user")
    code, found = examine("--to", "doctor-4@example.com")
    assert code == 1
    assert "ended in ERROR, rejected" in found["mail-300-kb"]["detail"]
    assert "550 5.1.1 No such user" in found["mail-300-kb"]["detail"]


def test_dead_letters_are_counted_and_stay(examine: Examine, system: System) -> None:
    system.publish(b"not JSON, for the doctor")

    def counted() -> dict[str, Any] | None:
        finding = examine()[1]["dead-letters"]
        return finding if finding["verdict"] == "wrong" else None

    for _ in range(2):
        assert wait_for(counted, "it is counted")["remedy"] == "python -m cli dead-letters list"
    assert system.dead_letter(b"not JSON, for the doctor"), "the command has consumed it"
