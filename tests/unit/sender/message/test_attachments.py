from __future__ import annotations

from typing import Any

import pytest

from sender.document.attachments import StoredObject
from sender.document.document import Message, parse_document
from sender.downloads.source import Announce, CannotFetch, Fetch, Fetched, WebFile, fetch_nothing
from sender.message.attachments import MAX_COUNT, MAX_TOTAL_BYTES, Loader, Part
from sender.message.decoding import decode_data_url
from sender.message.mime.parts import File
from shared.errors import ErrorCode, NotLoaded, NotSendable


def message_of(**fields: Any) -> Message:
    """The message of a document with these fields in `message`."""
    document = parse_document({"to": "a@b.c", "message": {"subject": "Hi", "text": "Hello", **fields}})
    assert document.message
    return document.message


def load(*entries: dict[str, Any], fetch: Fetch = fetch_nothing) -> tuple[File, ...]:
    files = tuple(Loader(fetch).attachments(message_of(attachments=list(entries)).attachments))
    assert all(isinstance(file, File) for file in files)
    return files  # type: ignore[return-value]


class Files:
    """A `Fetch` that always returns one file, and records its arguments."""

    def __init__(self, content: bytes = b"%PDF", media_type: str | None = None, filename: str | None = None) -> None:
        self.fetched = Fetched(content, media_type, filename)
        self.asked: list[tuple[WebFile | StoredObject, int]] = []

    def __call__(self, source: WebFile | StoredObject, limit: int, announce: Announce) -> Fetched:
        self.asked.append((source, limit))
        return self.fetched


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
        pytest.param({"path": "data:image/svg+xml;utf8,<svg/>"}, b"<svg/>", id="data URL that says it is UTF-8"),
        pytest.param({"path": "data:text/plain;UTF-8,%C3%BC"}, "ü".encode(), id="data URL that says it is UTF-8 too"),
        pytest.param({"path": "data:a/b;base64,%2B%2B%3D%3D"}, b"\xfb", id="base64 in percent signs"),
        *(
            pytest.param({"path": f"data:application/pdf{parameters},aGk"}, b"hi", id=f"data URL with {parameters}")
            for parameters in (
                *(";filename=my invoice.pdf;base64", ";filename=Größe.pdf;base64", ";filename=a,b.pdf;base64"),
                *(';filename="a;b,c.pdf";base64', ";base64;filename=a.pdf", " ; BASE64 ", ";;base64;", ";base64;utf8"),
                *(";filename=;base64", ";charset=;base64", ";name*=UTF-8''%20;base64"),
            )
        ),
        pytest.param({"path": "data:text/plain;charset=utf-8,a;base64,b"}, b"a;base64,b", id="no file name"),
        pytest.param(
            {"path": "data:,path", "href": "data:,href", "content": "content"}, b"path", id="path comes first"
        ),
    ],
)
def test_content_is_decoded_like_node(entry: dict[str, Any], content: bytes) -> None:
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
        pytest.param({"raw": "X: y"}, "0.raw': expected an empty line between", id="raw without a body"),
        pytest.param(
            {"path": "https://x.y/z"},
            "0.path': expected a 'data:' URL, or 'content' in its place, found a https: URL, and downloads are "
            "switched off (ATTACHMENT_HOSTS).",
            id="https, switched off",
        ),
        pytest.param({"href": "http://169.254.169.254/"}, "0.href'", id="http"),
        pytest.param(
            {"path": "gs://bucket/x"}, "0.path': expected another source, found an object in Cloud Storage", id="gs"
        ),
        pytest.param({"bucket": "bucket", "object": "x"}, "attachments.0': expected another source", id="bucket"),
        pytest.param(
            {"path": "gs://bucket"}, "0.path': expected a URL of the form 'gs://bucket/ob", id="gs, no object"
        ),
        pytest.param({"path": "gs://bucket/a#x"}, "0.path': expected a URL of the form 'gs://b", id="gs, generation"),
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
def test_rejects_with_the_field_and_the_reason(entry: dict[str, Any], error: str) -> None:
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
        pytest.param({"filename": "a.xml", "content": b""}, "application/xml", id="xml"),
        pytest.param({"filename": "a.log", "content": b""}, "text/plain", id="log"),
        pytest.param({"filename": "a.eml", "content": b""}, "message/rfc822", id="eml"),
        pytest.param(
            {"filename": "a.xlsm", "content": b""}, "application/vnd.ms-excel.sheet.macroenabled.12", id="xlsm"
        ),
        pytest.param({"filename": " a.pdf ", "content": b""}, "application/pdf", id="spaces around the name"),
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
            {"content": "", "contentType": "Application/XML"}, "attachment-2.xml", id="by the usual extension"
        ),
        pytest.param({"content": "", "contentType": "text/vcard"}, "attachment-2.vcf", id="by a type of few names"),
        pytest.param(
            {"path": "data:text/calendar,x", "filename": None}, "attachment-2.ics", id="by the data URL's type"
        ),
    ],
)
def test_file_name_is_given_or_numbered(entry: dict[str, Any], filename: str) -> None:
    assert load({"filename": "first"}, entry)[1].filename == filename


def test_the_total_size_is_limited() -> None:
    half = b"x" * (MAX_TOTAL_BYTES // 2)
    assert len(load({"content": half}, {"content": half})) == 2
    with pytest.raises(NotSendable, match=r"Field 'message.attachments': expected at most 25 MB in all, found more"):
        load({"content": half}, {"content": half}, {"content": b"x"})


def test_number_is_limited() -> None:
    assert len(load(*[{"content": ""}] * MAX_COUNT)) == MAX_COUNT
    with pytest.raises(NotSendable, match="expected at most 100 attachments, found 101 of them"):
        load(*[{"content": ""}] * (MAX_COUNT + 1))


class TestFetchedContent:
    @pytest.mark.parametrize(
        ("entry", "source"),
        [
            pytest.param({"path": "https://x.y/a"}, WebFile("https://x.y/a"), id="path"),
            pytest.param({"href": "HTTPS://x.y/a"}, WebFile("HTTPS://x.y/a"), id="href"),
            pytest.param(
                {"href": "https://x.y/a", "httpHeaders": {"Authorization": "Bearer t", "X-N": 5}},
                WebFile("https://x.y/a", (("Authorization", "Bearer t"), ("X-N", "5"))),
                id="with headers",
            ),
            pytest.param({"path": "gs://my-bucket/a/b c.pdf"}, StoredObject("my-bucket", "a/b c.pdf"), id="gs"),
            pytest.param({"path": "gs://my-bucket/a.pdf#17"}, StoredObject("my-bucket", "a.pdf", 17), id="generation"),
            pytest.param({"bucket": "b", "object": "a.pdf"}, StoredObject("b", "a.pdf"), id="bucket and object"),
            pytest.param(
                {"bucket": "b", "object": "a", "generation": "17"}, StoredObject("b", "a", 17), id="generation as text"
            ),
        ],
    )
    def test_is_fetched_from_the_given_source(self, entry: dict[str, Any], source: WebFile | StoredObject) -> None:
        files = Files()
        load(entry, fetch=files)
        assert files.asked == [(source, MAX_TOTAL_BYTES)]

    @pytest.mark.parametrize(
        "entry",
        [
            pytest.param({"content": "x", "bucket": "b", "object": "o"}, id="content beside a bucket"),
            pytest.param({"path": "data:,x", "bucket": "b", "object": "o"}, id="path beside a bucket"),
        ],
    )
    def test_is_not_needed_for_inline_content(self, entry: dict[str, Any]) -> None:
        assert load(entry)[0].content == b"x"

    @pytest.mark.parametrize(
        ("entry", "fetched", "expected"),
        [
            pytest.param({}, Files(), ("attachment-1.bin", "application/octet-stream"), id="neither"),
            pytest.param({}, Files(filename="a.pdf"), ("a.pdf", "application/pdf"), id="type from name"),
            pytest.param({}, Files(media_type="image/png"), ("attachment-1.png", "image/png"), id="name from type"),
            pytest.param({}, Files(media_type="a/b", filename="a.pdf"), ("a.pdf", "a/b"), id="both from the server"),
            pytest.param(
                {"filename": "b.csv", "contentType": "c/d"},
                Files(media_type="a/b", filename="a.pdf"),
                ("b.csv", "c/d"),
                id="both from the document",
            ),
        ],
    )
    def test_is_named_and_typed(self, entry: dict[str, Any], fetched: Files, expected: tuple[str, str]) -> None:
        (file,) = load({"path": "https://x.y/z", **entry}, fetch=fetched)
        assert (file.filename, file.media_type) == expected

    def test_is_limited_to_the_rest_of_the_total_size(self) -> None:
        files = Files(b"x" * 100)
        load({"content": b"x" * 50}, {"path": "https://x.y/a"}, {"path": "https://x.y/b"}, fetch=files)
        assert [limit for _, limit in files.asked] == [MAX_TOTAL_BYTES - 50, MAX_TOTAL_BYTES - 150]

    @pytest.mark.parametrize(("transient", "kind"), [(True, NotLoaded), (False, NotSendable)])
    def test_a_failure_names_its_field_and_is_transient_or_permanent(
        self, transient: bool, kind: type[NotSendable]
    ) -> None:
        def fetch(source: WebFile | StoredObject, limit: int, announce: Announce) -> Fetched:
            raise CannotFetch("status 503", transient=transient)

        with pytest.raises(NotSendable) as caught:
            load({"content": "x"}, {"href": "https://x.y/z"}, fetch=fetch)
        assert type(caught.value) is kind
        assert str(caught.value) == (
            "Field 'message.attachments.1.href': expected a file that can be downloaded, found status 503."
        )
        assert caught.value.code is ErrorCode.ATTACHMENT


class TestReadyMadeParts:
    def test_are_kept_except_for_line_ends(self) -> None:
        raw = "Content-Type: text/x-log;\n charset=us-ascii\r\nX-Own: 1\r\rline\nline\n"
        (part,) = Loader().attachments(message_of(attachments=[{"raw": raw, "cid": "log"}]).attachments)
        assert isinstance(part, Part)
        assert part.content_id == "log"
        assert part.entity.headers == "Content-Type: text/x-log;\r\n charset=us-ascii\r\nX-Own: 1\r\n"
        assert b"".join(part.entity.body) == b"line\r\nline\r\n"

    def test_need_no_headers(self) -> None:
        (part,) = Loader().attachments(message_of(attachments=[{"raw": b"\nplain"}]).attachments)
        assert isinstance(part, Part)
        assert (part.entity.headers, b"".join(part.entity.body)) == ("", b"plain")

    @pytest.mark.parametrize(
        ("raw", "error"),
        [
            pytest.param("Content-Type: a/b\n\nü", "quoted-printable or base64, found bytes outside", id="8 bit"),
            pytest.param(b"X-A: b\n\n\0", "found bytes outside ASCII or control", id="NUL"),
            pytest.param("X-A: b\n\n" + "x" * 999, "expected lines of up to 998 bytes", id="long line"),
            pytest.param("Content-Type: a/b", "expected an empty line", id="no body"),
            pytest.param("To: evil@x.y\n\nbody", "headers whose names begin with 'Content-' or 'X-'", id="a message's"),
            pytest.param("MIME-Version: 1.0\n\nbody", "headers whose names begin", id="a whole message"),
            pytest.param("Content-Type: a/b\nno header\n\nbody", "headers whose names begin", id="not a header"),
            pytest.param(" folded\n\nbody", "headers whose names begin", id="folded from nowhere"),
            pytest.param("Content-Type: a/b\ncontent-type: c/d\n\nx", "expected each header once", id="two types"),
        ],
    )
    def test_are_rejected_if_they_could_corrupt_the_mail(self, raw: str | bytes, error: str) -> None:
        with pytest.raises(NotSendable, match=r"Field 'message\.attachments\.0\.raw'") as caught:
            list(Loader().attachments(message_of(attachments=[{"raw": raw}]).attachments))
        assert error in str(caught.value)


class TestEvents:
    @pytest.mark.parametrize(
        ("event", "media_type"),
        [
            pytest.param("x", "text/calendar; charset=utf-8; method=PUBLISH", id="bare, says nothing"),
            pytest.param("METHOD:REQUEST\r\n", "text/calendar; charset=utf-8; method=REQUEST", id="the content says"),
            pytest.param(
                {"content": "METHOD:REQUEST\n", "method": "cancel"},
                "text/calendar; charset=utf-8; method=CANCEL",
                id="the document says",
            ),
            pytest.param(
                {"content": "", "method": " request "}, "text/calendar; charset=utf-8; method=REQUEST", id="with spaces"
            ),
            pytest.param({"content": b"method:reply"}, "text/calendar; charset=utf-8; method=REPLY", id="bytes"),
            pytest.param(
                {"content": "eA==", "encoding": "base64"}, "text/calendar; charset=utf-8; method=PUBLISH", id="base64"
            ),
        ],
    )
    def test_become_an_alternative_and_an_attachment(self, event: Any, media_type: str) -> None:
        message = message_of(icalEvent=event)
        assert message.event
        version, file = Loader().event(message.event)
        assert (version.media_type, version.disposition, version.filename) == (media_type, None, None)
        assert (file.media_type, file.disposition, file.filename) == ("application/ics", "attachment", "invite.ics")
        assert version.content == file.content

    def test_may_be_fetched_once_and_named(self) -> None:
        message, files = message_of(icalEvent={"href": "https://x.y/a.ics", "filename": "b.ics"}), Files()
        assert message.event
        assert Loader(files).event(message.event)[1].filename == "b.ics"
        assert len(files.asked) == 1

    @pytest.mark.parametrize(
        "content", ["METHOD:PUBLISH\r\n", "BEGIN:VCALENDAR\nmethod;X=y:cancel \nEND", b"METHOD:ADD"]
    )
    @pytest.mark.parametrize("fetched", [False, True])
    def test_with_another_method_inside_cause_a_warning(self, content: str | bytes, fetched: bool) -> None:
        source = {"path": "https://x.y/a.ics"} if fetched else {"content": content}
        message = message_of(icalEvent={"method": "request", **source})
        loader = Loader(Files(content.encode() if isinstance(content, str) else content))
        assert message.event
        assert loader.event(message.event)[0].media_type.endswith("method=REQUEST")
        (warning,) = loader.warnings
        assert warning.startswith("Field 'message.icalEvent.method' is not the METHOD of the event itself: ")

    @pytest.mark.parametrize("content", ["METHOD:REQUEST", "method:request \r\n", "BEGIN:VCALENDAR", "XMETHOD:ADD"])
    def test_without_another_method_inside_cause_no_warning(self, content: str) -> None:
        for event in ({"method": "Request", "content": content}, {"content": content}):
            message, loader = message_of(icalEvent=event), Loader()
            assert message.event
            loader.event(message.event)
            assert not loader.warnings

    @pytest.mark.parametrize("event", [None, "", b"", {}])
    def test_without_content_are_ignored(self, event: Any) -> None:
        assert message_of(icalEvent=event).event is None


class TestAlternatives:
    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            pytest.param({"content": "x"}, ("text/plain; charset=utf-8", None, None), id="text unless it says more"),
            pytest.param(
                {"contentType": "text/x-web-markdown", "content": "*x*"},
                ("text/x-web-markdown; charset=utf-8", None, None),
                id="nodemailer's example",
            ),
            pytest.param(
                {"filename": "a.ics", "content": b"x"}, ("text/calendar", "attachment", "a.ics"), id="with a name"
            ),
            pytest.param({"path": "data:text/calendar,x"}, ("text/calendar", None, None), id="data URL"),
        ],
    )
    def test_are_typed_like_attachments(self, entry: dict[str, Any], expected: tuple[str, str, str]) -> None:
        (file,) = Loader().alternatives(message_of(alternatives=[entry]).alternatives)
        assert isinstance(file, File)
        assert (file.media_type, file.disposition, file.filename) == expected

    def test_count_towards_the_size_of_the_mail(self) -> None:
        message = message_of(attachments=[{"content": b"x" * MAX_TOTAL_BYTES}], alternatives=[{"content": "x"}])
        loader = Loader()
        list(loader.attachments(message.attachments))
        with pytest.raises(NotSendable, match=r"Field 'message.alternatives': expected at most 25 MB in all"):
            list(loader.alternatives(message.alternatives))


@pytest.mark.parametrize("parameter", ["filename=my invoice.pdf", "filename=Größe.pdf", "filename=generated.pdf", "a"])
def test_data_urls_may_have_any_parameters(parameter: str) -> None:
    media_type, content = decode_data_url(f"data:application/pdf;{parameter};base64,aGk=")
    assert (media_type.partition(";")[0], content) == ("application/pdf", b"hi")


def test_the_charset_of_data_urls_is_kept() -> None:
    assert decode_data_url("data:text/plain;x y;charset=latin1;base64,aGk=") == ("text/plain;charset=latin1", b"hi")
