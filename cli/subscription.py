"""A pull subscription read like a list: nothing is consumed but what is explicitly done with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry
from google.cloud.pubsub_v1 import SubscriberClient
from google.cloud.pubsub_v1.types import ReceivedMessage

from cli.exits import reaching
from cli.letters import Letter

#: Letters per request; their data is in memory until they have been looked at.
BATCH = 50
#: Seconds without an answer after which a subscription counts as empty: Pub/Sub holds back its answer until it has a
#: message.
EMPTY_SECONDS = 2.0
REQUEST_SECONDS, PATIENCE_SECONDS = 10.0, 5.0
#: Pub/Sub limits a request to 512 KiB; an acknowledgement id has some 200 bytes.
_IDS_PER_REQUEST = 1000


class Pulling(Protocol):
    """The three things that can be done with a subscription.

    Each raises `Unreachable` when Pub/Sub did not do it.
    """

    def pull(self) -> list[Letter]:
        """Some letters, which nobody else gets until their deadline has passed; none when there seem to be none."""
        ...

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """They are done with, for good."""
        ...

    def release(self, ack_ids: Sequence[str]) -> None:
        """Whoever pulls next may have them."""
        ...


class Subscription:
    """`Pulling` over the Pub/Sub API."""

    def __init__(self, client: SubscriberClient, path: str, name: str) -> None:
        """`path` is the subscription's full name, `name` how it is called when it fails."""
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
                subscription=self._path, ack_ids=ack_ids, retry=self._retry, timeout=REQUEST_SECONDS
            )

    def release(self, ack_ids: Sequence[str]) -> None:
        """See `Pulling.release`."""
        with reaching(self._name):
            for start in range(0, len(ack_ids), _IDS_PER_REQUEST):
                self._client.modify_ack_deadline(
                    subscription=self._path,
                    ack_ids=ack_ids[start : start + _IDS_PER_REQUEST],
                    ack_deadline_seconds=0,
                    retry=self._retry,
                    timeout=REQUEST_SECONDS,
                )


def _letter(received: ReceivedMessage) -> Letter:
    message = received.message
    return Letter(
        id=message.message_id,
        ack_id=received.ack_id,
        data=message.data,
        attributes=dict(message.attributes),
        published=message.publish_time,
    )


class Browser:
    """Goes through the letters of a subscription, each once, and keeps hold of those that are not done with.

    Holding them is what makes Pub/Sub come up with the others. If the process dies, it gives them to the next who asks
    when their deadline has passed.
    """

    def __init__(self, subscription: Pulling) -> None:
        self._subscription = subscription
        self._held: dict[str, str] = {}  # message id → latest acknowledgement id
        self._done: set[str] = set()

    def __iter__(self) -> Iterator[Letter]:
        while fresh := [letter for letter in self._subscription.pull() if self._is_new(letter)]:
            yield from fresh

    def done(self, letter: Letter) -> None:
        """Take the letter out of the subscription."""
        self._subscription.acknowledge([self._held.pop(letter.id)])
        self._done.add(letter.id)

    def release(self) -> None:
        """Give back all that are held."""
        self._subscription.release(list(self._held.values()))
        self._held.clear()

    def _is_new(self, letter: Letter) -> bool:
        """False for one that was seen: its deadline has passed, or an acknowledgement came too late."""
        if letter.id in self._done:
            self._subscription.acknowledge([letter.ack_id])
            return False
        is_new = letter.id not in self._held
        self._held[letter.id] = letter.ack_id
        return is_new


@contextmanager
def browsing(subscription: Pulling) -> Iterator[Browser]:
    """Go through the letters; all that are not done with are given back when the block ends, however it does."""
    browser = Browser(subscription)
    try:
        yield browser
    finally:
        browser.release()
