from __future__ import annotations

from typing import Any

import pytest

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


class TestRedacted:
    def test_private_content_is_deleted(self) -> None:
        fields = {
            "to": "a@b.c",
            "message": {"subject": "Hi", "text": "x", "html": None, "attachments": [], "icalEvent": "x"},
            "template": {"name": "welcome", "data": {"secret": 1}},
            "sendGrid": {"templateId": "t", "dynamicTemplateData": {}},
            "delivery": {"state": "PROCESSING", "rendered": {"text": "x"}},
        }
        assert redacted(fields) == {
            "message.text": DELETE,
            "message.html": DELETE,
            "message.attachments": DELETE,
            "message.icalEvent": DELETE,
            "template.data": DELETE,
            "sendGrid.dynamicTemplateData": DELETE,
            "delivery.rendered": DELETE,
            "delivery.redacted": True,
        }

    @pytest.mark.parametrize("fields", [{}, {"message": "x", "template": None}, {"template": {"name": "t"}}])
    def test_without_private_content_nothing_is_written(self, fields: dict[str, Any]) -> None:
        assert redacted(fields) == {}
