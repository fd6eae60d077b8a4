"""Mails that are sent on to real addresses; the real mail server is another inbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.inbox import Inbox
from local.mailstore import Mail, MailStore
from local.ports import free_port, listening_at
from local.release import Release
from shared.errors import FirepostError, Misconfigured

DATA = b"Subject: Hello\r\n\r\n.dot\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Inbox]:
    server = Inbox(MailStore(tmp_path / "real"), listening_at(0, ""))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mail(tmp_path: Path) -> Mail:
    return MailStore(tmp_path / "mails").keep("shop@example.com", ["test@example.com"], DATA)


def test_a_mail_is_sent_unchanged_to_the_given_addresses(server: Inbox, mail: Mail) -> None:
    assert Release(server.uri).send(mail, ["ada@example.com"]) == "250 2.0.0 Ok: kept as mail 1"
    (arrived,) = server.store.mails()
    assert (arrived.sender, arrived.recipients, arrived.data) == ("shop@example.com", ("ada@example.com",), DATA)


def test_a_refusal_is_explained(server: Inbox, mail: Mail) -> None:
    with pytest.raises(FirepostError, match=r"550 5\.1\.1"):
        Release(server.uri).send(mail, ["refuse@example.com"])


def test_a_server_that_is_not_there_is_named(mail: Mail) -> None:
    port = free_port()
    with pytest.raises(FirepostError, match=f"127.0.0.1:{port}"):
        Release(f"smtp://127.0.0.1:{port}").send(mail, ["ada@example.com"])


def test_a_wrong_uri_is_refused_at_the_start() -> None:
    with pytest.raises(Misconfigured):
        Release("mail.example.com")
