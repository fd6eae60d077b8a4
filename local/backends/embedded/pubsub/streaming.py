"""StreamingPull: messages to a client as they arrive, while the client sends further requests on the stream.

https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1#google.pubsub.v1.StreamingPullRequest
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import grpc

from local.backends.embedded.failure import Failure, invalid
from local.backends.embedded.pubsub.broker import Broker
from local.backends.embedded.pubsub.protos import ReceivedMessage, StreamingPullRequest, StreamingPullResponse
from local.backends.embedded.pubsub.subscriptions import Mailbox

MIN_ACK_SECONDS = 10
#: The maximum number of messages in a response, and of those a client may hold if it sets no limit itself.
MAX_BATCH, MAX_OUTSTANDING = 100, 1000
MAX_OUTSTANDING_BYTES = 1 << 30
#: How often an idle stream checks whether something has become due, in seconds.
LOOK_SECONDS = 1.0

Requests = Iterator[StreamingPullRequest]


def streaming_pull(
    broker: Broker,
) -> Callable[[Requests, grpc.ServicerContext], Iterator[StreamingPullResponse]]:
    """The RPC: the first request selects the subscription, later ones acknowledge or extend deadlines."""

    def answer(requests: Requests, context: grpc.ServicerContext) -> Iterator[StreamingPullResponse]:
        first = next(requests, None)
        if first is None or first.stream_ack_deadline_seconds < MIN_ACK_SECONDS:
            raise invalid(f"stream_ack_deadline_seconds must be at least {MIN_ACK_SECONDS}.")
        with broker.lock:
            stream = _Stream(broker.mailbox(first.subscription), first, broker.lock)
        if not context.add_callback(stream.end):
            return  # the client is gone already
        threading.Thread(target=stream.read, args=(requests,), name="embedded-stream-reader", daemon=True).start()
        while (received := stream.next_batch()) is not None:
            yield stream.response(received)
        if stream.failure is not None:
            raise stream.failure

    return answer


class _Stream:
    """One client's stream: a reader processes its requests while another thread sends it messages."""

    def __init__(self, mailbox: Mailbox, first: StreamingPullRequest, lock: threading.RLock) -> None:
        self.failure: Failure | None = None
        self._mailbox = mailbox
        self._lock = lock
        self._seconds = first.stream_ack_deadline_seconds
        self._limit = first.max_outstanding_messages if first.max_outstanding_messages > 0 else MAX_OUTSTANDING
        self._bytes = first.max_outstanding_bytes if first.max_outstanding_bytes > 0 else MAX_OUTSTANDING_BYTES
        self._held: dict[str, int] = {}
        self._is_over = False

    def end(self) -> None:
        """Make `next_batch` return None."""
        with self._lock:
            self._is_over = True
            self._mailbox.arrival.notify_all()

    def read(self, requests: Requests) -> None:
        """Process the client's further requests until the stream ends."""
        try:
            for request in requests:
                with self._lock:
                    self._carry_out(request)
        except Failure as failure:
            self.failure = failure
        except grpc.RpcError:
            pass  # a broken stream: this is how clients end it
        self.end()

    def next_batch(self) -> list[ReceivedMessage] | None:
        """Wait for messages; None when the stream is over."""
        with self._lock:
            while not self._is_over and not self._mailbox.is_closed:
                self._held = {ack_id: size for ack_id, size in self._held.items() if self._mailbox.holds(ack_id)}
                if received := self._take():
                    return received
                self._mailbox.wait(LOOK_SECONDS)
        return None

    def _take(self) -> list[ReceivedMessage]:
        """What the client has room for; one message may exceed its byte limit, or it might get none at all."""
        batch: list[ReceivedMessage] = []
        while len(batch) < MAX_BATCH and len(self._held) < self._limit and sum(self._held.values()) < self._bytes:
            received = self._mailbox.take(1, self._seconds)
            if not received:
                break
            self._held[received[0].ack_id] = received[0].message.ByteSize()
            batch += received
        return batch

    def response(self, received: list[ReceivedMessage]) -> StreamingPullResponse:
        """A response that delivers `received`."""
        is_ordered = self._mailbox.settings.enable_message_ordering
        return StreamingPullResponse(
            received_messages=received, subscription_properties={"message_ordering_enabled": is_ordered}
        )

    def _carry_out(self, request: StreamingPullRequest) -> None:
        if request.stream_ack_deadline_seconds:
            self._seconds = request.stream_ack_deadline_seconds
        self._mailbox.acknowledge(request.ack_ids)
        for ack_id, seconds in zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=False):
            self._mailbox.modify([ack_id], seconds)
