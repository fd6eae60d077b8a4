"""The golden corpus: real documents, and the mails or the errors that must come of them.

Each file in `documents/` is one document, written from the extension's documentation and its users' complaints
(`issues`), never from our own output. A change of behaviour is a change of a file there. Keys of `expect`:

    structure    the tree of media types; a mail must have exactly this one
    headers      headers by name; a list if repeated, null if there must be none
    recipients   the envelope's, in order; sender: the envelope's
    text, html   the bodies
    attachments  all parts with a file name or a Content-ID that are not versions of the text, in order
    calendar     the text/calendar alternative: its method and text
    warnings     exactly these; none if not given
    nowhere      words that must not be in the mail
    missingUids  the users that have no address; none if not given
    withheld     the recipients that do not get the mail; none if not given
    error        instead of a mail: its code, and what the text says

JSON lacks two of Firestore's types: {"$bytes": base64} and {"$timestamp": RFC 3339} stand for them. `files` are what is
there to be fetched, by URL; `users` are addresses by user id, `templates` the documents of the templates collection by
id. `settings` may have `defaultReplyTo`, `recipientsAllowed` and `recipientsRedirect`.
"""

from __future__ import annotations

import base64
import email
import email.policy
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage, MIMEPart
from pathlib import Path
from typing import Any

import pytest

from sender.document.addresses import Address
from sender.document.attachments import StoredObject
from sender.downloads.source import Announce, CannotFetch, Fetched, WebFile
from sender.message.compose import Composer, Defaults, Mail
from sender.message.guard import Guard
from sender.message.template_repository import FirestoreTemplates
from shared.errors import NotSendable
from tests.fakes import TemplateDatabase

DOCUMENTS = sorted((Path(__file__).parent / "documents").glob("*.json"))
MEMBERS = {"about", "issues", "settings", "document", "files", "users", "templates", "expect"}
EXPECTATIONS = {
    *("structure", "headers", "recipients", "sender", "text", "html", "attachments", "calendar", "warnings", "nowhere"),
    *("missingUids", "withheld", "error"),
}


def read(path: Path) -> dict[str, Any]:
    fixture: dict[str, Any] = json.loads(path.read_text(), object_hook=_firestore_value)
    return fixture


def _firestore_value(value: dict[str, Any]) -> Any:
    match value:
        case {"$bytes": text}:
            return base64.b64decode(text, validate=True)
        case {"$timestamp": text}:
            return datetime.fromisoformat(text)
    return value


class Files:
    """The files of a fixture, as what fetches them."""

    def __init__(self, files: dict[str, Any]) -> None:
        self._files = files

    def __call__(self, source: WebFile | StoredObject, limit: int, announce: Announce) -> Fetched:
        file = self._files[self._url(source)]
        if "fails" in file:
            raise CannotFetch(file["fails"])
        if isinstance(source, WebFile):
            assert dict(source.headers) == file.get("headers", {})
        return Fetched(base64.b64decode(file["base64"]), file.get("type"), file.get("name"))

    def _url(self, source: WebFile | StoredObject) -> str:
        if isinstance(source, WebFile):
            return source.url
        generation = f"#{source.generation}" if source.generation else ""
        return f"gs://{source.bucket}/{source.name}{generation}"


class UsersByUid(dict[str, str]):
    """The users of a fixture, as what looks them up."""

    def emails(self, uids: Sequence[str]) -> Mapping[str, str]:
        return {uid: self[uid] for uid in uids if uid in self}


def composed(fixture: dict[str, Any]) -> Mail:
    settings = fixture.get("settings", {})
    reply_to = [Address("", settings["defaultReplyTo"])] if "defaultReplyTo" in settings else []
    compose = Composer(
        Defaults(Address("Shop", "shop@example.com"), tuple(reply_to)),
        users=UsersByUid(fixture["users"]) if "users" in fixture else None,
        templates=FirestoreTemplates(TemplateDatabase(fixture["templates"]), "templates")
        if "templates" in fixture
        else None,
        guard=Guard.parse(settings.get("recipientsAllowed"), settings.get("recipientsRedirect")),
    )
    return compose(
        fixture["document"],
        seed="document-1",
        now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        fetch=Files(fixture.get("files", {})),
    )


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_document(path: Path) -> None:
    fixture = read(path)
    expect = fixture["expect"]
    assert set(fixture) <= MEMBERS and set(expect) <= EXPECTATIONS
    if "error" in expect:
        with pytest.raises(NotSendable) as caught:
            composed(fixture)
        assert caught.value.code == expect["error"]["code"]
        assert [words for words in expect["error"]["says"] if words not in str(caught.value)] == []
    else:
        check_mail(composed(fixture), expect)


def check_mail(mail: Mail, expect: dict[str, Any]) -> None:
    message = email.message_from_bytes(mail.data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not [defect for part in message.walk() for defect in part.defects]
    assert max(map(len, mail.data.split(b"\r\n"))) <= 998
    assert shape(message) == expect["structure"]
    assert list(mail.warnings) == expect.get("warnings", [])
    assert list(mail.missing_uids) == expect.get("missingUids", [])
    assert list(mail.withheld) == expect.get("withheld", [])
    assert mail.envelope.sender == expect.get("sender", "shop@example.com")
    assert list(mail.envelope.recipients) == expect.get("recipients", list(mail.envelope.recipients))
    assert headers_of(message, expect.get("headers", {})) == expect.get("headers", {})
    assert [word for word in expect.get("nowhere", []) if word.encode() in mail.data] == []
    for name, kind in (("text", "plain"), ("html", "html")):
        if name in expect:
            body = message.get_body((kind,))
            assert body is not None and text_of(body) == expect[name]
    if "calendar" in expect:
        check_calendar(message, expect["calendar"])
    if "attachments" in expect:
        check_files(message, expect["attachments"])


def shape(part: MIMEPart) -> Any:
    """The tree of media types, a list for a part with parts; a simple mail is a list of one."""
    if part.is_multipart():
        children = part.iter_parts() if part.get_content_maintype() == "multipart" else part.get_payload()
        return [part.get_content_type(), *(child_shape(child) for child in children)]
    return [part.get_content_type()]


def child_shape(part: Any) -> Any:
    found = shape(part)
    return found if part.is_multipart() else found[0]


def headers_of(message: EmailMessage, names: dict[str, Any]) -> dict[str, Any]:
    """The named headers as the fixture writes them."""
    found: dict[str, Any] = {}
    for name in names:
        values = [str(value) for value in message.get_all(name, [])]
        found[name] = values if len(values) > 1 else values[0] if values else None
    return found


def text_of(part: MIMEPart) -> str:
    return str(part.get_content()).replace("\r\n", "\n").removesuffix("\n")


def check_calendar(message: EmailMessage, expected: dict[str, str]) -> None:
    (part,) = (part for part in message.walk() if part.get_content_type() == "text/calendar")
    assert (part.get_param("method"), part.get_param("charset")) == (expected["method"], "utf-8")
    assert part["Content-Disposition"] is None
    assert text_of(part).rstrip("\n") == expected["text"].rstrip("\n")


def check_files(message: EmailMessage, expected: list[dict[str, Any]]) -> None:
    files = [part for part in message.walk() if part.get_filename() or part["Content-ID"]]
    assert len(files) == len(expected)
    for part, file in zip(files, expected, strict=True):
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        content = base64.b64decode(file["base64"]) if "base64" in file else file["text"].encode()
        assert part.get_filename() == file["filename"]
        assert (payload if "base64" in file else payload.replace(b"\r\n", b"\n")) == content
        assert part["Content-ID"] == file.get("cid")
        assert part.get_content_disposition() == file.get("disposition", "attachment")


def test_the_corpus_is_there() -> None:
    assert len(DOCUMENTS) >= 100
    assert all(read(path)["about"].endswith(".") for path in DOCUMENTS)
