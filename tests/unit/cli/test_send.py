"""What `send --publish` puts beside the mail."""

from __future__ import annotations

import pytest

from cli.send import attributes
from shared.pubsub.message import MAX_ATTRIBUTE_BYTES, VERSION, Message


@pytest.mark.parametrize(
    ("lane", "given"),
    [
        pytest.param("bulk", {"lane": "bulk"}, id="named"),
        pytest.param(None, {}, id="none"),
        pytest.param("", {}, id="empty"),
        pytest.param(7, {}, id="no text: the sender warns"),
        pytest.param("x" * (MAX_ATTRIBUTE_BYTES + 1), {}, id="longer than an attribute"),
    ],
)
def test_a_published_mail_has_its_lane_as_an_attribute(lane: object, given: dict[str, str]) -> None:
    assert attributes(Message("mail/a", {"lane": lane})) == {"version": VERSION, "document": "mail/a", **given}
