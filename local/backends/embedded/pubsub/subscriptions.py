"""One subscription at work: its undelivered messages, and their delivery by push."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from local.backends.embedded.backlog import Backlog, Item, Lease
from local.backends.embedded.failure import invalid
from local.backends.embedded.faults import NO_FAULTS, DeliveryFaults
from local.backends.embedded.posting import Request
from local.backends.embedded.pubsub import settings as rules
from local.backends.embedded.pubsub.filters import compile_filter
from local.backends.embedded.pubsub.messages import ACKNOWLEDGING, push_body
from local.backends.embedded.pubsub.protos import PubsubMessage, ReceivedMessage, Subscription
from local.backends.embedded.pushing import Pusher
from local.backends.embedded.tokens import TokenIssuer

#: Takes an undeliverable message and the number of attempts; returns whether it was accepted.
Bury = Callable[["Mailbox", PubsubMessage, int], bool]


class Mailbox:
    """A subscription's messages. All methods are called under `lock`, which all mailboxes of a server share."""

    def __init__(
        self, settings: Subscription, lock: threading.RLock, bury: Bury, issuer: TokenIssuer, faults: DeliveryFaults
    ) -> None:
        self.arrival = threading.Condition(lock)
        self._lock = lock
        self.settings = settings
        self.is_closed = False
        self._bury = bury
        self._issuer = issuer
        self._faults = faults
        self._backlog: Backlog[PubsubMessage] = Backlog(on_dead=self._on_dead)
        self._pusher: Pusher[PubsubMessage] | None = None
        self._filter = compile_filter(settings.filter)
        self.configure(settings)

    def configure(self, settings: Subscription) -> None:
        """Apply completed settings, also to messages that are already waiting."""
        self.settings = settings
        self._backlog.backoff = rules.backoff_of(settings)
        self._backlog.max_attempts = rules.max_attempts_of(settings)
        is_push = bool(settings.push_config.push_endpoint)
        if not is_push and self._pusher is not None:
            self._pusher.ask_to_stop()
            self._pusher = None
        elif is_push and self._pusher is None:
            self._pusher = Pusher(
                self._backlog, self._lock, self._push_request, ACKNOWLEDGING.__contains__, self._ack_seconds
            )
            self._pusher.wake()

    def offer(self, message: PubsubMessage) -> None:
        """Add a published message if the filter matches."""
        if not self._filter(message.attributes):
            return
        key = message.ordering_key if self.settings.enable_message_ordering else ""
        plan = NO_FAULTS if self._pusher is None else self._faults.plan()
        self._backlog.add(message, time.monotonic(), key, plan)
        if self._pusher is not None:
            self._pusher.wake()
        else:
            self.arrival.notify_all()

    def take(self, limit: int, seconds: float | None = None) -> list[ReceivedMessage]:
        """Lease up to `limit` messages; the default for `seconds` is the subscription's own deadline."""
        leases = self._backlog.take(limit, time.monotonic(), seconds or self._ack_seconds())
        return [self._received(lease) for lease in leases]

    def wait(self, seconds: float) -> None:
        """Release the lock until something may have arrived, for at most `seconds`."""
        now = time.monotonic()
        self._backlog.advance(now)  # what is due already must not end the wait immediately
        due = self._backlog.next_due()
        self.arrival.wait(seconds if due is None else min(seconds, due - now))

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Remove the messages leased under `ack_ids`. Raises INVALID_ARGUMENT for an unknown id."""
        for number in [self._number(ack_id) for ack_id in ack_ids]:
            self._backlog.acknowledge(number)
        self.arrival.notify_all()  # streams at their limit have room again

    def modify(self, ack_ids: Iterable[str], seconds: float) -> None:
        """Make leases end in `seconds`; 0 means that the messages are refused. Raises as `acknowledge` does."""
        now = time.monotonic()
        for number in [self._number(ack_id) for ack_id in ack_ids]:
            if seconds:
                self._backlog.extend(number, now, seconds)
            else:
                self._backlog.reject(number, now)
        self.arrival.notify_all()

    def holds(self, ack_id: str) -> bool:
        """Whether the lease is still live."""
        return self._backlog.holds(self._number(ack_id))

    def close(self) -> None:
        """Deliver nothing more, and wake everybody who waits."""
        self.is_closed = True
        self.arrival.notify_all()
        if self._pusher is not None:
            self._pusher.ask_to_stop()

    def __len__(self) -> int:
        return len(self._backlog)

    def _ack_seconds(self) -> float:
        return float(self.settings.ack_deadline_seconds)

    def _number(self, ack_id: str) -> int:
        name, _, number = ack_id.rpartition(":")
        if name != self.settings.name or not number.isdecimal():
            raise invalid(f"Invalid ack id (ack_id={ack_id})")
        return int(number)

    def _received(self, lease: Lease[PubsubMessage]) -> ReceivedMessage:
        return ReceivedMessage(
            ack_id=f"{self.settings.name}:{lease.number}",
            message=lease.item.payload,
            delivery_attempt=self._counted(lease) or 0,
        )

    def _counted(self, lease: Lease[PubsubMessage]) -> int | None:
        """The attempt's number, which is only delivered with a dead-letter policy."""
        return lease.attempt if self.settings.HasField("dead_letter_policy") else None

    def _on_dead(self, item: Item[PubsubMessage]) -> bool:
        return self._bury(self, item.payload, item.attempts)

    def _push_request(self, lease: Lease[PubsubMessage]) -> Request:
        config = self.settings.push_config
        headers = {"content-type": "application/json", "user-agent": "APIs-Google; (+firepost local)"}
        if config.HasField("oidc_token"):
            token = config.oidc_token
            audience = token.audience or config.push_endpoint
            headers["authorization"] = f"Bearer {self._issuer.token(token.service_account_email, audience)}"
        body = push_body(lease.item.payload, self.settings.name, self._counted(lease))
        return Request(config.push_endpoint, headers, body)
