"""The Pub/Sub message: what is read, what is refused, and that the published schema says the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from shared.errors import InvalidMessage
from shared.pubsub import message
from shared.pubsub.message import Message

SCHEMA = json.loads((Path(message.__file__).parent / "message.schema.json").read_text())
MAIL = {"to": "a@b.c"}


def decode(data: bytes, **attributes: str) -> Message:
    return message.decode(data, attributes, "123", "mail")


def schema_accepts(data: bytes) -> bool:
    try:
        jsonschema.validate(json.loads(data), SCHEMA)
    except (jsonschema.ValidationError, ValueError, RecursionError):
        return False
    return True


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param({"document": "mail/abc"}, Message("mail/abc"), id="by-reference"),
        pytest.param({"mail": MAIL, "id": "order-17"}, Message("mail/order-17", MAIL), id="inline-with-id"),
        pytest.param({"mail": MAIL}, Message("mail/123", MAIL), id="inline-takes-pubsubs-id"),
        pytest.param({"mail": MAIL, "id": "ünïcode id"}, Message("mail/ünïcode id", MAIL), id="id-in-any-script"),
        pytest.param({"mail": {}}, Message("mail/123", {}), id="an-empty-mail-fails-later-on-its-document"),
    ],
)
def test_a_message_that_can_work_is_read(data: Any, expected: Message) -> None:
    encoded = json.dumps(data).encode()
    assert decode(encoded) == expected
    assert schema_accepts(encoded)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "not-json", id="empty"),
        pytest.param(b"hello", "not-json", id="text"),
        pytest.param(b"\xff\xfe", "not-json", id="not-unicode"),
        pytest.param(b"[" * 100_000, "not-json", id="nested-beyond-reason"),
        pytest.param(b"[]", "wrong-shape", id="list"),
        pytest.param(b"{}", "wrong-shape", id="empty-map"),
        pytest.param(b'{"document": 1}', "wrong-shape", id="document-not-text"),
        pytest.param(b'{"document": "mail/a", "mail": {}}', "wrong-shape", id="both-forms"),
        pytest.param(b'{"document": "mail/a", "retries": 3}', "wrong-shape", id="unknown-key"),
        pytest.param(b'{"mail": []}', "wrong-shape", id="mail-not-a-map"),
        pytest.param(b'{"mail": {}, "id": 17}', "wrong-shape", id="id-not-text"),
        pytest.param(b'{"mail": {}, "id": ""}', "wrong-shape", id="id-empty"),
        pytest.param(b'{"mail": {}, "id": "a/b"}', "wrong-shape", id="id-with-slash"),
        pytest.param(b'{"mail": {}, "id": ".."}', "wrong-shape", id="id-dots"),
        pytest.param(b'{"mail": {}, "id": "__x__"}', "wrong-shape", id="id-reserved"),
        pytest.param(b'{"mail": {"delivery": {"state": "SUCCESS"}}}', "wrong-shape", id="delivery-given"),
    ],
)
def test_a_message_that_never_can_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode(data)
    assert refused.value.reason == reason
    assert not schema_accepts(data)


@pytest.mark.parametrize(
    "path", ["users/a", "mail", "mail/a/b", "mail/a/mail/b", "/mail/a", "mail/", "mail/..", "../mail/a"]
)
def test_a_document_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode(json.dumps({"document": path}).encode())
    assert refused.value.reason == "foreign-path"


def test_a_collection_may_lie_below_a_document() -> None:
    data = json.dumps({"document": "tenants/t1/mail/a"}).encode()
    assert message.decode(data, {}, "1", "tenants/t1/mail") == Message("tenants/t1/mail/a")


def test_a_version_from_the_future_is_refused() -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode(b'{"document": "mail/a"}', version="2")
    assert refused.value.reason == "unknown-version"


def test_what_the_dispatcher_publishes_is_read_by_the_sender() -> None:
    data, attributes = message.encode("mail/a", "new")
    assert decode(data, **attributes) == Message("mail/a")
    assert attributes == {"document": "mail/a", "reason": "new", "version": "1"}
    assert schema_accepts(data)


class TestSendAt:
    def test_text_becomes_a_timestamp(self) -> None:
        asked = decode(b'{"mail": {"sendAt": "2026-12-01T09:00:00+01:00"}}')
        assert asked.mail is not None
        assert asked.mail["sendAt"] == datetime(2026, 12, 1, 8, tzinfo=UTC)

    @pytest.mark.parametrize("text", ["tomorrow", "2026-12-01T09:00:00"])
    def test_text_that_is_no_point_in_time_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidMessage, match="sendAt"):
            decode(json.dumps({"mail": {"sendAt": text}}).encode())
