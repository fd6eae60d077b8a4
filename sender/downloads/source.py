"""Sources and results of downloads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sender.document.attachments import StoredObject


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file at a URL; the headers (ASCII) are sent to that URL's host and port only, not to redirect targets."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file's content, with the type and name that the server or the URL gives, if any."""

    content: bytes
    media_type: str | None = None
    filename: str | None = None


class CannotFetch(Exception):
    """The file can't be fetched. `found` and `expected` complete the error about the document's field.

    `transient` is true if a later attempt may succeed.
    """

    def __init__(self, found: str, expected: str = "a file that can be downloaded", *, transient: bool = False) -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.transient = transient


#: Called with the size of a file, as soon as it is known, or with that of the part that has arrived so far. Whoever
#: counts memory may raise an error, which ends the download.
Announce = Callable[[int], None]

#: Fetches a file of at most the given number of bytes, or raises `CannotFetch`. The deadline is already bound.
Fetch = Callable[[WebFile | StoredObject, int, Announce], Fetched]


def announce_nothing(size: int) -> None:
    """The `Announce` that does nothing."""


def fetch_nothing(source: WebFile | StoredObject, limit: int, announce: Announce) -> Fetched:
    """The `Fetch` that refuses every source."""
    if isinstance(source, StoredObject):
        raise CannotFetch("an object in Cloud Storage, with no bucket in ATTACHMENT_BUCKETS", "another source")
    expected = "a 'data:' URL, or 'content' in its place"
    raise CannotFetch("a https: URL, and downloads are switched off (ATTACHMENT_HOSTS)", expected)
