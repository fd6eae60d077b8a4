"""The front door of the gRPC servers: lets gRPC through, and answers HTTP/1 in words.

A gRPC server answers an HTTP/1 request with bytes that no HTTP/1 client understands. Web SDKs and REST then hang or
fail without a reason.

It runs as a separate script, so that it takes no time from the servers, and imports only the standard library. It ends
when its standard input closes, and so never outlives the servers.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
import time

#: Begins each HTTP/2 connection (RFC 9113, section 3.4), and no HTTP/1 request.
PREFACE = b"PRI"
#: Seconds that a client may take to begin, and then to end a request that is refused.
PATIENCE_SECONDS = 10.0
#: Bytes of a refused request that are read, so that its sender comes to read the answer.
LONGEST_REFUSED = 16 * 1024 * 1024
_CHUNK = 256 * 1024
_PAUSE_SECONDS = 0.05

#: Bytes of a request's head that are read, to find its origin.
LONGEST_HEAD = 64 * 1024
_ORIGIN = re.compile(rb"\r\norigin: *([!-~]+)\r\n", re.IGNORECASE)
#: As the reason of a status, browsers show it in their console.
_ADVICE = "web SDKs and REST need --backend google"


def refusal(head: bytes, name: str) -> bytes:
    """The answer to an HTTP/1 request with this head, in the form of Google's errors.

    A browser asks first, with OPTIONS, whether a page may send the request, and hides an answer that does not allow it
    to the page's origin. Here it may: it learns nothing but that it is refused.
    """
    origin = _ORIGIN.search(head)
    headers = "Content-Type: application/json; charset=utf-8\r\nConnection: close\r\nVary: Origin\r\n" + (
        f"Access-Control-Allow-Origin: {origin[1].decode('ascii')}\r\nAccess-Control-Allow-Credentials: true\r\n"
        "Access-Control-Allow-Headers: *, Authorization, Content-Type\r\n"
        if origin
        else ""
    )
    if head.startswith(b"OPTIONS "):
        return f"HTTP/1.1 204 No Content\r\n{headers}\r\n".encode()
    text = (
        f"Firepost's embedded {name} speaks gRPC, as Google's clients for servers do, but not REST or WebChannel. Web "
        "SDKs in a browser, REST and gcloud need Google's emulators: python -m local up --backend google"
    )
    body = json.dumps({"error": {"code": 501, "status": "UNIMPLEMENTED", "message": text}}, indent=2) + "\n"
    return f"HTTP/1.1 501 Not Implemented: {_ADVICE}\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def serve(listener: socket.socket, target: str, name: str) -> None:
    """Connect clients of `listener` to the server at the path `target` (a Unix socket), for ever.

    The first HTTP/1 request is told on standard error, where the developer looks.
    """
    is_told = threading.Event()
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # of one client that is gone already, or of too many
            time.sleep(_PAUSE_SECONDS)
            continue
        threading.Thread(target=_meet, args=(client, target, name, is_told), daemon=True).start()


def _meet(client: socket.socket, target: str, name: str, is_told: threading.Event) -> None:
    with contextlib.suppress(OSError), client:
        client.settimeout(PATIENCE_SECONDS)
        start = b""
        while len(start) < len(PREFACE) and PREFACE.startswith(start):
            received = client.recv(_CHUNK)
            if not received:
                return
            start += received
        if start.startswith(PREFACE):
            _connect(client, target, start)
        else:
            if not is_told.is_set():
                is_told.set()
                print(f"An HTTP/1 request to {name} is refused: {_ADVICE}.", file=sys.stderr, flush=True)
            _refuse(client, start, name)


def _refuse(client: socket.socket, head: bytes, name: str) -> None:
    while b"\r\n\r\n" not in head and len(head) < LONGEST_HEAD and (received := client.recv(_CHUNK)):
        head += received
    client.sendall(refusal(head, name))
    client.shutdown(socket.SHUT_WR)
    read = 0
    while read < LONGEST_REFUSED and (received := client.recv(_CHUNK)):
        read += len(received)


def _connect(client: socket.socket, target: str, start: bytes) -> None:
    client.settimeout(None)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(target)
        server.sendall(start)
        back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
        back.start()
        _pass_on(client, server)
        back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until one side closes; the other direction then ends, too."""
    with contextlib.suppress(OSError):
        while received := source.recv(_CHUNK):
            target.sendall(received)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Serve each of the arguments, a listening socket's file descriptor, the server's path and its name."""
    doors = sys.argv[1:]
    for descriptor, target, name in zip(doors[::3], doors[1::3], doors[2::3], strict=True):
        listener = socket.socket(fileno=int(descriptor))
        threading.Thread(target=serve, args=(listener, target, name), daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
