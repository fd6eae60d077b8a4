"""A pull subscription read like a list: only explicitly acknowledged messages are consumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.types import ReceivedMessage

from cli.exits import reaching
from shared.pubsub.letters import Letter

#: Messages per request; their data stays in memory until they have been processed.
BATCH = 50
#: Seconds without an answer after which a subscription counts as empty: Pub/Sub delays its answer until it has a
#: message.
EMPTY_SECONDS = 2.0
REQUEST_SECONDS, PATIENCE_SECONDS = 10.0, 5.0
#: Pub/Sub limits a request to 512 KiB; an acknowledgement id has about 200 bytes.
_IDS_PER_REQUEST = 1000


class Pulling(Protocol):
    """The three operations on a subscription.

    Each raises `Unreachable` if Pub/Sub fails.
    """

    def pull(self) -> list[Letter]:
        """Some dead letters, leased until their ack deadline; empty if there seem to be none."""
        ...

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Remove them from the subscription permanently."""
        ...

    def release(self, ack_ids: Sequence[str]) -> None:
        """Return them to the subscription, for the next pull."""
        ...


class Subscription:
    """`Pulling` over the Pub/Sub API."""

    def __init__(self, client: SubscriberClient, path: str, name: str) -> None:
        """`path` is the subscription's full name, `name` its name in error texts."""
        self._client = client
        self._path = path
        self._name = name
        self._retry = Retry(initial=0.1, timeout=PATIENCE_SECONDS)

    def pull(self) -> list[Letter]:
        """See `Pulling.pull`."""
        with reaching(self._name):
            try:
                answer = self._client.pull(
                    subscription=self._path, max_messages=BATCH, retry=self._retry, timeout=EMPTY_SECONDS
                )
            except google_errors.DeadlineExceeded:
                return []
        return [_letter(each) for each in answer.received_messages]

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """See `Pulling.acknowledge`."""
        with reaching(self._name):
            self._client.acknowledge(
                subscription=self._path, ack_ids=list(ack_ids), retry=self._retry, timeout=REQUEST_SECONDS
            )

    def release(self, ack_ids: Sequence[str]) -> None:
        """See `Pulling.release`."""
        with reaching(self._name):
            for start in range(0, len(ack_ids), _IDS_PER_REQUEST):
                self._client.modify_ack_deadline(
                    subscription=self._path,
                    ack_ids=list(ack_ids[start : start + _IDS_PER_REQUEST]),
                    ack_deadline_seconds=0,
                    retry=self._retry,
                    timeout=REQUEST_SECONDS,
                )


def _letter(received: ReceivedMessage) -> Letter:
    message: Any = received.message  # the client's own types: a time is a `datetime`
    return Letter(
        id=message.message_id,
        ack_id=received.ack_id,
        data=message.data,
        attributes=dict(message.attributes),
        published=message.publish_time,
    )


class Browser:
    """Iterates over a subscription's dead letters, each once, and keeps the lease on those that are not done.

    The leases make Pub/Sub deliver the others. If the process dies, the leases expire at their ack deadline.
    """

    def __init__(self, subscription: Pulling) -> None:
        self._subscription = subscription
        self._held: dict[str, str] = {}  # message id → latest acknowledgement id
        self._done: set[str] = set()

    def __iter__(self) -> Iterator[Letter]:
        while fresh := [letter for letter in self._subscription.pull() if self._is_new(letter)]:
            yield from fresh

    def done(self, letter: Letter) -> None:
        """Remove the dead letter from the subscription."""
        self._subscription.acknowledge([self._held.pop(letter.id)])
        self._done.add(letter.id)

    def release(self) -> None:
        """Release all leases."""
        self._subscription.release(list(self._held.values()))
        self._held.clear()

    def _is_new(self, letter: Letter) -> bool:
        """False for one seen before: its lease has expired, or an acknowledgement was too late."""
        if letter.id in self._done:
            self._subscription.acknowledge([letter.ack_id])
            return False
        is_new = letter.id not in self._held
        self._held[letter.id] = letter.ack_id
        return is_new


@contextmanager
def browsing(subscription: Pulling) -> Iterator[Browser]:
    """Iterate over the dead letters; those not done are released at the end of the block."""
    browser = Browser(subscription)
    try:
        yield browser
    finally:
        browser.release()
