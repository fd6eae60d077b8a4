"""The one exception that the embedded servers answer a call with."""

from __future__ import annotations

import grpc


class Failure(Exception):
    """A call that ends with a status other than OK; what the client gets to see."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def invalid(text: str) -> Failure:
    """The request can't be right, whatever is stored."""
    return Failure(grpc.StatusCode.INVALID_ARGUMENT, text)


def unsupported(what: str) -> Failure:
    """The request may be right, but this backend doesn't know how to answer it."""
    return Failure(grpc.StatusCode.UNIMPLEMENTED, f"The embedded backend does not support {what}.")
