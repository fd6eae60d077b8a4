"""The faults, determined by a seed in advance: the same seed makes the same plan.

Only thread timing across five processes is not planned: two runs of one plan differ in which mails a kill hits.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DISPATCHER, SENDER_A, SENDER_B = "dispatcher", "sender-a", "sender-b"
MAIL_SERVERS = "mail servers"
#: A lane, and its sender.
LANE, SENDER_LANE = "bulk", "sender-bulk"


class Fate(StrEnum):
    """The mail server's treatment of a mail, at RCPT or after the whole mail."""

    TAKE = "taken"
    PUT_OFF = "temporarily refused (4xx)"
    REFUSE = "permanently refused (5xx)"
    THROTTLE = "throttled (421)"
    DROP = "connection dropped, mail not accepted"
    STALL = "stalled, mail not accepted"
    TAKE_AND_DROP = "mail accepted, connection dropped"
    TAKE_AND_STALL = "mail accepted, stalled"


#: Fates in which the mail server has the mail, but Firepost gets no confirmation.
UNHEARD: Final = (Fate.TAKE_AND_DROP, Fate.TAKE_AND_STALL)

#: Per mille at each step; the rest is accepted.
_AT_RCPT: Final = {Fate.PUT_OFF: 20, Fate.REFUSE: 5, Fate.THROTTLE: 5, Fate.DROP: 10, Fate.STALL: 2}
_AT_DATA: Final = {
    Fate.PUT_OFF: 10,
    Fate.REFUSE: 5,
    Fate.DROP: 10,
    Fate.STALL: 2,
    Fate.TAKE_AND_DROP: 10,
    Fate.TAKE_AND_STALL: 2,
}
_REFUSED_CONNECTIONS = 0.02

#: A process is interrupted every this many mails.
_INTERRUPTED_EVERY = 200


class Interruption(StrEnum):
    """What happens to a process; the second and third wait for the next mail that reaches that point."""

    KILL = "killed"
    KILL_AT_RCPT = "killed before the mail was handed over"
    KILL_AT_DATA = "killed after the mail server accepted the mail, before its answer"
    FREEZE = "frozen for longer than its lease"
    OUTAGE = "out"


#: Repeated in this order; a short run has the first three.
_INTERRUPTIONS: Final = (
    (SENDER_A, Interruption.KILL_AT_DATA),
    (DISPATCHER, Interruption.KILL),
    (SENDER_B, Interruption.KILL_AT_RCPT),
    (SENDER_LANE, Interruption.KILL_AT_DATA),
    (SENDER_A, Interruption.FREEZE),
    (SENDER_A, Interruption.KILL),
    (SENDER_B, Interruption.KILL_AT_DATA),
    (DISPATCHER, Interruption.KILL),
    (SENDER_B, Interruption.KILL),
    (SENDER_LANE, Interruption.KILL),
    (SENDER_A, Interruption.KILL_AT_RCPT),
    (SENDER_B, Interruption.FREEZE),
)


@dataclass(frozen=True, slots=True)
class Planned:
    """An interruption of `process`, due when `after` mails have been written."""

    after: int
    process: str
    what: Interruption


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about a run that the seed determines."""

    seed: int
    mails: int

    def recipients(self, number: int) -> tuple[str, ...]:
        """The recipients of mail `number`: two for every fifth, one for the others."""
        first = f"{number}.a@example.com"
        return (first, f"{number}.b@example.com") if number % 5 == 0 else (first,)

    def lane(self, number: int) -> str | None:
        """The lane that mail `number` names, if any: every fourth, with one recipient or two, contested or not."""
        return LANE if number % 8 in (0, 3) else None

    def at_rcpt(self, recipient: str, attempt: int) -> Fate:
        """The fate of a recipient at its RCPT number `attempt`."""
        return self._draw(f"rcpt {recipient} {attempt}", _AT_RCPT)

    def at_data(self, recipient: str, attempt: int) -> Fate:
        """The fate of a mail, identified by its first recipient, that has arrived in full."""
        return self._draw(f"data {recipient} {attempt}", _AT_DATA)

    def refuses_connection(self, whose: str, number: int) -> bool:
        """Whether a sender's connection with that number is closed at once."""
        return self._random(f"connection {whose} {number}").random() < _REFUSED_CONNECTIONS

    def interruptions(self) -> Sequence[Planned]:
        """All interruptions, in order: between the first tenth of the mails and the last; an outage in the middle."""
        count = max(3, self.mails // _INTERRUPTED_EVERY)
        chance = self._random("interruptions")
        times = sorted(int(self.mails * chance.uniform(0.1, 0.9)) for _ in range(count))
        planned = [Planned(after, *_INTERRUPTIONS[number % len(_INTERRUPTIONS)]) for number, after in enumerate(times)]
        planned.append(Planned(self.mails // 2, MAIL_SERVERS, Interruption.OUTAGE))
        return sorted(planned, key=lambda each: each.after)

    def fault_seed(self, what: str) -> int:
        """A seed for one of the backend's faults."""
        return self._random(f"fault {what}").randrange(2**32)

    def _draw(self, what: str, shares: dict[Fate, int]) -> Fate:
        fates = [Fate.TAKE, *shares]
        weights = [1000 - sum(shares.values()), *shares.values()]
        return self._random(what).choices(fates, weights)[0]

    def _random(self, what: str) -> random.Random:
        return random.Random(f"{self.seed} {what}")  # noqa: S311 - it shall be predictable
