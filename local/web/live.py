"""Tells open pages what has changed, as server-sent events (https://html.spec.whatwg.org/#server-sent-events).

An event only names a part: the page then asks for what it shows. What is compared here, several times a second and
for each open page, are a few numbers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping

from flask import Blueprint, Response, abort, request
from flask.typing import ResponseReturnValue

from local.web.access import check_origin

#: How often versions are compared, in seconds.
LOOK_SECONDS = 0.2
#: A comment is sent so often, in seconds: only by writing does a server notice that a browser has gone.
SIGN_OF_LIFE_SECONDS = 10.0
MOST_STREAMS = 100

#: Returns something that is different after each change.
Version = Callable[[], object]


def live_pages(versions: Mapping[str, Version], stopping: threading.Event) -> Blueprint:
    """`/api/events`, about the parts that have `versions`; it ends when `stopping` is set."""
    pages = Blueprint("live", __name__)
    free = threading.BoundedSemaphore(MOST_STREAMS)

    @pages.get("/api/events")
    def events() -> ResponseReturnValue:
        check_origin(request)
        if not free.acquire(blocking=False):
            abort(503, f"{MOST_STREAMS} pages are connected already.")
        answer = Response(stream(versions, stopping), mimetype="text/event-stream")
        answer.call_on_close(free.release)
        return answer

    return pages


def stream(versions: Mapping[str, Version], stopping: threading.Event) -> Iterator[str]:
    """The events: one for each part that has changed since the last look."""
    known = {name: version() for name, version in versions.items()}
    wrote = time.monotonic()
    yield "retry: 1000\n\n"
    while not stopping.wait(LOOK_SECONDS):
        now = {name: version() for name, version in versions.items()}
        changed = [name for name, version in now.items() if version != known[name]]
        known = now
        for name in changed:
            yield f"event: change\ndata: {name}\n\n"
        if changed:
            wrote = time.monotonic()
        elif time.monotonic() - wrote > SIGN_OF_LIFE_SECONDS:
            wrote = time.monotonic()
            yield ": still here\n\n"
