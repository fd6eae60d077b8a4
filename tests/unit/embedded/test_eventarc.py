"""The CloudEvents of document writes."""

from __future__ import annotations

import base64
import datetime
import json
from urllib.parse import unquote

import pytest
from google.cloud import firestore
from google.events.cloud.firestore import DocumentEventData

from local.backends.embedded import EmbeddedBackend
from tests.unit.embedded.conftest import PROJECT, Receiver


def bodies(receiver: Receiver, count: int) -> list[DocumentEventData]:
    events = [DocumentEventData.deserialize(one.body) for one in receiver.wait_for(count)]
    return sorted(events, key=lambda event: event.value.update_time or event.old_value.update_time)


def test_an_event_carries_the_attributes_that_eventarc_sends(db: firestore.Client, receiver: Receiver) -> None:
    db.document("mail/a").set({"n": 1})
    (delivery,) = receiver.wait_for(1)
    (event,) = bodies(receiver, 1)
    headers = {name.lower(): value for name, value in delivery.headers.items()}
    assert headers.pop("ce-id")
    assert datetime.datetime.fromisoformat(headers.pop("ce-time")) == event.value.update_time
    assert {name: value for name, value in headers.items() if name.startswith("ce-") or name == "content-type"} == {
        "content-type": "application/protobuf",
        "ce-specversion": "1.0",
        "ce-type": "google.cloud.firestore.document.v1.written",
        "ce-source": f"//firestore.googleapis.com/projects/{PROJECT}/databases/(default)",
        "ce-subject": "documents/mail/a",
        "ce-datacontenttype": "application/protobuf",
        "ce-dataschema": "https://github.com/googleapis/google-cloudevents/blob/main/proto/google/events/cloud/firestore/v1/data.proto",
        "ce-location": "local",
        "ce-project": PROJECT,
        "ce-database": "(default)",
        "ce-namespace": "(default)",
        "ce-document": "mail/a",
    }


def test_events_have_the_document_before_and_after(db: firestore.Client, receiver: Receiver) -> None:
    document = db.document("mail/a")
    document.set({"n": 1, "delivery": {"state": "PENDING", "attempts": 0}})
    document.update({"delivery.state": "PROCESSING"})
    document.delete()
    # They are delivered concurrently, so their order means nothing.
    events = sorted(bodies(receiver, 3), key=lambda event: ("old_value" in event, "value" not in event))
    created, updated, deleted = events
    assert ("old_value" in created, "value" in created) == (False, True)
    assert updated.old_value == created.value
    assert updated.value.fields["delivery"].map_value.fields["state"].string_value == "PROCESSING"
    assert list(updated.update_mask.field_paths) == ["delivery.state"]
    assert deleted.old_value == updated.value
    assert "value" not in deleted


@pytest.mark.parametrize(("limit_events", "sizes"), [(True, [3, 3]), (False, [3, 3, 6])])
def test_an_event_that_eventarc_would_not_take_is_dropped_with_a_warning(
    db: firestore.Client,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    limit_events: bool,
    sizes: list[int],
) -> None:
    document = db.document("mail/large")
    document.set({"text": "x" * 300_000})
    document.update({"n": 1})  # twice 300,000 bytes: too much
    document.update({"text": "x"})  # 300,000 and a few: not too much
    assert sorted(len(one.body) // 100_000 for one in receiver.wait_for(len(sizes))) == sizes
    warning = (
        "mail/large: an event of 586 KB is dropped, because Eventarc takes at most 512 KB (old and new document "
        "together). If the document stays without delivery, python -m cli adopt queues it."
    )
    assert caplog.messages == ([warning] if limit_events else [])


def test_only_changes_in_the_collection_itself_make_events(db: firestore.Client, receiver: Receiver) -> None:
    db.document("other/a").set({"n": 1})
    db.document("mail/a/sub/b").set({"n": 1})
    db.document("mail/a").delete()
    db.document("mail/a").set({"n": 1})
    db.document("mail/a").set({"n": 1})
    db.document("mail/last").set({"n": 1})
    assert [event.value.name.rpartition("/")[2] for event in bodies(receiver, 2)] == ["a", "last"]


@pytest.mark.parametrize("name", ["é ü", '100 % "sure"', "日本"])
def test_ids_that_headers_can_not_carry_are_percent_encoded(
    db: firestore.Client, receiver: Receiver, name: str
) -> None:
    db.document(f"mail/{name}").set({"n": 1})
    (delivery,) = receiver.wait_for(1)
    headers = {key.lower(): value for key, value in delivery.headers.items()}
    assert unquote(headers["ce-document"]) == f"mail/{name}"
    assert headers["ce-document"].isascii()


@pytest.mark.parametrize("name", ["ends in a space ", "two\nlines"])
def test_an_event_that_can_not_have_headers_comes_as_a_pubsub_message(
    db: firestore.Client, receiver: Receiver, name: str
) -> None:
    db.document(f"mail/{name}").set({"n": 1})
    (delivery,) = receiver.wait_for(1)
    headers = {key.lower(): value for key, value in delivery.headers.items()}
    assert headers["content-type"] == "application/json"
    assert not [key for key in headers if key.startswith("ce-")]
    message = json.loads(delivery.body)["message"]
    assert message["attributes"]["ce-document"] == f"mail/{name}"
    assert message["attributes"]["ce-type"] == "google.cloud.firestore.document.v1.written"
    assert DocumentEventData.deserialize(base64.b64decode(message["data"])).value.fields["n"].integer_value == 1


def test_an_event_is_delivered_until_it_is_accepted(db: firestore.Client, receiver: Receiver) -> None:
    receiver.answers = [500, 400]
    db.document("mail/a").set({"n": 1})
    deliveries = receiver.wait_for(3)
    assert len({delivery.headers["ce-id"] for delivery in deliveries}) == 1
    assert len({delivery.body for delivery in deliveries}) == 1


def test_accepted_events_are_forgotten(db: firestore.Client, receiver: Receiver, backend: EmbeddedBackend) -> None:
    for number in range(20):
        db.document(f"mail/{number}").set({"n": 1})
    receiver.wait_for(20)
    assert backend.wait_until_delivered(seconds=5)
