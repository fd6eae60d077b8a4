"""Fetches the files of one mail from the sources that the settings allow, within a share of the attempt's time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import google.auth
from google.auth.exceptions import DefaultCredentialsError
from google.auth.transport.requests import Request

from sender.document.attachments import StoredObject
from sender.downloads.guard import Hosts
from sender.downloads.source import Announce, Fetch, Fetched, WebFile, fetch_nothing
from sender.downloads.storage import SCOPE, StorageDownloads
from sender.downloads.web import WebDownloads
from sender.net.dial import resolve
from shared.deadline import Deadline
from shared.errors import Misconfigured

#: The share of an attempt's remaining time for all its downloads together; the rest is for the mail server.
SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Downloads:
    """The allowed sources of files; None if switched off."""

    web: WebDownloads | None = None
    storage: StorageDownloads | None = None

    @classmethod
    def configured(cls, hosts: str, buckets: str) -> Self:
        """From ATTACHMENT_HOSTS (`*`, `none`, or host names) and ATTACHMENT_BUCKETS (names, or empty).

        Lists are comma-separated. With buckets, it loads Google credentials, which may call the metadata server. Raises
        `Misconfigured`.
        """
        web = None if hosts.strip().lower() == "none" else WebDownloads(Hosts.parse(hosts))
        names = frozenset(part.strip() for part in buckets.split(",") if part.strip())
        return cls(web, _storage(names) if names else None)

    def for_attempt(self, deadline: Deadline) -> Fetch:
        """The `Fetch` for a mail whose attempt ends at `deadline`."""
        until = deadline.within(deadline.remaining() * SHARE)

        def fetch(source: WebFile | StoredObject, limit: int, announce: Announce) -> Fetched:
            if isinstance(source, WebFile) and self.web:
                return self.web.fetch(source, limit, until, announce)
            if isinstance(source, StoredObject) and self.storage:
                return self.storage.fetch(source, limit, until, announce)
            return fetch_nothing(source, limit, announce)

        return fetch


def _storage(buckets: frozenset[str]) -> StorageDownloads:
    for name in buckets:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", name):
            raise Misconfigured("ATTACHMENT_BUCKETS: expected names of buckets, separated by commas")
    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except DefaultCredentialsError as error:
        text = "ATTACHMENT_BUCKETS needs Google credentials (a service account, or GOOGLE_APPLICATION_CREDENTIALS)"
        raise Misconfigured(text) from error
    return StorageDownloads(buckets, credentials, Request(), WebDownloads(Hosts(None), resolve=resolve))
