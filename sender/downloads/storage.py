"""Reads objects from Cloud Storage with the sender's own service account.

https://cloud.google.com/storage/docs/json_api/v1/objects/get
"""

from __future__ import annotations

import functools
from urllib.parse import quote

import google.auth.credentials
import google.auth.transport
from google.auth.exceptions import GoogleAuthError

from sender.document.attachments import StoredObject
from sender.downloads.source import Announce, CannotFetch, Fetched, WebFile, announce_nothing
from sender.downloads.web import WebDownloads, clean_name
from shared.deadline import Deadline

SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
ENDPOINT = "https://storage.googleapis.com"


class StorageDownloads:
    """Reads objects from the allowed buckets; the service account needs `storage.objects.get` on them."""

    def __init__(
        self,
        buckets: frozenset[str],
        credentials: google.auth.credentials.Credentials,
        request: google.auth.transport.Request,
        web: WebDownloads,
        endpoint: str = ENDPOINT,
    ) -> None:
        """`request` renews tokens. `web` must allow private addresses: Cloud Storage may be at one."""
        self._buckets = buckets
        self._credentials = credentials
        self._request = request
        self._web = web
        self._endpoint = endpoint

    def fetch(
        self, stored: StoredObject, limit: int, deadline: Deadline, announce: Announce = announce_nothing
    ) -> Fetched:
        """Fetch the object; limits and errors are those of `WebDownloads.fetch`."""
        if stored.bucket not in self._buckets:
            raise CannotFetch("another bucket", "an object in a bucket in ATTACHMENT_BUCKETS")
        url = object_url(self._endpoint, stored)
        file = WebFile(url, tuple(self._headers(url, deadline).items()))
        fetched = self._web.fetch(file, limit, deadline, announce)
        return Fetched(fetched.content, fetched.media_type, clean_name(stored.name))

    def _headers(self, url: str, deadline: Deadline) -> dict[str, str]:
        headers: dict[str, str] = {}
        request = functools.partial(self._request, timeout=max(0.1, deadline.remaining()))
        try:
            self._credentials.before_request(request, "GET", url, headers)
        except GoogleAuthError as error:
            raise CannotFetch("no access token for Cloud Storage", transient=error.retryable) from error
        return headers


def object_url(endpoint: str, stored: StoredObject) -> str:
    """The URL of the object's content."""
    generation = "" if stored.generation is None else f"&generation={stored.generation}"
    bucket, name = quote(stored.bucket, safe=""), quote(stored.name, safe="")
    return f"{endpoint}/storage/v1/b/{bucket}/o/{name}?alt=media{generation}"
