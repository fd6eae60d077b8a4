"""Shadow mode on the local stack, beside an old system: the test writes what Trigger Email does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from google.cloud.firestore import DocumentReference

from cli.__main__ import cli
from shared.observability.events import Event
from tests import trigger_email
from tests.integration.system import PATIENCE, Configuration, System, wait_for

pytestmark = pytest.mark.integration

ADA, BOB = "ada@example.com", "bob@example.com"
MAIL: dict[str, Any] = {"to": [ADA, f"Bob <{BOB}>"], "message": {"subject": "Hällo", "text": "Guten Tag"}}


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return Configuration(reconcile_seconds=1, settings={"SHADOW": "true"})


class OldSystem:
    """Does what Trigger Email would, when it is told to."""

    def __init__(self, system: System) -> None:
        self._system = system

    def sends(self, path: str, *accepted: str) -> None:
        trigger_email.succeed(self._begun(path), accepted)

    def fails(self, path: str, error: str) -> None:
        trigger_email.fail(self._begun(path), error)

    def _begun(self, path: str) -> DocumentReference:
        document = self._system.firestore.document(path)
        trigger_email.queue(document)
        trigger_email.claim(document)
        return document


@pytest.fixture
def old(system: System) -> OldSystem:
    return OldSystem(system)


def looks(system: System, path: str, old_state: str | None) -> list[dict[str, Any]]:
    """The looks at a document, once one has seen this state."""

    def look() -> list[dict[str, Any]] | None:
        found = system.log("sender", path, Event.SHADOW)
        return found if any(entry.get("old_state") == old_state for entry in found) else None

    return wait_for(look, f"{path} was looked at in {old_state}")


def reported(system: System) -> tuple[int, Mapping[str, str]]:
    """The exit code of the report, and the kind of each mail."""
    result = CliRunner().invoke(cli, ["shadow", "report", "--json", str(system.stack.logs / "sender.log")])
    groups = [json.loads(line) for line in result.stdout.splitlines()]
    return result.exit_code, {path: group["kind"] for group in groups for path in group["examples"]}


def test_the_report_says_where_firepost_would_do_something_else(system: System, old: OldSystem) -> None:
    agreed, refused, others, fails, ignored = (system.new_path() for _ in range(5))
    system.write(MAIL, agreed)
    old.sends(agreed, ADA, BOB)
    system.write(MAIL | {"headers": {"X-Own": "a\r\nBcc: eve@example.com"}}, refused)
    old.sends(refused, ADA, BOB)
    system.write(MAIL, others)
    old.sends(others, ADA)
    system.write(MAIL, fails)
    old.fails(fails, "TypeError: Cannot read properties of null (reading 'length')")
    system.write({"to": ADA}, ignored)
    for path, state in {
        agreed: "SUCCESS",
        refused: "SUCCESS",
        others: "SUCCESS",
        fails: "ERROR",
        ignored: None,
    }.items():
        looks(system, path, state)
    code, kinds = reported(system)
    assert code == 1
    assert {path: kinds[path] for path in (agreed, refused, others, fails, ignored)} == {
        agreed: "both-send",
        refused: "only-old-sends",
        others: "recipients-differ",
        fails: "only-firepost-sends",
        ignored: "running",
    }
    assert system.server.sessions == []


def test_a_document_is_only_what_application_and_old_system_have_written(system: System, old: OldSystem) -> None:
    path = system.write(MAIL)
    [first, *_] = looks(system, path, None)
    assert first["reason"] == "sent"
    assert system.document(path) == MAIL
    old.sends(path, ADA, BOB)
    written = system.firestore.document(path).get().update_time
    last = looks(system, path, "SUCCESS")[-1]
    assert last["digest"] == first["digest"]
    assert system.firestore.document(path).get().update_time == written
    assert not system.firestore.document("mail-firepost/reconciler").get().exists


def test_a_published_mail_creates_no_document(system: System) -> None:
    system.publish({"mail": MAIL, "id": "inline"})
    wait_for(lambda: system.log("sender", "mail/inline", Event.SHADOW), "the mail was looked at")
    assert not system.firestore.document("mail/inline").get().exists
    assert system.server.sessions == []


def test_both_services_say_what_they_do(system: System) -> None:
    for service in ("dispatcher", "sender"):
        assert "shadow mode" in requests.get(f"{system.stack.ready[service]}/health", timeout=PATIENCE).text
        assert "shadow mode: no mail is sent" in (system.stack.logs / f"{service}.log").read_text()
