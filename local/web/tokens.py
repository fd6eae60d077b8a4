"""Tokens for calls of the services, for scripts on this machine: `/api/tokens/SERVICE`.

A foreign page can cause the request, but can't read the answer.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, abort
from flask.typing import ResponseReturnValue

#: Returns a token for calls of the service with that name, or None if it verifies none.
TokenOf = Callable[[str], str | None]


def token_pages(token: TokenOf) -> Blueprint:
    """The API; `token` signs."""
    pages = Blueprint("tokens", __name__)

    @pages.get("/api/tokens/<any(dispatcher, sender):service>")
    def sign(service: str) -> ResponseReturnValue:
        signed = token(service) or abort(404, "The services verify no tokens.")
        return Response(f"{signed}\n", mimetype="text/plain")

    return pages
