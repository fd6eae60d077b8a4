"""Keeps SMTP connections open between mails."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from sender.transport.smtp.connection import SmtpConnection


@dataclass(frozen=True, slots=True)
class KeepOpen:
    """How long a connection is used: seconds since it was opened, seconds without a mail, number of mails.

    Servers close sessions after many mails, or after minutes of inactivity (Amazon SES: ten seconds). Closing first
    avoids having to reconnect in the middle of a mail.
    """

    max_age: float = 600.0
    max_idle: float = 8.0
    max_mails: int = 250


class IdleConnections:
    """The open connections that are not in use. Thread-safe.

    The most recently used one is taken first, so that surplus connections become idle and are closed.
    """

    def __init__(self, rules: KeepOpen) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._idle: list[tuple[SmtpConnection, float]] = []
        self._closed = False

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, now: float) -> SmtpConnection | None:
        """Take a connection that is still good at `now` (monotonic seconds); None if there is none.

        A connection that the server has closed, or on which it has sent anything (such as a goodbye), is discarded.
        """
        while (connection := self._take_fresh(now)) is not None:
            if connection.is_silent:
                return connection
        return None

    def _take_fresh(self, now: float) -> SmtpConnection | None:
        with self._lock:
            good = [(connection, since) for connection, since in self._idle if self._is_good(connection, since, now)]
            retired = [entry for entry in self._idle if entry not in good]
            taken = good.pop()[0] if good else None
            self._idle = good
        for connection, _ in retired:
            _retire(connection)
        return taken

    def put(self, connection: SmtpConnection, now: float) -> None:
        """Keep a connection for later if it is still good; close it otherwise."""
        with self._lock:
            if keep := not self._closed and connection.usable and self._is_good(connection, now, now):
                self._idle.append((connection, now))
        if not keep:
            _retire(connection)

    def close(self) -> None:
        """Close all idle connections, and those in use when they are put back."""
        with self._lock:
            self._closed = True
            retired, self._idle = self._idle, []
        for connection, _ in retired:
            _retire(connection)

    def _is_good(self, connection: SmtpConnection, since: float, now: float) -> bool:
        rules = self._rules
        return (
            connection.mails < rules.max_mails
            and now - connection.opened_at < rules.max_age
            and now - since < rules.max_idle
        )


def _retire(connection: SmtpConnection) -> None:
    # In the middle of a mail, or out of step, the server could misread QUIT.
    if connection.usable:
        connection.quit()
    else:
        connection.close()
