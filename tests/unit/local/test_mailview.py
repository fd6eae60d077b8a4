from __future__ import annotations

import time
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.mailview import Attachment, in_new_tabs, links, parse_mail, with_inline_images
from tests.patience import patience

#: Enough for quadratic time to be noticed.
SIZE = 200_000


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


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        pytest.param(b"Message-ID: <@>", "<@>", id="nothing on both sides of the @"),
        pytest.param(b"Cc: <", "<", id="an address that is not closed"),
        pytest.param(b"To: <a@[x>", "<a@[x>", id="a literal that is not closed"),
        pytest.param(b"Subject: =?utf-8?b?abcde?=", "=?utf-8?b?abcde?=", id="no base64"),
        pytest.param(b"Subject: =?klingon?q?x?=", "=?klingon?q?x?=", id="no charset"),
        pytest.param(b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?!?=", "Gr\u00fc\u00dfe!", id="encoded words"),
        pytest.param(b"Subject: Gr\xc3\xbc\xc3\x9fe", "Gr\u00fc\u00dfe", id="UTF-8"),
        pytest.param(b"Subject: Gr\xfc", "Gr\ufffd", id="other bytes"),
        pytest.param(b"Subject: a\r\n b", "a b", id="folded"),
        pytest.param(b"Subject: =?utf-7?q?+2AA-?=", "?", id="half a surrogate pair"),
        pytest.param(b"From: =?utf-8?q?J=C3=B6rg?= <j@b.c>", "J\u00f6rg <j@b.c>", id="a name"),
    ],
)
def test_a_header_is_shown_decoded_or_as_it_is(header: bytes, shown: str) -> None:
    name = header.partition(b":")[0].decode()
    assert parse_mail(header + b"\r\n\r\n").header(name) == shown


@pytest.mark.parametrize(
    ("header", "name", "kind"),
    [
        pytest.param(b"Content-Type: attachment; filename*", "part-1", "text/plain", id="a parameter without a value"),
        pytest.param(b"Content-Disposition: attachment; filename*0*=x", "x", "text/plain", id="half of RFC 2231"),
        pytest.param(b"Content-Disposition: attachment; filename*=utf-8''a%0Ab", "ab", "text/plain", id="a line break"),
        pytest.param(
            b'Content-Disposition: attachment; filename="=?utf-8?q?=C3=BC?="',
            "\u00fc",
            "text/plain",
            id="an encoded word",
        ),
        pytest.param(
            b'Content-Disposition: attachment; filename="\xc3\xbc.txt"', "\u00fc.txt", "text/plain", id="UTF-8"
        ),
        pytest.param(b"Content-Type: image/p\x01ng", "part-1", "application/octet-stream", id="no media type"),
        pytest.param(b"Content-Type: multipart/mixed; boundary*", "part-1", "multipart/mixed", id="no boundary"),
    ],
)
def test_a_part_that_can_not_be_read_is_an_attachment(header: bytes, name: str, kind: str) -> None:
    view = parse_mail(b"Content-Disposition: attachment\r\n" * (b"Disposition" not in header) + header + b"\r\n\r\nx")
    assert [(part.name, part.type, part.content) for part in view.attachments] == [(name, kind, b"x")]


HEADER_NAMES = (
    *("From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "X-Other", "MIME-Version"),
    *("Content-Type", "Content-Disposition", "Content-Transfer-Encoding", "Content-ID"),
)
TOKENS = (
    *"<>@[(\"\\;=*,:? \0a0'",
    *("\r\n ", "%0A", "%ff"),
    *("multipart/mixed", "multipart/alternative", "message/rfc822", "message/partial", "text/plain", "text/html"),
    *("boundary=x", "charset", "utf-8", "punycode", "utf-7", "idna", "raw-unicode-escape", "attachment", "filename"),
    *("=?utf-8?q?", "=?x?b?", "?=", "base64", "quoted-printable", "x-uuencode", "\udcff"),
)
BODIES = (
    *("", "x", "QQ=", "=", "begin 644 a\r\n#\udcff", "+2AA-", "\\ud800", "\udcff\udcfe"),
    "--x\r\nContent-Type: text/html; charset*\r\n\r\na\r\n--x--",
    "--x\r\n\r\n--x\r\nContent-Disposition: attachment; filename*=raw-unicode-escape''%5Cud800\r\n\r\na",
)
mails = st.builds(
    lambda headers, body: (
        "".join(f"{name}: {''.join(value)}\r\n" for name, value in headers) + "\r\n" + "\r\n".join(body)
    ).encode("utf-8", "surrogateescape"),
    st.lists(st.tuples(st.sampled_from(HEADER_NAMES), st.lists(st.sampled_from(TOKENS), max_size=8)), max_size=6),
    st.lists(st.sampled_from(BODIES), max_size=3),
)


@settings(max_examples=500)
@given(mails | st.binary(max_size=200))
def test_whatever_arrives_can_be_shown(data: bytes) -> None:
    view = parse_mail(data)
    texts = [text for header in view.headers for text in header] + [view.text or "", view.html or ""]
    for part in view.attachments:
        assert part.name.isprintable()
        texts += [part.name, part.type, part.content_id]
    "".join(texts).encode()


@pytest.mark.parametrize(
    "data",
    [
        *(
            pytest.param(f"Content-Type: text/plain; charset={charset}\r\n\r\n{'a' * SIZE}".encode(), id=charset)
            for charset in ("utf-8", "punycode", "idna", "utf-7", "unicode_escape")
        ),
        *(
            pytest.param(name + b": " + piece * (SIZE // len(piece)) + b"\r\n\r\n", id=f"{name.decode()}: {piece!r}")
            for name in (b"To", b"Subject", b"Content-Type", b"Content-Disposition")
            for piece in (b"<", b"(", b'"', b";", b";a=", b'";', b"=?x?q?", b"=?", b"a\r\n ", b"a@b.c,\r\n ")
        ),
        pytest.param(b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n" * (SIZE // 5), id="many parts"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" * (SIZE // 50), id="nested"),
        pytest.param(b"Content-Type: message/rfc822\r\n\r\n" * (SIZE // 32), id="nested mails"),
    ],
)
def test_reading_takes_linear_time(data: bytes) -> None:
    begin = time.process_time()
    parse_mail(data)
    assert time.process_time() - begin < patience(3)


def test_inline_images_are_found_by_their_content_id() -> None:
    html = '<img src="cid:logo@x"> <img src=\'CID:other\'> <div style="background: url(cid:logo@x)">'
    assert with_inline_images(html, {"logo@x": "/part/0"}) == (
        '<img src="/part/0"> <img src=\'CID:other\'> <div style="background: url(/part/0)">'
    )


def test_the_links_of_a_mail_are_found_once_each() -> None:
    message = mail(Subject="Links")
    message.set_content("Go to https://a.example/x?y=1. Or (http://b.example)")
    message.add_alternative(
        '<a href="https://a.example/x?y=1">1</a> <A HREF=\'https://c.example/?a=1&amp;b=2\'>2</A> <a href="/x">3</a>',
        subtype="html",
    )
    assert links(parse_mail(message.as_bytes())) == (
        "https://a.example/x?y=1",
        "https://c.example/?a=1&b=2",
        "http://b.example",
    )


@pytest.mark.parametrize("piece", ["href=", "href  ", "<", "https://", "<!doctype ", 'href="https://a.example/'])
def test_finding_links_takes_linear_time(piece: str) -> None:
    text = piece * (SIZE // len(piece))
    view = parse_mail(b"Content-Type: text/html\r\n\r\n" + text.encode())
    begin = time.process_time()
    links(view)
    in_new_tabs(text)
    assert time.process_time() - begin < patience(3)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>x</p>", '<base target="_blank"><p>x</p>'),
        ("\n<!DOCTYPE html>\n<html>", '\n<!DOCTYPE html><base target="_blank">\n<html>'),
    ],
)
def test_links_open_in_a_new_tab(html: str, expected: str) -> None:
    assert in_new_tabs(html) == expected
