"""The mails that people and programs look at: found by number, read, and parsed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import abort

from local.mailstore import Mail, MailStore
from local.mailview import MailView

_T = TypeVar("_T")


class OpenedMails:
    """Looks into a store. What is missing is answered 404."""

    def __init__(self, store: MailStore) -> None:
        self.store = store

    def mail(self, number: int) -> Mail:
        """The mail with that number."""
        return self.store.find(number) or abort(404, f"Mail {number} is not (or no longer) here.")

    def content(self, number: int) -> bytes:
        """The message as it was received."""
        return self._read(number, lambda mail: mail.data)

    def view(self, number: int) -> MailView:
        """The message, parsed."""
        return self._read(number, self.store.view)

    def is_unread(self, number: int) -> bool:
        """Whether nobody has opened it yet."""
        return number in self.store.unread()

    def _read(self, number: int, read: Callable[[Mail], _T]) -> _T:
        try:
            return read(self.mail(number))
        except FileNotFoundError:
            abort(404, f"Mail {number} is no longer here.")
