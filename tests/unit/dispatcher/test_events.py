"""Eventarc's CloudEvents, from Google Cloud and from the emulator."""

from __future__ import annotations

import base64
import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from google.events.cloud.firestore_v1 import DocumentEventData

from dispatcher.events import EVENT_TYPE, parse
from shared.delivery.lanes import Traits
from shared.delivery.model import DECIDING_DELIVERY_FIELDS, Delivery, DocumentState, State
from shared.errors import InvalidEvent
from shared.firestore.database import Version
from shared.firestore.values import encode_fields

ROOT = "projects/p/databases/(default)/documents"
SEND_AT = datetime(2026, 12, 1, tzinfo=UTC)


def body(old: dict[str, Any] | None, new: dict[str, Any] | None, path: str = "mail/a") -> bytes:
    event = DocumentEventData.pb()()
    for target, fields in ((event.old_value, old), (event.value, new)):
        if fields is not None:
            target.name = f"{ROOT}/{path}"
            target.update_time.seconds = 1_800_000_000
            for name, value in encode_fields(fields).items():
                target.fields[name].ParseFromString(value.SerializeToString())
    data: bytes = event.SerializeToString()
    return data


@pytest.mark.parametrize(
    ("old", "new", "known_old", "known_new"),
    [
        pytest.param(None, {"to": "a@b.c"}, None, DocumentState(), id="created"),
        pytest.param(
            {},
            {"delivery": {"state": "PENDING"}},
            DocumentState(),
            DocumentState(Delivery(State.PENDING)),
            id="updated",
        ),
        pytest.param({"delivery": {"state": "ODD"}}, None, DocumentState(Delivery(None)), None, id="deleted"),
        pytest.param({"delivery": {}}, {"delivery": 5}, DocumentState(), DocumentState(), id="without-a-state"),
        pytest.param(None, {"sendAt": SEND_AT}, None, DocumentState(send_at=SEND_AT), id="scheduled"),
        pytest.param({}, {"expiresAt": SEND_AT}, DocumentState(), DocumentState(expires_at=SEND_AT), id="expires"),
        pytest.param(
            {"delivery": {"state": "CANCELLED"}},
            {"delivery": {"state": "RETRY", "resumes": True, "info": {"accepted": ["a@b.c"]}}},
            DocumentState(Delivery(State.CANCELLED)),
            DocumentState(Delivery(State.RETRY, resumes=True)),
            id="wanted-again",
        ),
    ],
)
def test_a_change_is_read(
    old: dict[str, Any] | None,
    new: dict[str, Any] | None,
    known_old: DocumentState | None,
    known_new: DocumentState | None,
) -> None:
    change = parse(EVENT_TYPE, body(old, new), "mail")
    assert (change.path, change.old, change.new) == ("mail/a", known_old, known_new)
    assert change.version == Version(seconds=1_800_000_000)


def test_what_the_lane_depends_on_is_read() -> None:
    fields = {"lane": "bulk", "transport": "billing", "template": {"name": "news", "data": {"name": "Ada"}}}
    change = parse(EVENT_TYPE, body({}, fields), "mail")
    assert change.new is not None
    assert change.new.traits == Traits("bulk", "billing", "news")


def test_the_emulators_base64_is_decoded() -> None:
    raw = body(None, {"to": "a@b.c"})
    assert parse(EVENT_TYPE, base64.b64encode(raw), "mail") == parse(EVENT_TYPE, raw, "mail")


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        pytest.param(None, body(None, {}), id="no-ce-type"),
        pytest.param("google.cloud.firestore.document.v1.deleted", body(None, {}), id="another-type"),
        pytest.param(EVENT_TYPE, b"", id="empty-body"),
        pytest.param(EVENT_TYPE, b"hello!", id="neither-protobuf-nor-base64"),
        pytest.param(EVENT_TYPE, base64.b64encode(b"\xff\xff\xff"), id="base64-of-something-else"),
        pytest.param(EVENT_TYPE, b"\x0a\xff\xff", id="truncated-protobuf"),
        pytest.param(EVENT_TYPE, b"\xff\xff\xff", id="wrong-protobuf"),
        pytest.param(EVENT_TYPE, body(None, {}, path="users/a"), id="another-collection"),
        pytest.param(EVENT_TYPE, body(None, {}, path="mail/"), id="no-id"),
        pytest.param(EVENT_TYPE, body(None, {}, path="mail/a/mail/b"), id="a-sub-collection"),
    ],
)
def test_anything_else_is_rejected(event_type: str | None, data: bytes) -> None:
    with pytest.raises(InvalidEvent):
        parse(event_type, data, "mail")


def test_all_fields_that_decisions_depend_on_are_read() -> None:
    def in_camel_case(name: str) -> str:
        first, *others = name.split("_")
        return first + "".join(word.capitalize() for word in others)

    assert sorted(DECIDING_DELIVERY_FIELDS) == sorted(
        in_camel_case(field.name) for field in dataclasses.fields(Delivery) if field.compare
    )


@pytest.mark.parametrize(("state", "read"), [("PROCESSING", 1), ("RETRY", 0), ("SUCCESS", 0)])
def test_the_history_is_read_only_where_an_attempt_may_be_added(state: str, read: int) -> None:
    delivery = {"state": state, "history": [{"attempt": 1, "state": "RETRY"}]}
    change = parse(EVENT_TYPE, body(None, {"delivery": delivery}), "mail")
    assert change.new is not None
    assert change.new.delivery is not None
    assert len(change.new.delivery.history) == read
