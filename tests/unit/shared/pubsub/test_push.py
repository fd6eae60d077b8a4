"""The body of a push request: a message, or a bad request."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from werkzeug.exceptions import BadRequest

from shared.pubsub.push import ReceivedMessage, unwrap


def push(**fields: Any) -> ReceivedMessage:
    return unwrap(json.dumps({"message": {"messageId": "1", **fields}}).encode())


def test_a_message_is_read() -> None:
    data = base64.b64encode(b"hello").decode()
    read = push(data=data, attributes={"a": "b"}, publishTime="2026-11-24T12:00:00.123Z")
    assert read == ReceivedMessage(b"hello", {"a": "b"}, "1", datetime(2026, 11, 24, 12, 0, 0, 123_000, tzinfo=UTC))


@pytest.mark.parametrize(
    "fields", [{}, {"data": None}, {"attributes": None}, {"attributes": {}}, {"publishTime": None}]
)
def test_empty_fields_may_be_missing(fields: dict[str, Any]) -> None:
    assert push(**fields) == ReceivedMessage(b"", {}, "1")


@pytest.mark.parametrize(
    "fields",
    [
        {"data": 5},
        {"data": ["aGk="]},
        {"data": "aGk"},
        {"data": "é"},
        {"attributes": ["a"]},
        {"attributes": {"a": 1}},
        {"attributes": {"a": {"b": "c"}}},
        {"attributes": {"a": None}},
        {"attributes": {"a": "\ud800"}},
        {"attributes": {"\ud800": "a"}},
        {"messageId": 1},
        {"messageId": "\udfff"},
        {"publishTime": 5},
        {"publishTime": "yesterday"},
        {"publishTime": "2026-11-24T12:00:00"},
        {"publishTime": "0001-01-01T00:00:00+23:59"},
    ],
    ids=repr,
)
def test_bodies_that_pubsub_never_sends_are_bad_requests(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        push(**fields)
