"""The SMTP inbox, over real sockets."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from local.inbox import Inbox, InboxFault, refusal
from local.mailstore import MailStore
from local.ports import listening_at
from tests.patience import patience

MAIL = b"Subject: Hello\r\n\r\n.A line that begins with a dot\r\n"


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(MailStore(tmp_path), listening_at(0, ""))
    inbox.start()
    yield inbox
    inbox.stop()


def client(inbox: Inbox) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", inbox.port, timeout=patience(5))


def test_a_mail_is_kept_as_it_was_sent(inbox: Inbox) -> None:
    with client(inbox) as smtp:
        smtp.sendmail("ada@example.com", ["grace@example.com", "alan@example.com"], MAIL)
    (mail,) = inbox.store.mails()
    assert (mail.number, mail.sender, mail.data) == (1, "ada@example.com", MAIL)
    assert mail.recipients == ("grace@example.com", "alan@example.com")


def test_addresses_and_texts_beyond_ascii_are_taken(inbox: Inbox) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "jörg@example.com", "zoë@example.com", "Grüße"
    message.set_content("Schöne Grüße", cte="8bit")
    with client(inbox) as smtp:
        smtp.send_message(message)
    assert inbox.store.mails()[0].recipients == ("zoë@example.com",)


@pytest.mark.parametrize("method", ["POST", "post", "GET", "HEAD"])
def test_a_web_page_can_not_pass_mail_through_a_browser(inbox: Inbox, method: str) -> None:
    dialogue = "EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n\r\nx\r\n.\r\n"
    with socket.create_connection(("127.0.0.1", inbox.port), timeout=patience(5)) as browser:
        browser.sendall(f"{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n{dialogue}".encode())
        with browser.makefile("rb") as replies, contextlib.suppress(ConnectionResetError):
            assert [line[:3] for line in replies] == [b"220", b"554"]
    assert inbox.store.mails() == []


@pytest.mark.parametrize(
    ("recipient", "code"),
    [
        pytest.param("refuse@example.com", 550, id="permanently refused"),
        pytest.param("Refuse-me@example.com", 550, id="any case, with a suffix"),
        pytest.param("later@example.com", 450, id="refused for now"),
        pytest.param("ada@example.com", None, id="all others are accepted"),
        pytest.param("ada@later.example.com", None, id="the domain does not matter"),
    ],
)
def test_magic_recipients_are_refused(recipient: str, code: int | None) -> None:
    reply = refusal(recipient)
    assert (reply and int(reply[:3])) == code


def test_one_refused_recipient_does_not_refuse_the_mail(inbox: Inbox) -> None:
    with client(inbox) as smtp:
        refused = smtp.sendmail("ada@example.com", ["refuse@example.com", "grace@example.com"], MAIL)
    assert refused["refuse@example.com"][0] == 550
    assert inbox.store.mails()[0].recipients == ("grace@example.com",)


def test_a_stopped_inbox_closes_connections_and_restarts_on_the_same_port(inbox: Inbox) -> None:
    smtp = client(inbox)
    smtp.ehlo()
    inbox.stop()
    with pytest.raises(smtplib.SMTPServerDisconnected):
        smtp.noop()
    smtp.close()
    with pytest.raises(ConnectionRefusedError):
        client(inbox)
    inbox.start()
    with client(inbox) as again:
        assert again.noop()[0] == 250


def sent_with(inbox: Inbox, fault: InboxFault, delay: float = 0.0) -> str:
    """What a client sees that sends a mail with this fault: `sent`, the code of a refusal, or `lost`."""
    inbox.set_fault(fault, delay)
    try:
        with client(inbox) as smtp:
            smtp.sendmail("ada@example.com", ["grace@example.com"], MAIL)
    except smtplib.SMTPRecipientsRefused as error:
        return str(error.recipients["grace@example.com"][0])
    except (smtplib.SMTPServerDisconnected, ConnectionRefusedError):
        return "lost"
    return "sent"


@pytest.mark.parametrize(
    ("fault", "seen", "kept"),
    [
        (InboxFault.NONE, "sent", 1),
        (InboxFault.REFUSE, "550", 0),
        (InboxFault.LATER, "450", 0),
        (InboxFault.DELAY, "sent", 1),
        (InboxFault.DROP, "lost", 0),
        (InboxFault.LOSE_REPLY, "lost", 1),
        (InboxFault.DOWN, "lost", 0),
    ],
)
def test_faults_on_demand_end_when_they_are_switched_off(inbox: Inbox, fault: InboxFault, seen: str, kept: int) -> None:
    assert sent_with(inbox, fault, delay=0.01) == seen
    assert len(inbox.store.mails()) == kept
    assert sent_with(inbox, InboxFault.NONE) == "sent"


def test_a_late_answer_is_late(inbox: Inbox) -> None:
    began = time.monotonic()
    assert sent_with(inbox, InboxFault.DELAY, delay=0.3) == "sent"
    assert time.monotonic() - began >= 0.3


def test_a_mail_that_can_not_be_kept_is_put_off(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inbox.store, "keep", fail)
    with client(inbox) as smtp, pytest.raises(smtplib.SMTPDataError) as refused:
        smtp.sendmail("ada@example.com", ["grace@example.com"], MAIL)
    assert refused.value.smtp_code == 452


def test_a_mail_has_a_limited_number_of_recipients(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.inbox.MAX_RECIPIENTS", 2)
    with client(inbox) as smtp:
        refused = smtp.sendmail("ada@example.com", [f"{number}@example.com" for number in range(3)], MAIL)
    assert [code for code, _ in refused.values()] == [452]
    assert len(inbox.store.mails()[0].recipients) == 2
