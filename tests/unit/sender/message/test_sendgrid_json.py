"""Documents as requests to SendGrid, checked against SendGrid's documentation."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sender.document.addresses import Address
from sender.message.compose import Composer, Defaults, Mail
from sender.message.sendgrid_json import encode_sendgrid_request
from shared.errors import ErrorCode, NotSendable
from shared.firestore.values import Reference
from tests.sendgrid_schema import complaints

DEFAULTS = Defaults(Address("Shop", "shop@example.com"), (Address("", "help@example.com"),))
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HELLO = {"subject": "Hello", "text": "there"}


def composed(settled: frozenset[str] = frozenset(), **fields: Any) -> Mail:
    document = {"to": "ana@example.com", "message": HELLO, **fields}
    return Composer(DEFAULTS, encode_sendgrid_request)(document, seed="s1", now=NOW, settled=settled)


def body(**fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(composed(**fields).data)
    assert complaints(made) == []
    return made


def test_whole_request_of_a_plain_mail() -> None:
    mail = composed()
    assert json.loads(mail.data) == {
        "personalizations": [{"to": [{"email": "ana@example.com"}]}],
        "from": {"email": "shop@example.com", "name": "Shop"},
        "reply_to_list": [{"email": "help@example.com"}],
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "there"}],
        "headers": {"Message-ID": mail.message_id},
    }


@pytest.mark.parametrize(
    ("recipients", "envelopes"),
    [
        pytest.param(
            {"to": ["Ana <ana@b.c>", "ANA@b.c"], "cc": ["ana@b.c", "bob@b.c"], "bcc": ["BOB@b.c", "cleo@b.c"]},
            [
                {
                    "to": [{"email": "ana@b.c", "name": "Ana"}],
                    "cc": [{"email": "bob@b.c"}],
                    "bcc": [{"email": "cleo@b.c"}],
                }
            ],
            id="each address once",
        ),
        pytest.param(
            {"to": None, "cc": "ana@b.c", "bcc": "bob@b.c"},
            [{"to": [{"email": "ana@b.c"}], "bcc": [{"email": "bob@b.c"}]}],
            id="without to, those in cc take its place",
        ),
        pytest.param(
            {"to": None, "bcc": ["ana@b.c", "bob@b.c"]},
            [{"to": [{"email": "ana@b.c"}]}, {"to": [{"email": "bob@b.c"}]}],
            id="hidden recipients alone don't see each other",
        ),
        pytest.param(
            {"to": "Team: ana@b.c, Bob <bob@b.c>;"},
            [{"to": [{"email": "ana@b.c"}, {"email": "bob@b.c", "name": "Bob"}]}],
            id="a group",
        ),
    ],
)
def test_recipients_follow_sendgrid_s_rules(recipients: dict[str, Any], envelopes: list[Any]) -> None:
    assert body(**recipients)["personalizations"] == envelopes


def test_recipients_of_earlier_attempts_are_omitted() -> None:
    mail = composed(settled=frozenset({"ana@b.c", "bob@b.c"}), to="ana@b.c", cc="bob@b.c, cleo@b.c")
    assert json.loads(mail.data)["personalizations"] == [{"to": [{"email": "cleo@b.c"}]}]
    assert (mail.envelope.recipients, mail.settled) == (("cleo@b.c",), ("ana@b.c", "bob@b.c"))


def test_remaining_recipients_are_matched_exactly() -> None:
    mail = composed(settled=frozenset({"ana@b.c"}), to="ana@b.c, ANA@b.c")
    assert json.loads(mail.data)["personalizations"] == [{"to": [{"email": "ANA@b.c"}]}]


def test_versions_of_the_text_are_in_sendgrid_s_order() -> None:
    made = body(message={"subject": "Hi", "text": "t", "html": "<p>h", "amp": "<html ⚡4email>"})
    assert [part["type"] for part in made["content"]] == ["text/plain", "text/html", "text/x-amp-html"]


def test_dynamic_template_needs_no_message() -> None:
    options = {"templateId": "d-1", "dynamicTemplateData": {"name": "Ana", "items": [{"n": 1}], "none": None}}
    made = body(message=None, sendGrid=options)
    assert made["template_id"] == "d-1"
    assert made["personalizations"][0]["dynamic_template_data"] == {"name": "Ana", "items": [{"n": 1}], "none": None}
    assert not {"subject", "content"} & set(made)


def test_template_data_goes_to_each_hidden_recipient() -> None:
    options = {"templateId": "d-1", "dynamicTemplateData": {"a": 1}}
    made = body(to=None, bcc=["ana@b.c", "bob@b.c"], message=None, sendGrid=options)
    assert [each["dynamic_template_data"] for each in made["personalizations"]] == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize(
    ("value", "as_json"),
    [
        pytest.param(datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), "2026-01-02T03:04:05.678Z", id="a timestamp"),
        pytest.param(b"\0\1", "AAE=", id="bytes"),
        pytest.param([Reference("projects/p/…/users/u")], ["projects/p/…/users/u"], id="reference"),
        pytest.param(float("nan"), None, id="no number"),
        pytest.param([{"a": float("inf")}], [{"a": None}], id="deep inside"),
        pytest.param("Grüße ⚡", "Grüße ⚡", id="any text"),
        pytest.param("half \ud83d", "half ?", id="half a character"),
    ],
)
def test_all_firestore_types_in_template_data_become_json(value: Any, as_json: Any) -> None:
    made = body(message=None, sendGrid={"templateId": "d-1", "dynamicTemplateData": {"v": value}})
    assert made["personalizations"][0]["dynamic_template_data"] == {"v": as_json}


def test_options_have_sendgrid_s_names() -> None:
    made = body(
        categories=["order", "news", "order"],
        sendGrid={
            "mailSettings": {"sandboxMode": {"enable": True}, "bypass_list_management": {"enable": False}},
            "customArgs": {"order": "17", "count": 3, "isNew": True, "none": None},
            "ipPoolName": "transactional",
        },
    )
    assert made["categories"] == ["order", "news"]
    assert made["mail_settings"] == {"sandbox_mode": {"enable": True}, "bypass_list_management": {"enable": False}}
    assert made["custom_args"] == {"order": "17", "count": "3", "isNew": "true"}
    assert made["ip_pool_name"] == "transactional"


def test_attachments_are_base64_with_a_bare_type() -> None:
    files = [
        {"filename": "a.txt", "content": "Grüße"},
        {"filename": "logo.png", "content": b"\x89PNG", "cid": "logo", "contentDisposition": "attachment"},
    ]
    assert body(message={**HELLO, "html": "<img src=cid:logo>", "attachments": files})["attachments"] == [
        {
            "content": base64.b64encode("Grüße".encode()).decode(),
            "type": "text/plain",
            "filename": "a.txt",
            "disposition": "attachment",
        },
        {
            "content": "iVBORw==",
            "type": "image/png",
            "filename": "logo.png",
            "disposition": "inline",
            "content_id": "logo",
        },
    ]


def test_headers_are_one_line_of_ascii_each() -> None:
    url = "<https://example.com/u/" + "x" * 200 + ">"
    made = body(headers={"List-Unsubscribe": url, "X-Greeting": "Grüße " * 30, "Sender": "Ümit <u@b.c>"})
    assert made["headers"]["List-Unsubscribe"] == url
    assert made["headers"]["X-Greeting"].startswith("=?utf-8?")
    assert made["headers"]["Sender"].endswith(" <u@b.c>")
    assert all(value.isascii() and "\n" not in value for value in made["headers"].values())


def test_message_id_of_the_document_is_kept() -> None:
    assert body(message={**HELLO, "messageId": "<a@b.c>"})["headers"]["Message-ID"] == "<a@b.c>"


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        pytest.param(
            {"sendGrid": {"asm": {"groupId": 1}}},
            "Field 'sendGrid.asm' is not supported and was not sent.",
            id="option",
        ),
        pytest.param({"from": "a@b.c, d@e.f"}, "Field 'from': SendGrid takes one address", id="two authors"),
        pytest.param({"headers": {"X-SG-ID": "1"}}, "'headers.X-SG-ID' is written by SendGrid itself", id="reserved"),
        pytest.param({"headers": {"X-A": ["1", "2"]}}, "SendGrid takes each header once; only the last", id="repeated"),
        pytest.param(
            {"message": {**HELLO, "attachments": [{"content": "x", "headers": {"X-A": "1"}}]}},
            "SendGrid takes no headers of attachments",
            id="attachment's header",
        ),
        pytest.param({"message": {**HELLO, "dsn": {"id": "1"}}}, "Field 'message.dsn' is not supported", id="DSN"),
        pytest.param(
            {"message": {**HELLO, "icalEvent": "BEGIN:VCALENDAR"}}, "'message.icalEvent' is not supp", id="event"
        ),
    ],
)
def test_features_that_sendgrid_lacks_cause_warnings(fields: dict[str, Any], warning: str) -> None:
    mail = composed(**fields)
    assert complaints(json.loads(mail.data)) == []
    assert any(warning in said for said in mail.warnings), mail.warnings


def test_a_fully_supported_mail_causes_no_warnings() -> None:
    assert composed(categories=["a"], sendGrid={"ipPoolName": "pool"}).warnings == ()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({"message": None, "sendGrid": {}}, "Field 'message': expected a map with 'text'", id="nothing"),
        pytest.param({"message": {"subject": "", "text": "x"}}, "Field 'message.subject': expected", id="no subject"),
        pytest.param({"sendGrid": {"customArgs": {"a": [1]}}}, "'sendGrid.customArgs.a': expected a string", id="list"),
        pytest.param({"sendGrid": {"customArgs": "a"}}, "'sendGrid.customArgs': expected a map", id="customArgs"),
        pytest.param({"sendGrid": {"ipPoolName": 5}}, "'sendGrid.ipPoolName': expected a string", id="ipPoolName"),
    ],
)
def test_errors_name_their_field(fields: dict[str, Any], error: str) -> None:
    with pytest.raises(NotSendable) as caught:
        composed(**fields)
    assert error in str(caught.value)
    assert caught.value.code is ErrorCode.VALIDATION


@pytest.mark.parametrize("entry", [{"filename": "a.txt"}, {"raw": "Content-Type: text/plain\r\n\r\nx"}])
def test_attachments_that_sendgrid_rejects_are_errors(entry: dict[str, Any]) -> None:
    with pytest.raises(NotSendable, match=r"'message\.attachments': expected files with content") as caught:
        composed(message={**HELLO, "attachments": [entry]})
    assert caught.value.code is ErrorCode.ATTACHMENT
