from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from sender.document import spelling
from sender.document.addresses import Address, Group
from sender.document.document import UNSUPPORTED, MailDocument, parse_document
from shared.errors import ErrorCode, NotSendable
from shared.firestore.values import Reference


def mail(**changes: Any) -> dict[str, Any]:
    """A valid document with changes; None removes a field."""
    fields = {"to": "ada@example.com", "message": {"subject": "Hi", "text": "Hello"}} | changes
    return {name: value for name, value in fields.items() if value is not None}


def message(**changes: Any) -> dict[str, Any]:
    return mail(message={"subject": "Hi", "text": "Hello"} | changes)


def attachment(**fields: Any) -> dict[str, Any]:
    return message(attachments=[fields])


def accepted(fields: dict[str, Any]) -> MailDocument:
    return parse_document(fields)


def headers_of(document: MailDocument) -> list[tuple[str, str]]:
    return [(header.name, header.value) for header in document.headers]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(mail(), id="the simplest"),
        pytest.param(mail(to=["a@b.c", "Ada <d@e.f>"]), id="array of recipients"),
        pytest.param(mail(to=None, bcc="a@b.c"), id="only bcc"),
        pytest.param(mail(to=["", "a@b.c"]), id="blank entry beside a recipient"),
        pytest.param(mail(to=None, toUids=["u1"]), id="only uids"),
        pytest.param(
            mail() | {"cc": None, "from": None, "replyTo": None, "headers": None, "template": None}, id="nulls"
        ),
        pytest.param(mail(**{"from": "", "replyTo": ""}), id="empty from and replyTo"),
        pytest.param(message(subject=""), id="empty subject"),
        pytest.param(message(text=None, html="<p>"), id="null text beside html"),
        pytest.param(message(text="", html="<p>"), id="empty text beside html"),
        pytest.param(message(attachments=None), id="null attachments"),
        pytest.param(mail(message=None, template={"name": "welcome"}), id="template without message"),
        pytest.param(mail(message={}, template={"name": "welcome"}), id="template with an empty message"),
        pytest.param(
            mail(message={"text": None}, template={"name": "w", "data": {}}), id="template, message without all"
        ),
        pytest.param(mail(message=None, sendGrid={}), id="an empty sendGrid"),
        pytest.param(mail(message={}, sendGrid={"templateId": "t", "dynamicTemplateData": {"a": 1}}), id="sendGrid"),
        pytest.param(mail(categories=["a", ""]), id="categories"),
        pytest.param(
            mail(myOwn={"anything": [datetime(2026, 1, 1, tzinfo=UTC)]}, attachments="x"), id="unknown fields"
        ),
    ],
)
def test_accepts_what_trigger_email_accepts(fields: dict[str, Any]) -> None:
    assert accepted(fields).warnings == ()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param(mail(to=None), "Field 'to': expected at least one recipient", id="no recipient"),
        pytest.param(mail(to=[]), "Field 'to': expected at least one recipient", id="empty array"),
        pytest.param(mail(to=["", " "]), "Field 'to': expected at least one recipient", id="blank recipients"),
        pytest.param(mail(to="Team:;"), "Field 'to': expected at least one recipient", id="group without members"),
        pytest.param(mail(to=5), "Field 'to': expected a string or an array of strings, found a number.", id="number"),
        pytest.param(mail(to={"a": 1}), "Field 'to': expected a string or an array of strings, found a map.", id="map"),
        pytest.param(
            mail(to=["a@b.c", 5]), "Field 'to.1': expected a string, found a number.", id="number in an array"
        ),
        pytest.param(mail(to=["a@b.c", "ada"]), "Field 'to.1': expected an address such as", id="no address"),
        pytest.param(mail(cc="a@b.c\nBcc: d@e.f"), "found an address with a line break", id="line break in an address"),
        pytest.param(mail(toUids="u1"), "Field 'toUids': expected an array of strings, found a string.", id="uid"),
        pytest.param(mail(ccUids=[""]), "Field 'ccUids.0': expected a user id, found an empty string.", id="empty uid"),
        pytest.param(mail(**{"from": "ada"}), "Field 'from': expected an address such as", id="invalid from"),
        pytest.param(mail(**{"from": ["a@b.c"]}), "Field 'from': expected a string, found an array.", id="from array"),
        pytest.param(mail(replyTo=True), "Field 'replyTo': expected a string, found a boolean.", id="replyTo"),
        pytest.param(mail(message=None), "Field 'message': expected a map with 'subject'", id="nothing to send"),
        pytest.param(mail(message={}), "or else a 'template', found an empty map.", id="empty message"),
        pytest.param(mail(message="Hello"), "Field 'message': expected a map, found a string.", id="text as message"),
        pytest.param(
            mail(message=["Hello"]), "Field 'message': expected a map, found an array.", id="array as message"
        ),
        pytest.param(
            message(subject=None), "Field 'message.subject': expected a string, found nothing.", id="no subject"
        ),
        pytest.param(
            message(subject=5), "Field 'message.subject': expected a string, found a number.", id="bad subject"
        ),
        pytest.param(
            message(subject="a\nb"), "Field 'message.subject': expected a single line", id="subject, two lines"
        ),
        pytest.param(
            message(text=None),
            "Field 'message.text': expected a non-empty 'text' or 'html', found nothing.",
            id="no body",
        ),
        pytest.param(message(text=""), "or 'html', found an empty string.", id="empty body"),
        pytest.param(
            message(text={"path": "/etc/passwd"}),
            "Field 'message.text': expected a string, found a map.",
            id="text by path",
        ),
        pytest.param(message(html=b"x"), "Field 'message.html': expected a string, found bytes.", id="html in bytes"),
        pytest.param(message(amp=1.5), "Field 'message.amp': expected a string, found a number.", id="amp"),
        pytest.param(message(messageId="x y@z"), "Field 'message.messageId': expected a message id", id="message id"),
        pytest.param(message(messageId="@"), "Field 'message.messageId': expected a message id", id="only an @"),
        pytest.param(
            message(messageId="<@b>"), "Field 'message.messageId': expected a message id", id="nothing before"
        ),
        pytest.param(message(messageId="a@"), "Field 'message.messageId': expected a message id", id="nothing after"),
        pytest.param(
            message(messageId="a\u2060@b"),
            "'message.messageId': expected only characters that can be seen",
            id="U+2060",
        ),
        pytest.param(
            mail(headers={"Message-ID": "a\ufeff@b"}), "'headers.Message-ID': expected only characters", id="U+FEFF"
        ),
        pytest.param(
            mail(template={"name": "wel\u200bcome"}), "'template.name': expected only characters that can", id="U+200B"
        ),
        pytest.param(
            mail(toUids=["u1", "u\xad2"]), "'toUids.1': expected only characters that can be seen", id="U+00AD"
        ),
        pytest.param(mail(toUids=["\u200b"]), "'toUids.0': expected a user id, found an empty string", id="unseen uid"),
        pytest.param(
            attachment(content="", cid="a\u3164b"), "'message.attachments.0.cid': expected only characters", id="U+3164"
        ),
        pytest.param(
            attachment(bucket="b", object=".."), "'message.attachments.0.object': expected the name of", id="object .."
        ),
        pytest.param(attachment(bucket="b", object="a\nb"), "0.object': expected the name of an object", id="object"),
        pytest.param(attachment(bucket="b", object="ü" * 513), "0.object': expected the name of an", id="long object"),
        pytest.param(message(messageId="<a@b>\r\nX: y"), "Field 'message.messageId'", id="message id, two lines"),
        pytest.param(
            mail(template={}),
            "Field 'template.name': expected a non-empty string, found nothing.",
            id="template without name",
        ),
        pytest.param(mail(template={"name": ""}), "found an empty string.", id="empty template name"),
        pytest.param(mail(template="welcome"), "Field 'template': expected a map, found a string.", id="template name"),
        pytest.param(
            mail(template={"name": "w", "data": []}),
            "Field 'template.data': expected a map, found an empty",
            id="template data",
        ),
        pytest.param(
            mail(sendGrid={"dynamicTemplateData": {}}),
            "Field 'sendGrid.templateId': expected a template id",
            id="sendGrid data without template",
        ),
        pytest.param(
            mail(sendGrid={"templateId": 5}), "Field 'sendGrid.templateId': expected a string", id="sendGrid id"
        ),
        pytest.param(
            mail(sendGrid={"mailSettings": 5}), "Field 'sendGrid.mailSettings': expected a map", id="settings"
        ),
        pytest.param(mail(sendGrid={"customArgs": "x"}), "Field 'sendGrid.customArgs': expected a map", id="arguments"),
        pytest.param(mail(sendGrid={"ipPoolName": 5}), "Field 'sendGrid.ipPoolName': expected a string", id="pool"),
        pytest.param(mail(categories="x"), "Field 'categories': expected an array of strings, found", id="categories"),
        pytest.param(
            message(attachments={"content": "x"}), "a single one must be in an array too", id="one attachment"
        ),
        pytest.param(
            message(attachments=["x"]),
            "Field 'message.attachments.0': expected a map, found a string.",
            id="text as attachment",
        ),
        pytest.param(
            attachment(content=5),
            "Field 'message.attachments.0.content': expected a string or bytes, found a",
            id="content",
        ),
        pytest.param(attachment(content={"path": "x"}), "string or bytes, found a map.", id="content by path"),
        pytest.param(
            attachment(content="", filename="a\r\nb"),
            "Field 'message.attachments.0.filename': expected a sin",
            id="file name, two lines",
        ),
        pytest.param(attachment(content="", cid="a\nb"), "Field 'message.attachments.0.cid': ", id="cid, two lines"),
        pytest.param(attachment(content="", cid="<>"), "Field 'message.attachments.0.cid': ", id="nothing in a cid"),
        pytest.param(attachment(content="", cid="ü"), "expected up to 200 printable ASCII", id="cid not in ASCII"),
        pytest.param(
            attachment(content="", contentType="pdf"),
            "a media type such as 'application/pdf', found another",
            id="media type",
        ),
        pytest.param(
            attachment(content="", contentType="a/b\nX: y"),
            "Field 'message.attachments.0.contentType': ",
            id="media type, two lines",
        ),
        pytest.param(
            attachment(content="", contentDisposition="x"),
            "'attachment' or 'inline', found another string",
            id="disposition",
        ),
        pytest.param(
            attachment(content="", headers={"X-A": "a\nb"}),
            "Field 'message.attachments.0.headers.X-A'",
            id="line break in an attachment's header",
        ),
        pytest.param(attachment(content="", httpHeaders="x"), "httpHeaders': expected a map", id="httpHeaders"),
        pytest.param(mail(headers="X: y"), "Field 'headers': expected a map, found a string.", id="headers as text"),
        pytest.param(
            mail(headers={"X-A": "a\r\nBcc: x@y.z"}), "Field 'headers.X-A': expected a single line", id="CRLF"
        ),
        pytest.param(mail(headers={"X-A": "a\0"}), "Field 'headers.X-A': expected a single line", id="NUL in a header"),
        pytest.param(
            mail(headers={"X-A": ["a", "b\n"]}), "Field 'headers.X-A': expected a single", id="LF in an array"
        ),
        pytest.param(
            mail(headers={"X-A\r\nBcc": "x"}), "Field 'headers.X-A??Bcc': expected a name", id="CRLF in a name"
        ),
        pytest.param(mail(headers={"X A": "x"}), "Field 'headers.X?A': expected a name of", id="space in a name"),
        pytest.param(mail(headers={"": "x"}), "Field 'headers.': expected a name of", id="no name"),
        pytest.param(mail(headers={"X-A": b"x"}), "Field 'headers.X-A': expected a string, a number", id="bytes"),
        pytest.param(mail(headers={"X-A": "x" * 801}), "words of up to 800 characters", id="word that fits no line"),
        pytest.param(mail(headers=[{"value": "x"}]), "Field 'headers.0': expected a name of", id="list without key"),
        pytest.param(mail(headers={"Sender": "x"}), "Field 'headers.Sender': expected an address", id="Sender"),
        pytest.param(mail(headers={"Message-ID": "x y"}), "Field 'headers.Message-ID': expected a message id", id="id"),
        pytest.param(mail(headers={"Date": ["x", "y"]}), "Field 'headers.Date': expected 'Date' once", id="two dates"),
    ],
)
def test_rejects_with_the_field_and_the_reason(fields: dict[str, Any], error: str) -> None:
    with pytest.raises(NotSendable) as caught:
        parse_document(fields)
    assert error in str(caught.value)
    assert str(caught.value).count("Field ") == 1
    assert caught.value.code is ErrorCode.VALIDATION


def test_all_faults_are_reported_in_one_text_in_order() -> None:
    with pytest.raises(NotSendable) as caught:
        parse_document({"to": 5, "cc": "x", "message": {"text": []}})
    assert str(caught.value) == (
        "Field 'to': expected a string or an array of strings, found a number. "
        "Field 'cc': expected an address such as 'name@example.com' or 'Name <name@example.com>', "
        "found an address without an @. "
        "Field 'message.text': expected a string, found an empty array. "
        "Field 'message.subject': expected a string, found nothing. "
        "Field 'message.text': expected a non-empty 'text' or 'html', found an empty array."
    )


def test_the_error_text_is_short_even_for_many_faults() -> None:
    with pytest.raises(NotSendable) as caught:
        parse_document(mail(to=["x"] * 10_000))
    assert str(caught.value).endswith("found an address without an @. And 9995 more.")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("fields", "hints"),
    [
        pytest.param(mail(reply_to="a@b.c"), [("reply_to", "replyTo")], id="a separator"),
        pytest.param(mail(replyto="a@b.c"), [("replyto", "replyTo")], id="a capital"),
        pytest.param(mail(TO="a@b.c", to=None, cc="d@e.f"), [("TO", "to")], id="capitals"),
        pytest.param(mail(fron="a@b.c", fom="a@b.c"), [("fom", "from")], id="a letter left out"),
        pytest.param(mail(tempalte={}), [("tempalte", "template")], id="letters swapped"),
        pytest.param(mail(catagories=[], sendate=1), [("catagories", "categories"), ("sendate", "sendAt")], id="two"),
        pytest.param(mail(expires_at=1), [("expires_at", "expiresAt")], id="with a separator"),
        pytest.param(
            message(Html="x", attachement=[]),
            [("message.Html", "html"), ("message.attachement", "attachments")],
            id="in message",
        ),
        pytest.param(mail(template={"name": "w", "dta": {}}), [("template.dta", "data")], id="in template"),
        pytest.param(
            attachment(content="x", file_name="y"),
            [("message.attachments.0.file_name", "filename")],
            id="in an attachment",
        ),
        pytest.param(attachment(contnet="x"), [("message.attachments.0.contnet", "content")], id="nothing else in it"),
        pytest.param(
            message(icalEvent={"content": "x", "methd": "ADD"}), [("message.icalEvent.methd", "method")], id="event"
        ),
        pytest.param(mail(**{"re\x00ply\nto": 1}), [("re?ply?to", "replyTo")], id="odd characters"),
    ],
)
def test_a_misspelt_field_causes_a_warning(fields: dict[str, Any], hints: list[tuple[str, str]]) -> None:
    assert list(accepted(fields).warnings) == [
        f"Field '{name}' is not known: did you mean '{meant}'?" for name, meant in hints
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("topic", "tocc", "date", "name", "data", "form", "test", "too", "tos", "user", "uid", "uids", "userId"),
        *("sentAt", "sendTo", "createdAt", "replyAt", "replies", "expireAt", "status", "type", "title", "subject"),
        *("attachments", "messageId", "content", "readers", "heading", "recipient", "sender", "tenant", "delivery"),
        *("endAt", "toIds", "transform", "comment", "preferences", "senderAt"),
        *("fromName", "toName", "mail", "email", "category", "tags", "mesage" + "e" * 40, "", "_", "日本", "\ud800"),
    ],
)
def test_other_words_cause_no_warning(name: str) -> None:
    assert accepted({**mail(), name: "x"}).warnings == ()


@pytest.mark.parametrize("name", ["comment", "contents", "ref", "fullname", "ending", "patch"])
def test_an_attachment_that_has_a_source_needs_no_other(name: str) -> None:
    assert accepted(attachment(path="https://example.com/a.pdf", **{name: "x"})).warnings == ()


def test_a_field_beside_the_one_it_resembles_causes_no_warning() -> None:
    assert accepted(mail(mesage={"subject": "x"}, To="x", templates=None)).warnings == ()


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        (mail(message=None, mesage={"subject": "s", "text": "t"}), "'mesage' is not known: did you mean 'message'?"),
        (mail(message={"subjct": "s", "text": "t"}), "'message.subjct' is not known: did you mean 'subject'?"),
        (mail(to=None, TO="a@b.c"), "'TO' is not known: did you mean 'to'?"),
        (mail(message=None, template={"nam": "w"}), "'template.nam' is not known: did you mean 'name'?"),
    ],
)
def test_an_error_is_followed_by_hints(fields: dict[str, Any], hint: str) -> None:
    with pytest.raises(NotSendable) as caught:
        parse_document(fields)
    assert str(caught.value).endswith(f" Field {hint}")


@pytest.mark.timeout(5)
def test_only_some_names_are_compared() -> None:
    names = [f"{'messge'[:at]}{letter}{'messge'[at:]}" for at in range(6) for letter in "bcdefghij"]
    files = [{f"contnet{number}"[:9]: 1 for number in range(100)}] * 2000
    document = mail(message=None, template={"name": "w"}, **dict.fromkeys([*names, *map(str, range(50_000))], 1))
    assert len(accepted(document).warnings) <= spelling.MAX_UNKNOWN
    accepted(message(attachments=files))


class Reads(dict[str, Any]):
    """A map that records which of its fields are read."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


def test_every_known_field_is_read() -> None:
    file, event = Reads({"bucket": "b", "object": "o"}), Reads({"content": "x"})
    template = Reads({"name": "w"})
    content = Reads({"subject": "s", "text": "t", "attachments": [file], "icalEvent": event})
    top = Reads({"to": "a@b.c", "message": content, "template": template})
    parse_document(top)
    assert set(spelling.DOCUMENT) <= top.read
    assert set(spelling.MESSAGE) <= content.read
    assert set(spelling.TEMPLATE) <= template.read
    assert set(spelling.ATTACHMENT) <= file.read
    assert "method" in event.read
    assert top.read - set(spelling.DOCUMENT) <= {"delivery"}
    assert content.read - set(spelling.MESSAGE) <= set(UNSUPPORTED)


def test_recipients_come_from_strings_arrays_and_groups() -> None:
    document = accepted(mail(to="Ada <a@b.c>, d@E.f", cc=["x@y.z"], bcc="Team: g@h.i;"))
    assert document.to == (Address("Ada", "a@b.c"), Address("", "d@e.f"))
    assert document.cc == (Address("", "x@y.z"),)
    assert document.bcc == (Group("Team", (Address("", "g@h.i"),)),)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_fields_of_nodemailer_cause_warnings(name: str) -> None:
    assert accepted(message(**{name: "x"})).warnings == (f"Field 'message.{name}' is not supported and was not sent.",)
    assert accepted(message(**{name: None})).warnings == ()


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        pytest.param("x", ["x"], id="string"),
        pytest.param(" x ", ["x"], id="white space around it"),
        pytest.param(5, ["5"], id="integer"),
        pytest.param(5.0, ["5"], id="whole number in floating point"),
        pytest.param(1.5, ["1.5"], id="fraction"),
        pytest.param(True, ["true"], id="boolean"),
        pytest.param(["a", 1], ["a", "1"], id="array"),
        pytest.param({"prepared": True, "value": "x"}, ["x"], id="nodemailer's prepared value"),
        pytest.param({"prepared": True, "value": 5}, ["5"], id="a prepared number"),
        pytest.param([{"value": "x"}, {"value": None}, "y"], ["x", "y"], id="prepared values in an array"),
        pytest.param(None, [], id="null"),
        pytest.param("", [], id="empty"),
    ],
)
def test_headers_are_sent_as_text(value: Any, sent: list[str]) -> None:
    assert headers_of(accepted(mail(headers={"X-A": value}))) == [("X-A", text) for text in sent]
    assert headers_of(accepted(mail(headers=[{"key": "X-A", "value": value}]))) == [("X-A", text) for text in sent]


def test_a_single_header_as_key_and_value_needs_no_array() -> None:
    assert headers_of(accepted(mail(headers={"key": "X-A", "value": ["1", 2]}))) == [("X-A", "1"), ("X-A", "2")]
    assert headers_of(accepted(mail(headers={"key": "X-A"}))) == [("key", "X-A")]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        pytest.param("<a@x.y>", "<a@x.y>", id="as it should be"),
        pytest.param("a@x.y", "<a@x.y>", id="without brackets"),
        pytest.param("a@x.y <b@x.y>  c", "<a@x.y> <b@x.y> <c>", id="several"),
        pytest.param("<a@x.y><b@x.y>", "<a@x.y><b@x.y>", id="glued together"),
        pytest.param("a@x.y \t b@x.y", "<a@x.y> <b@x.y>", id="with a tab"),
        pytest.param(f"{'x' * 1000}\x85y", f"<{'x' * 1000}\x85y>", id="other white space, at which no line is folded"),
    ],
)
@pytest.mark.parametrize("name", ["In-Reply-To", "references"])
def test_missing_angle_brackets_are_added_to_message_ids(name: str, value: str, sent: str) -> None:
    assert headers_of(accepted(mail(headers={name: value}))) == [(name, sent)]


@pytest.mark.parametrize(
    "name", ["To", "bcc", "Resent-Bcc", "FROM", "Content-Type", "MIME-Version", "Content-Transfer-Encoding"]
)
def test_reserved_headers_cause_warnings_and_are_not_sent(name: str) -> None:
    document = accepted(mail(headers={name: "x"}))
    assert document.headers == ()
    assert document.warnings == (f"Field 'headers.{name}' would contradict what Firepost writes and was not sent.",)


class TestHeadersWithEquivalentFields:
    GIVEN: ClassVar = {
        "subject": "S",
        "Message-Id": "<h@x>",
        "DATE": "Fri, 2 Jan 2026 03:04:05 +0100",
        "reply-to": "R <r@x.y>",
    }

    def test_stand_in_for_the_field(self) -> None:
        document = accepted(message(subject="") | {"headers": self.GIVEN | {"Sender": "s@x.y"}})
        assert document.message
        assert document.message.subject == "S"
        assert document.message_id == "h@x"
        assert document.date == "Fri, 2 Jan 2026 03:04:05 +0100"
        assert document.reply_to == (Address("R", "r@x.y"),)
        assert document.sender == (Address("", "s@x.y"),)
        assert not document.headers
        assert not document.warnings

    def test_are_overridden_by_the_field_with_a_warning(self) -> None:
        document = accepted(message(messageId="f@x") | {"replyTo": "f@x.y", "headers": self.GIVEN})
        assert document.message
        assert (document.message.subject, document.message_id) == ("Hi", "f@x")
        assert document.reply_to == (Address("", "f@x.y"),)
        assert set(document.warnings) == {
            "Field 'headers.subject' says the same as 'message.subject' and was not sent.",
            "Field 'headers.Message-Id' says the same as 'message.messageId' and was not sent.",
            "Field 'headers.reply-to' says the same as 'replyTo' and was not sent.",
        }


class TestAttachments:
    @pytest.mark.parametrize(
        "entry",
        [{}, None, {"note": "x"}, {"filename": None, "content": None}],
        ids=["empty", "null", "unknown", "nulls"],
    )
    def test_without_content_are_dropped(self, entry: Any) -> None:
        document = accepted(message(attachments=[entry, {"filename": "a", "content": "x"}]))
        assert document.message
        assert [attachment.path for attachment in document.message.attachments] == ["message.attachments.1"]

    def test_values_are_normalised(self) -> None:
        document = accepted(
            attachment(
                filename="a.png",
                href="data:,x",
                contentType="image/png; x=y",
                contentDisposition="INLINE",
                cid="<logo>",
                headers={"X-A": 1, "Content-Type": "text/html", "Content-ID": "<other>"},
            )
        )
        assert document.message
        (found,) = document.message.attachments
        assert (found.url_field, found.url, found.content) == ("href", "data:,x", None)
        assert (found.disposition, found.content_id, found.media_type) == ("inline", "logo", "image/png; x=y")
        assert [(header.name, header.value) for header in found.headers] == [("X-A", "1")]
        (warning,) = document.warnings
        assert warning.startswith("Field 'message.attachments.0.headers.Content-Type' would contradict")

    def test_path_overrides_href(self) -> None:
        document = accepted(attachment(path="data:,p", href="data:,h", content="c"))
        assert document.message
        assert document.message.attachments[0].url == "data:,p"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"to": ["a@b.c"] * 500, "cc": ",".join(["a@b.c"] * 501)}, "Field 'to': expected at most 1,000 recipients"),
        ({"bcc": ["t: " + "a@b.c," * 1001 + ";"]}, "Field 'to': expected at most 1,000 recipients"),
        ({"toUids": ["u"] * 250, "bccUids": ["v"] * 251}, "Field 'toUids': expected at most 500 user ids"),
        (
            {"to": "a@b.c", "message": {"subject": "s" * 10_001, "text": "t"}},
            "Field 'message.subject': expected a subject",
        ),
    ],
)
def test_mails_beyond_the_limits_are_rejected(fields: dict[str, Any], error: str) -> None:
    with pytest.raises(NotSendable, match=error):
        parse_document({"message": {"subject": "s", "text": "t"}, **fields})


def test_mails_at_the_limits_are_accepted() -> None:
    message = {"subject": "s" * 10_000, "text": "t"}
    document = parse_document({"to": ["a@b.c"] * 1000, "toUids": ["u"] * 500, "message": message})
    assert len(document.to) == 1000


REFERENCE = Reference("projects/p/databases/d/documents/users/a@b.c")
ONE_FILE = {"filename": "a", "content": "x"}


@pytest.mark.parametrize(
    "fields",
    [
        *(mail(**{name: REFERENCE}) for name in ("to", "cc", "from", "replyTo", "toUids", "categories", "headers")),
        *(mail(**{name: [REFERENCE]}) for name in ("to", "bcc", "ccUids", "categories")),
        *(mail(**{name: REFERENCE}) for name in ("message", "template", "sendGrid", "listUnsubscribe", "sendAt")),
        mail(expiresAt=REFERENCE),
        *(message(**{name: REFERENCE}) for name in ("subject", "text", "html", "amp", "messageId", "date")),
        *(message(**{name: REFERENCE}) for name in ("inReplyTo", "references", "icalEvent", "attachments", "dsn")),
        *(message(attachments=[REFERENCE]), message(references=[REFERENCE]), message(list={"help": REFERENCE})),
        *(message(list={"help": {"url": REFERENCE}}), message(list={"help": {"url": "a@b.c", "comment": REFERENCE}})),
        *(message(dsn={name: REFERENCE}) for name in ("id", "return", "notify", "recipient")),
        *(attachment(**{**ONE_FILE, name: REFERENCE}) for name in ("filename", "content", "path", "href", "encoding")),
        *(attachment(**{**ONE_FILE, name: REFERENCE}) for name in ("contentType", "contentDisposition", "cid", "raw")),
        *(attachment(bucket=REFERENCE, object="o"), attachment(bucket="b", object=REFERENCE)),
        *(attachment(**ONE_FILE, httpHeaders={"X-A": REFERENCE}), message(icalEvent={"content": REFERENCE})),
        *(mail(headers={"X-A": value}) for value in (REFERENCE, [REFERENCE], {"value": REFERENCE})),
        *(mail(headers=[{"key": REFERENCE, "value": "x"}]), mail(headers={"key": "X-A", "value": REFERENCE})),
        *(mail(template={"name": REFERENCE}), mail(template={"name": "w", "data": REFERENCE})),
        *(mail(sendGrid={name: REFERENCE}) for name in ("templateId", "ipPoolName", "customArgs")),
        *(mail(listUnsubscribe={name: REFERENCE}) for name in ("url", "mailto")),
    ],
)
def test_a_reference_is_no_text(fields: dict[str, Any]) -> None:
    with pytest.raises(NotSendable, match=r"found a (reference|map)"):
        parse_document(fields)


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        (message(messageId="\u200b<a@b>\ufeff"), lambda document: document.message_id == "a@b"),
        (mail(toUids=["\ufeffu1\u200b"]), lambda document: document.uids == {"toUids": ("u1",)}),
        (mail(template={"name": "welcome\u200b"}), lambda document: document.template.name == "welcome"),
        (mail(template={"name": "welcome "}), lambda document: document.template.name == "welcome "),
        (mail(template={"name": "love ❤\ufe0f"}), lambda document: document.template.name == "love ❤\ufe0f"),
        (
            attachment(path=" \ufeffhttps://x.y/z"),
            lambda document: document.message.attachments[0].url == "https://x.y/z",
        ),
        (
            attachment(content="", contentType="a/b;"),
            lambda document: document.message.attachments[0].media_type == "a/b",
        ),
    ],
)
def test_invisible_characters_at_the_ends_are_dropped(fields: dict[str, Any], read: Callable[[Any], bool]) -> None:
    assert read(parse_document(fields))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity"), (2.0, "2"), (-0.0, "0")),
        *((1e21, "1e+21"), (1e20, "100000000000000000000"), (1.5e300, "1.5e+300"), (0.1, "0.1"), (-2.5, "-2.5")),
        *((1e-6, "0.000001"), (1e-7, "1e-7"), (5e-324, "5e-324"), (2**63 - 1, "9223372036854775807")),
    ],
)
def test_a_number_in_a_header_is_written_as_javascript_prints_it(number: float, text: str) -> None:
    document = parse_document({"to": "a@b.c", "message": {"subject": "s", "text": "t"}, "headers": {"X-N": number}})
    assert [header.value for header in document.headers] == [text]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("Sat Jan 31 2026 12:00:00 GMT+0100 (Central European Standard Time)", "Sat, 31 Jan 2026 12:00:00 +0100"),
        ("Sat Jan 31 2026 12:00:00 GMT-0500", "Sat, 31 Jan 2026 12:00:00 -0500"),
    ],
)
def test_a_date_as_javascript_prints_it(given: str, written: str) -> None:
    document = parse_document({"to": "a@b.c", "message": {"subject": "s", "text": "t", "date": given}})
    assert document.date == written
