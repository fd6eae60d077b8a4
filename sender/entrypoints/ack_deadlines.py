"""Extends the ack deadlines of pulled messages until they are answered, and sends the answers.

One thread makes all requests, so that the answers of many workers share a request. Answers are not retried: if one is
lost, or the process dies before sending it, Pub/Sub redelivers the message at its ack deadline, and its document is
found in a final state. https://cloud.google.com/pubsub/docs/lease-management
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
from google.pubsub_v1.services.subscriber import SubscriberClient

_log = logging.getLogger("firepost.pull")

#: Seconds for which answers are collected into one request.
_COLLECT_SECONDS = 0.01
#: Pub/Sub accepts requests of up to 512 KiB; an ack id has about 200 bytes.
_MOST_ANSWERS = 1000
_RPC_SECONDS = 5.0

#: A message unanswered for this many times its ack deadline is stuck: its deadline is no longer extended.
LONGEST_HOLD = 4


@dataclass(frozen=True, slots=True)
class _Answer:
    """`pause` is the seconds until redelivery; None acknowledges the message."""

    ack_id: str
    pause: int | None


class AckDeadlines:
    """The unanswered messages that this process holds of one subscription, by ack id. Thread-safe."""

    def __init__(self, client: SubscriberClient, subscription: str, seconds: int) -> None:
        """`subscription` is the full name, `seconds` the ack deadline."""
        self._client = client
        self._subscription = subscription
        self._seconds = seconds
        self._lock = threading.Lock()
        self._held_since: dict[str, float] = {}
        self._answers: SimpleQueue[_Answer | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ack-deadlines", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread that extends deadlines and sends answers is running."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread that extends deadlines and sends answers."""
        self._thread.start()

    def hold(self, ack_ids: Iterable[str]) -> None:
        """Extend the deadlines of these messages until they are answered."""
        now = time.monotonic()
        with self._lock:
            self._held_since.update((ack_id, now) for ack_id in ack_ids)

    def acknowledge(self, ack_id: str) -> None:
        """Acknowledge the message."""
        self._answer(_Answer(ack_id, None))

    def give_back(self, ack_id: str, pause: int) -> None:
        """Have the message redelivered, to any puller, in `pause` seconds plus the subscription's back-off."""
        self._answer(_Answer(ack_id, pause))

    def close(self, seconds: float) -> None:
        """Send all answers given so far and stop; returns after at most `seconds`."""
        self._answers.put(None)
        self._thread.join(seconds)

    def _answer(self, answer: _Answer) -> None:
        with self._lock:
            self._held_since.pop(answer.ack_id, None)
        self._answers.put(answer)

    def _run(self) -> None:
        next_extension = time.monotonic() + self._seconds / 3
        closed = False
        while not closed:
            answers = self._collect(next_extension - time.monotonic())
            closed = None in answers
            self._send([answer for answer in answers if answer is not None])
            if time.monotonic() >= next_extension:
                self._extend(time.monotonic())
                next_extension = time.monotonic() + self._seconds / 3

    def _collect(self, timeout: float) -> list[_Answer | None]:
        """The answers to send in one request (None: closed); empty if none comes within `timeout` seconds."""
        try:
            answers = [self._answers.get(timeout=max(0.0, timeout))]
        except Empty:
            return []
        time.sleep(_COLLECT_SECONDS)
        while len(answers) < _MOST_ANSWERS and not self._answers.empty():
            answers.append(self._answers.get())
        return answers

    def _send(self, answers: list[_Answer]) -> None:
        by_pause: dict[int | None, list[str]] = defaultdict(list)
        for answer in answers:
            by_pause[answer.pause].append(answer.ack_id)
        for pause, ack_ids in by_pause.items():
            if pause is None:
                self._acknowledge(ack_ids)
            else:
                self._modify(ack_ids, pause)

    def _extend(self, now: float) -> None:
        limit = LONGEST_HOLD * self._seconds
        with self._lock:
            stuck = [ack_id for ack_id, since in self._held_since.items() if now - since >= limit]
            for ack_id in stuck:
                del self._held_since[ack_id]
            held = list(self._held_since)
        if stuck:
            _log.error("%d messages are stuck; their ack deadlines are no longer extended", len(stuck))
        for first in range(0, len(held), _MOST_ANSWERS):
            self._modify(held[first : first + _MOST_ANSWERS], self._seconds)

    def _acknowledge(self, ack_ids: list[str]) -> None:
        try:
            self._client.acknowledge(subscription=self._subscription, ack_ids=ack_ids, retry=None, timeout=_RPC_SECONDS)
        except GoogleAPICallError as error:
            _log_failure(len(ack_ids), error)

    def _modify(self, ack_ids: list[str], seconds: int) -> None:
        try:
            self._client.modify_ack_deadline(
                subscription=self._subscription,
                ack_ids=ack_ids,
                ack_deadline_seconds=seconds,
                retry=None,
                timeout=_RPC_SECONDS,
            )
        except GoogleAPICallError as error:
            _log_failure(len(ack_ids), error)


def _log_failure(count: int, error: GoogleAPICallError) -> None:
    text = "answering Pub/Sub failed for %d messages, which may be redelivered: %s"
    _log.warning(text, count, type(error).__name__)
