"""The kept mails: limits, searches, waiting, and what is still there after a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from local.errors import PartFailed
from local.mailstore import PARSED_MAILS, Mail, MailStore, wanted
from local.mailview import MailView, parse_mail
from tests.patience import patience

MAIL = b"Subject: Hello\r\n\r\nText.\r\n"


def message(subject: str, text: str, html: str = "") -> bytes:
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = subject, "Shop <shop@example.com>", "Ada <ada@example.com>"
    made["Reply-To"], made["Message-ID"] = "help@example.com", "<1@example.com>"
    made.set_content(text)
    if html:
        made.add_alternative(html, subtype="html")
        made.add_attachment(b"%PDF", "application", "pdf", filename="bill.pdf")
    return made.as_bytes()


@pytest.fixture
def store(tmp_path: Path) -> MailStore:
    return MailStore(tmp_path / "mails", lasting=True, most_mails=3, most_bytes=1000)


def keep(store: MailStore, data: bytes = MAIL, *recipients: str) -> Mail:
    return store.keep("bounce@example.com", recipients or ("ada@example.com",), data)


def numbers(store: MailStore) -> list[int]:
    return [mail.number for mail in store.mails()]


def test_a_mail_has_its_summary_and_its_bytes(store: MailStore) -> None:
    mail = keep(store, data := message("Grüße", "Hello.", "<p>Hello.</p>"))
    assert (mail.subject, mail.from_, mail.to) == ("Grüße", "Shop <shop@example.com>", "Ada <ada@example.com>")
    assert (mail.reply_to, mail.message_id, mail.text) == ("help@example.com", "<1@example.com>", "Hello.\n")
    assert (mail.attachments, mail.size, mail.data) == (1, len(data), data)


def noting(parsed: list[bytes]) -> Callable[[bytes], MailView]:
    """Parses, and notes what."""

    def parse(data: bytes) -> MailView:
        parsed.append(data)
        return parse_mail(data)

    return parse


def test_a_mail_is_parsed_once_when_it_arrives(store: MailStore, monkeypatch: pytest.MonkeyPatch) -> None:
    mail = keep(store)
    parsed: list[bytes] = []
    monkeypatch.setattr("local.mailstore.parse_mail", noting(parsed))
    assert store.view(mail).header("Subject") == "Hello"
    assert parsed == []


def test_few_mails_stay_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, parsed = MailStore(tmp_path), list[bytes]()
    mails = [keep(store) for _ in range(PARSED_MAILS + 1)]
    monkeypatch.setattr("local.mailstore.parse_mail", noting(parsed))
    for mail in (*mails, *mails[1:]):
        store.view(mail)
    assert parsed == [MAIL] * (1 + PARSED_MAILS)
    store.delete(5)
    with pytest.raises(FileNotFoundError):
        store.view(mails[4])


def test_a_summary_is_small_whatever_the_mail_is(store: MailStore) -> None:
    data = b"Subject: " + b"s" * 500_000 + b"\r\nTo: " + b"a@b.c, " * 100_000 + b"\r\n\r\n" + b"text " * 100_000
    mail = keep(store, data)
    assert sum(map(len, (mail.subject, mail.to, mail.text))) < 30_000
    assert mail.data == data


def test_the_oldest_make_room_and_numbers_are_never_used_again(store: MailStore) -> None:
    for _ in range(4):
        keep(store)
    assert (numbers(store), store.dropped) == ([2, 3, 4], 1)
    keep(store, b"x" * 990)
    assert (numbers(store), store.dropped) == ([5], 4)
    store.clear()
    assert keep(store).number == 6


def test_the_newest_stays_whatever_its_size(store: MailStore) -> None:
    keep(store)
    keep(store, b"x" * 2000)
    assert numbers(store) == [2]


def test_no_file_remains_of_what_is_gone(store: MailStore, tmp_path: Path) -> None:
    for _ in range(4):
        keep(store)
    store.delete(3)
    assert {file.name for file in (tmp_path / "mails").iterdir()} == {"2.eml", "2.json", "4.eml", "4.json"}


def test_a_store_that_does_not_last_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    store = MailStore(tmp_path)
    mail = keep(store)
    store.mark_read(1)
    assert [file.name for file in tmp_path.iterdir()] == ["1.eml"]
    assert MailStore(tmp_path).mails() == []
    store.clear()
    with pytest.raises(FileNotFoundError):
        mail.data  # noqa: B018


def test_a_new_store_has_what_the_last_one_had(store: MailStore, tmp_path: Path) -> None:
    for _ in range(3):
        keep(store)
    store.mark_read(1)
    store.delete(2)
    (tmp_path / "mails" / "4.eml").write_bytes(b"written, but never accepted")
    again = MailStore(tmp_path / "mails")
    assert again.mails() == store.mails()
    assert again.unread() == {3}
    assert keep(again).number == 4


@pytest.mark.parametrize("text", ["no JSON", "[]", "{}"])
def test_a_file_that_is_no_mails_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "1.json").write_text(text)
    with pytest.raises(PartFailed, match=r"1\.json can't be restored"):
        MailStore(tmp_path)


def test_every_change_makes_another_version(store: MailStore) -> None:
    seen = [store.version]
    keep(store)
    keep(store)
    seen.append(store.version)
    store.mark_read(1)
    seen.append(store.version)
    store.delete(1)
    seen.append(store.version)
    store.clear()
    seen.append(store.version)
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({}, [1, 2], id="all"),
        pytest.param({"to": "Ada@Example.com "}, [1], id="a recipient, in any case"),
        pytest.param({"to": "ada@example"}, [], id="a whole address"),
        pytest.param({"to": "hidden@example.com"}, [2], id="a recipient that no header names"),
        pytest.param({"subject": "ORDER"}, [1, 2], id="part of the subject"),
        pytest.param({"subject": "order 2"}, [2], id="one subject"),
        pytest.param({"text": "second"}, [2], id="the text"),
        pytest.param({"text": "shop@"}, [1, 2], id="a header"),
        pytest.param({"after": 1}, [2], id="the newer ones"),
        pytest.param({"to": "ada@example.com", "subject": "order 2"}, [], id="all conditions"),
    ],
)
def test_mails_are_found(store: MailStore, asked: dict[str, str], expected: list[int]) -> None:
    keep(store, message("Your order 1", "The first."), "ada@example.com")
    keep(store, message("Your order 2", "The second."), "grace@example.com", "hidden@example.com")
    is_wanted = wanted(**asked)  # type: ignore[arg-type]
    assert [mail.number for mail in store.mails() if is_wanted(mail)] == expected


def test_html_without_a_text_is_searched_without_its_tags(store: MailStore) -> None:
    mail = keep(store, b"Content-Type: text/html\r\n\r\n<p class='order'>Thank <b>you</b></p>")
    assert wanted(text="thank")(mail)
    assert not wanted(text="order")(mail)


def test_waiting_ends_with_the_mail(store: MailStore) -> None:
    keep(store)
    found: list[Mail] = []
    waiter = threading.Thread(target=lambda: found.extend(store.wait(wanted(to="grace@example.com"), patience(10))))
    waiter.start()
    keep(store)
    keep(store, MAIL, "grace@example.com")
    waiter.join(patience(5))
    assert [mail.number for mail in found] == [3]


def test_waiting_ends_without_a_mail(store: MailStore) -> None:
    began = time.monotonic()
    assert store.wait(wanted(), 0.1) == []
    assert 0.1 <= time.monotonic() - began < patience(2)
