"""A stand-in for Eventarc: takes events of document writes and delivers them to the dispatcher.

Like the real one (cloud.google.com/eventarc/docs/retry-events), it delivers concurrently, in no particular order, at
least once, and retries with growing pauses until the answer is a 2xx.
"""

from __future__ import annotations

import base64
import contextlib
import heapq
import http.client
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

from local.ports import LOOPBACK
from shared.http import without_tokens

logger = logging.getLogger(__name__)

#: Bytes of an event that Eventarc takes at most: https://cloud.google.com/eventarc/docs/quotas. Google does not say
#: what becomes of a larger one. Here it is dropped: the worst that an application must be prepared for.
LARGEST_EVENT: Final = 512 * 1024
CONNECTIONS = 32
#: Seconds to wait for an answer; slower deliveries are retried.
ANSWER_SECONDS = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
#: Failures of one event (3 seconds' worth) that are worth a log line; a restarting service causes fewer.
NOTABLE_FAILURES = 6
#: How often the receiving server checks whether to stop, in seconds.
STOP_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Event:
    """A binary-mode CloudEvent: its `ce-*` and content-type headers, and its raw body."""

    headers: Mapping[str, str]
    body: bytes
    failures: int = 0

    def failed(self) -> Event:
        """The same event after another failed delivery."""
        return Event(self.headers, self.body, self.failures + 1)


def is_dropped(path: str, size: int) -> bool:
    """Whether Eventarc takes no event of this many bytes, which is logged. `path` is the document's."""
    if size <= LARGEST_EVENT:
        return False
    logger.warning(
        "%s: an event of %d KB is dropped, because Eventarc takes at most %d KB (old and new document together). "
        "If the document stays without delivery, python -m cli adopt queues it.",
        path,
        size // 1024,
        LARGEST_EVENT // 1024,
    )
    return True


def pause_after(failures: int) -> float:
    """Seconds to wait before an event is delivered again that has failed this often (at least once)."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16))


def from_emulator(headers: Mapping[str, str], body: bytes) -> Event:
    """The event that Eventarc would send for one that Google's Firestore emulator sent.

    The emulator (1.19.9) differs in two points: its body is base64, and its `ce-source` says `projects/projects/ID`.
    Raises `ValueError` if the body is not base64.
    """
    kept = {name.lower(): value for name, value in headers.items() if name.lower().startswith("ce-")}
    kept["ce-source"] = kept.get("ce-source", "").replace("/projects/projects/", "/projects/")
    return Event({**kept, "content-type": "application/protobuf"}, base64.b64decode(body, validate=True))


class Forwarder:
    """Delivers events to one URL over a fixed number of keep-alive connections.

    With `limit_events`, those that are too large for Eventarc are dropped.
    """

    def __init__(self, url: str, limit_events: bool = True) -> None:
        self._url = url
        self._limit_events = limit_events
        self._queue = _DueQueue()
        self._is_failing = False
        self._reporting = threading.Lock()
        self._workers = [
            threading.Thread(target=self._work, name=f"eventarc-{number}", daemon=True) for number in range(CONNECTIONS)
        ]

    @property
    def waiting(self) -> int:
        """How many events wait for delivery and are not in flight."""
        return len(self._queue)

    def start(self) -> None:
        """Start delivering."""
        for worker in self._workers:
            worker.start()

    def post(self, event: Event) -> None:
        """Take over an event; returns at once."""
        if self._limit_events and is_dropped(event.headers.get("ce-document", ""), len(event.body)):
            return
        self._queue.put(event, time.monotonic())

    def stop(self) -> None:
        """Stop delivering; undelivered events are lost. Safe to call twice."""
        self._queue.close()
        for worker in self._workers:
            if worker.ident is not None:
                worker.join()

    def _work(self) -> None:
        link = _Link(self._url)
        while (event := self._queue.get()) is not None:
            failure = link.deliver(event)
            if failure:
                event = event.failed()
                self._queue.put(event, time.monotonic() + pause_after(event.failures))
            self._report(event, failure)
        link.close()

    def _report(self, event: Event, failure: str) -> None:
        """Log one line when deliveries keep failing and one when they work again, not one per event."""
        with self._reporting:
            if failure and event.failures >= NOTABLE_FAILURES and not self._is_failing:
                self._is_failing = True
                logger.warning("%s: %s; retrying until it works.", self._url, failure)
            elif not failure and self._is_failing:
                self._is_failing = False
                logger.info("%s accepts events again; %d wait.", self._url, self.waiting)


class _DueQueue:
    """Events, each available from a point in time on (monotonic clock)."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Event]] = []
        self._order = itertools.count()
        self._closed = False

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, event: Event, due: float) -> None:
        with self._changed:
            heapq.heappush(self._heap, (due, next(self._order), event))
            self._changed.notify()

    def get(self) -> Event | None:
        """Wait for the next event that is due; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                pause = self._heap[0][0] - time.monotonic() if self._heap else None
                if pause is not None and pause <= 0:
                    _, _, event = heapq.heappop(self._heap)
                    self._changed.notify()  # another thread must watch the rest while this one is busy
                    return event
                self._changed.wait(pause)
            return None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class _Link:
    """One keep-alive connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._path = parts.path or "/"
        self._connection = http.client.HTTPConnection(parts.hostname or LOOPBACK, parts.port, timeout=ANSWER_SECONDS)

    def deliver(self, event: Event) -> str:
        """Deliver once. Returns what went wrong, or an empty string."""
        kept_open = self._connection.sock is not None
        try:
            return self._exchange(event)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            if not kept_open:
                return str(error) or type(error).__name__
        return self.deliver(event)  # not a failure: the server had closed the idle connection

    def _exchange(self, event: Event) -> str:
        self._connection.request("POST", self._path, event.body, dict(event.headers))
        response = self._connection.getresponse()
        response.read()
        return "" if 200 <= response.status < 300 else f"answered {response.status}"

    def close(self) -> None:
        self._connection.close()


class EventReceiver:
    """The HTTP server to which Google's Firestore emulator sends its events.

    The emulator sends one event at a time and waits for the answer, so it is answered immediately.
    """

    def __init__(self, take: Callable[[Event], None]) -> None:
        handler = type("Handler", (_EventHandler,), {"take": staticmethod(take)})
        self._server = ThreadingHTTPServer((LOOPBACK, 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False  # the emulator keeps its connection open
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(STOP_POLL_SECONDS,), name="eventarc", daemon=True
        )

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{LOOPBACK}:{self._server.server_port}"

    def start(self) -> None:
        """Start accepting events."""
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting events. Safe to call before `start`."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _EventHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    take: Callable[[Event], None]

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the emulator was stopped, and its connection is gone
            super().handle()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            without_tokens.check(self.headers.get)
            self.take(from_emulator(dict(self.headers.items()), body))
            status = 200
        except without_tokens.Forbidden as error:
            logger.warning("An event is refused. %s", error)
            status = 403
        except ValueError:
            logger.error("An event from the emulator can't be read: its body is not base64.")
            status = 400
        self.send_response_only(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
