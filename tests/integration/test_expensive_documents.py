"""While the most expensive document of its kind is worked on, other mails are sent and health checks are answered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from tests.integration.system import Configuration, System, wait_for
from tests.patience import patience

pytestmark = pytest.mark.integration

SECONDS = patience(2.0)
TEXT = "t" * 900_000
MESSAGE = {"subject": "s", "text": "t"}

TEMPLATES: dict[str, dict[str, Any]] = {
    "loop": {"subject": "s", "text": "{{#each list}}{{#each ../list}}{{/each}}{{/each}}"},
    "output": {"subject": "s", "html": "{{#each list}}{{#each ../list}}{{{../../text}}}{{/each}}{{/each}}"},
    "partial": {"subject": "s", "text": "{{> card text label='x'}}"},
    "card": {"partial": True, "text": "{{> card . label='x'}}"},
    "subject": {"subject": "{{text}}", "text": "t"},
    "tags": {"subject": "s", "text": "{{a}}" * 33_000},
    "too-many-tags": {"subject": "s", "text": "{{a}}" * 180_000},
}


def templated(name: str) -> dict[str, Any]:
    return {"template": {"name": name, "data": {"list": [1] * 50_000, "text": "<" * 400_000}}}


EXPENSIVE: list[Any] = [
    pytest.param(templated("loop"), id="a loop to the time limit"),
    pytest.param(templated("output"), id="a loop to the limit of output"),
    pytest.param(templated("partial"), id="a partial that calls itself"),
    pytest.param(templated("subject"), id="a rendered subject"),
    pytest.param(templated("tags"), id="a template of many tags"),
    pytest.param(templated("too-many-tags"), id="a template of too many tags"),
    pytest.param({"message": MESSAGE | {"html": "<p>x" * 220_000}}, id="a page of many paragraphs"),
    pytest.param(
        {"message": MESSAGE | {"html": "<style>" + "p{color:red}" * 30_000 + "</style>" + "<p>x" * 120_000}},
        id="a page of many styles",
    ),
    pytest.param({"message": {"subject": "s", "html": "<table>" + "<tr><td>x" * 90_000}}, id="a page as text"),
    pytest.param({"message": {"subject": "s", "html": "<" * 900_000}}, id="a page of tags that never end"),
    pytest.param({"message": MESSAGE | {"html": "é\n" * 300_000}}, id="a page to encode"),
    pytest.param({"to": [f"Nö {n} <a{n}@example.com>" for n in range(1_000)], "message": MESSAGE}, id="recipients"),
    pytest.param({"to": ", ".join(["a@b.example"] * 7_000), "message": MESSAGE}, id="too many recipients"),
    pytest.param({"to": [(" a" * 900 + ",") * 40] * 12, "message": MESSAGE}, id="words that are no addresses"),
    pytest.param({"headers": {f"X-{n}": "é ü" for n in range(10_000)}, "message": MESSAGE}, id="headers"),
    pytest.param({"headers": {"X-Long": "é a " * 150_000}, "message": MESSAGE}, id="a long header"),
    pytest.param({"headers": {"X": ["1"] * 150_000}, "message": MESSAGE}, id="a header that is repeated"),
    pytest.param({"message": MESSAGE | {"attachments": [{"content": "x"}] * 20_000}}, id="too many attachments"),
    pytest.param({"message": MESSAGE | {"attachments": [{"content": TEXT[:8_000]}] * 100}}, id="attachments"),
    pytest.param({"message": MESSAGE | {"attachments": [{"path": "data:," + "%41" * 290_000}]}}, id="a data URL"),
    pytest.param({"message": MESSAGE | {"attachments": [{"raw": "\n" * 900_000}]}}, id="a part of empty lines"),
    pytest.param({"message": MESSAGE | {"icalEvent": "é\n" * 290_000}}, id="a calendar"),
    pytest.param({"categories": ["x"] * 200_000, "message": MESSAGE}, id="categories"),
    pytest.param({"toUids": ["u"] * 200_000, "message": MESSAGE}, id="user ids"),
]


@pytest.fixture(scope="module")
def backend() -> str:
    return "embedded"


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    settings = {
        "LEASE_SECONDS": "60",
        "ACK_DEADLINE_SECONDS": "75",
        "INLINE_CSS": "true",
        "TEXT_FROM_HTML": "true",
    }
    return Configuration(settings=settings, limit_events=False)


@pytest.mark.parametrize("fields", EXPENSIVE)
def test_another_mail_is_sent_meanwhile(system: System, fields: Mapping[str, Any]) -> None:
    for name, template in TEMPLATES.items() if "template" in fields else ():
        system.firestore.document(f"templates/{name}").set(template)
    expensive = system.write({"to": "ada@example.com", **fields})
    wait_for(lambda: system.delivery(expensive).get("state") not in (None, "PENDING"), f"{expensive} is claimed")
    began = time.monotonic()
    other = system.write({"to": "other@example.com", "message": MESSAGE})
    assert requests.get(f"{system.stack.ready['sender']}/health", timeout=SECONDS).ok
    assert system.ended(other)["state"] == "SUCCESS"
    assert time.monotonic() - began < SECONDS
    ending = system.ended(expensive)
    assert ending["state"] == "SUCCESS" or ending["errorCode"] in ("validation", "template", "attachment", "temporary")
