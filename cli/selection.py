"""Selecting documents for a command. Pure: filters, the newest of many, and which may be retried."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cli.mail import Mail
from shared.delivery.model import State
from shared.errors import ErrorCode

#: The mail may have been sent; a retry may send a second one.
OUTCOME_UNKNOWN: Final = frozenset((ErrorCode.UNKNOWN, ErrorCode.LEASE_EXPIRED))


@dataclass(frozen=True, slots=True)
class Selection:
    """Documents in a state (None: any), with one of some error codes (empty: any), that changed since a time."""

    state: str | None = None
    error_codes: tuple[str, ...] = ()
    since: datetime | None = None

    def conditions(self) -> list[tuple[str, str, Any]]:
        """The conditions for Firestore: field, operator, value.

        Only equalities, which need only the automatic indexes. The times are not indexed: an index on an ever-growing
        field would limit how fast documents can be written.
        """
        conditions: list[tuple[str, str, Any]] = []
        if self.state:
            conditions.append(("delivery.state", "==", self.state))
        if self.error_codes:
            conditions.append(("delivery.errorCode", "in", list(self.error_codes)))
        return conditions

    def includes(self, mail: Mail) -> bool:
        """The remaining conditions: whether a document that meets `conditions` is selected."""
        return self.since is None or mail.moved() >= self.since

    def names_error_of(self, mail: Mail) -> bool:
        """Whether the selection names the document's error code."""
        return mail.error_code in self.error_codes


def newest(mails: Iterable[Mail], limit: int) -> tuple[list[Mail], int]:
    """The `limit` most recently changed documents, newest first, and the total number.

    At most `limit` documents are in memory at a time.
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

    `asked_for`: the operator named the document or its error code. Otherwise, a mail that may already have been sent is
    not sent again.
    """
    if mail is None:
        return "missing"
    if mail.state != State.ERROR:
        return mail.state.lower() or "new"
    if mail.error_code in OUTCOME_UNKNOWN and not asked_for:
        return "outcome-unknown"
    return None
