"""The body of a push request: a message, or a bad request."""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import BadRequest

from shared.pubsub.push import ReceivedMessage, unwrap

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


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


@given(st.dictionaries(st.sampled_from(["messageId", "data", "attributes", "publishTime"]), JSON))
def test_any_body_is_a_message_or_a_bad_request(fields: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequest):
        push(**fields)
