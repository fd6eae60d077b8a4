"""How a command ends: the exit codes, and the errors for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.exceptions import GoogleAuthError

from shared.errors import Unavailable

EXIT_CODES = """\b
Exit codes:
0  success
1  failure: the mail ended in ERROR, there was nothing to retry or cancel, no such document ...
2  wrong usage; nothing was done
3  Firestore or Pub/Sub can't be reached, or refuses
"""


class Failed(click.ClickException):
    """The command ran, but with a bad result. The text is one sentence."""

    exit_code = 1


class Unreachable(click.ClickException):
    """Firestore or Pub/Sub failed, for a reason other than the mail. The text is one sentence."""

    exit_code = 3


@contextmanager
def reaching(what: str) -> Iterator[None]:
    """Translate errors of Google's clients in the block, and Firepost's own `Unavailable`, to `Unreachable`."""
    try:
        yield
    except (GoogleAPICallError, RetryError, GoogleAuthError, Unavailable) as error:
        raise Unreachable(f"Can't work with {what}: {_sentence(error)}") from error


def _sentence(error: Exception) -> str:
    """The error in one line, without the libraries' additions."""
    cause = error.cause if isinstance(error, RetryError) and error.cause else error
    return " ".join(str(getattr(cause, "message", cause)).split())
