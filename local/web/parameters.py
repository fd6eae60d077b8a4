"""The parameters of requests, read and checked. A wrong one is answered 400, with its name and what is expected."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import abort, request

from local.web.access import check_origin

#: The longest that a request may wait, in seconds, and how many may do so at a time: each holds a thread.
LONGEST_WAIT = 60.0
MOST_WAITING = 50


def text(name: str) -> str:
    """A parameter of the query, empty if missing."""
    return request.args.get(name, "")


def whole(name: str, default: int, most: int | None = None) -> int:
    """A number from 0 to `most`."""
    given = text(name)
    value = int(given) if given.isascii() and given.isdecimal() and len(given) < 16 else -1
    if not given:
        return default
    if value < 0 or (most is not None and value > most):
        abort(400, f"{name}: expected a whole number from 0{'' if most is None else f' to {most}'}.")
    return value


def seconds(name: str, most: float) -> float:
    """A number of seconds from 0 (if missing) to `most`."""
    try:
        value = float(text(name) or 0)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        abort(400, f"{name}: expected seconds, from 0 to {most:g}.")
    return value


@contextmanager
def waiting(places: threading.Semaphore) -> Iterator[float]:
    """The seconds that the request may wait (the parameter `wait`), in one of a limited number of places."""
    wait = seconds("wait", LONGEST_WAIT)
    if not wait:
        yield 0.0
        return
    check_origin(request)
    if not places.acquire(blocking=False):
        abort(503, f"{MOST_WAITING} requests wait already.")
    try:
        yield wait
    finally:
        places.release()


def body() -> dict[str, Any]:
    """The request's JSON object."""
    found = request.get_json(silent=True)
    if not isinstance(found, dict):
        abort(400, "Expected a JSON object.")
    return found
