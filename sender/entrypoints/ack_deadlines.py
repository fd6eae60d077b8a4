"""What a pulling sender holds: leases of messages, renewed until they are answered, and the answers.

One thread does all the talking, so that the answers of many workers share a request. Answers are not repeated: if one
does not get through, or the process dies with it, the message comes again when its lease ends, and finds a final state.
https://cloud.google.com/pubsub/docs/lease-management
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.pubsub_v1 import SubscriberClient

_log = logging.getLogger("firepost.pull")

#: Seconds for which answers are collected into one request.
_COLLECT_SECONDS = 0.01
#: Pub/Sub takes requests of 512 KiB, and its ids of leases have some 200 bytes.
_MOST_ANSWERS = 1000
_RPC_SECONDS = 5.0

#: No lease is renewed beyond so many times its own length: whoever has not answered by then never will.
LONGEST_HOLD = 4


@dataclass(frozen=True, slots=True)
class _Answer:
    """`pause` is when the message may come again, in seconds; None if it is done with."""

    lease: str
    pause: int | None


class AckDeadlines:
    """All that this process holds of one subscription; every method may be called from any thread."""

    def __init__(self, client: SubscriberClient, subscription: str, seconds: int) -> None:
        """`subscription` is its full name, `seconds` the length of a lease."""
        self._client = client
        self._subscription = subscription
        self._seconds = seconds
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}
        self._answers: SimpleQueue[_Answer | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._talk, name="leases", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether leases are renewed and answers sent."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to renew and to answer."""
        self._thread.start()

    def hold(self, leases: Iterable[str]) -> None:
        """Renew these from now on."""
        now = time.monotonic()
        with self._lock:
            self._since.update((lease, now) for lease in leases)

    def acknowledge(self, lease: str) -> None:
        """The message is done with."""
        self._answer(_Answer(lease, None))

    def give_back(self, lease: str, pause: int) -> None:
        """The message shall come again, to anybody, in `pause` seconds; the subscription's back-off comes on top."""
        self._answer(_Answer(lease, pause))

    def close(self, seconds: float) -> None:
        """Return when all answers given before are on their way, at most after so many seconds."""
        self._answers.put(None)
        self._thread.join(seconds)

    def _answer(self, answer: _Answer) -> None:
        with self._lock:
            self._since.pop(answer.lease, None)
        self._answers.put(answer)

    def _talk(self) -> None:
        renewal = time.monotonic() + self._seconds / 3
        is_over = False
        while not is_over:
            answers = self._collect(renewal - time.monotonic())
            is_over = None in answers
            self._send([answer for answer in answers if answer is not None])
            if time.monotonic() >= renewal:
                self._renew(time.monotonic())
                renewal = time.monotonic() + self._seconds / 3

    def _collect(self, patience: float) -> list[_Answer | None]:
        """Answers that are given within moments of each other; none if there is none within `patience` seconds."""
        try:
            answers = [self._answers.get(timeout=max(0.0, patience))]
        except Empty:
            return []
        time.sleep(_COLLECT_SECONDS)
        while len(answers) < _MOST_ANSWERS and not self._answers.empty():
            answers.append(self._answers.get())
        return answers

    def _send(self, answers: list[_Answer]) -> None:
        by_pause: dict[int | None, list[str]] = defaultdict(list)
        for answer in answers:
            by_pause[answer.pause].append(answer.lease)
        for pause, leases in by_pause.items():
            if pause is None:
                self._acknowledge(leases)
            else:
                self._modify(leases, pause)

    def _renew(self, now: float) -> None:
        with self._lock:
            worn = [lease for lease, since in self._since.items() if now - since >= LONGEST_HOLD * self._seconds]
            for lease in worn:
                del self._since[lease]
            held = list(self._since)
        if worn:
            _log.error("%d messages have not been answered for too long and will be delivered again", len(worn))
        for first in range(0, len(held), _MOST_ANSWERS):
            self._modify(held[first : first + _MOST_ANSWERS], self._seconds)

    def _acknowledge(self, leases: list[str]) -> None:
        try:
            self._client.acknowledge(subscription=self._subscription, ack_ids=leases, retry=None, timeout=_RPC_SECONDS)
        except GoogleAPICallError as error:
            _unanswered(len(leases), error)

    def _modify(self, leases: list[str], seconds: int) -> None:
        try:
            self._client.modify_ack_deadline(
                subscription=self._subscription,
                ack_ids=leases,
                ack_deadline_seconds=seconds,
                retry=None,
                timeout=_RPC_SECONDS,
            )
        except GoogleAPICallError as error:
            _unanswered(len(leases), error)


def _unanswered(count: int, error: GoogleAPICallError) -> None:
    text = "Pub/Sub did not hear the answers to %d messages, which may come again: %s"
    _log.warning(text, count, type(error).__name__)
