from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.document.document import Message
from sender.worker.retention import redacted, rendered
from shared.delivery.model import DELETE


def message(subject: str, text: str, html: str) -> Message:
    return Message(subject, text, html, amp=None, attachments=())


class TestRendered:
    def test_texts_are_stored_as_they_were_sent(self) -> None:
        changes = rendered(message("Hi", "Hello", "<p>"))
        assert changes == {"delivery.rendered": {"subject": "Hi", "text": "Hello", "html": "<p>"}}

    @pytest.mark.parametrize(
        ("limit", "kept"),
        [
            pytest.param(6, {"subject": "ü", "text": "é", "html": "ß"}, id="all fit to the byte"),
            pytest.param(5, {"subject": "ü", "text": "é", "omitted": ["html"]}, id="the last does not"),
            pytest.param(0, {"omitted": ["subject", "text", "html"]}, id="none does"),
        ],
    )
    def test_a_text_that_does_not_fit_is_omitted_as_a_whole_and_named(self, limit: int, kept: dict[str, Any]) -> None:
        assert rendered(message("ü", "é", "ß"), limit) == {"delivery.rendered": kept}


SECRET = "s3cret"
#: Names as attackers and applications choose them: known ones, and any text.
NAMES = st.sampled_from(["text", "raw", "watchHtml", "list", "data", "customArgs", "a.b", "`", ""]) | st.text()
VALUES = st.sampled_from([SECRET, [SECRET], {"url": SECRET, "a": [{"b": SECRET}]}])


class TestRedacted:
    def test_recipients_subject_and_names_stay(self) -> None:
        fields = {
            "to": "a@b.c",
            "order": {"own": "field"},
            "headers": {"X-Private": SECRET},
            "listUnsubscribe": f"https://example.com/{SECRET}",
            "message": {"subject": "Hi", "messageId": "<1@b.c>", "text": SECRET, "raw": SECRET, "odd.name": SECRET},
            "template": {"name": "welcome", "data": {"secret": SECRET}},
            "sendGrid": {"templateId": "t", "customArgs": {"a": SECRET}, "ipPoolName": "p"},
            "delivery": {"state": "PROCESSING", "rendered": {"text": SECRET}},
        }
        assert redacted(fields) == {
            "message": {"subject": "Hi", "messageId": "<1@b.c>"},
            "template": {"name": "welcome"},
            "sendGrid": {"templateId": "t", "ipPoolName": "p"},
            "headers": DELETE,
            "listUnsubscribe": DELETE,
            "delivery.rendered": DELETE,
            "delivery.redacted": True,
        }

    @given(st.dictionaries(NAMES, VALUES, max_size=5))
    def test_nothing_else_of_a_message_survives_whatever_its_name(self, others: dict[str, Any]) -> None:
        others.pop("messageId", None)
        changes = redacted({"message": {**others, "subject": "Hi"}})
        assert changes.get("message", {"subject": "Hi"}) == {"subject": "Hi"}
        assert SECRET not in json.dumps(changes)

    def test_a_map_of_which_nothing_stays_is_deleted(self) -> None:
        assert redacted({"message": {"text": SECRET}}) == {"message": DELETE, "delivery.redacted": True}

    def test_an_earlier_attempt_makes_a_document_redacted_which_keeps_responses_out_of_its_history(self) -> None:
        earlier = {"to": "a@b.c", "delivery": {"history": [{"attempt": 1, "response": SECRET}]}}
        assert redacted(earlier) == {"delivery.redacted": True}

    @pytest.mark.parametrize("fields", [{}, {"template": {"name": "t"}}, {"to": "a@b.c", "order": 1}])
    def test_without_private_content_nothing_is_written(self, fields: dict[str, Any]) -> None:
        assert redacted(fields) == {}
