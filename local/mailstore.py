"""The mails that the inbox has received: their content in files, what lists and searches need in memory.

A mail is a file, `17.eml`, as it was received. Where mails shall be there for another store, too, there is a second
one, `17.json`, with the envelope and the summary. It is written last: a mail without it was not accepted.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.errors import PartFailed
from local.mailview import MailView, parse_mail

#: The oldest mails go when there are more mails, or more bytes of them.
KEPT_MAILS = 500
KEPT_BYTES = 1024**3

#: The mails that were parsed last stay parsed: a page asks for several parts of one.
PARSED_MAILS = 4

#: Characters of the text that searches look at, and of each header in a summary.
SEARCHED_CHARACTERS = 20_000
LONGEST_HEADER = 2_000

_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, slots=True)
class Mail:
    """One accepted mail: its SMTP envelope and its summary. `received` is in UTC.

    `sender` and `recipients` are the envelope's, `from_`, `to`, `cc`, `reply_to` and `message_id` are headers. `text`
    is the beginning of the text, `attachments` the number of other parts, and `file` has the content.
    """

    number: int
    received: datetime
    sender: str
    recipients: tuple[str, ...]
    size: int
    subject: str
    from_: str
    to: str
    cc: str
    reply_to: str
    message_id: str
    text: str
    attachments: int
    file: Path

    @property
    def data(self) -> bytes:
        """The message with CRLF line ends. Raises `FileNotFoundError` if it was deleted meanwhile."""
        return self.file.read_bytes()


#: Says whether a mail is one of those asked for.
Wanted = Callable[[Mail], bool]


def wanted(to: str = "", subject: str = "", text: str = "", after: int = 0) -> Wanted:
    """Mails with a recipient (in the envelope) that is `to`, a subject that contains `subject`, and `text` anywhere.

    Upper and lower case are alike, and an empty text is in all mails. `after` leaves out mails up to that number.
    """
    address, words, anything = to.casefold().strip(), subject.casefold(), text.casefold().strip()

    def is_wanted(mail: Mail) -> bool:
        return (
            mail.number > after
            and (not address or any(address == recipient.casefold() for recipient in mail.recipients))
            and words in mail.subject.casefold()
            and (not anything or any(anything in part.casefold() for part in _searched(mail)))
        )

    return is_wanted


def _searched(mail: Mail) -> tuple[str, ...]:
    headers = (mail.subject, mail.from_, mail.to, mail.cc, mail.reply_to, mail.message_id)
    return (mail.sender, *mail.recipients, *headers, mail.text)


class MailStore:
    """The kept mails. All methods are thread-safe.

    `version` changes with every change. `dropped` is how many mails had to make room for others since the start.
    """

    def __init__(
        self, directory: Path, lasting: bool = False, most_mails: int = KEPT_MAILS, most_bytes: int = KEPT_BYTES
    ) -> None:
        """Begin with the mails that a `lasting` store has left in `directory`, which is created if there is none.

        Raises `PartFailed` if something else is there.
        """
        self.version = 0
        self.dropped = 0
        self._directory = directory
        self._lasting = lasting
        self._most_mails = most_mails
        self._most_bytes = most_bytes
        self._changed = threading.Condition()  # with a reentrant lock
        self._views: OrderedDict[int, MailView] = OrderedDict()
        directory.mkdir(parents=True, exist_ok=True)
        found = sorted((_load(file) for file in directory.glob("*.json")), key=lambda each: each[0].number)
        self._mails = {mail.number: mail for mail, _ in found}
        self._unread = {mail.number for mail, unread in found if unread}
        self._last = max(self._mails, default=0)
        self._bytes = sum(mail.size for mail in self._mails.values())

    def mails(self) -> list[Mail]:
        """The kept mails, oldest first."""
        with self._changed:
            return list(self._mails.values())

    def unread(self) -> frozenset[int]:
        """The numbers of the mails that nobody has opened yet."""
        with self._changed:
            return frozenset(self._unread)

    def find(self, number: int) -> Mail | None:
        """The mail with that number, if it is still kept."""
        with self._changed:
            return self._mails.get(number)

    def view(self, mail: Mail) -> MailView:
        """The mail's parts. Raises `FileNotFoundError` if it was deleted meanwhile."""
        with self._changed:
            known = self._views.get(mail.number)
        return known or self._remember(mail.number, parse_mail(mail.data))

    def wait(self, is_wanted: Wanted, seconds: float) -> list[Mail]:
        """The mails that are wanted, oldest first, as soon as there is one; empty if there is none after `seconds`."""
        end = time.monotonic() + seconds
        with self._changed:
            while not (found := [mail for mail in self._mails.values() if is_wanted(mail)]):
                left = end - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            return found or [mail for mail in self._mails.values() if is_wanted(mail)]

    def keep(self, sender: str, recipients: Sequence[str], data: bytes) -> Mail:
        """Add a mail, dropping the oldest if there are too many. Bytes of an address that are not UTF-8 are escaped.

        Raises `OSError` if it can't be written.
        """
        legible = [text.encode("utf-8", "backslashreplace").decode() for text in (sender, *recipients)]
        view = parse_mail(data)
        with self._changed:
            number = self._last + 1
            file = self._directory / f"{number}.eml"
            mail = Mail(
                number, datetime.now(UTC), legible[0], tuple(legible[1:]), len(data), **_summary(view), file=file
            )
            file.write_bytes(data)
            self._save(mail, unread=True)
            self._last = number
            self._mails[number] = mail
            self._bytes += mail.size
            self._unread.add(number)
            self._make_room()
            self._remember(number, view)
            self._change()
        return mail

    def mark_read(self, number: int) -> None:
        """Remember that somebody has opened the mail."""
        with self._changed:
            mail = self._mails.get(number)
            if mail is not None and number in self._unread:
                self._save(mail, unread=False)
                self._unread.discard(number)
                self._change()

    def delete(self, number: int) -> bool:
        """Delete a mail; returns whether there was one."""
        with self._changed:
            existed = self._remove(number)
            self._change()
        return existed

    def clear(self) -> None:
        """Delete all mails."""
        with self._changed:
            for number in list(self._mails):
                self._remove(number)
            self._change()

    def _remember(self, number: int, view: MailView) -> MailView:
        with self._changed:
            self._views[number] = view
            self._views.move_to_end(number)
            while len(self._views) > PARSED_MAILS:
                self._views.popitem(last=False)
        return view

    def _make_room(self) -> None:
        while len(self._mails) > 1 and (len(self._mails) > self._most_mails or self._bytes > self._most_bytes):
            self._remove(next(iter(self._mails)))
            self.dropped += 1

    def _remove(self, number: int) -> bool:
        mail = self._mails.pop(number, None)
        if mail is None:
            return False
        self._unread.discard(number)
        self._views.pop(number, None)
        self._bytes -= mail.size
        for file in (mail.file.with_suffix(".json"), mail.file):  # in this order: see above
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
        return True

    def _save(self, mail: Mail, unread: bool) -> None:
        """Write the `.json` of a mail, in one step, unless this store ends with the process."""
        if self._lasting:
            values = {name: getattr(mail, name) for name in _SAVED}
            values |= {"received": mail.received.isoformat(), "unread": unread}
            draft = mail.file.with_suffix(".draft")
            draft.write_text(json.dumps(values), encoding="utf-8")
            draft.replace(mail.file.with_suffix(".json"))

    def _change(self) -> None:
        self.version += 1
        self._changed.notify_all()


def _summary(view: MailView) -> dict[str, Any]:
    headers = {
        "subject": "Subject",
        "from_": "From",
        "to": "To",
        "cc": "Cc",
        "reply_to": "Reply-To",
        "message_id": "Message-ID",
    }
    text = view.text if view.text is not None else _TAG.sub(" ", (view.html or "")[: 2 * SEARCHED_CHARACTERS])
    return {
        **{field: view.header(name)[:LONGEST_HEADER] for field, name in headers.items()},
        "text": text[:SEARCHED_CHARACTERS],
        "attachments": len(view.attachments),
    }


#: All but the file, whose place may be another one the next time.
_SAVED = tuple(field.name for field in fields(Mail) if field.name != "file")


def _load(file: Path) -> tuple[Mail, bool]:
    """The mail of a `.json` that a store has written, and whether it is unread. Raises `PartFailed`."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        known = {name: values[name] for name in _SAVED}
        received, recipients = datetime.fromisoformat(values["received"]), tuple(values["recipients"])
        known |= {"received": received, "recipients": recipients, "file": file.with_suffix(".eml")}
        return Mail(**known), bool(values["unread"])
    except (ValueError, KeyError, TypeError) as error:
        raise PartFailed(f"{file} can't be restored: {type(error).__name__}: {error}") from error
