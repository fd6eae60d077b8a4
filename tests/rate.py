"""A rate limit without Firestore."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sender.transport.rate.limit import RateLimit


def limited_to(mails_per_second: float) -> RateLimit:
    """The limit of an installation that has one process."""
    document: dict[str, Any] = {}

    def exchange(decide: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        document.update(decide(document))

    return RateLimit(exchange, "alone", mails_per_second)
