"""The one exception that ends a call with an error."""

from __future__ import annotations

import grpc


class Failure(Exception):
    """A call that ends with a status other than OK, as the client sees it."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def invalid(text: str) -> Failure:
    """The request is invalid, whatever is stored."""
    return Failure(grpc.StatusCode.INVALID_ARGUMENT, text)


def unsupported(what: str) -> Failure:
    """The request may be valid, but this backend can't answer it."""
    return Failure(grpc.StatusCode.UNIMPLEMENTED, f"The embedded backend does not support {what}.")


def aborted() -> Failure:
    """The transaction can't go on; begun again, it may succeed."""
    return Failure(
        grpc.StatusCode.ABORTED,
        "Aborted due to cross-transaction contention. This occurs when multiple transactions attempt to access the "
        "same data, requiring Firestore to abort at least one in order to enforce serializability.",
    )
