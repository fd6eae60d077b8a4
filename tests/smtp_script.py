"""The rules and actions with which a test scripts the SMTP server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.smtp_server import Session


class Hangup(Exception):
    """Close the connection without another reply."""


@dataclass
class Stall:
    """A point at which the server waits: `reached` is set when it gets there, `release` lets it continue."""

    reached: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        self._released.set()

    def act(self, session: Session) -> None:
        self.reached.set()
        session.server.wait(self._released)


@dataclass
class Rule:
    """What the server does at an event, before or instead of the usual reply. Its stalls are added to `stalls`."""

    event: str
    text: str
    nth: int | None
    nth_in_session: int | None
    session: int | None
    stalls: list[Stall]
    actions: list[Callable[[Session], None]] = field(default_factory=list)
    replies: bool = False

    def reply(self, *lines: str) -> Self:
        """Answer with these lines instead of the usual reply."""
        self.replies = True
        return self._then(lambda session: session.reply(*lines))

    def drip(self, seconds: float, *lines: str) -> Self:
        """Answer with these lines, one byte every `seconds`."""
        self.replies = True
        return self._then(lambda session: session.drip(seconds, lines))

    def babble(self, seconds: float, line: str) -> Self:
        """Repeat the same line every `seconds` for as long as the client is connected."""
        self.replies = True
        return self._then(lambda session: session.babble(seconds, line))

    def pause(self, seconds: float) -> Self:
        return self._then(lambda session: session.server.pause(seconds))

    def stall(self) -> Stall:
        """Wait until the test releases the stall."""
        stall = Stall()
        self.stalls.append(stall)
        self._then(stall.act)
        return stall

    def drop(self) -> None:
        """Close the connection; further actions are ignored."""

        def act(session: Session) -> None:
            raise Hangup

        self._then(act)

    def reset(self) -> None:
        """Close the connection with a RST; further actions are ignored."""

        def act(session: Session) -> None:
            session.resets_at_end()
            raise Hangup

        self._then(act)

    def matches(self, event: str, text: str, nth: int, nth_in_session: int, session: int) -> bool:
        return (
            self.event == event
            and self.text.lower() in text.lower()
            and self.nth in (None, nth)
            and self.nth_in_session in (None, nth_in_session)
            and self.session in (None, session)
        )

    def _then(self, action: Callable[[Session], None]) -> Self:
        self.actions.append(action)
        return self
