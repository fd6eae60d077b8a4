"""Checking documents: the sender's own verdicts, grouped, without sending, writing or showing content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from cli.rehearsal import EXAMPLES, Fault, Outcomes, faults_of
from sender.message.compose import Mail
from sender.transport.envelope import Envelope
from shared.errors import Deferred, ErrorCode, NotSendable, Unavailable
from tests.unit.cli.conftest import Store

MAIL: dict[str, Any] = {"to": "ada@example.com", "message": {"subject": "s", "text": "t"}}
NAMES = ("DEFAULT_FROM", "USERS_COLLECTION", "TEMPLATES_COLLECTION", "TRANSPORT", "TRANSPORTS", "AUTH_TYPE")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "SMTP_CONNECTION_URI", "TLS_OPTIONS", "ATTACHMENT_HOSTS"):
        monkeypatch.delenv(name, raising=False)


def checked(store: Store, *arguments: str) -> Iterator[dict[str, Any]]:
    result = store.run("check-documents", "--json", *arguments)
    assert result.exit_code in (0, 1), result.output
    yield from map(json.loads, result.stdout.splitlines())


def only(store: Store, *arguments: str) -> dict[str, Any]:
    [group] = checked(store, *arguments)
    return group


def test_documents_that_can_be_sent_are_only_counted(store: Store) -> None:
    store.write({"mail/a": MAIL, "mail/b": MAIL | {"delivery": {"state": "SUCCESS"}}})
    result = store.run("check-documents")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "2 documents read, 2 checked: 0 would become ERROR, 0 would be sent with a warning.\n"


def test_faults_are_grouped_by_code_and_field_with_the_first_paths(store: Store) -> None:
    wrong = {f"mail/a{number}": MAIL | {"message": {"subject": "s", "text": number + 1}} for number in range(5)}
    unsent = {"mail/b": MAIL | {"categories": ["x"]}, "mail/c": MAIL}
    store.write(wrong | unsent)
    assert list(checked(store)) == [
        {
            "result": "error",
            "errorCode": "validation",
            "fault": "Field 'message.text': expected a string, found a number.",
            "documents": 5,
            "examples": ["mail/a0", "mail/a1", "mail/a2"],
        },
        {
            "result": "warning",
            "errorCode": None,
            "fault": "Field 'categories' is not supported over SMTP and was not sent.",
            "documents": 1,
            "examples": ["mail/b"],
        },
    ]
    result = store.run("check-documents")
    assert result.exit_code == 1
    assert result.stderr == "7 documents read, 7 checked: 5 would become ERROR, 1 would be sent with a warning.\n"
    first = result.stdout.splitlines()[0].split("\t")
    assert first[:3] == ["ERROR", "validation", "5"]
    assert first[4] == "mail/a0, mail/a1, mail/a2"


def test_nothing_is_written(store: Store) -> None:
    store.write({"mail/a": MAIL, "mail/b": {}})
    before = [(each.id, each.update_time) for each in store.stream("mail")]
    store.run("check-documents")
    assert [(each.id, each.update_time) for each in store.stream("mail")] == before


def test_no_content_is_shown(store: Store) -> None:
    secret = "s3cret"
    store.write(
        {
            "mail/a": {"to": [f"{secret} {secret}"], "message": {"subject": f"{secret}\r\n{secret}", "text": "t"}},
            "mail/b": MAIL | {"headers": {"X-A": f"{secret}\n"}, "sendAt": secret},
            "mail/c": MAIL | {"template": {"name": "welcome", "data": {"x": secret}}},
            "mail/d": MAIL | {"message": {"subject": "s", "text": "t", "attachments": [{"path": f"/etc/{secret}"}]}},
        }
    )
    result = store.run("check-documents")
    assert result.stdout.count("\n") >= 4
    assert secret not in result.output


def test_templates_and_users_are_those_of_the_collections(store: Store) -> None:
    store.write(
        {
            "templates/good": {"subject": "Hi {{name}}", "html": "<p>{{> footer}}</p>"},
            "templates/footer": {"partial": True, "html": "--"},
            "templates/bad": {"html": "{{#if name}}"},
            "users/ada": {"email": "ada@example.com"},
            "mail/a": {"to": "a@example.com", "template": {"name": "good", "data": {"name": "Ada"}}},
            "mail/b": {"to": "a@example.com", "template": {"name": "bad"}},
            "mail/c": {"toUids": ["ada", "nobody"], "message": {"subject": "s", "text": "t"}},
        }
    )
    error, warning = checked(store, "--templates", "templates", "--users", "users")
    assert (error["errorCode"], error["examples"]) == ("template", ["mail/b"])
    assert "Template 'templates/bad' is malformed: html, line 1" in error["fault"]
    assert (warning["fault"].startswith("Some user ids have no"), warning["examples"]) == (True, ["mail/c"])


def test_a_missing_collection_is_an_error_as_for_the_sender(store: Store) -> None:
    store.write({"mail/a": {"to": "a@example.com", "template": {"name": "good"}}})
    assert "no TEMPLATES_COLLECTION is configured" in only(store)["fault"]


def test_settings_come_from_the_environment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write({"mail/a": MAIL | {"categories": ["x"]}})
    monkeypatch.setenv("TRANSPORT", "sendgrid")
    assert list(checked(store)) == []


@pytest.mark.parametrize(
    ("name", "value"), [("TRANSPORT", "pigeon"), ("TEMPLATES_COLLECTION", "a/b"), ("DEFAULT_FROM", "nobody")]
)
def test_a_wrong_setting_is_named(store: Store, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    result = store.run("check-documents")
    assert (result.exit_code, name in result.stderr) == (2, True)


def test_files_from_elsewhere_are_not_fetched_unless_asked_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    attachments = [{"path": "https://files.invalid/a.pdf"}]
    store.write({"mail/a": MAIL | {"message": {"subject": "s", "text": "t", "attachments": attachments}}})
    result = store.run("check-documents")
    assert result.exit_code == 0
    assert "1 have attachments from elsewhere, which were not fetched (--fetch)." in result.stderr
    monkeypatch.setenv("ATTACHMENT_HOSTS", "none")
    assert only(store, "--fetch")["errorCode"] == "attachment"


def test_reads_are_limited_and_that_is_said(store: Store) -> None:
    store.write({f"mail/{number:03}": MAIL for number in range(60)})
    limited = store.run("check-documents", "--limit", "30")
    assert limited.stderr.startswith("30 documents read, 30 checked")
    assert "Stopped after 30 documents" in limited.stderr
    every = store.run("check-documents", "--all")
    assert every.stderr.startswith("60 documents read, 60 checked")
    assert "Stopped" not in every.stderr


def test_only_those_of_a_time_are_checked(store: Store) -> None:
    store.write({"mail/a": {}})
    assert store.run("check-documents", "--until", "1h").exit_code == 0
    assert store.run("check-documents", "--since", "1h").exit_code == 1


def composed(warnings: tuple[str, ...] = (), missing: tuple[str, ...] = ()) -> Mail:
    return Mail(Envelope("a@b.c", ("d@e.f",)), b"", "<x@y>", warnings, missing_uids=missing)


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        pytest.param(
            "Field 'to.17': expected an address, found one without an @.",
            {"Field 'to.*': expected an address, found one without an @."},
            id="indexes",
        ),
        pytest.param(
            "Field 'a': expected at most 100, found 1,234. Field 'b': expected a map, found nothing.",
            {"Field 'a': expected at most 100, found N.", "Field 'b': expected a map, found nothing."},
            id="amounts-and-sentences",
        ),
        pytest.param("x" * 10_000, {"x" * 500}, id="long"),
    ],
)
def test_faults_of_the_same_kind_have_the_same_text(text: str, shapes: set[str]) -> None:
    def fail(fields: Mapping[str, Any]) -> Mail:
        raise NotSendable(ErrorCode.VALIDATION, text)

    assert faults_of({}, fail) == {Fault(ErrorCode.VALIDATION, shape) for shape in shapes}


def test_a_fault_of_the_code_is_an_error_of_the_document() -> None:
    assert faults_of({}, lambda fields: composed(("x",) * fields["missing"])) == {
        Fault(ErrorCode.VALIDATION, "The mail could not be composed (KeyError).")
    }


def test_a_mail_that_the_guard_would_withhold_from_some_is_a_warning() -> None:
    withheld = replace(composed(), withheld=("d@e.f",))
    text = "Some recipients would be withheld (RECIPIENTS_ALLOWED, RECIPIENTS_REDIRECT)."
    assert faults_of({}, lambda fields: withheld) == {Fault(None, text)}


@pytest.mark.parametrize("error", [Unavailable("no"), Deferred(None, "no")])
def test_what_says_nothing_about_the_document_ends_the_check(error: Exception) -> None:
    def fail(fields: Mapping[str, Any]) -> Mail:
        raise error

    with pytest.raises(Unavailable):
        faults_of({}, fail)


def test_memory_is_bounded_however_different_the_faults_are() -> None:
    outcomes = Outcomes()
    for number in range(1_500):
        outcomes.add(f"mail/{number}", {Fault(ErrorCode.VALIDATION, f"Field 'x{number}' is odd.")})
        outcomes.add(f"mail/{number}", {Fault(None, "Field 'same' is odd.")})
    groups = outcomes.groups()
    assert (len(groups), outcomes.kept_short, outcomes.errors, outcomes.warned) == (1_000, 501, 1_500, 1_500)
    assert (groups[-1].documents, len(groups[-1].examples)) == (1_500, EXAMPLES)
