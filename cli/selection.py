"""Which documents a command means. Pure: filters, the newest of many, and what may be retried."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cli.mail import Mail
from shared.delivery.model import State
from shared.errors import ErrorCode

#: The mail may have gone out; a retry may make a second one.
OUTCOME_UNKNOWN: Final = frozenset((ErrorCode.UNKNOWN, ErrorCode.LEASE_EXPIRED))


@dataclass(frozen=True, slots=True)
class Selection:
    """Documents in a state (None: any), with one of some error codes (none given: any), that moved since a time."""

    state: str | None = None
    error_codes: tuple[str, ...] = ()
    since: datetime | None = None

    def conditions(self) -> list[tuple[str, str, Any]]:
        """What Firestore can be asked for: field, operator, value.

        Only equalities, which need no index but the automatic ones. The times are not indexed at all: an indexed
        field that only grows would limit how fast documents can be written.
        """
        conditions: list[tuple[str, str, Any]] = []
        if self.state:
            conditions.append(("delivery.state", "==", self.state))
        if self.error_codes:
            conditions.append(("delivery.errorCode", "in", list(self.error_codes)))
        return conditions

    def includes(self, mail: Mail) -> bool:
        """The rest: whether a document that meets the conditions is meant."""
        return self.since is None or mail.moved() >= self.since

    def asks_for(self, mail: Mail) -> bool:
        """Whether the document's error code was named."""
        return mail.error_code in self.error_codes


def newest(mails: Iterable[Mail], limit: int) -> tuple[list[Mail], int]:
    """The `limit` documents that moved last, newest first, and how many there are in all.

    However many there are, no more than `limit` are kept at a time.
    """
    kept: list[tuple[datetime, int, Mail]] = []
    total = 0
    for total, mail in enumerate(mails, start=1):
        entry = (mail.moved(), total, mail)
        if len(kept) < limit:
            heapq.heappush(kept, entry)
        else:
            heapq.heappushpop(kept, entry)
    return [mail for _, _, mail in sorted(kept, reverse=True)], total


def refusal(mail: Mail | None, asked_for: bool) -> str | None:
    """Why a document is not set to RETRY, in one word; None if it may be.

    `asked_for` says that the operator named the document, or its error code: without that, a mail that may have gone
    out already is not sent again.
    """
    if mail is None:
        return "missing"
    if mail.state != State.ERROR:
        return mail.state.lower() or "new"
    if mail.error_code in OUTCOME_UNKNOWN and not asked_for:
        return "outcome-unknown"
    return None
