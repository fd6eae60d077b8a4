"""`GET /health` for a process that serves nothing else, probed by worker pools, GKE and load balancers.

https://cloud.google.com/run/docs/configuring/workerpools/healthchecks
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6

from shared.http.server import cannot_listen

#: How often the server checks whether to stop.
_POLL_SECONDS = 0.1


@contextmanager
def health_endpoint(
    address: str, port: int, is_well: Callable[[], bool], health: Callable[[], str] = lambda: "ok"
) -> Iterator[int]:
    """Serve on `port` (0: any free port) of the IP `address` while the block runs; yields the port.

    The status is 200, with what `health` says, if `is_well` returns true, otherwise 503. Raises `Misconfigured` if it
    can't listen there.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name for it
            status = HTTPStatus.NOT_FOUND
            if self.path in ("/health", "/healthz"):  # the latter in versions up to 0.2.0
                status = HTTPStatus.OK if is_well() else HTTPStatus.SERVICE_UNAVAILABLE
            body = f"{health() if status is HTTPStatus.OK else 'not ok'}\n".encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Don't log probes."""

    class Server(ThreadingHTTPServer):
        address_family = AF_INET6 if ":" in address else AF_INET

    try:
        server = Server((address, port), Handler)
    except OSError as error:
        raise cannot_listen(address, port, error) from error
    threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="health", daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
