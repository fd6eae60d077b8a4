"""Every parser of external text takes linear time, or raises an error.

Nothing could interrupt a slow one: a regular expression holds the interpreter's lock, which stops all mails.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from werkzeug.exceptions import BadRequest

from dispatcher import events
from sender.document.addresses import Address, BadAddress, Group, parse_addresses
from sender.document.attachments import is_media_type, read_attachment
from sender.document.custom_headers import read_headers
from sender.document.document import parse_document
from sender.document.dsn import read_dsn
from sender.document.fields import Fields
from sender.document.invisible import invisible_in, stripped
from sender.document.named_headers import message_headers, read_date, unsubscribe_headers
from sender.handlebars import Mode, TemplateError, compile_template
from sender.message.attachments import Loader
from sender.message.decoding import decode, decode_data_url
from sender.message.html_postprocess import nesting
from sender.message.media_types import guess_extension, guess_type
from sender.message.mime import headers, parts, ready_made
from sender.message.recipients import with_users
from sender.message.templates import one_line
from shared.delivery.times import point_in_time
from shared.document_ids import is_document_id
from shared.errors import FirepostError
from shared.pubsub import message, push
from tests.patience import patience

SIZE = 32 * 1024
#: So large that a limit, such as that of a template's tags, does not lie between the two sizes that are compared.
TEMPLATE_SIZE = 64 * 1024
#: Shorter measurements of `SIZE` depend on the machine more than on the code.
FINE_SECONDS = 0.025
#: Only an input that looks bad is measured again: load makes single runs slower, a quadratic function all of them.
TRIES = 10
#: For `SIZE`, twice the time on an idle core, because other tests run at the same time.
LONGEST_SECONDS = patience(1.0)
WORST_FACTOR = 3.0

UNITS = [
    *(" ", "\t", "<", ">", "(", ")", '"', "'", ";", ":", ",", "@", ".", "\\", "/", "=", "-", "%", "{", "[", "]", "+"),
    *("a", "Ä", "\u200b", "\ufe0f", "❤\ufe0f", "\U000e0061", "日\u200d", "0", "\n", "\r", "\0", " \n", "\r\n "),
    *(
        "a ",
        "a,",
        "a@b.c,",
        "<a@b.c> ",
        '"a" ',
        "(a",
        "()",
        '\\"',
        "a:",
        "@[",
        "a@[",
        "=?",
        "=?utf-8?q?",
        "a=b;",
        '; a="',
    ),
    "\u6e3b:",  # its low byte is that of `;`, and the interpreter's search for one stops at each
    *("X: a\r\n", "METHOD:", "[[", '{"a":', "a-", "a.b", "&#"),
]
TEMPLATE_UNITS = [
    *(
        "{{",
        "}}",
        "{{{",
        "{{{{",
        "{{{{a}}}}",
        "{{{{/",
        "{{a}}",
        "{{#a}}",
        "{{/a}}",
        "{{>a",
        "{{!--",
        "{{!",
        "{{else",
        "{{~",
    ),
    *("~}}", "{{a b=(", "{{a.", "{{[", "{{'", "\\{{", "\\\\{{", "as |", "as ", "../", "0.", "else"),
]
PAGE_UNITS = [
    *(
        "<a ",
        "<a",
        "<!--",
        "<!-->",
        "<![CDATA[",
        "</",
        "</a",
        "<style",
        "<script>",
        "<?",
        "&a",
        "<a b=",
        "<a b='",
        "<a b='>",
    ),
    *("<!a", "<!", "-->", "<a></a>", "<br>", "<a/>", "<a <b ", "<a b=c'd"),
]
FRAMES = [("", ""), ("a", "b")]

#: These take a minute of CPU time. Coverage would distort the measurements.
pytestmark = pytest.mark.slow


def of(read: Callable[[Fields], object], *path: str) -> Callable[[Any], object]:
    """A function that reads a value at the given path of a document."""

    def call(value: Any) -> object:
        for name in reversed(path):
            value = {name: value}
        return read(Fields(value))

    return call


def document(*path: str) -> Callable[[Any], object]:
    mail = {"to": "a@b.c", "message": {"subject": "s", "text": "t"}}

    def call(value: Any) -> object:
        fields: dict[str, Any] = {**mail, "message": dict(mail["message"])}  # type: ignore[arg-type]
        place: Any = fields
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value
        return parse_document(fields)

    return call


def ignored(path: str, reason: str) -> None:
    pass


class SameAddress:
    """Users who all have the address under test."""

    def __init__(self, text: str) -> None:
        self.text = text

    def emails(self, uids: Iterable[str]) -> Mapping[str, str]:
        return {uid: self.text for uid in uids}


TO_NOBODY = parse_document({"toUids": ["u"], "to": "a@b.c", "message": {"subject": "s", "text": "t"}})


def loaded(**fields: Any) -> object:
    attachment = read_attachment(Fields({"filename": "f", **fields}, "message.attachments.0"), lambda entry: [])
    return list(Loader().attachments([attachment])) if attachment else None


def compiled(text: str) -> object:
    return compile_template(text, "text", Mode(escape=True))


READERS: dict[str, Callable[[str], object]] = {
    "addresses": parse_addresses,
    "addresses-joined": lambda text: parse_addresses(text, joins_names=True),
    "invisible-at-the-ends": stripped,
    "invisible-inside": invisible_in,
    "recipients": document("to"),
    "recipients-in-an-array": lambda text: document("to")([text]),
    "from": document("from"),
    "reply-to": document("replyTo"),
    "subject": document("message", "subject"),
    "text": document("message", "text"),
    "message-id": document("message", "messageId"),
    "calendar-event": document("message", "icalEvent"),
    "calendar-method": lambda text: document("message", "icalEvent")({"method": text, "content": "x"}),
    "a-header": of(read_headers, "headers", "X-A"),
    "a-header-of-ids": of(read_headers, "headers", "References"),
    "a-header-s-name": lambda text: read_headers(Fields({"headers": {text: "a"}})),
    "sender-header": document("headers", "Sender"),
    "message-id-header": document("headers", "Message-ID"),
    "references": of(lambda said: message_headers(said, ignored), "references"),
    "priority": of(lambda said: message_headers(said, ignored), "priority"),
    "list-url": of(lambda said: message_headers(said, ignored), "list", "help"),
    "list-id": of(lambda said: message_headers(said, ignored), "list", "id"),
    "list-comment": lambda text: message_headers(Fields({"list": {"help": {"url": "a", "comment": text}}}), ignored),
    "list-name": lambda text: message_headers(Fields({"list": {text: "a"}}), ignored),
    "date": of(read_date, "date"),
    "unsubscribe-url": of(unsubscribe_headers, "listUnsubscribe", "url"),
    "unsubscribe-mailto": of(unsubscribe_headers, "listUnsubscribe", "mailto"),
    "dsn-id": of(read_dsn, "dsn", "id"),
    "dsn-notify": of(read_dsn, "dsn", "notify"),
    "dsn-return": of(read_dsn, "dsn", "return"),
    "dsn-recipient": of(read_dsn, "dsn", "recipient"),
    "media-type": is_media_type,
    "attachment-type": lambda text: loaded(contentType=text, content="x"),
    "attachment-cid": lambda text: loaded(cid=text, content="x"),
    "attachment-name": lambda text: loaded(filename=text, content="x"),
    "attachment-path": lambda text: loaded(path=text),
    "attachment-data-url": lambda text: loaded(path="data:" + text),
    "attachment-storage-url": lambda text: loaded(path="gs://" + text),
    "attachment-encoding": lambda text: loaded(content="x", encoding=text),
    "attachment-raw": lambda text: loaded(raw=text),
    "attachment-http-header": lambda text: loaded(path="https://a.b/c", httpHeaders={"X-A": text}),
    "event-content": lambda text: list(
        Loader().event(parse_document(CALENDAR | {"message": CALENDAR["message"] | {"icalEvent": text}}).message.event)  # type: ignore[union-attr, arg-type]
    ),
    "users": lambda text: with_users(TO_NOBODY, SameAddress(text)),
    "base64": lambda text: decode(text, "base64"),
    "hex": lambda text: decode(text, "hex"),
    "utf8": lambda text: decode(text, "utf8"),
    "utf16le": lambda text: decode(text, "utf16le"),
    "latin1": lambda text: decode(text, "latin1"),
    "data-url": lambda text: decode_data_url("data:" + text),
    "data-url-base64": lambda text: decode_data_url("data:text/plain;base64," + text),
    "type-of-a-name": lambda text: guess_type(text, "x/y"),
    "extension-of-a-type": guess_extension,
    "rendered-subject": one_line,
    "template": compiled,
    "template-in-a-tag": lambda text: compiled("{{a " + text),
    "template-in-a-string": lambda text: compiled("{{a '" + text),
    "template-in-a-block": lambda text: compiled("{{#a}}" + text),
    "template-in-a-raw-block": lambda text: compiled("{{{{a}}}}" + text),
    "template-in-a-comment": lambda text: compiled("{{!--" + text),
    "template-data": lambda text: compile_template("{{a}}{{{a}}}", "t", Mode(escape=True)).render({"a": text}),
    "template-lookups": lambda text: compile_template("{{#each a}}x{{/each}}{{#with a}}{{b}}{{/with}}", "t").render(
        {"a": text}
    ),
    "page-nesting": nesting,
    "unstructured-header": lambda text: headers.unstructured("Subject", text),
    "raw-header": lambda text: headers.raw("X-A", text),
    "user-defined-header": lambda text: headers.user_defined("X-A", text),
    "display-name": lambda text: headers.address_list("To", [Address(text, "a@b.c")]),
    "group-name": lambda text: headers.address_list("To", [Group(text, (Address("a", "a@b.c"),))]),
    "filename-parameter": lambda text: headers.with_filename("Content-Disposition", "attachment", text),
    "name-parameter": lambda text: headers.with_name("Content-Type", "text/plain", text),
    "text-part": lambda text: parts.text("plain", text),
    "message-part": lambda text: parts.file(parts.File(encoded(text), "message/rfc822", None, None)),
    "file-part": lambda text: parts.file(parts.File(encoded(text), "text/plain", "attachment", "a")),
    "version-part": lambda text: parts.version(parts.File(encoded(text), "text/plain", None, None)),
    "ready-made-part": lambda text: ready_made.ready_made(encoded(text)),
    "ready-made-headers": lambda text: ready_made.ready_made(b"Content-Type: " + encoded(text) + b"\r\n\r\n"),
    "message-json": lambda text: message.decode(encoded(text), {}, "1", "mail"),
    "message-mail": lambda text: message.decode(json.dumps({"mail": {"x": text}}).encode(), {}, "1", "mail"),
    "message-id-field": lambda text: message.decode(json.dumps({"mail": {}, "id": text}).encode(), {}, "1", "mail"),
    "message-document": lambda text: message.decode(json.dumps({"document": text}).encode(), {}, "1", "mail"),
    "message-send-at": lambda text: message.decode(json.dumps({"mail": {"sendAt": text}}).encode(), {}, "1", "mail"),
    "push": lambda text: push.unwrap(encoded(text)),
    "push-data": lambda text: push.unwrap(json.dumps({"message": {"messageId": "1", "data": text}}).encode()),
    "event": lambda text: events.unwrap(lambda name: None, b"{" + encoded(text)),
    "event-body": lambda text: events.parse(events.EVENT_TYPE, encoded(text), "mail"),
    "document-id": is_document_id,
    "point-in-time": point_in_time,
}
CALENDAR: dict[str, Any] = {"to": "a@b.c", "message": {"subject": "s", "text": "t"}}


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def seconds(read: Callable[[Any], object], value: Any) -> float:
    """The CPU time of one run in this thread, without garbage collection, whether it succeeds or fails."""
    gc.disable()
    began = time.thread_time()
    try:
        with contextlib.suppress(
            FirepostError, BadAddress, BadRequest, TemplateError, ready_made.NotMime, ValueError, LookupError
        ):
            read(value)
        return time.thread_time() - began
    finally:
        gc.enable()


def assert_linear(read: Callable[[Any], object], value: Callable[[int], Any], what: str, size: int = SIZE) -> None:
    """Check that the time grows linearly with the input. `value` returns an input of the given size.

    The best of several runs counts, because load only makes runs slower.
    """
    double = single = math.inf
    scale = size / SIZE
    fine = FINE_SECONDS * scale**2  # what is quadratic is found at any size
    for _ in range(TRIES):
        double = min(double, seconds(read, value(2 * size)))
        if double <= fine:
            return
        single = min(single, seconds(read, value(size)))
        if double <= min(LONGEST_SECONDS * scale, WORST_FACTOR * max(single, fine / 2)):
            return
    pytest.fail(f"{what}: {double:.3f} s for {2 * size} characters, {single:.3f} s for half as many")


def units(name: str) -> list[str]:
    if name == "page-nesting":
        return UNITS + PAGE_UNITS
    if name.startswith("template-in-"):
        return [*TEMPLATE_UNITS, " ", "a", "'", '"', "\n"]
    return UNITS + TEMPLATE_UNITS if name == "template" else UNITS


@pytest.mark.parametrize("name", READERS)
def test_text(name: str) -> None:
    frames, size = (FRAMES[:1], TEMPLATE_SIZE) if name.startswith("template") else (FRAMES, SIZE)
    for unit, (before, after) in itertools.product(units(name), frames):

        def value(size: int, before: str = before, unit: str = unit, after: str = after) -> str:
            return before + unit * (size // len(unit)) + after

        assert_linear(READERS[name], value, f"{before!r}, {unit!r} and {after!r}", size)


def keys(count: int) -> dict[str, Any]:
    return {f"X-{number}": "a" for number in range(count)}


COLLECTIONS: dict[str, tuple[Callable[[Any], object], Callable[[int], Any]]] = {
    "headers": (document("headers"), keys),
    "headers-in-a-list": (document("headers"), lambda n: [{"key": name, "value": "a"} for name in keys(n)]),
    "the-same-header": (document("headers"), lambda n: [{"key": "X-A", "value": "a"}] * n),
    "a-header-s-values": (document("headers", "X-A"), lambda n: ["a"] * n),
    "headers-in-message": (document("message", "headers"), keys),
    "wrong-headers": (document("headers"), lambda n: {f"ä{number}": 1 for number in range(n)}),
    "recipients": (document("to"), lambda n: ["a@b.c"] * n),
    "wrong-recipients": (document("to"), lambda n: ["a"] * n),
    "recipients-of-a-wrong-type": (document("to"), lambda n: [1] * n),
    "user-ids": (document("toUids"), lambda n: [str(number) for number in range(n)]),
    "categories": (document("categories"), lambda n: ["a"] * n),
    "attachments": (document("message", "attachments"), lambda n: [{"filename": "a", "content": ""}] * n),
    "wrong-attachments": (document("message", "attachments"), lambda n: [{"cid": "ä"}] * n),
    "attachment-headers": (document("message", "attachments"), lambda n: [{"content": "", "headers": keys(n)}]),
    "mailing-list": (document("message", "list"), keys),
    "mailing-list-values": (document("message", "list", "help"), lambda n: ["a@b.c"] * n),
    "references": (document("message", "references"), lambda n: ["<a@b.c>"] * n),
    "notify": (document("message", "dsn", "notify"), lambda n: ["success"] * n),
    "template-data": (document("template"), lambda n: {"name": "t", "data": keys(n)}),
    "fields": (lambda fields: parse_document(fields), keys),
    "misspelt-fields": (lambda fields: parse_document(fields), lambda n: {f"messag{number}": 1 for number in range(n)}),
    "misspelt-in-attachments": (
        document("message", "attachments"),
        lambda n: [{f"contnet{number}": 1 for number in range(10)}] * (n // 10),
    ),
    "elements": (nesting, lambda n: "".join(f"<x{number}>" for number in range(n))),
    "message-keys": (lambda mail: message.decode(encoded(json.dumps({"mail": mail})), {}, "1", "mail"), keys),
    "attributes": (
        lambda attributes: push.unwrap(encoded(json.dumps({"message": {"messageId": "1", "attributes": attributes}}))),
        keys,
    ),
    "address-field": (lambda entries: headers.address_list("To", entries), lambda n: [Address("Ada", "a@b.c")] * n),
}


@pytest.mark.parametrize("name", COLLECTIONS)
def test_thousands(name: str) -> None:
    read, value = COLLECTIONS[name]
    assert_linear(read, lambda size: value(size // 16), "items")
