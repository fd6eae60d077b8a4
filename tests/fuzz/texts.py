"""Texts that are parsed alone: addresses, URLs of attachments, received mails."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from local.mailview import parse_mail
from sender.document.addresses import BadAddress, mailboxes, parse_addresses
from sender.document.attachments import is_media_type
from sender.document.fields import Fields
from sender.document.invisible import invisible_in, stripped
from sender.document.named_headers import read_date
from sender.message.decoding import decode, decode_data_url
from tests.fuzz.generators import HOSTILE, PIECES, TEXT, characters, joined, listed, octets, one_of, pick, tupled
from tests.fuzz.kind import Kind, pure

_MARKS = tuple('ab@.,;:<>()[]"\\ \t\r\n\0ü日＠\ud800\u200b')


def _check_addresses(given: tuple[str, bool]) -> None:
    text, joins_names = given
    try:
        entries = parse_addresses(text, joins_names=joins_names)
    except BadAddress as error:
        assert len(str(error)) < 200
        return
    for address in mailboxes(entries):
        local, _, domain = address.email.rpartition("@")
        assert local
        assert domain
        assert domain.isascii()
        assert not set(domain) & set("<>\\ \t")
        assert not set(address.email) & set("\r\n\0<>") or local.startswith('"')
        assert not invisible_in(address.email)
        assert stripped(address.email) == address.email
        assert len(address.email.encode()) <= 320
        assert not set(address.name) & set("\r\n\0\x85\u2028\u2029")


_META = (
    "application/pdf",
    ";",
    " ;",
    "; ",
    ",",
    "base64",
    "BASE64 ",
    "utf8",
    "filename=",
    "name=",
    '"',
    "charset=utf-8",
)
_DATA_URLS = joined(pick(*_META, *_META, "aGk=", "aGk", "%0d%0a", *PIECES), 10)


def _check_data_url(text: str) -> None:
    try:
        media_type, content = decode_data_url(f"data:{text}")
    except (LookupError, ValueError):
        return
    assert is_media_type(media_type)
    assert not media_type.endswith(";")
    assert isinstance(content, bytes)


_ENCODINGS = ("base64", "base64url", "hex", "utf8", "utf16le", "latin1", "ascii", "binary", "UTF-8", "rot13", "")


def _check_encoding(given: tuple[str, str]) -> None:
    text, encoding = given
    try:
        assert isinstance(decode(text, encoding), bytes)
    except (LookupError, ValueError):
        return


_DATE_PIECES = (
    *(
        "Sat",
        "Jan",
        "31",
        " 31 ",
        "2026",
        "12:00:00",
        "12:00",
        " GMT+0100",
        " UTC",
        "+0100",
        "-0000",
        " GMT",
        "Z",
        "T",
        "PST",
    ),
    *(
        " ",
        ", ",
        "-",
        ":",
        "/",
        ".",
        "(CET)",
        "(",
        ")",
        "2026-01-31",
        "9999",
        "0000",
        "+9999",
        "24:00:00",
        "\r\n",
        "٣",
        "\0",
    ),
)
_DATES = one_of(joined(pick(*_DATE_PIECES), 9), TEXT, pick(5, 1.5, True, b"x", [], {"seconds": 5, "nanoseconds": 0}))


def _check_date(given: Any) -> None:
    fields = Fields({"date": given})
    date = read_date(fields)
    assert date is None or not fields.faulty
    assert date is None or (date.isascii() and len(date) < 50 and "\n" not in date)
    assert date is not None or fields.faulty or not given


_LINES = (
    *(
        "From: a@b.c",
        "To: <",
        "Cc: <a@[x>",
        "Bcc: @",
        "Subject: =?utf-8?q?",
        "Message-ID: <@>",
        "Message-ID: ",
        "Date: x",
    ),
    *(
        "Content-Type: multipart/mixed; boundary=a",
        "Content-Type: attachment; filename*",
        "Content-Type: text/plain; charset=x",
    ),
    *(
        "Content-Disposition: attachment; filename*0*=a''%",
        "Content-Transfer-Encoding: base64",
        "--a",
        "--a--",
        "",
        "",
        " folded",
    ),
    *(
        "Content-Type: message/rfc822",
        "Content-Type: text/html;;;=",
        "Content-ID: <",
        "Reply-To: (",
        "Sender: :;",
        "To: a:b:c;",
    ),
)
_MAIL_LINES = listed(one_of(pick(*_LINES), HOSTILE), 12)


def _mail(random: Random) -> bytes:
    if random.random() < 0.1:
        return octets(200)(random)
    return "\r\n".join(_MAIL_LINES(random)).encode("utf-8", "surrogatepass")


def _check_mailview(data: bytes) -> None:
    view = parse_mail(data)
    for name, value in view.headers:
        assert isinstance(name, str)
        assert isinstance(value, str)
    view.header("Subject")


LOCAL_MAILS: Final = Kind(
    "received mails (local inbox)", "each is shown, whatever is wrong with it", _mail, pure(_check_mailview)
)

KINDS: Final = (
    Kind(
        "addresses",
        "an address that is valid in SMTP and has no invisible character, or an error",
        tupled(one_of(HOSTILE, joined(pick(*_MARKS), 30), characters), pick(True, False)),
        pure(_check_addresses),
    ),
    Kind("data: URLs", "content with a valid media type, or an error", _DATA_URLS, pure(_check_data_url)),
    Kind(
        "encoded content",
        "bytes, or an error",
        tupled(one_of(TEXT, joined(pick(*"aGk=-_+/ \n09fF"), 20)), pick(*_ENCODINGS)),
        pure(_check_encoding),
    ),
    Kind("dates", "a date in RFC 5322's format, or an error", _DATES, pure(_check_date)),
    LOCAL_MAILS,
)
