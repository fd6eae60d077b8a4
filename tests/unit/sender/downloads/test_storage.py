from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import google.auth.credentials
import google.auth.transport
import pytest
import trustme
from google.auth.exceptions import RefreshError, TransportError

from sender.document.attachments import StoredObject
from sender.downloads.downloader import Downloads
from sender.downloads.guard import Hosts
from sender.downloads.source import Announce, CannotFetch, Fetched, announce_nothing
from sender.downloads.storage import ENDPOINT, StorageDownloads, object_url
from sender.downloads.web import WebDownloads
from sender.net.dial import resolve
from shared.deadline import Deadline
from tests.https_server import HttpsServer

AUTHORITY = trustme.CA()


class Identity(google.auth.credentials.Credentials):
    """A service account with a constant token, or whose token can't be renewed."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.error = error

    def refresh(self, request: Any) -> None:
        if self.error:
            raise self.error
        self.token = "secret"


class Unasked(google.auth.transport.Request):
    """A transport for renewing tokens, which `Identity` never uses."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        pytest.fail("tokens are not renewed in these tests")


@pytest.fixture
def server() -> Iterator[HttpsServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    with HttpsServer(context) as server:
        yield server


def storage(server: HttpsServer, error: Exception | None = None) -> StorageDownloads:
    tls = ssl.create_default_context()
    AUTHORITY.configure_trust(tls)
    web = WebDownloads(Hosts.parse("*"), tls, resolve)
    return StorageDownloads(frozenset({"invoices"}), Identity(error), Unasked(), web, server.url)


def refused(storage: StorageDownloads, stored: StoredObject) -> CannotFetch:
    with pytest.raises(CannotFetch) as caught:
        storage.fetch(stored, 1000, Deadline.after(5))
    return caught.value


def test_an_object_is_read_with_the_senders_own_credentials(server: HttpsServer) -> None:
    server.answer(200, {"Content-Type": "application/pdf"}, b"%PDF")
    fetched = storage(server).fetch(StoredObject("invoices", "2026/ä b.pdf", 17), 1000, Deadline.after(5))
    assert fetched == Fetched(b"%PDF", "application/pdf", "ä b.pdf")
    (request,) = server.requests
    assert request.path == "/storage/v1/b/invoices/o/2026%2F%C3%A4%20b.pdf?alt=media&generation=17"
    assert request.headers["authorization"] == "Bearer secret"


def test_the_live_generation_is_the_default() -> None:
    assert object_url(ENDPOINT, StoredObject("b", "o")) == "https://storage.googleapis.com/storage/v1/b/b/o/o?alt=media"


def test_another_bucket_is_refused_without_a_request(server: HttpsServer) -> None:
    error = refused(storage(server), StoredObject("secrets", "a"))
    assert (error.found, error.expected) == ("another bucket", "an object in a bucket in ATTACHMENT_BUCKETS")
    assert not server.requests


@pytest.mark.parametrize(("status", "transient"), [(404, False), (403, False), (503, True)])
def test_a_refusal_of_storage_is_transient_or_permanent_by_its_status(
    server: HttpsServer, status: int, transient: bool
) -> None:
    server.answer(status)
    error = refused(storage(server), StoredObject("invoices", "a"))
    assert (error.found, error.transient) == (f"status {status}", transient)


@pytest.mark.parametrize(
    ("error", "transient"), [(RefreshError("no", retryable=False), False), (TransportError("no", retryable=True), True)]
)
def test_without_a_token_there_is_no_request(server: HttpsServer, error: Exception, transient: bool) -> None:
    failure = refused(storage(server, error), StoredObject("invoices", "a"))
    assert (failure.found, failure.transient) == ("no access token for Cloud Storage", transient)
    assert not server.requests


def test_all_files_of_a_mail_share_half_of_the_attempts_time(server: HttpsServer) -> None:
    seen: list[float] = []

    class Storage(StorageDownloads):
        def fetch(
            self, stored: StoredObject, limit: int, deadline: Deadline, announce: Announce = announce_nothing
        ) -> Fetched:
            seen.append(deadline.at)
            return Fetched(b"")

    now = iter([100.0, 100.0, 120.0])
    downloads = Downloads(storage=Storage(frozenset(), Identity(), Unasked(), WebDownloads(Hosts(None))))
    fetch = downloads.for_attempt(Deadline(150.0, lambda: next(now)))
    fetch(StoredObject("b", "1"), 10, announce_nothing)
    fetch(StoredObject("b", "2"), 10, announce_nothing)
    assert seen == [125.0, 125.0]
