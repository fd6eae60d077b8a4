from __future__ import annotations

import email
import email.policy
import re
from datetime import UTC, datetime
from email.message import EmailMessage, MIMEPart
from typing import Any

import pytest

from sender.document.addresses import Address
from sender.message.compose import Composer, Defaults, Mail
from sender.transport.envelope import Envelope
from shared.delivery.lanes import Lanes
from shared.errors import ErrorCode, NotSendable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHOP = Defaults(Address("Shop", "shop@example.com"))
PNG = {"filename": "logo.png", "cid": "logo", "content": b"\x89PNG"}
PDF = {"filename": "a.pdf", "content": b"%PDF"}


def made(
    content: dict[str, Any] | None = None, /, *, defaults: Defaults = SHOP, author: str | None = None, **fields: Any
) -> Mail:
    """The mail of an otherwise valid document; `content` is added to its `message`, `author` is its `from`."""
    content = {"subject": "Hi", "text": "Hello"} | (content or {})
    document = {"to": "ada@example.com", "message": content, "from": author} | fields
    return Composer(defaults)(document, seed="order-17", now=NOW)


def read(mail: Mail) -> EmailMessage:
    message = email.message_from_bytes(mail.data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def shape(part: MIMEPart) -> Any:
    """The tree of media types: `("multipart/mixed", "text/plain", …)`."""
    if not part.is_multipart():
        return part.get_content_type()
    return (part.get_content_type(), *(shape(child) for child in part.iter_parts()))


def test_a_simple_mail_byte_for_byte() -> None:
    mail = made(to=["Ada <ada@Example.com>", "b@c.d"], bcc="hidden@x.y", headers={"X-Order": 17})
    assert mail.data.decode() == "\r\n".join(
        [
            "From: Shop <shop@example.com>",
            "To: Ada <ada@example.com>, b@c.d",
            "Subject: Hi",
            f"Message-ID: {mail.message_id}",
            "Date: Fri, 02 Jan 2026 03:04:05 +0000",
            "X-Order: 17",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 7bit",
            "",
            "Hello",
            "",
        ]
    )
    assert mail.envelope == Envelope("shop@example.com", ("ada@example.com", "b@c.d", "hidden@x.y"))
    assert re.fullmatch("<[a-z2-7]{32}@example.com>", mail.message_id)
    assert mail.warnings == ()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param({}, "text/plain", id="text"),
        pytest.param({"text": None, "html": "<p>"}, "text/html", id="html"),
        pytest.param(
            {"html": "<p>", "amp": "<html ⚡>"},
            ("multipart/alternative", "text/plain", "text/x-amp-html", "text/html"),
            id="all versions",
        ),
        pytest.param({"attachments": [PDF]}, ("multipart/mixed", "text/plain", "application/pdf"), id="attachment"),
        pytest.param(
            {"text": None, "html": "<p>", "attachments": [PNG]},
            ("multipart/related", "text/html", "image/png"),
            id="image in the page",
        ),
        pytest.param({"attachments": [PNG]}, ("multipart/mixed", "text/plain", "image/png"), id="cid without a page"),
        pytest.param(
            {"icalEvent": {"content": "BEGIN:VCALENDAR"}},
            ("multipart/mixed", ("multipart/alternative", "text/plain", "text/calendar"), "application/ics"),
            id="event",
        ),
        pytest.param(
            {"html": "<p>", "alternatives": [{"contentType": "text/x-web-markdown", "content": "*x*"}]},
            ("multipart/alternative", "text/plain", "text/html", "text/x-web-markdown"),
            id="alternatives come last",
        ),
        pytest.param(
            {"html": "<p>", "attachments": [{"raw": "Content-Type: image/png\nContent-ID: <x>\n\nx", "cid": "x"}]},
            ("multipart/alternative", "text/plain", ("multipart/related", "text/html", "image/png")),
            id="ready-made image in the page",
        ),
        pytest.param(
            {"html": "<p>", "attachments": [PNG, PDF, PDF]},
            (
                "multipart/mixed",
                ("multipart/alternative", "text/plain", ("multipart/related", "text/html", "image/png")),
                "application/pdf",
                "application/pdf",
            ),
            id="everything",
        ),
    ],
)
def test_parts_are_nested_as_nodemailer_does(message: dict[str, Any], expected: Any) -> None:
    assert shape(read(made(message))) == expected


def test_contents_round_trip() -> None:
    message = read(made({"text": "Grüße\n", "html": "<p>日本</p>\n", "attachments": [PNG, PDF]}))
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain
    assert html
    assert plain.get_content() == "Grüße\r\n"
    assert html.get_content() == "<p>日本</p>\r\n"
    image = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert (image["Content-ID"], image.get_content_disposition()) == ("<logo>", "inline")
    assert image.get_payload(decode=True) == b"\x89PNG"
    (attached,) = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("a.pdf", b"%PDF")


def test_the_same_document_and_seed_make_the_same_bytes() -> None:
    assert made({"html": "<p>"}) == made({"html": "<p>"})


class TestAddresses:
    def test_each_recipient_is_in_the_envelope_once(self) -> None:
        mail = made(to="b@X.y, a@x.y", cc=["Team: a@x.y, c@x.y;"], bcc=["C@x.y", "b@x.y"])
        assert mail.envelope.recipients == ("b@x.y", "a@x.y", "c@x.y", "C@x.y")

    def test_bcc_is_not_in_the_mail(self) -> None:
        mail = made(bcc="Hidden <hidden@x.y>", headers={"Bcc": "other@x.y"})
        assert b"idden" not in mail.data
        assert b"other" not in mail.data
        assert b"bcc" not in mail.data.lower()

    def test_domains_are_in_a_labels_in_envelope_and_headers(self) -> None:
        mail = made(to="Ü <ü@Bücher.example>", author="a@Bücher.example")
        assert mail.envelope == Envelope("a@xn--bcher-kva.example", ("ü@xn--bcher-kva.example",))
        assert mail.envelope.needs_smtputf8
        assert b"To: =?utf-8?b?w5w=?= <\xc3\xbc@xn--bcher-kva.example>\r\n" in mail.data
        assert mail.message_id.endswith("@xn--bcher-kva.example>")

    def test_the_document_s_from_comes_before_the_default(self) -> None:
        mail = made(author="Ada <ada@x.y>")
        assert mail.envelope.sender == "ada@x.y"
        assert read(mail)["From"] == "Ada <ada@x.y>"

    @pytest.mark.parametrize("blank", ["", None, "  "])
    def test_a_blank_from_or_reply_to_is_the_default(self, blank: str | None) -> None:
        defaults = Defaults(SHOP.sender, (Address("", "help@x.y"),))
        mail = made(defaults=defaults, author=blank, replyTo=blank)
        assert mail.envelope.sender == "shop@example.com"
        assert read(mail)["Reply-To"] == "help@x.y"

    def test_the_first_of_several_authors_is_the_sender(self) -> None:
        mail = made(author="a@x.y, b@x.y")
        assert mail.envelope.sender == "a@x.y"
        assert (read(mail)["From"], read(mail)["Sender"]) == ("a@x.y, b@x.y", "a@x.y")

    def test_a_sender_given_as_header_is_written_and_the_envelope_is_still_from(self) -> None:
        mail = made(headers={"Sender": "Söhne <s@x.y>"})
        assert read(mail)["Sender"] == "Söhne <s@x.y>"
        assert mail.envelope.sender == "shop@example.com"

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            pytest.param({"replyTo": "a@x.y, b@x.y"}, "a@x.y, b@x.y", id="the field"),
            pytest.param({"headers": {"Reply-To": "h@x.y"}}, "h@x.y", id="the header, before the default"),
            pytest.param({}, "default@x.y", id="the default"),
        ],
    )
    def test_reply_to_is(self, fields: dict[str, Any], expected: str) -> None:
        defaults = Defaults(SHOP.sender, (Address("", "default@x.y"),))
        assert read(made(defaults=defaults, **fields)).get_all("Reply-To") == [expected]

    def test_a_group_without_members_hides_the_recipients(self) -> None:
        mail = made(to="undisclosed-recipients:;", bcc="a@x.y")
        assert b"To: undisclosed-recipients:;\r\n" in mail.data
        assert mail.envelope.recipients == ("a@x.y",)


class TestHeaders:
    @pytest.mark.parametrize(
        ("message", "headers", "message_id"),
        [
            pytest.param({"messageId": "x@y"}, {}, "<x@y>", id="field, brackets added"),
            pytest.param({"messageId": " <x@y> "}, {}, "<x@y>", id="field, spaces taken away"),
            pytest.param({"messageId": "order-1"}, {}, "<order-1>", id="field, without an @"),
            pytest.param({}, {"Message-ID": "<order-1>"}, "<order-1>", id="header, without an @"),
            pytest.param({"messageId": "<x@y>"}, {"Message-ID": "<h@y>"}, "<x@y>", id="field before header"),
            pytest.param({}, {"message-id": "h@y"}, "<h@y>", id="header"),
        ],
    )
    def test_message_id_is(self, message: dict[str, str], headers: dict[str, str], message_id: str) -> None:
        mail = made(message, headers=headers)
        assert mail.message_id == message_id
        assert read(mail).get_all("Message-ID") == [message_id]

    def test_an_empty_subject_is_not_written(self) -> None:
        assert read(made({"subject": ""}))["Subject"] is None

    def test_the_document_s_date_overrides_the_default(self) -> None:
        date = "Thu, 01 Jan 2026 00:00:00 +0000"
        assert read(made(headers={"Date": date})).get_all("Date") == [date]

    def test_one_click_unsubscribe_headers_are_written(self) -> None:
        url = f"<https://example.com/u/{'t' * 200}>"
        mail = made(headers={"List-Unsubscribe": url, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"})
        assert f"List-Unsubscribe: {url}\r\n".encode() in mail.data

    def test_a_header_is_repeated_for_an_array(self) -> None:
        assert read(made(headers={"X-Tag": ["a", "b"]})).get_all("X-Tag") == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        pytest.param(
            {"categories": ["x"]}, "Field 'categories' is not supported over SMTP and was not sent.", id="categories"
        ),
        pytest.param(
            {"sendGrid": {"mailSettings": {}}},
            "Field 'sendGrid' is not supported over SMTP and was not sent.",
            id="sendGrid",
        ),
        pytest.param(
            {"headers": {"To": "x"}},
            "Field 'headers.To' would contradict what Firepost writes and was not sent.",
            id="header",
        ),
    ],
)
def test_fields_that_are_not_sent_cause_warnings(fields: dict[str, Any], warning: str) -> None:
    assert made(**fields).warnings == (warning,)


@pytest.mark.parametrize(
    ("lane", "found"),
    [
        pytest.param("fast", "another string", id="unknown"),
        pytest.param("", "an empty string", id="empty"),
        pytest.param(7, "a number", id="no text"),
        *[pytest.param(lane, None, id=f"{lane}") for lane in (None, "bulk", "default")],
    ],
)
def test_an_unknown_lane_causes_a_warning(lane: object, found: str | None) -> None:
    document = {"to": "ada@example.com", "message": {"subject": "Hi", "text": "Hello"}, "lane": lane}
    mail = Composer(SHOP, lanes=Lanes.parse("bulk"))(document, seed="order-17", now=NOW)
    text = f"Field 'lane': expected one of bulk, default; found {found}. The mail is in the lane 'default'."
    assert mail.warnings == ((text,) if found else ())


@pytest.mark.parametrize(
    ("fields", "code", "error"),
    [
        pytest.param(
            {"toUids": ["u"]},
            ErrorCode.VALIDATION,
            "Field 'toUids': user ids can't be looked up, because no USERS_COLLECTION is configured.",
            id="uids",
        ),
        pytest.param(
            {"template": {"name": "welcome"}},
            ErrorCode.TEMPLATE,
            "Field 'template': it can't be rendered, because no TEMPLATES_COLLECTION is configured.",
            id="template",
        ),
        pytest.param(
            {"message": None, "sendGrid": {"templateId": "t"}},
            ErrorCode.VALIDATION,
            "Field 'sendGrid': it can't be sent over SMTP without a 'message' map beside it; TRANSPORT=sendgrid can.",
            id="sendGrid",
        ),
        pytest.param(
            {"to": 5},
            ErrorCode.VALIDATION,
            "Field 'to': expected a string or an array of strings, found a number.",
            id="validation",
        ),
        pytest.param(
            {"message": {"subject": "", "text": "x", "attachments": [{"path": "/etc/passwd"}]}},
            ErrorCode.ATTACHMENT,
            "Field 'message.attachments.0.path': expected a 'https:', 'gs:' or 'data:' URL, or 'content' in its place, "
            "found a file path, which Firepost never opens.",
            id="attachment",
        ),
    ],
)
def test_what_can_t_be_sent_is_refused(fields: dict[str, Any], code: ErrorCode, error: str) -> None:
    with pytest.raises(NotSendable) as caught:
        made(**fields)
    assert (caught.value.code, str(caught.value)) == (code, error)


@pytest.mark.parametrize("name", ["Evil\r\nX", "Evil: x\n", "Evil ", "Évil", "X\0"])
def test_no_header_name_can_add_a_header(name: str) -> None:
    with pytest.raises(NotSendable, match="expected a name of up to 70"):
        made(headers={name: "x"})
