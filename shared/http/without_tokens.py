"""What a service accepts that verifies no tokens, on a developer's machine: calls of programs, not of web pages.

A web page can make the browser POST to any port of this machine, without asking first if the content type is one of a
form's. The browser then adds the header Origin (https://fetch.spec.whatwg.org/#origin-header). A page can also let its
own name resolve to 127.0.0.1 (DNS rebinding): the browser then sends that name as the Host. Eventarc, Pub/Sub and
Google's emulators do none of this.
"""

from __future__ import annotations

import re

from shared.errors import FirepostError
from shared.http.fast_path import Header

#: What Eventarc, Pub/Sub and Google's emulators send. No form can.
CONTENT_TYPES = frozenset({"application/json", "application/protobuf", "application/cloudevents+json"})

_LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)


class Forbidden(FirepostError):
    """A request that a web page could have caused."""


def check(header: Header) -> None:
    """Check the headers of a POST. Raises `Forbidden`, with a text that says which header is wrong, and why."""
    if header("Origin") is not None:
        raise Forbidden("Header Origin: expected none, because web pages may not call this service.")
    if not _LOOPBACK.fullmatch(header("Host") or ""):
        raise Forbidden("Header Host: expected localhost, 127.0.0.1 or [::1], found another or none.")
    content_type = header("Content-Type") or ""
    if not content_type and not _has_body(header):
        return
    if content_type.partition(";")[0].strip().lower() not in CONTENT_TYPES:
        raise Forbidden(f"Header Content-Type: expected one of {', '.join(sorted(CONTENT_TYPES))}.")


def _has_body(header: Header) -> bool:
    return (header("Content-Length") or "0") != "0" or header("Transfer-Encoding") is not None
