"""Following one mail until it has ended."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from cli.mail import Mail

#: Seconds between two reads.
POLL_SECONDS = 0.25


class Outcome(Enum):
    """How watching ended."""

    ENDED = auto()
    DELETED = auto()
    TIMEOUT = auto()


def follow(
    look: Callable[[], Mail | None],
    show: Callable[[Mail], None],
    seconds: float | None,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> tuple[Outcome, Mail | None]:
    """`show` the mail whenever its state or attempt changes, until it has ended or `seconds` have passed.

    A state that lasts less than `POLL_SECONDS` may be missed. If the document does not exist yet, wait for it. Returns
    the outcome, and the mail as last read. `clock` and `sleep` are in seconds.
    """
    end = None if seconds is None else clock() + seconds
    seen: Mail | None = None
    while True:
        mail = look()
        if mail is None and seen is not None:
            return Outcome.DELETED, seen
        if mail is not None and (seen is None or _step(mail) != _step(seen)):
            show(mail)
        seen = mail
        if mail is not None and mail.ended:
            return Outcome.ENDED, mail
        if end is not None and clock() >= end:
            return Outcome.TIMEOUT, mail
        sleep(POLL_SECONDS)


def _step(mail: Mail) -> tuple[object, ...]:
    delivery = mail.delivery or {}
    return mail.state, delivery.get("attempts"), delivery.get("nextAttemptTime")
