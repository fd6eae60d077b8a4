"""What both gRPC services share: methods as plain functions, failures as exceptions, faults around every call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from local.backends.embedded.failure import Failure, unsupported
from local.backends.embedded.faults import Faults

#: Each open Listen, StreamingPull and waiting Pull holds a thread; short calls share the rest.
MAX_THREADS = 256
#: Google accepts requests up to 10 MiB; larger ones should fail as they do there, not earlier.
MAX_MESSAGE_BYTES = 11 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rpc:
    """The implementation of one method: `answer(request, context)` returns one response, or an iterator of them.

    `request` is a raw protobuf message of type `request_type`; a method that `takes_stream` gets an iterator of them.
    """

    answer: Callable[[Any, grpc.ServicerContext], Any]
    request_type: Any
    streams: bool = False
    takes_stream: bool = False


_LONGEST_SOCKET_PATH = 103
#: Bytes of a directory's random suffix and of a socket's name in it, at most.
_NAME_LENGTH = 30

#: Methods by the service's full name (`google.pubsub.v1.Publisher`) and their own.
Services = Mapping[str, Mapping[str, Rpc]]


def socket_directory() -> tempfile.TemporaryDirectory[str]:
    """A new directory for Unix sockets, whose paths may have 103 bytes on macOS (107 on Linux)."""
    prefix = "firepost-embedded-"
    is_short = len(os.fsencode(tempfile.gettempdir())) + len(prefix) <= _LONGEST_SOCKET_PATH - _NAME_LENGTH
    return tempfile.TemporaryDirectory(prefix=prefix, dir=None if is_short else "/tmp")  # noqa: S108 (a new directory)


def serve(services: Services, faults: Faults, path: Path) -> grpc.Server:
    """Start a server at a Unix socket."""
    server = grpc.server(
        ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="embedded-rpc"),
        handlers=[_Handlers(services, faults)],
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", -1),
        ],
    )
    server.add_insecure_port(f"unix:{path}")
    server.start()
    return server


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Finds the method of a call; an unknown one is UNIMPLEMENTED."""

    def __init__(self, services: Services, faults: Faults) -> None:
        self._methods = {
            f"/{service}/{name}": _handler(name, rpc, faults)
            for service, rpcs in services.items()
            for name, rpc in rpcs.items()
        }

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        return self._methods.get(call.method) or _unimplemented(call.method)


def _unimplemented(method: str) -> grpc.RpcMethodHandler[Any, Any]:
    def answer(_: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, unsupported(method.lstrip("/")).text)
        yield b""  # unreachable: `abort` raises

    return grpc.stream_stream_rpc_method_handler(answer)


def _handler(name: str, rpc: Rpc, faults: Faults) -> grpc.RpcMethodHandler[Any, Any]:
    def unary(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            with faults.around(name):
                return rpc.answer(request, context)
        except Failure as failure:
            context.abort(failure.code, failure.text)

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            with faults.around(name):
                yield from rpc.answer(request, context)
        except Failure as failure:
            context.abort(failure.code, failure.text)

    def serialize(message: Any) -> bytes:
        return message.SerializeToString()  # type: ignore[no-any-return]

    decode = rpc.request_type.FromString
    if rpc.takes_stream:
        return grpc.stream_stream_rpc_method_handler(stream, decode, serialize)
    if rpc.streams:
        return grpc.unary_stream_rpc_method_handler(stream, decode, serialize)
    return grpc.unary_unary_rpc_method_handler(unary, decode, serialize)
