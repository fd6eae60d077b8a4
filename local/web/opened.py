"""The mails that people and programs look at: found by number, read, and parsed."""

from __future__ import annotations

from functools import lru_cache

from flask import abort

from local.mailstore import Mail, MailStore
from local.mailview import MailView, parse_mail

#: Parsed mails that are remembered: a page asks for several parts of one.
REMEMBERED = 4


class OpenedMails:
    """Looks into a store. What is missing is answered 404."""

    def __init__(self, store: MailStore) -> None:
        self.store = store
        self._parsed = lru_cache(REMEMBERED)(lambda number: parse_mail(self.content(number)))

    def mail(self, number: int) -> Mail:
        """The mail with that number."""
        return self.store.find(number) or abort(404, f"Mail {number} is not (or no longer) here.")

    def content(self, number: int) -> bytes:
        """The message as it was received."""
        try:
            return self.mail(number).data
        except FileNotFoundError:
            abort(404, f"Mail {number} is no longer here.")

    def view(self, number: int) -> MailView:
        """The message, parsed."""
        self.mail(number)
        return self._parsed(number)

    def is_unread(self, number: int) -> bool:
        """Whether nobody has opened it yet."""
        return number in self.store.unread()
