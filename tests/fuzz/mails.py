"""Documents: through each field, hostile text; and values of every type in every place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from sender.document import spelling
from sender.document.addresses import Address, BadAddress, mailboxes, parse_addresses
from sender.document.document import UNSUPPORTED, parse_document
from sender.message.compose import Composer, Defaults, Mail
from sender.message.recipients import Users
from sender.message.sendgrid_json import encode_sendgrid_request
from sender.message.template_repository import FirestoreTemplates
from sender.message.templates import Templates
from shared.errors import NotSendable
from tests.fakes import TemplateDatabase
from tests.fuzz import wire
from tests.fuzz.generators import (
    ANY,
    HOSTILE,
    TEXT,
    Generator,
    characters,
    joined,
    listed,
    mapped,
    nested,
    one_of,
    pick,
    rarely,
    some_of,
)
from tests.fuzz.kind import Kind, pure

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_HIDDEN = "hidden@blind.example"
_DEFAULTS = Defaults(Address("Shop", "shop@example.com"))
#: The longest error and warning: they must fit into a document, and on a screen.
_MAX_ERROR, _MAX_WARNING = 3_000, 400

#: Puts a text into one place of a document.
Place = Callable[[str], dict[str, Any]]


class _Users:
    """Users who all have the same address."""

    def __init__(self, email: str) -> None:
        self.email = email

    def emails(self, uids: Any) -> dict[str, str]:
        return dict.fromkeys(uids, self.email)


def _message(**fields: Any) -> dict[str, Any]:
    return {"message": {"subject": "Hi", "text": "x", **fields}}


def _file(**fields: Any) -> dict[str, Any]:
    return _message(attachments=[fields])


PLACES: Final[tuple[Place, ...]] = (
    *(lambda text, name=name: {name: text} for name in ("to", "cc", "from", "replyTo")),
    *(lambda text, name=name: {name: f"{text} <a@b.c>"} for name in ("to", "cc", "from", "replyTo")),
    *(lambda text, name=name: {name: f'"{text}" <a@b.c>'} for name in ("to", "from")),
    *(lambda text, name=name: {name: f"{text}@b.c"} for name in ("to", "from")),
    *(lambda text, name=name: {name: f"a@{text}"} for name in ("cc", "replyTo")),
    lambda text: {"to": f"a@[{text}]"},
    lambda text: {"to": f'"{text}"@b.c'},
    lambda text: {"to": f"{text}: a@b.c;"},
    lambda text: {"to": ["a@b.c", text], "cc": [text]},
    lambda text: {"toUids": [text]},
    lambda text: {"headers": {"X-Own": text}},
    lambda text: {"headers": {"X-Own": ["x", text]}},
    lambda text: {"headers": {f"X-{text}": "x"} if text else {}},
    lambda text: {"headers": [{"key": "X-Own", "value": text}]},
    *(
        lambda text, name=name: {"headers": {name: text}}
        for name in ("Reply-To", "Sender", "Message-ID", "Date", "Subject", "In-Reply-To", "References", "Bcc", "From")
    ),
    lambda text: {"listUnsubscribe": {"url": f"https://{text}"}},
    lambda text: {"listUnsubscribe": {"url": text, "oneClick": True}},
    lambda text: {"listUnsubscribe": {"mailto": f"{text}@b.c"}},
    lambda text: {"categories": [text]},
    lambda text: {"sendGrid": {"customArgs": {text: text}, "ipPoolName": text}},
    lambda text: {"sendGrid": {"templateId": text, "dynamicTemplateData": {text: text}, "mailSettings": {text: text}}},
    lambda text: {"template": {"name": text}, "message": None},
    lambda text: {"template": {"name": "welcome", "data": {"name": text}}, "message": None},
    lambda text: {"transport": text, "sendAt": None, "expiresAt": None},
    *(
        lambda text, name=name: _message(**{name: text})
        for name in ("subject", "text", "html", "amp", "messageId", "inReplyTo", "references", "priority", "date")
    ),
    lambda text: _message(messageId=f"{text}@b"),
    lambda text: _message(headers={"X-Own": text}),
    lambda text: _message(references=["<a@b>", text]),
    lambda text: _message(list={"help": text}),
    lambda text: _message(list={"help": {"url": "a@b.c", "comment": text}}),
    lambda text: _message(list={"id": {"url": text, "comment": text}}),
    lambda text: _message(list={text: "a@b.c"}),
    lambda text: _message(icalEvent=text),
    lambda text: _message(icalEvent={"content": text, "method": text, "filename": text}),
    lambda text: _message(alternatives=[{"content": text, "filename": text, "contentType": "text/x-a"}]),
    lambda text: _message(alternatives=[{"content": "x", "contentType": text}]),
    *(lambda text, name=name: _message(dsn={name: text}) for name in ("id", "return", "notify", "recipient")),
    lambda text: _file(filename=text, content=text),
    lambda text: _file(filename="a.eml", content=text),
    lambda text: _file(content=text, contentType=f"a/{text}"),
    lambda text: _file(content=text, contentType=f'a/b; x="{text}"'),
    lambda text: _file(content="x", contentDisposition=text),
    lambda text: _file(content="x", cid=text) | {"message": {"html": "x", "subject": ""}},
    lambda text: _message(html="x", attachments=[{"content": "x", "cid": text}]),
    lambda text: _file(content=text, encoding=text),
    lambda text: _file(content="x", headers={"X-Own": text}),
    lambda text: _file(raw=f"X-Own: {text}\r\n\r\n{text}"),
    lambda text: _file(raw=f"Content-Type: text/plain{text}\r\n\r\n{text}"),
    lambda text: _file(path=text),
    lambda text: _file(path=f"data:a/b;x={text},x"),
    lambda text: _file(path=f"data:{text};base64,aGk="),
    lambda text: _file(path=f"gs://bucket/{text}"),
    lambda text: _file(path="https://a.b/c", httpHeaders={"X-A": text}),
    lambda text: _file(bucket=text, object=text),
)

_TEMPLATES: Final[Templates] = FirestoreTemplates(
    TemplateDatabase(
        {
            "welcome": {
                "subject": "Hi {{name}}",
                "text": "{{name}}",
                "html": "<p title='{{name}}'>{{name}}",
                "attachments": [{"filename": "{{name}}.txt", "content": "{{name}}"}],
            }
        }
    ),
    "templates",
)


def _composed(fields: dict[str, Any], users: Users | None = None, *, as_json: bool = False) -> Mail | None:
    """The mail, or None if the document is rejected as it should be."""
    composer = Composer(_DEFAULTS, users=users, templates=_TEMPLATES)
    if as_json:
        composer = Composer(_DEFAULTS, encode_sendgrid_request, users, _TEMPLATES)
    try:
        return composer(fields, seed="seed", now=_NOW)
    except NotSendable as error:
        assert str(error).encode()
        assert len(str(error)) <= _MAX_ERROR
        return None


def _emails(text: str) -> set[str]:
    """The addresses that the text itself means, in the places where it is one or a part of one."""
    found: set[str] = set()
    for candidate in (text, f"{text}: a@b.c;", f"a@[{text}]", f"{text}@b.c", f"a@{text}", f'"{text}"@b.c'):
        try:
            found.update(address.email for address in mailboxes(parse_addresses(candidate)))
        except BadAddress:
            continue
    return found


def _injected(random: Random) -> tuple[dict[str, Any], str]:
    """A document with a hostile text in one place, and the text."""
    text = HOSTILE(random)
    return {"to": "a@b.c", "bcc": _HIDDEN, **_message(), **random.choice(PLACES)(text)}, text


def _check_injection(given: tuple[dict[str, Any], str]) -> None:
    fields, text = given
    users = _Users(text)
    mail = _composed(fields, users)
    if mail is not None:
        assert _HIDDEN in mail.envelope.recipients
        assert _HIDDEN.encode() not in mail.data, "a blind copy is not blind"
        assert set(mail.envelope.recipients) <= {"a@b.c", _HIDDEN} | _emails(text)
        assert all(len(warning) <= _MAX_WARNING for warning in mail.warnings)
        wire.check_commands(mail.envelope, mail.data)
        wire.check_stream(mail.data)
        wire.check_message(mail.data)
    body = _composed(fields, users, as_json=True)
    if body is not None:
        read = json.loads(body.data)
        sent_to = [
            each["email"]
            for to in read["personalizations"]
            for field in to.values()
            for each in field
            if "email" in each
        ]
        assert set(sent_to) <= {"a@b.c", _HIDDEN} | _emails(text)
        assert not any(set(value) & set("\r\n\0") for value in read["headers"].values())


_SMUGGLED = (
    *("\r\n.\r\n", "\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r.\n", "\r.\r\n", "\0", ".", "..", "\r", "\n", "\r\n"),
    *("MAIL FROM:<eve@evil.example>", "RCPT TO:<a@b.c>", "DATA", "QUIT", "From: eve", "Content-Type: a/b", "", " "),
    *(
        "x" * 77,
        "x" * 997,
        "=",
        "=0D=0A.",
        "=\r\n.",
        "ü",
        "日" * 400,
        "--=_mixed_",
        "boundary",
        "\u2028",
        "\x85",
        "\x1a",
    ),
)
_BODIES: Final[tuple[Place, ...]] = (
    lambda text: _message(text=text, html=text, amp=text),
    lambda text: _file(content=text, contentType="message/rfc822"),
    lambda text: _file(content=text.encode("utf-8", "replace"), contentType="message/rfc822", filename="a.eml"),
    lambda text: _file(content=text, contentType="text/plain"),
    lambda text: _file(content=text, contentType="multipart/mixed; boundary=a"),
    lambda text: _file(raw="\r\n" + text),
    lambda text: _file(raw="Content-Transfer-Encoding: 7bit\r\n\r\n" + text),
    lambda text: _message(icalEvent=text),
    lambda text: _message(alternatives=[{"content": text, "contentType": "text/x-a"}, {"raw": "\r\n" + text}]),
    lambda text: {"template": {"name": "welcome", "data": {"name": text}}},
)


def _smuggled(random: Random) -> dict[str, Any]:
    text = joined(pick(*_SMUGGLED), 8)(random)
    return {"to": "a@b.c", **_message(), **random.choice(_BODIES)(text)}


def _check_smuggling(fields: dict[str, Any]) -> None:
    mail = _composed(fields)
    if mail is not None:
        wire.check_stream(mail.data)
        wire.check_message(mail.data)


def _map(names: tuple[str, ...], usual: Mapping[str, Generator[Any]]) -> Generator[dict[str, Any]]:
    """Maps with the usual values, in which a few fields are hostile, of another type, or unknown."""
    hostile = mapped(one_of(pick(*names), TEXT, lambda random: random.choice(names)[1:]), one_of(ANY, HOSTILE), 2)

    def make(random: Random) -> dict[str, Any]:
        odd: dict[str, Any] = rarely(hostile, pick({}), 0.3)(random)
        return some_of(usual, 0.7)(random) | odd

    return make


_FILES = listed(
    _map(
        spelling.ATTACHMENT,
        {"filename": pick("a.txt", "b.pdf", "ü"), "content": pick("x", b"\0", "aGk="), "cid": pick("logo", "<a@b>")},
    ),
    2,
)
_MESSAGES = _map(
    (*spelling.MESSAGE, *UNSUPPORTED),
    {
        **{"subject": pick("Hi", "Grüße"), "text": pick("x", "日本\n"), "html": pick("<p>", ""), "attachments": _FILES},
        **{
            "alternatives": _FILES,
            "icalEvent": _map(spelling.CALENDAR_EVENT, {"content": pick("x", "METHOD:ADD\r\n")}),
        },
        **{"messageId": pick("<a@b>"), "date": pick("2026-01-01T00:00:00Z"), "priority": pick("high", "low")},
    },
)
DOCUMENTS = _map(
    (*spelling.DOCUMENT, "delivery"),
    {
        **{"to": pick("a@b.c", ["d@e.f", "Ada <a@b.c>"]), "cc": pick("g@h.i", []), "toUids": pick(["u"])},
        **{"message": rarely(ANY, _MESSAGES, 0.02), "headers": pick({"X-Own": 1}), "categories": pick(["a"])},
        "template": rarely(_map(spelling.TEMPLATE, {"name": pick("welcome"), "data": ANY}), pick(None), 0.3),
    },
)


def _check_document(fields: dict[str, Any]) -> None:
    for as_json in (False, True):
        mail = _composed(fields, _Users("a@b.c"), as_json=as_json)
        if mail is not None and not as_json:
            wire.check_commands(mail.envelope, mail.data)
            wire.check_message(mail.data)


_LARGE: Final[tuple[Callable[[int], dict[str, Any]], ...]] = (
    lambda size: {"to": ["a@b.c"] * size},
    lambda size: {"to": ["a"] * size},
    lambda size: {"to": "a@b.c," * size},
    lambda size: {"to": "a" * size * 40},
    lambda size: {"to": '"' * size + "<a@b.c>"},
    lambda size: {"toUids": [str(number) for number in range(size)]},
    lambda size: {"headers": {f"X-{number}": "x" for number in range(size)}},
    lambda size: {"headers": {f"ä{number}": 1 for number in range(size)}},
    lambda size: {"headers": {"X-Own": ["x"] * size}},
    lambda size: {"headers": {"X-Own": "x " * size}},
    lambda size: _message(subject="x" * size),
    lambda size: _message(text="日" * size * 10),
    lambda size: _message(html="<p" * size),
    lambda size: _message(attachments=[{"content": "x"}] * size),
    lambda size: _message(attachments=[{"filenam": "x"}] * size),
    lambda size: _message(list={f"x{number}": "a@b.c" for number in range(size)}),
    lambda size: _message(references=["<a@b>"] * size),
    lambda size: {f"messag{number}": 1 for number in range(size)},
    lambda size: {"template": {"name": "welcome", "data": {"name": " " * size * 10 + "x"}}},
    lambda size: {"template": {"name": "welcome", "data": {"name": nested(size % 300)}}},
    lambda size: {"own": nested(size % 300)},
    lambda size: {"categories": ["x"] * size},
)


def _large(random: Random) -> dict[str, Any]:
    return {"to": "a@b.c", **_message(), **random.choice(_LARGE)(int(20_000 ** random.random()))}


def _check_large(fields: dict[str, Any]) -> None:
    _composed(fields, _Users("a@b.c"))


def _secret(random: Random) -> str:
    return characters(random) + "-a-secret-of-theirs"


def _check_secrecy(secret: str) -> None:
    fields = {"to": secret, "from": [secret], "message": {"subject": {secret: 1}, "text": [secret]}, "headers": secret}
    try:
        parse_document(fields)
    except NotSendable as error:
        assert secret not in str(error)
    else:
        raise AssertionError("a wrong type was accepted")


KINDS: Final = (
    Kind(
        "hostile text in each field",
        "each SMTP command and header is a line of Firepost's own; only the document's recipients; bcc stays blind",
        _injected,
        pure(_check_injection),
        few=1000,
    ),
    Kind(
        "smuggled mails",
        "no server, however lenient, finds the end of the mail before its end",
        _smuggled,
        pure(_check_smuggling),
        few=300,
    ),
    Kind(
        "documents of any shape",
        "a mail, or an error of bounded length that names the field",
        DOCUMENTS,
        pure(_check_document),
        few=300,
    ),
    Kind("large documents", "the same within seconds", _large, pure(_check_large), few=40),
    Kind("content in errors", "no error quotes a document", _secret, pure(_check_secrecy)),
)
