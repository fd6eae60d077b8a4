from __future__ import annotations

import json

import pytest

from shared.pubsub.letters import Letter
from tests.unit.cli.builders import letter

BY_PUBSUB = {
    "CloudPubSubDeadLetterSourceDeliveryCount": "100",
    "CloudPubSubDeadLetterSourceSubscription": "mail-sender",
    "CloudPubSubDeadLetterSourceSubscriptionProject": "p",
    "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-11-24T09:00:00.000+00:00",
}
BY_DISPATCHER = {"document": "mail/a", "reason": "new", "version": "1"}


@pytest.mark.parametrize(
    ("subject", "reason", "error"),
    [
        pytest.param(letter({"reason": "not-json", "error": "No JSON."}), "not-json", "No JSON.", id="from-the-sender"),
        pytest.param(
            letter({**BY_DISPATCHER, **BY_PUBSUB}),
            "delivery-limit",
            "Pub/Sub gave up after 100 deliveries.",
            id="from-pubsub-the-reason-is-the-dispatchers",
        ),
        pytest.param(letter(), "unknown", "", id="from-elsewhere"),
    ],
)
def test_a_dead_letter_has_a_reason(subject: Letter, reason: str, error: str) -> None:
    assert (subject.reason, subject.error) == (reason, error)


@pytest.mark.parametrize(
    ("subject", "document"),
    [
        pytest.param(letter(data=b'{"document": "mail/a"}'), "mail/a", id="by-reference"),
        pytest.param(letter(data=b'{"mail": {}, "id": "b"}'), "mail/b", id="inline"),
        pytest.param(letter(data=b'{"mail": {}}'), "", id="inline-without-id"),
        pytest.param(letter({"document": "mail/c"}, b"{"), "mail/c", id="only-an-attribute"),
        pytest.param(letter(data=b"\xff"), "", id="not-even-text"),
        pytest.param(letter(data=b"[" * 100_000), "", id="nested-too-deeply-to-read"),
    ],
)
def test_a_dead_letter_names_its_document(subject: Letter, document: str) -> None:
    assert subject.document("mail") == document


def test_a_replayed_message_keeps_its_data_and_attributes_and_is_marked() -> None:
    data = b'{ "document":"mail/a" }'
    kept = {"document": "mail/a", "version": "1"}
    again = letter({**kept, "reason": "x", "error": "y", "replay": "earlier", **BY_PUBSUB}, data)
    assert again.replayed("now") == (data, {**kept, "replay": "now"})


def test_an_inline_mail_without_id_keeps_one_id_however_often_it_is_replayed() -> None:
    first, second = (letter(data=b'{"mail": {"to": "a@b.c"}}', identifier="77").replayed(run)[0] for run in ("1", "2"))
    assert first == second
    assert json.loads(first) == {"mail": {"to": "a@b.c"}, "id": "77"}


@pytest.mark.parametrize("data", [b"\xff", b'{"mail": {}, "id": "x"}', b'{"mail": {}, "more": 1}', b"[]"])
def test_all_other_data_is_replayed_byte_for_byte(data: bytes) -> None:
    assert letter(data=data).replayed("run")[0] == data
