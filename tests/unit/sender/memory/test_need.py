"""What is reserved for a mail covers what composing it takes."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sender.document.attachments import StoredObject
from sender.document.document import MAX_RECIPIENTS
from sender.downloads.source import Announce, Fetched, WebFile
from sender.message.sendgrid_json import encode_sendgrid_request
from sender.transport.smtp.commands import as_data
from shared.errors import Deferred, DeliveryFailed, NotSendable
from tests.assembly import COMPOSER

MIB = 1024 * 1024
MESSAGE = {"subject": "s", "text": "t"}
#: What every mail takes that is not counted.
BASE = MIB


class Room:
    """Records the most that was reserved."""

    def __init__(self, most: int = 2**40) -> None:
        self.most = most
        self.taken: list[int] = []

    def take(self, size: int) -> None:
        self.taken.append(size)


class WebFiles:
    """Files from the Web: their sizes are announced, and their contents take memory."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = list(sizes)

    def __call__(self, source: WebFile | StoredObject, limit: int, announce: Announce) -> Fetched:
        size = self._sizes.pop(0)
        announce(size)
        return Fetched(os.urandom(1024) * (size // 1024), "application/pdf", "a.pdf")


def files(count: int) -> list[dict[str, str]]:
    return [{"path": "https://x.example/a"}] * count


#: SendGrid takes the data once per hidden recipient.
HIDDEN = {
    "to": [],
    "bcc": [f"a{n}@b.example" for n in range(MAX_RECIPIENTS)],
    "sendGrid": {"templateId": "d-1", "dynamicTemplateData": {"text": "x" * 20_000}},
    "message": MESSAGE,
}

#: The mails that are not sent, by document and encoding.
REFUSED = {("raw", "sendgrid")}

DOCUMENTS: dict[str, tuple[dict[str, Any], Callable[[], WebFiles]]] = {
    name: (document, lambda sizes=sizes: WebFiles(*sizes))  # type: ignore[misc]
    for name, document, sizes in [
        ("text", {"message": MESSAGE | {"text": "x" * 900_000}}, ()),
        ("empty lines", {"message": MESSAGE | {"text": "\n" * 900_000}}, ()),
        ("two bytes", {"message": MESSAGE | {"text": "é" * 450_000, "html": "é" * 10}}, ()),
        ("four bytes", {"message": MESSAGE | {"html": "\U0001f600" * 225_000}}, ()),
        ("calendar", {"message": MESSAGE | {"icalEvent": "\n" * 900_000}}, ()),
        ("raw", {"message": MESSAGE | {"attachments": [{"raw": "\n" * 900_000}]}}, ()),
        ("headers", {"headers": {f"X-{n}": "é" for n in range(10_000)}, "message": MESSAGE}, ()),
        ("a long header", {"headers": {"X": "é a " * 24_000}, "message": MESSAGE | {"text": "x" * 600_000}}, ()),
        ("recipients", {"to": [f"N{n} <a{n}@b.example>" for n in range(MAX_RECIPIENTS)], "message": MESSAGE}, ()),
        ("hidden recipients", HIDDEN, ()),
        ("data URL", {"message": MESSAGE | {"attachments": [{"path": "data:," + "%41" * 300_000}]}}, ()),
        ("one file", {"message": MESSAGE | {"attachments": files(1)}}, (25 * MIB,)),
        ("many files", {"message": MESSAGE | {"attachments": files(10)}}, (2 * MIB,) * 10),
    ]
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("transport", ["smtp", "sendgrid"])
def test_the_reservation_covers_the_peak(name: str, transport: str) -> None:
    document, fetch = DOCUMENTS[name]
    compose = COMPOSER if transport == "smtp" else replace(COMPOSER, encode=encode_sendgrid_request)
    room, kept, is_refused = Room(), 0, False
    tracemalloc.start()
    try:
        try:
            mail = compose(
                {"to": "ada@example.com", **document},
                seed="s",
                now=datetime(2026, 1, 1, tzinfo=UTC),
                fetch=fetch(),
                room=room,
            )
            kept = len(mail.data)
            for _ in as_data(mail.data):
                pass
        except NotSendable:
            is_refused = True
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert is_refused is ((name, transport) in REFUSED)
    assert peak <= max(room.taken) + BASE
    assert kept <= room.taken[-1] <= max(room.taken)


def test_a_mail_with_small_files_reserves_little_and_keeps_less() -> None:
    room = Room()
    COMPOSER(
        {"to": "ada@example.com", "message": MESSAGE | {"attachments": files(2)}},
        seed="s",
        now=datetime(2026, 1, 1, tzinfo=UTC),
        fetch=WebFiles(10 * 1024, 10 * 1024),
        room=room,
    )
    assert max(room.taken) < 4 * MIB
    assert room.taken[-1] < 64 * 1024


def test_a_mail_that_can_never_fit_ends_with_an_error_that_says_so() -> None:
    def fetch(source: WebFile | StoredObject, limit: int, announce: Announce) -> Fetched:
        assert limit < 6 * MIB
        return Fetched(b"x" * (limit + 1))

    with pytest.raises(DeliveryFailed, match="at most 5 MB in all, for which this sender has the memory"):
        COMPOSER(
            {"to": "ada@example.com", "message": MESSAGE | {"attachments": files(1)}},
            seed="s",
            now=datetime(2026, 1, 1, tzinfo=UTC),
            fetch=fetch,
            room=Room(most=16 * MIB),
        )


def test_a_download_ends_when_there_is_no_room() -> None:
    class Full(Room):
        def take(self, size: int) -> None:
            if size > 10 * MIB:
                raise Deferred(1.0, "full")

    with pytest.raises(Deferred):
        COMPOSER(
            {"to": "ada@example.com", "message": MESSAGE | {"attachments": files(1)}},
            seed="s",
            now=datetime(2026, 1, 1, tzinfo=UTC),
            fetch=WebFiles(25 * MIB),
            room=Full(),
        )
