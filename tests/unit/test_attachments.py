from __future__ import annotations

from typing import Any

import pytest

from sender.attachments import MAX_COUNT, MAX_TOTAL_BYTES, load_attachments
from sender.mime.parts import File
from shared.document import parse_document
from shared.errors import ErrorCode, NotSendable


def load(*entries: dict[str, Any]) -> tuple[File, ...]:
    """The attachments of a document that is otherwise in order."""
    message = {"subject": "Hi", "text": "Hello", "attachments": list(entries)}
    document = parse_document({"to": "a@b.c", "message": message})
    assert document.message
    return load_attachments(document.message.attachments)


@pytest.mark.parametrize(
    ("entry", "content"),
    [
        pytest.param({"content": "Grüße"}, "Grüße".encode(), id="string is UTF-8"),
        pytest.param({"content": b"\0\xff"}, b"\0\xff", id="bytes"),
        pytest.param({"content": b"aGk=", "encoding": "base64"}, b"aGk=", id="bytes ignore the encoding"),
        pytest.param({"content": "aGk=", "encoding": "base64"}, b"hi", id="base64"),
        pytest.param({"content": "aGk", "encoding": "BASE64"}, b"hi", id="base64 without padding"),
        pytest.param({"content": " aG\r\nk=\n", "encoding": "base64"}, b"hi", id="base64 with white space"),
        pytest.param({"content": "_-8=", "encoding": "base64"}, b"\xff\xef", id="base64 in the other alphabet"),
        pytest.param({"content": "_-8", "encoding": "base64url"}, b"\xff\xef", id="base64url"),
        pytest.param({"content": "", "encoding": "base64"}, b"", id="empty base64"),
        pytest.param({"content": "6869", "encoding": "hex"}, b"hi", id="hex"),
        pytest.param({"content": "hi", "encoding": "utf-8"}, b"hi", id="utf-8"),
        pytest.param({"content": "ÿ", "encoding": "binary"}, b"\xff", id="binary"),
        pytest.param({"content": "ÿ", "encoding": "latin1"}, b"\xff", id="latin1"),
        pytest.param({"content": "hi", "encoding": "utf16le"}, b"h\0i\0", id="utf16le"),
        pytest.param({"content": "a\ud800"}, b"a?", id="lone surrogate"),
        pytest.param({"filename": "empty.txt"}, b"", id="only a file name is an empty file"),
        pytest.param({"path": "data:text/plain;base64,aGk="}, b"hi", id="data URL in base64"),
        pytest.param({"path": "DATA:text/plain;BASE64,aGk="}, b"hi", id="data URL in capitals"),
        pytest.param({"href": "data:text/plain,a%20b+c"}, b"a b+c", id="data URL in percent signs"),
        pytest.param({"path": "data:,%E2%82%AC"}, "€".encode(), id="data URL without a type"),
        pytest.param({"path": "data:a/b;base64,%2B%2B%3D%3D"}, b"\xfb", id="base64 in percent signs"),
        pytest.param(
            {"path": "data:,path", "href": "data:,href", "content": "content"}, b"path", id="path comes first"
        ),
    ],
)
def test_content_is_what_node_would_make_of_it(entry: dict[str, Any], content: bytes) -> None:
    assert load(entry)[0].content == content


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        pytest.param({"content": "a!b", "encoding": "base64"}, "0.content': expected text encoded", id="not base64"),
        pytest.param({"content": "aGk=aGk=", "encoding": "base64"}, "0.content'", id="base64 glued together"),
        pytest.param({"content": "aGkaa", "encoding": "base64"}, "0.content'", id="base64 cut off"),
        pytest.param({"content": "ü", "encoding": "base64"}, "0.content'", id="base64 not in ASCII"),
        pytest.param({"content": "data:a/b;base64,aGk=", "encoding": "base64"}, "0.content'", id="data URL as content"),
        pytest.param({"content": "xyz", "encoding": "hex"}, "0.content'", id="not hex"),
        pytest.param({"content": "€", "encoding": "latin1"}, "0.content'", id="not latin1"),
        pytest.param({"content": "x", "encoding": "rot13"}, "0.encoding': expected 'base64', ", id="unknown encoding"),
        pytest.param({"contentType": "a/b"}, "0.content': expected a string or bytes, found nothing", id="no content"),
        pytest.param({"raw": "X: y"}, "0.raw': expected 'content' in its place", id="raw"),
        pytest.param(
            {"path": "https://x.y/z"},
            "0.path': expected a 'data:' URL, or 'content' in its place, found an "
            "https: URL, which Firepost does not download.",
            id="https",
        ),
        pytest.param({"href": "http://169.254.169.254/"}, "0.href'", id="http"),
        pytest.param({"path": "gs://bucket/x"}, "found a gs: URL, which", id="gs"),
        pytest.param({"path": "ftp://x.y/z"}, "found another kind of URL.", id="ftp"),
        pytest.param({"path": "file:///etc/passwd"}, "found a file: URL, which Firepost never opens", id="file URL"),
        pytest.param(
            {"path": "/etc/passwd", "content": "x"}, "found a file path, which Firepost never", id="local path"
        ),
        pytest.param({"path": "C:\\secret.txt"}, "found a file path, which", id="path on Windows"),
        pytest.param(
            {"path": "data:text/plain;base64"}, "0.path': expected a URL of the form", id="data URL, no comma"
        ),
        pytest.param({"path": "data:text,x"}, "0.path': expected a URL of the form", id="data URL with half a type"),
        pytest.param(
            {"path": "data:a/b\r\nX: y,x"}, "0.path': expected a URL of the form", id="line break in the type"
        ),
        pytest.param(
            {"path": "data:a/b;base64,!"}, "0.path': expected base64 after the comma", id="data URL, bad base64"
        ),
    ],
)
def test_refuses_and_says_where_and_why(entry: dict[str, Any], error: str) -> None:
    with pytest.raises(NotSendable) as caught:
        load(entry)
    assert error in str(caught.value)
    assert caught.value.code is ErrorCode.ATTACHMENT


@pytest.mark.parametrize(
    ("entry", "media_type"),
    [
        pytest.param({"contentType": "image/png", "filename": "a.pdf", "content": ""}, "image/png", id="given"),
        pytest.param({"filename": "a.pdf", "content": ""}, "application/pdf", id="by extension"),
        pytest.param({"filename": "A.B.PDF", "content": ""}, "application/pdf", id="by extension in capitals"),
        pytest.param({"filename": "a.tar.gz", "content": b""}, "application/gzip", id="compressed"),
        pytest.param({"filename": "a.webp", "content": b""}, "image/webp", id="webp"),
        pytest.param(
            {"filename": "a.docx", "content": b""},
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            id="docx",
        ),
        pytest.param({"filename": "a.unknown", "content": ""}, "application/octet-stream", id="unknown extension"),
        pytest.param({"filename": "pdf", "content": ""}, "application/octet-stream", id="no extension"),
        pytest.param({"filename": "http://x/a.pdf", "content": ""}, "application/pdf", id="name like a URL"),
        pytest.param({"content": ""}, "application/octet-stream", id="no name"),
        pytest.param({"filename": "a.csv", "content": "ü"}, "text/csv; charset=utf-8", id="text from a string"),
        pytest.param({"filename": "a.csv", "content": b"\xfc"}, "text/csv", id="text from bytes"),
        pytest.param({"filename": "a.csv", "content": "ü", "encoding": "latin1"}, "text/csv", id="text in latin1"),
        pytest.param(
            {"contentType": "text/calendar; charset=x", "content": ""}, "text/calendar; charset=x", id="charset"
        ),
        pytest.param({"path": "data:image/gif;base64,", "filename": "a.pdf"}, "image/gif", id="of the data URL"),
        pytest.param(
            {"path": "data:image/gif,", "contentType": "image/png"}, "image/png", id="given beside a data URL"
        ),
        pytest.param({"path": "data:text/html;charset=utf-8,x"}, "text/html;charset=utf-8", id="data URL's parameters"),
        pytest.param({"path": "data:,x"}, "text/plain;charset=US-ASCII", id="RFC 2397's default"),
        pytest.param({"path": "data:;charset=utf-8,x"}, "text/plain;charset=utf-8", id="RFC 2397's default type"),
    ],
)
def test_media_type_is_given_or_guessed(entry: dict[str, Any], media_type: str) -> None:
    assert load(entry)[0].media_type == media_type


@pytest.mark.parametrize(
    ("entry", "disposition"),
    [
        pytest.param({"filename": "a.png"}, "attachment", id="a file"),
        pytest.param({"filename": "a.png", "cid": "logo"}, "inline", id="an image in the page"),
        pytest.param({"filename": "a.css", "cid": "style"}, "attachment", id="another file in the page"),
        pytest.param({"filename": "a.eml"}, "inline", id="a message"),
        pytest.param({"filename": "a.png", "contentDisposition": "inline"}, "inline", id="given"),
        pytest.param(
            {"filename": "a.png", "cid": "x", "contentDisposition": "attachment"}, "attachment", id="given too"
        ),
    ],
)
def test_disposition_is_given_or_nodemailer_s(entry: dict[str, Any], disposition: str) -> None:
    assert load(entry)[0].disposition == disposition


@pytest.mark.parametrize(
    ("entry", "filename"),
    [
        pytest.param({"filename": "a b.pdf", "content": ""}, "a b.pdf", id="given"),
        pytest.param({"content": ""}, "attachment-2.bin", id="unknown type"),
        pytest.param({"content": "", "contentType": "image/png; x=y"}, "attachment-2.png", id="by type"),
        pytest.param(
            {"path": "data:text/calendar,x", "filename": None}, "attachment-2.ics", id="by the data URL's type"
        ),
    ],
)
def test_file_name_is_given_or_numbered(entry: dict[str, Any], filename: str) -> None:
    assert load({"filename": "first"}, entry)[1].filename == filename


def test_size_is_limited_over_all() -> None:
    half = b"x" * (MAX_TOTAL_BYTES // 2)
    assert len(load({"content": half}, {"content": half})) == 2
    with pytest.raises(NotSendable, match=r"Field 'message.attachments': expected at most 25 MB in all, found more"):
        load({"content": half}, {"content": half}, {"content": b"x"})


def test_number_is_limited() -> None:
    assert len(load(*[{"content": ""}] * MAX_COUNT)) == MAX_COUNT
    with pytest.raises(NotSendable, match="expected at most 100 attachments, found 101 of them"):
        load(*[{"content": ""}] * (MAX_COUNT + 1))
