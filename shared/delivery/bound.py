"""By when every document has ended, once nothing of the cloud's and of Firepost's fails any more. Pure arithmetic.

docs/reliability.md states it for people; the chaos run measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from shared.delivery.policy import Policy


@dataclass(frozen=True, slots=True)
class Surroundings:
    """How others repeat, and how much the reconciler has to examine.

    `event_pause` and `message_pause` are the longest until Eventarc delivers an event and Pub/Sub a message again;
    `interval` is the time between two runs of the reconciler, which examine `page` documents of each kind: of the
    `queued` ones (scheduled ones included), and of those in `processing`.
    """

    event_pause: timedelta
    message_pause: timedelta
    interval: timedelta
    page: int
    queued: int
    processing: int

    def found_within(self, documents: int) -> timedelta:
        """The longest until the reconciler examines one of so many documents."""
        return (1 + ceil(documents / self.page)) * self.interval


def latest_end(policy: Policy, around: Surroundings) -> timedelta:
    """The longest until a document ends: SUCCESS or ERROR, even if its mail server goes on failing.

    Counted from the last failure, the document's writing, or its `sendAt`, whichever comes last. It holds as long as
    the senders keep up, and nobody makes them wait (a limit, a mail server that is out, throttled or names a time).
    """
    published = max(
        around.event_pause,
        policy.stranded_after + around.found_within(around.queued),
        policy.lease + around.found_within(around.processing),
        policy.longest_outage_pause + around.interval,
    )
    attempt = around.message_pause + policy.lease
    pause = policy.back_off.longest + around.interval
    return published + policy.max_attempts * attempt + (policy.max_attempts - 1) * pause
