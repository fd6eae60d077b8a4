"""Equal Message-ID, equal mail: whatever is edited between two attempts that share a seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.document.addresses import Address
from sender.document.attachments import StoredObject
from sender.downloads.source import Announce, Fetched, WebFile
from sender.message.compose import Composer, Defaults, Mail, encode_mime
from sender.message.draft import Encoder
from sender.message.sendgrid_json import encode_sendgrid_request
from sender.message.template_repository import FirestoreTemplates
from shared.errors import NotSendable
from tests.fakes import TemplateDatabase

ENCODERS = pytest.mark.parametrize("encode", [encode_mime, encode_sendgrid_request], ids=["smtp", "sendgrid"])
FILE, STORED = "https://example.com/a.pdf", {"bucket": "bucket", "object": "b.txt"}

SHOP, PDF = Address("Shop", "shop@example.com"), Fetched(b"%PDF", "application/pdf", "a.pdf")


@dataclass(frozen=True)
class World:
    """All that a mail is made of at the time of an attempt: `document`, and what it refers to."""

    document: Mapping[str, Any] = field(default_factory=dict)
    template: Mapping[str, Any] = field(default_factory=lambda: {"subject": "Hi {{name}}", "text": "Hello"})
    email: str = "ada@example.com"
    default_from: Address = SHOP
    default_reply_to: tuple[Address, ...] = ()
    file: Fetched = PDF
    settled: frozenset[str] = frozenset()

    def mail(self, encode: Encoder, later: timedelta = timedelta(0)) -> Mail:
        compose = Composer(
            Defaults(self.default_from, self.default_reply_to),
            encode,
            users=self,
            templates=FirestoreTemplates(TemplateDatabase({"t": dict(self.template)}), "templates"),
        )
        now = datetime(2026, 1, 2, tzinfo=UTC) + later
        return compose(self.document, seed="seed", now=now, fetch=self.fetch, settled=self.settled)

    def emails(self, uids: Sequence[str]) -> Mapping[str, str]:
        return dict.fromkeys(uids, self.email)

    def fetch(self, source: WebFile | StoredObject, limit: int, announce: Announce) -> Fetched:
        return self.file


def content(mail: Mail) -> bytes:
    """The mail without its Message-ID and the date that it was given; of a request to SendGrid, what receivers see."""
    if mail.data.startswith(b"{"):
        return json.dumps(shown(json.loads(mail.data))).encode()
    head, _, body = mail.data.partition(b"\r\n\r\n")
    kept = [line for line in head.split(b"\r\n") if not line.startswith((b"Message-ID:", b"Date: Fri, 02 Jan 2026"))]
    return b"\r\n".join([*kept, b"", body])


def shown(request: dict[str, Any]) -> dict[str, Any]:
    del request["headers"]["Message-ID"]
    for envelope in request["personalizations"]:
        envelope.pop("bcc", None)
    return request


BASE = World(
    {
        "to": "bob@example.com",
        "toUids": ["u"],
        "cc": "Cleo <cleo@example.com>",
        "template": {"name": "t", "data": {"name": "Ada"}},
        "message": {"attachments": [{"path": FILE}]},
        "headers": {"X-Order": "17"},
    }
)


def edited(**fields: Any) -> World:
    return replace(BASE, document={**BASE.document, **fields})


class TestRepeatedAttempts:
    @ENCODERS
    @pytest.mark.parametrize(
        "world",
        [
            pytest.param(BASE, id="a crash"),
            pytest.param(edited(bcc="dan@example.com"), id="a hidden recipient"),
            pytest.param(edited(note="seen", delivery={"attempts": 7}), id="fields that are not sent"),
            pytest.param(replace(BASE, settled=frozenset({"bob@example.com"})), id="a recipient is settled"),
            pytest.param(replace(BASE, template={**BASE.template, "note": "seen"}), id="the template's other fields"),
            pytest.param(edited(message={"attachments": [{"path": FILE + "?signature=2"}]}), id="another URL"),
        ],
    )
    def test_keep_the_id_while_the_content_is_the_same(self, world: World, encode: Encoder) -> None:
        first, second = BASE.mail(encode), world.mail(encode, later=timedelta(hours=1))
        assert second.message_id == first.message_id
        assert content(second) == content(first) or world.settled

    @ENCODERS
    @pytest.mark.parametrize(
        "world",
        [
            pytest.param(edited(to="dan@example.com"), id="a recipient"),
            pytest.param(edited(cc="Clea <cleo@example.com>"), id="a recipient's name"),
            pytest.param(replace(BASE, email="ada@example.org"), id="a user's address"),
            pytest.param(edited(**{"from": "dan@example.com"}), id="the author"),
            pytest.param(edited(replyTo="dan@example.com"), id="where to reply"),
            pytest.param(edited(headers={"X-Order": "18"}), id="a header"),
            pytest.param(edited(headers={"X-Order": "17", "Date": "Thu, 01 Jan 2026 00:00:00 +0000"}), id="a date"),
            pytest.param(edited(template={"name": "t", "data": {"name": "Bob"}}), id="the template's data"),
            pytest.param(replace(BASE, template={"subject": "Hi {{name}}", "text": "Hallo"}), id="the template"),
            pytest.param(replace(BASE, default_from=Address("Store", "shop@example.com")), id="DEFAULT_FROM"),
            pytest.param(replace(BASE, default_reply_to=(Address("", "a@b.c"),)), id="DEFAULT_REPLY_TO"),
            pytest.param(replace(BASE, file=replace(BASE.file, content=b"%PDG")), id="a file on its server"),
            pytest.param(replace(BASE, file=replace(BASE.file, filename="b.pdf")), id="a file's name there"),
            pytest.param(edited(message={"attachments": [{"path": FILE}] * 2}), id="a file more"),
        ],
    )
    def test_get_another_id_after_an_edit(self, world: World, encode: Encoder) -> None:
        assert world.mail(encode).message_id != BASE.mail(encode).message_id

    def test_keep_the_id_that_the_document_gives(self) -> None:
        mails = [
            edited(message={"messageId": "x@y"}, headers={"X": text}).mail(encode_mime) for text in ("one", "another")
        ]
        assert [mail.message_id for mail in mails] == ["<x@y>"] * 2


def test_another_request_for_the_same_mail_has_another_id() -> None:
    compose = Composer(Defaults(Address("", "shop@example.com")))
    document = {"to": "a@b.c", "message": {"subject": "Hi", "text": "Hello"}}
    ids = {compose(document, seed=seed, now=datetime(2026, 1, 2, tzinfo=UTC)).message_id for seed in ("one", "two")}
    assert len(ids) == 2


@ENCODERS
def test_a_derived_id_fits_behind_the_longest_domain(encode: Encoder) -> None:
    domain = ".".join(["d" * 63] * 3 + ["e" * 50])
    local_part, _, host = edited(**{"from": f"a@{domain}"}).mail(encode).message_id[1:-1].partition("@")
    assert (len(local_part), local_part.isalnum(), host) == (32, True, domain)


WORDS = st.sampled_from(["", "a", "b", "ä", "line\r\nline"])
NAMES = st.sampled_from(["", "Ada", "Ä"])
EMAILS = st.sampled_from(["ada@example.com", "bob@example.com"])
ADDRESSES = st.builds(lambda name, email: f"{name} <{email}>", NAMES, EMAILS)
HEADERS = st.dictionaries(st.sampled_from(["X-A", "X-B", "Sender", "Subject", "In-Reply-To"]), EMAILS, max_size=2)
FILES = st.lists(
    st.sampled_from([{"path": FILE}, STORED, {"filename": "a.txt", "content": "x"}, {"raw": "Content-Type: a/b\n\nx"}]),
    max_size=2,
)
MESSAGES = st.fixed_dictionaries(
    {"subject": WORDS.filter(str.isalpha), "text": st.sampled_from(["t", "t\n", "t\r\n", "--=_mixed\n", "ü"])},
    optional={
        "html": WORDS,
        "amp": WORDS,
        "attachments": FILES,
        "date": st.sampled_from(["Thu, 01 Jan 2026 00:00:00 +0000", "Wed, 31 Dec 2025 00:00:00 +0000"]),
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"to": st.lists(ADDRESSES, min_size=1, max_size=2), "message": MESSAGES},
    optional={
        "cc": ADDRESSES,
        "bcc": ADDRESSES,
        "toUids": st.just(["u"]),
        "from": ADDRESSES,
        "replyTo": ADDRESSES,
        "headers": HEADERS,
        "listUnsubscribe": st.just({"url": "https://example.com/u"}),
        "template": st.fixed_dictionaries({"name": st.just("t"), "data": st.fixed_dictionaries({"name": WORDS})}),
        "categories": st.just(["news"]),
    },
)
WORLDS = st.builds(
    World,
    document=DOCUMENTS,
    template=st.fixed_dictionaries({}, optional={"subject": WORDS, "text": WORDS, "html": st.just("<p>{{name}}")}),
    email=EMAILS,
    default_from=st.builds(Address, NAMES, EMAILS),
    default_reply_to=st.lists(st.builds(Address, NAMES, EMAILS), max_size=1).map(tuple),
    file=st.builds(Fetched, st.sampled_from([b"x", b"y"]), st.sampled_from(["text/plain", "image/png"])),
)


@st.composite
def attempts(draw: st.DrawFn) -> list[World]:
    """The world at several attempts: as it was, after each single edit towards another world, and as that one."""
    first, other = draw(WORLDS), draw(WORLDS)
    edits: list[dict[str, Any]] = [{name: getattr(other, name)} for name in World.__dataclass_fields__]
    edits += [{"document": {**first.document, name: value}} for name, value in other.document.items()]
    return [first, first, *(replace(first, **edit) for edit in edits), other]


@ENCODERS
@given(attempts())
def test_equal_ids_mean_equal_mails(encode: Encoder, worlds: list[World]) -> None:
    mails = []
    for minutes, world in enumerate(worlds):
        with suppress(NotSendable):
            mails.append(world.mail(encode, later=timedelta(minutes=minutes)))
    contents: dict[str, bytes] = {}
    for mail in mails:
        assert contents.setdefault(mail.message_id, content(mail)) == content(mail)
    if encode is encode_mime:
        assert len(contents) == len(set(contents.values()))
        assert [message_from_bytes(mail.data)["Message-ID"] for mail in mails] == [mail.message_id for mail in mails]
