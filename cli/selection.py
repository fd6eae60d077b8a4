"""Selecting documents for a command. Pure: queries, filters, the newest of many, which may be retried or cancelled."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cli.mail import NOT_ACCEPTED, Mail
from shared.delivery.model import UNFINISHED, State
from shared.errors import ErrorCode

#: The mail may have been sent; a retry may send a second one.
OUTCOME_UNKNOWN: Final = frozenset((ErrorCode.UNKNOWN, ErrorCode.LEASE_EXPIRED))

_RANGES: Final = frozenset(("<", ">", ">="))

#: Selects the mails without a state, that is, those that were never queued. No query finds a field that is missing.
NEW: Final = "NEW"
STATES: Final = (*(state.value for state in State), NEW)

#: A field, an operator of Firestore's client, a value.
Condition = tuple[str, str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A query that needs only single-field indexes: all conditions hold or, with `any_of`, at least one.

    Without conditions, it finds all documents.
    """

    conditions: tuple[Condition, ...] = ()
    any_of: bool = False

    @property
    def order(self) -> str:
        """The field by which Firestore sorts what it finds: the one that is compared for order, or else the id."""
        return next((field for field, operator, _ in self.conditions if operator in _RANGES), "__name__")


@dataclass(frozen=True, slots=True)
class Window:
    """A range of time, from `since` to `until`; None is no limit."""

    since: datetime | None = None
    until: datetime | None = None

    def includes(self, mail: Mail) -> bool:
        """Whether the document changed last in this time."""
        moved = mail.moved()
        return (self.since is None or moved >= self.since) and (self.until is None or moved <= self.until)


ALWAYS: Final = Window()


@dataclass(frozen=True, slots=True)
class Selection:
    """Documents in a state (None: any), with one of some error codes (empty: any), last changed in a range of time.

    With the state `NEW`, those without a state; then there is no error code.
    With `partial`, those in SUCCESS that some recipients did not get; then there is no `state` and no error code.
    """

    state: str | None = None
    error_codes: tuple[str, ...] = ()
    window: Window = ALWAYS
    partial: bool = False

    def queries(self) -> tuple[Query, ...]:
        """The queries that together find every selected document.

        They need no index on times: one on an ever-growing field would limit how fast documents can be written. Arrays
        are ordered by their elements, so those above the empty one have some
        (https://firebase.google.com/docs/firestore/manage-data/data-types#value_type_ordering).
        """
        if self.partial:
            return tuple(Query(((f"delivery.info.{outcome}", ">", []),)) for outcome in NOT_ACCEPTED)
        conditions: list[Condition] = []
        if self.state and self.state != NEW:
            conditions.append(("delivery.state", "==", self.state))
        if self.error_codes:
            conditions.append(("delivery.errorCode", "in", list(self.error_codes)))
        return (Query(tuple(conditions)),)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields to read. To tell that a mail is new, its state is enough, and `delivery` may be large."""
        return ("delivery.state",) if self.state == NEW else ("delivery",)

    def includes(self, mail: Mail) -> bool:
        """The remaining conditions: whether a document that `queries` found is selected."""
        return (
            self.window.includes(mail) and (mail.is_partial or not self.partial) and (mail.is_new or self.state != NEW)
        )

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


def refusal(mail: Mail | None, asked_for: bool, state: str | None = None) -> str | None:
    """Why a document is not set to RETRY, in one word; None if it may be.

    `asked_for`: the operator named the document or its error code. Otherwise, a mail that may already have been sent is
    not sent again. `state` is the one that the operator selected, if any.
    """
    if mail is None:
        return "missing"
    if mail.is_new and state == NEW:
        return None
    if mail.state != State.ERROR:
        return mail.state.lower() or "new"
    if mail.error_code in OUTCOME_UNKNOWN and not asked_for:
        return "outcome-unknown"
    return None


def cancelling_refusal(mail: Mail | None) -> str | None:
    """Why a document is not set to CANCELLED, in one word; None if it may be: it has not ended."""
    if mail is None:
        return "missing"
    return None if mail.state in ("", *UNFINISHED) else mail.state.lower()
