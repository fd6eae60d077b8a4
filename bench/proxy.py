"""Counts a service's calls to Firestore and Pub/Sub: a gRPC proxy that inspects the bytes and forwards them.

Nothing is timed while it is in use. On the wire, a gRPC call is always a stream of requests and a stream of answers, so
one handler serves every method.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.cloud.firestore_v1.types import firestore as firestore_api
from google.pubsub_v1 import types as pubsub_api

from local.ports import LOOPBACK

_THREADS = 128
_STOP_SECONDS = 0.5
_LONGEST_SECONDS = 86_400.0
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]

#: Counts a request's operations.
_Reader = Callable[[bytes], int]


def _reader(request_type: Any, field: str) -> _Reader:
    decode = request_type.pb().FromString
    return lambda data: len(getattr(decode(data), field))


#: Firestore bills documents, not calls: https://cloud.google.com/firestore/pricing.
READS, WRITES, PUBLISHED, ACKNOWLEDGED = "documents read", "documents written", "messages published", "acknowledged"
_ASKED: Mapping[str, tuple[str, _Reader]] = {
    "BatchGetDocuments": (READS, _reader(firestore_api.BatchGetDocumentsRequest, "documents")),
    "BatchWrite": (WRITES, _reader(firestore_api.BatchWriteRequest, "writes")),
    "Commit": (WRITES, _reader(firestore_api.CommitRequest, "writes")),
    "Publish": (PUBLISHED, _reader(pubsub_api.PublishRequest, "messages")),
    "Acknowledge": (ACKNOWLEDGED, _reader(pubsub_api.AcknowledgeRequest, "ack_ids")),
    "StreamingPull": (ACKNOWLEDGED, _reader(pubsub_api.StreamingPullRequest, "ack_ids")),
}


class Counts:
    """Calls by method name, and their operations. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counter: Counter[str] = Counter()

    def called(self, method: str) -> None:
        """Count a call."""
        with self._lock:
            self._counter[method] += 1

    def asked(self, method: str, request: bytes) -> None:
        """Count the operations of a request."""
        if method in _ASKED:
            name, read = _ASKED[method]
            with self._lock:
                self._counter[name] += read(request)

    def taken(self) -> Counter[str]:
        """All counts since the last call."""
        with self._lock:
            counter, self._counter = self._counter, Counter()
            return counter


class Proxy:
    """Forwards to `target` (host:port) and counts; `address` is its own."""

    def __init__(self, target: str, counts: Counts) -> None:
        self._channel = grpc.insecure_channel(target, _UNLIMITED)
        self._server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="proxy"),
            handlers=[_Handlers(self._channel, counts)],
            options=_UNLIMITED,
        )
        self.address = f"{LOOPBACK}:{self._server.add_insecure_port(f'{LOOPBACK}:0')}"

    def start(self) -> None:
        """Accept calls."""
        self._server.start()

    def stop(self) -> None:
        """End all calls."""
        self._server.stop(_STOP_SECONDS).wait()
        self._channel.close()


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    def __init__(self, channel: grpc.Channel, counts: Counts) -> None:
        self._channel = channel
        self._counts = counts

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = call.method.rpartition("/")[2]
        onward = self._channel.stream_stream(call.method, None, None)

        def pass_on(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            self._counts.called(method)
            answers = onward(self._counted(method, requests), metadata=_custom(context), timeout=_time_left(context))
            context.add_callback(answers.cancel)
            try:
                yield from answers
            except grpc.RpcError as error:
                context.abort(error.code(), error.details() or "")

        return grpc.stream_stream_rpc_method_handler(pass_on)

    def _counted(self, method: str, requests: Iterator[bytes]) -> Iterator[bytes]:
        for request in requests:
            self._counts.asked(method, request)
            yield request


def _custom(context: grpc.ServicerContext) -> tuple[tuple[str, str | bytes], ...]:
    """The caller's own metadata, without gRPC's."""
    return tuple((key, value) for key, value in context.invocation_metadata() if key != "user-agent")


def _time_left(context: grpc.ServicerContext) -> float | None:
    """Seconds; None for a call without a deadline, as gRPC does not accept its own value for infinity."""
    seconds = context.time_remaining()
    return seconds if seconds is not None and seconds < _LONGEST_SECONDS else None
