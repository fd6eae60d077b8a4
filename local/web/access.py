"""Who may change something here: programs on this machine, and these pages; no other web page.

A foreign page can make the browser send requests to any port of this machine. It then adds an Origin that is not ours
(https://fetch.spec.whatwg.org/#origin-header); what has none is a program, or a form of an old browser, which can't
send JSON. Reading needs no check: the answers have no CORS header, so a foreign page can't read them. Hosts are checked
by Flask (TRUSTED_HOSTS), against names that another site lets resolve to this machine.
"""

from __future__ import annotations

from flask import Request, abort

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_WITHOUT_BODY = frozenset({"DELETE"})


def check(request: Request) -> None:
    """Refuse a request that a foreign page may have caused: 403, or 415 if its body is not JSON."""
    if request.method in _READING:
        return
    check_origin(request)
    if request.method not in _WITHOUT_BODY and not request.is_json:
        abort(415, "Header Content-Type: expected application/json.")


def check_origin(request: Request) -> None:
    """Refuse a request of a foreign page: 403."""
    origin = request.headers.get("Origin")
    if origin is not None and origin != request.host_url.rstrip("/"):
        abort(403, "Header Origin: expected this page's own, or none.")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        abort(403, "Header Sec-Fetch-Site: expected none or same-origin.")
