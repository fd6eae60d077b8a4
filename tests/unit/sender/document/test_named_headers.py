"""Headers with their own fields in the document."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sender.document.document import MailDocument, parse_document
from shared.errors import NotSendable


def parsed(message: dict[str, Any] | None = None, **fields: Any) -> MailDocument:
    return parse_document({"to": "a@b.c", "message": {"subject": "Hi", "text": "Hello", **(message or {})}, **fields})


def headers_of(document: MailDocument) -> list[tuple[str, str]]:
    return [(header.name, header.value) for header in document.headers]


LONG_URL = "https://example.com/leave?token=" + "t" * 700


@pytest.mark.parametrize(
    ("message", "headers"),
    [
        pytest.param({"inReplyTo": "<a@x.y>"}, [("In-Reply-To", "<a@x.y>")], id="inReplyTo"),
        pytest.param({"inReplyTo": "a@x.y"}, [("In-Reply-To", "<a@x.y>")], id="brackets added"),
        pytest.param({"inReplyTo": "<no-at>"}, [("In-Reply-To", "<no-at>")], id="an id as others write it"),
        pytest.param({"references": "<a@x> b@x"}, [("References", "<a@x> <b@x>")], id="references in a string"),
        pytest.param({"references": ["<a@x>", "<b@x><c@x>"]}, [("References", "<a@x> <b@x> <c@x>")], id="array, glued"),
        pytest.param({"inReplyTo": "", "references": None}, [], id="empty and null"),
        pytest.param(
            {"priority": "High"},
            [("X-Priority", "1 (Highest)"), ("X-MSMail-Priority", "High"), ("Importance", "High")],
            id="high",
        ),
        pytest.param(
            {"priority": "low"},
            [("X-Priority", "5 (Lowest)"), ("X-MSMail-Priority", "Low"), ("Importance", "Low")],
            id="low",
        ),
        pytest.param({"priority": "normal"}, [], id="normal"),
        pytest.param({"priority": 0}, [], id="none"),
        pytest.param({"list": {"help": "help@x.y"}}, [("List-Help", "<mailto:help@x.y>")], id="address"),
        pytest.param({"list": {"help": "x.y/help"}}, [("List-Help", "<http://x.y/help>")], id="URL without scheme"),
        pytest.param({"list": {"Unsubscribe ": LONG_URL}}, [("List-Unsubscribe", f"<{LONG_URL}>")], id="long URL"),
        pytest.param(
            {"list": {"unsubscribe": [{"url": "https://x.y/u", "comment": "Leave (now)"}, "u@x.y?subject=u"]}},
            [("List-Unsubscribe", r"<https://x.y/u> (Leave \(now\)), <mailto:u@x.y?subject=u>")],
            id="several in one header",
        ),
        pytest.param(
            {"list": {"help": {"url": "<https://x.y>", "comment": "Größe"}}},
            [("List-Help", "<https://x.y> (=?utf-8?b?R3LDtsOfZQ==?=)")],
            id="comment outside ASCII",
        ),
        pytest.param(
            {"list": {"id": {"url": "news.x.y", "comment": 'The "News"'}}},
            [("List-Id", r'"The \"News\"" <news.x.y>')],
            id="id with a phrase",
        ),
        pytest.param({"list": {"id": "http://news.x.y"}}, [("List-Id", "<news.x.y>")], id="id as a URL"),
        pytest.param({"list": {"post": None, "owner": [], "help": ""}}, [], id="list of nothing"),
        pytest.param({"headers": {"X-A": "1"}}, [("X-A", "1")], id="the message's own headers"),
    ],
)
def test_are_the_same_as_nodemailer_s(message: dict[str, Any], headers: list[tuple[str, str]]) -> None:
    document = parsed(message)
    assert headers_of(document) == headers
    assert document.warnings == ()


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        pytest.param(
            {"url": LONG_URL, "oneClick": True},
            [("List-Unsubscribe", f"<{LONG_URL}>"), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")],
            id="one click",
        ),
        pytest.param(
            {"url": "https://x.y/u", "mailto": "u@x.y?subject=u"},
            [("List-Unsubscribe", "<https://x.y/u>, <mailto:u@x.y?subject=u>")],
            id="both, and two clicks",
        ),
        pytest.param({"mailto": "mailto:u@x.y"}, [("List-Unsubscribe", "<mailto:u@x.y>")], id="mailto as a URL"),
        pytest.param(None, [], id="null"),
    ],
)
def test_list_unsubscribe_writes_the_headers_of_rfc_8058(given: Any, headers: list[tuple[str, str]]) -> None:
    assert headers_of(parsed(listUnsubscribe=given)) == headers


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({"listUnsubscribe": "https://x.y"}, "'listUnsubscribe': expected a map", id="no map"),
        pytest.param({"listUnsubscribe": {}}, "'listUnsubscribe.url': expected a URL, or an address", id="empty"),
        pytest.param(
            {"listUnsubscribe": {"url": "ftp://x.y"}}, "'listUnsubscribe.url': expected a URL of up", id="ftp"
        ),
        pytest.param({"listUnsubscribe": {"url": "https://x.y/ü"}}, "ASCII characters without spaces", id="not ASCII"),
        pytest.param({"listUnsubscribe": {"url": "https://x.y/>,<"}}, "found another string", id="brackets in a URL"),
        pytest.param({"listUnsubscribe": {"url": LONG_URL + "x" * 99}}, "of up to 800 ASCII", id="too long"),
        pytest.param(
            {"listUnsubscribe": {"url": "http://x.y", "oneClick": True}},
            "'listUnsubscribe.url': expected a https: URL, because 'oneClick' is true, found a http: URL.",
            id="one click without TLS",
        ),
        pytest.param(
            {"listUnsubscribe": {"mailto": "u@x.y", "oneClick": True}}, "found nothing.", id="one click by mail"
        ),
        pytest.param({"listUnsubscribe": {"mailto": "u"}}, "'listUnsubscribe.mailto': expected an add", id="mailto"),
        pytest.param(
            {"listUnsubscribe": {"mailto": "u@x.y", "oneClick": "yes"}}, "oneClick': expected a boolean", id="flag"
        ),
        pytest.param({"message": {"inReplyTo": "a\nb@x <ü@x>"}}, "'message.inReplyTo': expected message ids", id="id"),
        pytest.param({"message": {"references": {"a": 1}}}, "'message.references': expected a string or an", id="map"),
        pytest.param({"message": {"references": ["<a@x>", "<ü>"]}}, "'message.references.1': expected mes", id="array"),
        pytest.param({"message": {"list": "x"}}, "'message.list': expected a map, found a string", id="list"),
        pytest.param({"message": {"list": {"help": 5}}}, "'message.list.help': expected a URL, an addr", id="number"),
        pytest.param(
            {"message": {"list": {"help": ["a@b.c", "ü"]}}}, "'message.list.help.1': expected a URL", id="URL"
        ),
        pytest.param(
            {"message": {"list": {"help": {"url": "x.y", "comment": "a\nb"}}}},
            "'message.list.help.comment': expected a string of up to 400 characters without line breaks",
            id="line break in a comment",
        ),
        pytest.param({"message": {"list": {"id": "a b ü"}}}, "'message.list.id': expected an id such as", id="list id"),
        pytest.param({"message": {"date": "yesterday"}}, "'message.date': expected a timestamp, or a date", id="date"),
        pytest.param({"message": {"date": 5}}, "found a number", id="date in numbers"),
        pytest.param({"message": {"icalEvent": 5}}, "'message.icalEvent': expected a map, found a n", id="icalEvent"),
        pytest.param(
            {"message": {"icalEvent": {"method": "REQUEST"}}},
            "'message.icalEvent.content': expected a string or bytes, found nothing",
            id="event without content",
        ),
        pytest.param(
            {"message": {"icalEvent": {"content": "x", "method": "a;b=c"}}},
            "'message.icalEvent.method': expected a word such as 'REQUEST'",
            id="method",
        ),
        pytest.param(
            {"message": {"attachments": [{"path": "https://x.y", "httpHeaders": {"Host": "z"}}]}},
            "'message.attachments.0.httpHeaders.Host': expected another header",
            id="HTTP header of ours",
        ),
        pytest.param(
            {"message": {"attachments": [{"path": "https://x.y", "httpHeaders": {"X-A": "a\r\nHost: z"}}]}},
            "'message.attachments.0.httpHeaders.X-A': expected a single line",
            id="HTTP header injection",
        ),
        pytest.param(
            {"message": {"attachments": [{"path": "https://x.y", "httpHeaders": {"X-A": "ü"}}]}},
            "expected a value in ASCII",
            id="HTTP header outside ASCII",
        ),
        pytest.param(
            {"message": {"attachments": [{"bucket": "b"}]}},
            "'message.attachments.0.object': expected a non-empty string, found nothing",
            id="bucket without object",
        ),
        pytest.param(
            {"message": {"attachments": [{"bucket": "b", "object": "o", "generation": 1.5}]}},
            "'message.attachments.0.generation': expected a positive whole number, or one in a string",
            id="generation",
        ),
        pytest.param(
            {"message": {"attachments": [{"raw": {"path": "/etc/passwd"}}]}},
            "'message.attachments.0.raw': expected a string or bytes, found a map",
            id="raw by path",
        ),
    ],
)
def test_errors_name_the_field_and_the_problem(fields: dict[str, Any], error: str) -> None:
    with pytest.raises(NotSendable) as caught:
        parsed(**fields)
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        pytest.param(
            {"message": {"priority": "urgent"}},
            "Field 'message.priority' is none of 'high', 'normal' and 'low' and was not sent.",
            id="another priority",
        ),
        pytest.param(
            {"message": {"priority": 1}},
            "Field 'message.priority' is none of 'high', 'normal' and 'low' and was not sent.",
            id="a priority of another type",
        ),
        pytest.param(
            {"message": {"list": {"x-ö": "a@b.c", "grace@example.com": "a@b.c"}}},
            "Field 'message.list' has 2 fields other than archive, help, id, owner, post, subscribe, unsubscribe: "
            "each is unknown and was not sent.",
            id="other List- headers",
        ),
        pytest.param(
            {"message": {"inReplyTo": "<a@x>"}, "headers": {"in-reply-to": "<b@x>"}},
            "Field 'headers.in-reply-to' says the same as 'message.inReplyTo' and was not sent.",
            id="field before header",
        ),
        pytest.param(
            {"message": {"headers": {"x-a": "1"}}, "headers": {"X-A": "2"}},
            "Field 'message.headers.x-a' says the same as 'headers.X-A' and was not sent.",
            id="the document's headers before the message's",
        ),
        pytest.param(
            {"message": {"list": {"unsubscribe": "u@x.y"}}, "listUnsubscribe": {"mailto": "v@x.y"}},
            "Field 'message.list.unsubscribe' says the same as 'listUnsubscribe' and was not sent.",
            id="listUnsubscribe before list",
        ),
        pytest.param(
            {"message": {"headers": {"Bcc": "x@y.z"}}},
            "Field 'message.headers.Bcc' would contradict what Firepost writes and was not sent.",
            id="a reserved header",
        ),
        pytest.param(
            {"message": {"date": "2026-01-31", "headers": {"Date": "x"}}},
            "Field 'message.headers.Date' says the same as 'message.date' and was not sent.",
            id="two dates",
        ),
    ],
)
def test_fields_that_are_not_sent_cause_warnings(fields: dict[str, Any], warning: str) -> None:
    assert parsed(**fields).warnings == (warning,)


@pytest.mark.parametrize(
    ("given", "date"),
    [
        pytest.param(datetime(2026, 1, 31, 12, tzinfo=UTC), "Sat, 31 Jan 2026 12:00:00 +0000", id="timestamp"),
        pytest.param("2026-01-31T12:00:00Z", "Sat, 31 Jan 2026 12:00:00 +0000", id="ISO 8601"),
        pytest.param("2026-01-31T12:00:00+01:00", "Sat, 31 Jan 2026 12:00:00 +0100", id="another time zone"),
        pytest.param("Sat, 31 Jan 2026 12:00:00 +0100", "Sat, 31 Jan 2026 12:00:00 +0100", id="RFC 5322"),
        pytest.param(
            datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=-5))),
            "Sat, 31 Jan 2026 12:00:00 -0500",
            id="zone",
        ),
        pytest.param("", None, id="empty"),
        pytest.param({"seconds": 1769860800, "nanoseconds": 0}, "Sat, 31 Jan 2026 12:00:00 +0000", id="in JSON"),
        pytest.param("Sat, 31 Jan 2026 12:00:00 GMT", "Sat, 31 Jan 2026 12:00:00 +0000", id="toUTCString"),
        pytest.param("Sat Jan 31 2026 12:00:00 GMT+0100 (GMT+01:00)", "Sat, 31 Jan 2026 12:00:00 +0100", id="toString"),
        pytest.param(
            "Sat Jan  3 2026 12:00:00 GMT-0330 (heure (d’été))", "Sat, 03 Jan 2026 12:00:00 -0330", id="odd zone"
        ),
        pytest.param("Sat Jan 31 2026 12:00:00 GMT+01:00", "Sat, 31 Jan 2026 12:00:00 +0100", id="zone with a colon"),
        pytest.param("Sat Jan 31 12:00:00 UTC+0100 2026", "Sat, 31 Jan 2026 12:00:00 +0100", id="Internet Explorer"),
        pytest.param("31 Jan 2026 12:00:00 EST", "Sat, 31 Jan 2026 12:00:00 -0500", id="a zone of RFC 822"),
        pytest.param("Sat Jan 31 12:00:00 2026", "Sat, 31 Jan 2026 12:00:00 -0000", id="ctime"),
        pytest.param("\u200b2026-01-31T12:00:00Z ", "Sat, 31 Jan 2026 12:00:00 +0000", id="blanks around it"),
    ],
)
def test_dates_are_parsed_in_all_common_formats(given: Any, date: str | None) -> None:
    assert parsed({"date": given}).date == date


@pytest.mark.parametrize(
    "given",
    [
        *("1/31/2026, 12:00:00 PM", "31.1.2026, 12:00:00", "Invalid Date", "Sat Jan 31 2026", "1769860800000"),
        *("Sat Jan 31 12:00:00 CET 2026", "Sat, 31 Jan 2026 12:00:00 PST8PDT", "2026-01-31T12:00:00Z[Europe/Berlin]"),
        *("Sat, 31 Jan 2026 12:00:00 +0000\r\nBcc: a@b.c", "Sat, 31 Jan 2026 12:00:00" + " " * 999 + "x"),
        *(["2026-01-31"], {"seconds": "1"}, True, b"2026-01-31"),
    ],
)
def test_a_date_that_could_be_read_as_another_time_is_an_error(given: Any) -> None:
    with pytest.raises(NotSendable, match=r"'message\.date': expected a timestamp, or a date"):
        parsed({"date": given})


@pytest.mark.parametrize(
    ("field", "value", "sent"),
    [
        ("inReplyTo", "\u200b<a@b>\ufeff", "<a@b>"),
        ("references", ["<a@b>\u200b", "\u2060<c@d>"], "<a@b> <c@d>"),
    ],
)
def test_invisible_characters_around_ids_are_dropped(field: str, value: Any, sent: str) -> None:
    assert [header.value for header in parsed({field: value}).headers] == [sent]


@pytest.mark.parametrize("field", ["inReplyTo", "references"])
def test_an_invisible_character_in_an_id_is_named(field: str) -> None:
    with pytest.raises(NotSendable, match=rf"'message\.{field}': .* found an invisible character \(U\+200B\)"):
        parsed({field: "<a\u200b@b>"})
