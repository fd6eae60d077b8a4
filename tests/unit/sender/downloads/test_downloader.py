from __future__ import annotations

import json
from pathlib import Path

import pytest

from sender.document.attachments import StoredObject
from sender.downloads.downloader import Downloads
from sender.downloads.source import CannotFetch, WebFile, announce_nothing
from shared.deadline import Deadline
from shared.errors import Misconfigured

IDENTITY = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}


def refused(downloads: Downloads, source: WebFile | StoredObject) -> str:
    with pytest.raises(CannotFetch) as caught:
        downloads.for_attempt(Deadline.after(5))(source, 10, announce_nothing)
    return caught.value.found


def test_by_default_any_public_host_and_no_bucket_is_allowed() -> None:
    downloads = Downloads.configured("*", "")
    assert refused(downloads, WebFile("https://localhost/")) == "a host without a public address"
    assert (
        refused(downloads, StoredObject("b", "o")) == "an object in Cloud Storage, with no bucket in ATTACHMENT_BUCKETS"
    )


def test_hosts_can_be_listed() -> None:
    assert refused(Downloads.configured("cdn.example.com", ""), WebFile("https://localhost/")) == "another host"


def test_downloads_can_be_switched_off() -> None:
    found = refused(Downloads.configured("none", ""), WebFile("https://localhost/"))
    assert found == "a https: URL, and downloads are switched off (ATTACHMENT_HOSTS)"


def test_buckets_can_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "identity.json").write_text(json.dumps(IDENTITY))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "identity.json"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "shop")
    downloads = Downloads.configured("*", "invoices, reports")
    assert refused(downloads, StoredObject("secrets", "o")) == "another bucket"


@pytest.mark.parametrize(
    ("buckets", "error"),
    [
        pytest.param("invoices", "ATTACHMENT_BUCKETS needs Google credentials", id="no identity"),
        pytest.param("gs://invoices", "expected names of buckets, separated by commas", id="not a name"),
    ],
)
def test_misconfigured_buckets_prevent_the_start(buckets: str, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/does/not/exist.json")
    with pytest.raises(Misconfigured, match=error):
        Downloads.configured("*", buckets)
