"""Reads headers that have their own fields in the document, as in nodemailer: replies, priority, mailing lists.

`listUnsubscribe` is an extension: it writes the headers that receivers require of bulk mail (RFC 2369 and RFC 8058).
"""

from __future__ import annotations

import email.header
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from sender.document.custom_headers import MAX_WORD, Header
from sender.document.fields import Fields, describe
from sender.document.invisible import stripped
from shared.delivery.times import point_in_time

#: Records that a field is not sent: its path, and the reason.
Warn = Callable[[str, str], None]

_ID = re.compile(r"<?([!-;=?-~]{1,500})>?")  # looser than RFC 5322: a foreign id must be returned unchanged
#: The zone as JavaScript prints it: `GMT+0100 (Central European Standard Time)`; old browsers write `UTC+0100`.
_JAVASCRIPT_ZONE = re.compile(r"(?:GMT|UTC)([+-][0-9]{2}):?([0-9]{2})(?![0-9:])")
_COMMENT = re.compile(r"\([^()]*(?:\([^()]*\)[^()]*)*\)\Z")
#: Ends in a time, with the year after it or with the zone that stands for "unknown" (RFC 5322 section 3.3).
_WITHOUT_ZONE = re.compile(r"[^+]*[0-9]:[0-9]{2}(?:\.[0-9]+)?(?: +[0-9]{4}| +-0000)?")
_MAX_DATE = 200
_PRIORITIES = {"high": ("1 (Highest)", "High"), "normal": None, "low": ("5 (Lowest)", "Low")}
_LIST_FIELDS = ("archive", "help", "id", "owner", "post", "subscribe", "unsubscribe")  # RFC 2369, RFC 2919

_URL_CHARACTERS = r"[!-;=?-~]"
_WEB_URL = re.compile(rf"https?://{_URL_CHARACTERS}+", re.IGNORECASE)
_LIST_URL = re.compile(rf"(?:https?|mailto|ftp):{_URL_CHARACTERS}+", re.IGNORECASE)
_MAILTO = re.compile(rf"(?:mailto:)?({_URL_CHARACTERS}+@{_URL_CHARACTERS}+)", re.IGNORECASE)
_LIST_ID = re.compile(r"[!-;=?-~]{1,255}")
_CONTROL = re.compile(r"[\0-\x1f\x7f]")

_MAX_COMMENT = 400  # fits into one line even if every character is escaped

_A_URL = f"a URL of up to {MAX_WORD} ASCII characters without spaces, or an address"
_A_LIST_VALUE = "a URL, an address, a map with 'url' and 'comment', or an array of these"


def message_headers(message: Fields, warn: Warn) -> list[Header]:
    """The headers given by fields of `message`; faults are recorded in it."""
    return [*_reply(message), *_priority(message, warn), *_mailing_list(message, warn)]


def unsubscribe_headers(top: Fields) -> list[Header]:
    """`listUnsubscribe` as List-Unsubscribe (RFC 2369) and, for one click, List-Unsubscribe-Post (RFC 8058)."""
    fields = top.map("listUnsubscribe")
    if fields is None:
        return []
    one_click = fields.flag("oneClick")
    places = [place for place in (_unsubscribe_url(fields, one_click), _unsubscribe_address(fields)) if place]
    if not places:
        fields.fault("url", "nothing", "a URL, or an address in 'mailto'")
    headers = [Header(fields.at, "List-Unsubscribe", ", ".join(f"<{place}>" for place in places))]
    if one_click:
        headers.append(Header(fields.at, "List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    return headers


def _unsubscribe_url(fields: Fields, one_click: bool) -> str | None:
    url = fields.identifier("url")
    if url and (not _WEB_URL.fullmatch(url) or len(url) > MAX_WORD):
        fields.fault("url", "another string", f"a URL of up to {MAX_WORD} ASCII characters without spaces")
    elif one_click and not (url or "").lower().startswith("https:"):
        fields.fault("url", "a http: URL" if url else "nothing", "a https: URL, because 'oneClick' is true")
    return url


def _unsubscribe_address(fields: Fields) -> str | None:
    given = fields.identifier("mailto")
    address = _MAILTO.fullmatch(given) if given else None
    if given and (not address or len(given) > MAX_WORD):
        fields.fault("mailto", "another string", "an address such as 'leave@example.com?subject=Leave'")
    return address and f"mailto:{address[1]}"


def read_date(message: Fields) -> str | None:
    """`message.date` in RFC 5322 format.

    It is a timestamp, also one converted to JSON, or a text in the format of RFC 5322, ISO 8601 or JavaScript.
    """
    given = message.values.get("date")
    if not given:
        return None
    try:
        return format_datetime(_parsed_date(given))
    except (TypeError, ValueError, OverflowError):
        expected = "a timestamp, or a date such as '2026-01-31T12:00:00Z' or 'Sat, 31 Jan 2026 12:00:00 +0000'"
        message.fault("date", "another string" if isinstance(given, str) else describe(given), expected)
        return None


def _parsed_date(given: object) -> datetime:
    """Raises `ValueError`, also for a date whose zone can't be read: the mail would show another time."""
    if isinstance(given, datetime):
        return given
    if not isinstance(given, str):
        if time := point_in_time(given):
            return time
        raise ValueError("no date")
    text = stripped(given)
    if len(text) > _MAX_DATE or _CONTROL.search(text):
        raise ValueError("no date")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        text = _JAVASCRIPT_ZONE.sub(r"\1\2", _COMMENT.sub("", text).strip(), count=1)
        date = parsedate_to_datetime(text)
        if date.tzinfo is None and not _WITHOUT_ZONE.fullmatch(text):
            raise
        return date


def _reply(message: Fields) -> Iterator[Header]:
    """The ids of the messages that this one replies to (RFC 5322 section 3.6.4)."""
    for field, name in (("inReplyTo", "In-Reply-To"), ("references", "References")):
        texts = [(where, message.visible(where, text) or "") for where, text in message.texts(field, or_one=True)]
        ids = [(where, word) for where, text in texts for word in text.replace("><", "> <").split()]
        for where, word in ids:
            if not _ID.fullmatch(word):
                message.fault(where, "something else", "message ids such as '<unique@example.com>', in ASCII")
        if ids:
            yield Header(message.path(field), name, " ".join(f"<{word.strip('<>')}>" for _, word in ids))


def _priority(message: Fields, warn: Warn) -> Iterator[Header]:
    """The three headers that mail clients evaluate; none for normal priority."""
    given = message.values.get("priority") or "normal"
    word = given.lower() if isinstance(given, str) else ""
    if word not in _PRIORITIES:
        warn(message.path("priority"), "is none of 'high', 'normal' and 'low'")
    elif values := _PRIORITIES[word]:
        for name, value in zip(("X-Priority", "X-MSMail-Priority", "Importance"), (*values, values[1]), strict=True):
            yield Header(message.path("priority"), name, value)


def _mailing_list(message: Fields, warn: Warn) -> Iterator[Header]:
    """`list` as List-* headers: one per name, with all its URLs (RFC 2369 section 3; nodemailer repeats the header)."""
    fields = message.map("list")
    if fields is None:
        return
    known = {name: field for name in fields.values if (field := name.lower().strip()) in _LIST_FIELDS}
    if unknown := len(fields.values) - len(known):  # not named: a name may be as private as the content
        warn(message.path("list"), f"has {unknown:,} fields other than {', '.join(_LIST_FIELDS)}: each is unknown")
    for name, field in known.items():
        entry = _list_id if field == "id" else _list_url
        values = [text for at, value in _list_values(fields, name) if (text := entry(fields, at, value))]
        if values:
            yield Header(fields.path(name), f"List-{field.capitalize()}", ", ".join(values))


def _list_values(fields: Fields, name: str) -> Iterable[tuple[str, Any]]:
    value = fields.values[name]
    values = enumerate(value) if isinstance(value, list) else [(None, value)]
    return [(name if index is None else f"{name}.{index}", item) for index, item in values if item]


def _list_url(fields: Fields, at: str, value: object) -> str | None:
    url, comment = _url_and_comment(fields, at, value)
    if url is None:
        return None
    if not _LIST_URL.fullmatch(url):
        url = f"mailto:{url}" if re.fullmatch(r"[^@]+@[^@]+", url) else f"http://{url}"
    if not _LIST_URL.fullmatch(url) or len(url) > MAX_WORD:
        fields.fault(at, "another string", _A_URL)
        return None
    return f"<{url}> ({_in_header(comment, '()')})" if comment else f"<{url}>"


def _list_id(fields: Fields, at: str, value: object) -> str | None:
    """A List-Id value (RFC 2919): an optional phrase, and an id that looks like a domain."""
    url, phrase = _url_and_comment(fields, at, value)
    if url is None:
        return None
    list_id = re.sub(r"^[a-z]+:/{0,2}", "", url)
    if not _LIST_ID.fullmatch(list_id):
        fields.fault(at, "another string", "an id such as 'news.example.com'")
        return None
    if not phrase:
        return f"<{list_id}>"
    text = _in_header(phrase, '"')
    return f'"{text}" <{list_id}>' if phrase.isascii() else f"{text} <{list_id}>"


def _url_and_comment(fields: Fields, at: str, value: object) -> tuple[str | None, str]:
    """A value's URL without angle brackets or white space, and its comment."""
    match {"url": value} if isinstance(value, str) else value:
        case {"url": str() as url, **others}:
            comment = others.get("comment") or ""
            if not isinstance(comment, str) or len(comment) > _MAX_COMMENT or _CONTROL.search(comment):
                expected = f"a string of up to {_MAX_COMMENT} characters without line breaks"
                fields.fault(f"{at}.comment", describe(comment), expected)
                comment = ""
            return re.sub(r"[\s<>]", "", url) or None, comment
    fields.fault(at, describe(value), _A_LIST_VALUE)
    return None, ""


def _in_header(text: str, marks: str) -> str:
    """The text for use between the given marks, which are escaped; as encoded words (RFC 2047) if not ASCII."""
    if text.isascii():
        return re.sub(rf"([\\{re.escape(marks)}])", r"\\\1", text)
    return email.header.Header(text.encode("utf-8", "replace").decode(), "utf-8").encode(linesep="")
