"""The operators' view of the running system: traces to the mail server, and no secrets in logs and old documents."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from shared.observability.events import FIELDS, Event
from tests.integration.system import Configuration, System
from tests.otlp import Collector, Span

pytestmark = pytest.mark.integration

#: In every mail sent here; the last is the SMTP server's password.
PRIVATE = ("ada@example.com", "grace", "Confidential", "hunter2", "s3cret")
MESSAGE = {"subject": "Confidential", "text": "Your password is hunter2.", "html": "<p>hunter2</p>"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def backend() -> str:
    return "embedded"


@pytest.fixture(scope="module")
def configuration(collector: Collector) -> Configuration:
    settings = {
        "REDACT_AFTER_SUCCESS": "true",
        "TRACES": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "600000",  # later than the end of the test, so only flushed spans arrive
    }
    return Configuration(reconcile_seconds=0.5, login="grace:s3cret", settings=settings)


def spans_of(spans: list[Span], path: str) -> dict[str, Span]:
    """The spans of one document's sending trace, by name."""
    sent_spans = [span for span in spans if span.attributes.get("firepost.reason") == "new"]
    traces = {span.trace for span in sent_spans if span.attributes.get("firepost.document") == path}
    return {span.name: span for span in spans if span.trace in traces}


def test_one_trace_leads_from_the_document_to_the_mail_servers_answer(system: System, collector: Collector) -> None:
    path = system.write({"to": "ada@example.com", "message": MESSAGE})
    assert system.concluded(path)["state"] == "SUCCESS"
    for service in ("dispatcher", "sender"):
        system.stack.terminate(service)
        system.stack.start_service(service)
    whole = {"change", "message", "claim", "compose", "send", "finish"}
    spans = spans_of(collector.wait_for(lambda spans: set(spans_of(spans, path)) == whole), path)
    assert spans["change"].service == "dispatcher"
    assert (spans["message"].service, spans["message"].parent) == ("sender", spans["change"].id)
    assert {spans[step].parent for step in ("claim", "compose", "send", "finish")} == {spans["message"].id}
    (entry,) = system.attempts(path, 1)
    assert entry["logging.googleapis.com/trace"].endswith(f"/traces/{spans['change'].trace}")
    assert entry["logging.googleapis.com/spanId"] == spans["message"].id


def test_logs_hold_nothing_private_and_speak_the_vocabulary(system: System) -> None:
    system.server.when("RCPT", "no.").reply("550 5.1.1 ada@example.com is unknown, Confidential")
    paths = [
        system.write({"to": "ada@example.com", "message": MESSAGE}),
        system.write({"to": "no.ada@example.com", "message": MESSAGE}),
        system.write({"to": "ada@example.com, Confidential", "message": MESSAGE}),
        system.write({"to": "ada@example.com", "template": {"name": "none", "data": {"password": "hunter2"}}}),
        system.write(
            {"to": "ada@example.com", "message": {**MESSAGE, "attachments": [{"path": "https://127.0.0.1/hunter2"}]}}
        ),
    ]
    system.publish({"mail": {"to": "ada@example.com", "message": MESSAGE, "delivery": "Confidential"}})
    for path in paths:
        system.attempts(path, 1)
    lines = [line for name in ("dispatcher", "sender") for line in log(system, name)]
    assert not [(word, line) for line in lines for word in PRIVATE if word in line]
    for entry in map(json.loads, lines):
        if "event" in entry:
            assert Event(entry["event"]) in FIELDS


def test_a_sent_mail_leaves_nothing_private_in_its_document(system: System) -> None:
    unknown = {f"hunter2 {number:05}": {"url": "https://example.com/hunter2"} for number in range(6_000)}
    fields = {
        "to": "ada@example.com",
        "order": "17",
        "headers": {"X-Note": "hunter2"},
        "message": {**MESSAGE, "subject": "Welcome", "raw": "hunter2", "my note": "hunter2", "list": unknown},
    }
    path = system.write(fields)
    assert system.concluded(path)["state"] == "SUCCESS"
    left = system.document(path)
    assert "hunter2" not in json.dumps(left, default=str)
    assert (left["message"], left["order"], left["delivery"]["redacted"]) == ({"subject": "Welcome"}, "17", True)


def log(system: System, service: str) -> list[str]:
    return (system.stack.logs / f"{service}.log").read_text().splitlines()
