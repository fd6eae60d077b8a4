"""What is to be fetched, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sender.document.attachments import StoredObject


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file behind a URL; the headers (ASCII) go to the URL's own site only, not where it redirects to."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file's content; type and name are what the server and the URL say, if they say anything of use."""

    content: bytes
    media_type: str | None = None
    filename: str | None = None


class CannotFetch(Exception):
    """There is no file to be had. `found` and `expected` are for the error about the document's field.

    `passing` says that it may be had later.
    """

    def __init__(self, found: str, expected: str = "a file that can be downloaded", *, passing: bool = False) -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.passing = passing


#: Fetches a file of at most so many bytes, or raises `CannotFetch`. Whose time is limited has been told so before.
Fetch = Callable[[WebFile | StoredObject, int], Fetched]


def fetch_nothing(source: WebFile | StoredObject, limit: int) -> Fetched:
    """The `Fetch` where nothing may be fetched."""
    if isinstance(source, StoredObject):
        raise CannotFetch("an object in Cloud Storage, with no bucket in ATTACHMENT_BUCKETS", "another source")
    expected = "a 'data:' URL, or 'content' in its place"
    raise CannotFetch("a https: URL, and downloads are switched off (ATTACHMENT_HOSTS)", expected)
