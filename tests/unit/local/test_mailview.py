from __future__ import annotations

from email.message import EmailMessage

import pytest

from local.mailview import Attachment, parse_mail, with_inline_images


def mail(**headers: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in headers.items():
        message[name] = value
    return message


def test_texts_and_attachments_are_told_apart() -> None:
    message = mail(Subject="Grüße №1")
    message.set_content("plain")
    message.add_alternative("<p>html</p>", subtype="html")
    message.add_attachment("a,b\n", subtype="csv", filename="list.csv")
    message.add_attachment("read me", filename="notes.txt")
    view = parse_mail(message.as_bytes())
    assert view.header("subject") == "Grüße №1"
    assert (view.text, view.html) == ("plain\n", "<p>html</p>\n")
    assert [(part.name, part.type) for part in view.attachments] == [
        ("list.csv", "text/csv"),
        ("notes.txt", "text/plain"),
    ]


def test_a_mail_without_text_parts_says_so() -> None:
    message = mail(Subject="Only a picture")
    message.set_content(b"\x89PNG", "image", "png", cid="<logo@firepost>")
    view = parse_mail(message.as_bytes())
    assert (view.text, view.html) == (None, None)
    assert view.attachments == (Attachment("part-1", "image/png", "logo@firepost", b"\x89PNG"),)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"", "", id="nothing at all"),
        pytest.param(b"no header, only this", "", id="a line that is no header"),
        pytest.param(b"Content-Type: text/plain; charset=klingon\r\n\r\nhi", "hi", id="an unknown charset"),
        pytest.param(b"Content-Type: text/plain; charset=utf-8\r\n\r\n\xff", "\ufffd", id="bytes of another charset"),
    ],
)
def test_malformed_mails_are_shown_as_well_as_can_be(data: bytes, text: str) -> None:
    assert (parse_mail(data).text or "").startswith(text)


def test_inline_images_are_found_by_their_content_id() -> None:
    html = '<img src="cid:logo@x"> <img src=\'CID:other\'> <div style="background: url(cid:logo@x)">'
    assert with_inline_images(html, {"logo@x": "/part/0"}) == (
        '<img src="/part/0"> <img src=\'CID:other\'> <div style="background: url(/part/0)">'
    )
