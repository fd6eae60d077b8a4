"""The Pub/Sub message: decoding, rejection, and consistency with the published schema."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from local.backends.embedded.firestore.protos import Value
from local.backends.embedded.firestore.values import check_storable
from sender.document.document import parse_document
from shared.errors import InvalidMessage, NotSendable
from shared.firestore.values import MAX_VALUES, encode_fields
from shared.pubsub import message
from shared.pubsub.message import MOST_VALUES, Message

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
def test_a_valid_message_is_decoded(data: Any, expected: Message) -> None:
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
def test_an_invalid_message_is_rejected(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode(data)
    assert refused.value.reason == reason
    assert not schema_accepts(data)


@pytest.mark.parametrize(
    ("mail", "attributes", "expected"),
    [
        pytest.param(MAIL, {"lane": "bulk"}, {**MAIL, "lane": "bulk"}, id="the message's"),
        pytest.param({**MAIL, "lane": None}, {"lane": "bulk"}, {**MAIL, "lane": "bulk"}, id="null is none"),
        pytest.param({**MAIL, "lane": "slow"}, {"lane": "bulk"}, {**MAIL, "lane": "slow"}, id="the mail's own wins"),
        pytest.param(MAIL, {}, MAIL, id="none"),
    ],
)
def test_an_inline_mail_keeps_the_lane_of_its_message(
    mail: dict[str, Any], attributes: dict[str, str], expected: dict[str, Any]
) -> None:
    assert decode(json.dumps({"mail": mail}).encode(), **attributes) == Message("mail/123", expected)


@pytest.mark.parametrize("many", [[None] * MOST_VALUES, {f"f{n}": [n] for n in range(MOST_VALUES // 2)}])
def test_an_inline_mail_with_more_values_than_a_sender_decodes_is_refused(many: object) -> None:
    assert MOST_VALUES < MAX_VALUES, "there is room for 'delivery'"
    with pytest.raises(InvalidMessage, match="more than 40,000 values") as caught:
        decode(json.dumps({"mail": {"many": many}}).encode())
    assert caught.value.reason == "unwritable"


def nested(levels: int, opening: str = '{"a":', end: str = "1", closing: str = "}") -> bytes:
    """A mail nested to the given number of levels."""
    return b'{"mail": {"x": %s}}' % (opening * (levels - 1) + end + closing * (levels - 1)).encode()


@pytest.mark.parametrize("levels", [21, 22, 40, 120, 300, 480, 900])
@pytest.mark.parametrize(
    ("opening", "closing"), [('{"a":', "}"), ("[", "]"), ('[{"a":', "}]")], ids=["maps", "arrays", "both"]
)
def test_nesting_beyond_firestore_s_limit_is_rejected(levels: int, opening: str, closing: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode(nested(levels, opening, "1", closing))
    assert refused.value.reason in ("unwritable", "not-json")


@pytest.mark.parametrize("levels", [1, 2, 19, 20])
def test_nesting_within_firestore_s_limit_is_decoded(levels: int) -> None:
    asked = decode(nested(levels))
    assert asked.mail is not None
    check_storable({name: Value.FromString(v.SerializeToString()) for name, v in encode_fields(asked.mail).items()})


@pytest.mark.parametrize(
    "value",
    [
        '"\\ud800"',
        '{"\\udfff": 1}',
        '["a", {"b": "\\ud83d"}]',
        "9223372036854775808",
        "-9223372036854775809",
        "1" * 4000,
    ],
)
def test_values_that_cannot_be_encoded_are_rejected(value: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode(b'{"mail": {"x": %s}}' % value.encode())
    assert refused.value.reason == "unwritable"


@pytest.mark.parametrize("message_id", ["", "a/b", "..", "\ud800"])
def test_a_message_id_that_is_not_a_document_id_is_rejected(message_id: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        message.decode(b'{"mail": {}}', {}, message_id, "mail")
    assert refused.value.reason == "wrong-shape"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b'{"mail": {"delivery": {}}, "id": "a"}', "a", id="its-own"),
        pytest.param(nested(300).replace(b'{"mail"', b'{"id": "a", "mail"'), "a", id="nested-too-deep"),
        pytest.param(b'{"mail": "\\ud800", "id": "a"}', "a", id="half-a-character-in-the-mail"),
        pytest.param(b'{"mail": [], "id": "a", "x": 1}', "a", id="of-another-shape"),
        pytest.param(b'{"mail": {"x": 9223372036854775808}}', "77", id="the-message-s"),
        pytest.param(b'{"mail": {}, "id": "a/b"}', None, id="invalid"),
        pytest.param(b'{"mail": {}, "id": "\\ud800"}', None, id="half-a-character"),
        pytest.param(b'{"mail": {}, "id": null}', None, id="null"),
        pytest.param(b'{"document": "mail/a"}', None, id="by-reference"),
        pytest.param(b'{"id": "a"}', None, id="no-mail"),
        pytest.param(b"[" * 100_000, None, id="not-readable"),
        pytest.param(b"hello", None, id="not-json"),
        pytest.param(b"[]", None, id="not-a-map"),
    ],
)
def test_the_id_of_a_refused_mail_is_known_if_it_is_valid(data: bytes, expected: str | None) -> None:
    assert message.id_of_refused_mail(data, "77") == expected
    assert message.id_of_refused_mail(data, "") == (None if expected == "77" else expected)


def test_errors_fit_into_an_attribute() -> None:
    error = InvalidMessage("unwritable", "山" * 1000 + "\ud800")
    assert 990 < len(str(error).encode()) <= 1000


@pytest.mark.parametrize(
    "path", ["users/a", "mail", "mail/a/b", "mail/a/mail/b", "/mail/a", "mail/", "mail/..", "../mail/a"]
)
def test_documents_of_other_collections_are_rejected(path: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode(json.dumps({"document": path}).encode())
    assert refused.value.reason == "foreign-path"


def test_a_collection_may_lie_below_a_document() -> None:
    data = json.dumps({"document": "tenants/t1/mail/a"}).encode()
    assert message.decode(data, {}, "1", "tenants/t1/mail") == Message("tenants/t1/mail/a")


def test_unknown_versions_are_rejected() -> None:
    with pytest.raises(InvalidMessage) as refused:
        decode(b'{"document": "mail/a"}', version="2")
    assert refused.value.reason == "unknown-version"


def test_the_sender_decodes_what_the_dispatcher_encodes() -> None:
    data, attributes = message.encode("mail/a", "new")
    assert decode(data, **attributes) == Message("mail/a")
    assert attributes == {"document": "mail/a", "reason": "new", "version": "1"}
    assert schema_accepts(data)


@pytest.mark.parametrize("name", ["sendAt", "expiresAt"])
class TestTimes:
    @pytest.mark.parametrize("value", ["2026-12-01T09:00:00+01:00", {"seconds": 1796112000, "nanoseconds": 0}])
    def test_valid_times_become_timestamps(self, name: str, value: Any) -> None:
        asked = decode(json.dumps({"mail": {name: value}}).encode())
        assert asked.mail is not None
        assert asked.mail[name] == datetime(2026, 12, 1, 8, tzinfo=UTC)

    @pytest.mark.parametrize("value", ["tomorrow", "2026-12-01T09:00:00", 4070908800000, [], False, {"seconds": 1}])
    def test_invalid_times_are_left_to_the_document_s_validation(self, name: str, value: Any) -> None:
        asked = decode(json.dumps({"mail": {name: value}}).encode())
        assert asked.mail == {name: value}
        with pytest.raises(NotSendable, match=f"Field '{name}': expected a timestamp"):
            parse_document(asked.mail)
