"""Which ids Firestore takes; each of them is a mail's id all the way through."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.events import EVENT_TYPE, parse
from local.backends.embedded.failure import Failure
from local.backends.embedded.firestore.names import check_document_name
from shared.document_ids import is_document_id
from shared.pubsub import message
from shared.pubsub.message import Message
from tests.unit.dispatcher.test_events import ROOT, body

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
NEAR_THE_RULE = st.text(st.sampled_from("_.i d7/\n\u200bé"), min_size=1, max_size=9) | st.builds(
    "__id{}__".format, st.integers(-(2**64), 2**64) | st.sampled_from(["", "0", "-0", "07", "+7", "7 "])
)


def firestore_takes(text: str) -> bool:
    try:
        check_document_name(f"{ROOT}/mail/{text}")
    except Failure:
        return False
    return "/" not in text


@given(TEXT | NEAR_THE_RULE)
def test_the_rule_is_firestore_s(text: str) -> None:
    assert is_document_id(text) is firestore_takes(text)


@given((TEXT | NEAR_THE_RULE).filter(is_document_id))
def test_any_id_that_firestore_takes_goes_all_the_way(identifier: str) -> None:
    change = parse(EVENT_TYPE, body(None, {}, path=f"mail/{identifier}"), "mail")
    data, attributes = message.encode(change.path, "new")
    assert message.decode(data, attributes, "1", "mail") == Message(f"mail/{identifier}")
    inline = json.dumps({"mail": {}, "id": identifier}).encode()
    assert message.decode(inline, {}, "1", "mail") == Message(f"mail/{identifier}", {})


@pytest.mark.parametrize(
    "text",
    [
        "山田　太郎",
        "a\u00a0b",
        "a\u200db",
        "\u200b",
        "a\tb",
        "a\nb",
        " ",
        "a ",
        "__id7__",
        "__id-7__",
        "__id9223372036854775807__",
        "__id-9223372036854775808__",
        "___",
        "...",
        "ö" * 750,
        "\x7f",
    ],
)
def test_an_id_of_any_characters_is_one(text: str) -> None:
    assert is_document_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a/b",
        "____",
        "__x__",
        "__a\nb__",
        "__id__",
        "__id0__",
        "__id07__",
        "__id-0__",
        "__id+7__",
        "__id9223372036854775808__",
        "__id-9223372036854775809__",
        "__id7__\n__",
        "\ud800",
        "ö" * 750 + "o",
    ],
)
def test_what_firestore_does_not_take_is_none(text: str) -> None:
    assert not is_document_id(text)


def test_a_path_too_long_for_an_attribute_is_in_the_data_alone() -> None:
    longest, too_long = "mail/" + "a" * 1019, "mail/" + "a" * 1020
    assert message.encode(longest, "new")[1]["document"] == longest
    data, attributes = message.encode(too_long, "new")
    assert attributes == {"reason": "new", "version": "1"}
    assert message.decode(data, attributes, "1", "mail") == Message(too_long)
