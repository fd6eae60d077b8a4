"""Three books that must agree: the documents' results, Pub/Sub's backlog, the mail server's log. Pure.

A *delivery* is one mail to one recipient, in which the mail server counts.

A second delivery has a cause if the policy is at-least-once and the first one's outcome could not be known: the mail
server accepted the mail without an answer, or the sender was killed or frozen before its lease expired. The copy then
has the same Message-ID. Any other second delivery has no cause; without LEASE_EXPIRY_POLICY=retry, none has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from chaos.mailserver import Acceptance
from chaos.system import Interrupted
from shared.delivery.model import FINAL, State
from shared.delivery.policy import LeaseExpiryPolicy
from shared.errors import ErrorCode

#: Seconds for which data that a dead process has written still arrives from the network.
_LATE_DATA_SECONDS = 1.0

#: Errors that another attempt might have fixed; only with `retry` those where the mail may have been sent.
_NOT_SENT = (ErrorCode.CONNECTION, ErrorCode.THROTTLED, ErrorCode.TEMPORARY)
_RETRIED_UNDER: Mapping[LeaseExpiryPolicy, Sequence[ErrorCode]] = {
    LeaseExpiryPolicy.ERROR: _NOT_SENT,
    LeaseExpiryPolicy.RETRY_UNSENT: _NOT_SENT,
    LeaseExpiryPolicy.RETRY: (*_NOT_SENT, ErrorCode.UNKNOWN, ErrorCode.LEASE_EXPIRED),
}
#: Errors that do not claim to know the outcome.
_OUTCOME_UNKNOWN = (ErrorCode.UNKNOWN, ErrorCode.LEASE_EXPIRED, ErrorCode.DEAD_LETTER)

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """The services' settings, which determine what counts as their error. The lease is in seconds."""

    policy: LeaseExpiryPolicy
    max_attempts: int
    lease: float


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A delivery that followed one to the same recipient; `cause` is empty if there was none."""

    recipient: str
    cause: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of the comparison. Everything except `duplicates` with a cause must be empty or 0."""

    lost: tuple[str, ...]
    not_received: tuple[str, ...]
    denied: tuple[str, ...]
    given_up_early: tuple[str, ...]
    stuck: tuple[str, ...]
    undelivered: bool
    duplicates: tuple[Duplicate, ...]

    @property
    def without_cause(self) -> tuple[Duplicate, ...]:
        """The unexplained duplicates."""
        return tuple(each for each in self.duplicates if not each.cause)

    @property
    def good(self) -> bool:
        """Whether the books agree."""
        faults = (self.lost, self.not_received, self.denied, self.given_up_early, self.stuck, self.without_cause)
        return not (self.undelivered or any(faults))


def compare(
    mails: Mapping[str, Sequence[str]],
    documents: Mapping[str, Fields],
    acceptances: Iterable[Acceptance],
    interrupted: Sequence[Interrupted],
    undelivered: bool,
    rules: Rules,
) -> Verdict:
    """Compare the books: the recipients of each mail by its document's id, and the `delivery` fields likewise.

    `undelivered` is whether a message or an event is still in transit.
    """
    received: defaultdict[str, list[Acceptance]] = defaultdict(list)
    for acceptance in acceptances:
        received[acceptance.recipient].append(acceptance)
    final = {name: fields for name, fields in documents.items() if fields.get("state") in FINAL}
    return Verdict(
        lost=tuple(
            recipient
            for name, recipients in mails.items()
            for recipient in recipients
            if recipient not in received and name in final and not _is_reported(final[name], recipient)
        ),
        not_received=tuple(
            recipient
            for fields in final.values()
            for recipient in _info(fields, "accepted")
            if recipient not in received
        ),
        denied=tuple(
            recipient
            for name, recipients in mails.items()
            for recipient in recipients
            if name in final and _is_contradicted(final[name], received[recipient], interrupted, rules)
        ),
        given_up_early=tuple(name for name, fields in final.items() if _is_given_up_early(fields, rules)),
        stuck=tuple(name for name in mails if name not in final),
        undelivered=undelivered,
        duplicates=tuple(
            Duplicate(recipient, _cause(first, second, interrupted, rules))
            for recipient, deliveries in received.items()
            for first, second in pairwise(deliveries)
        ),
    )


def _is_reported(fields: Fields, recipient: str) -> bool:
    """Whether the document says that this recipient has not received the mail, or may not have."""
    if fields["state"] == State.ERROR:
        return True
    return recipient in (*_info(fields, "accepted"), *_info(fields, "rejected"), *_info(fields, "pending"))


def _is_contradicted(
    fields: Fields, deliveries: Sequence[Acceptance], interrupted: Sequence[Interrupted], rules: Rules
) -> bool:
    """Whether the document contradicts the mail server, which has confirmed that it accepted the mail."""
    certain = any(not _unknown(each, interrupted, rules) for each in deliveries)
    return certain and fields["state"] == State.ERROR and fields.get("errorCode") not in _OUTCOME_UNKNOWN


def _is_given_up_early(fields: Fields, rules: Rules) -> bool:
    return fields.get("errorCode") in _RETRIED_UNDER[rules.policy] and fields["attempts"] < rules.max_attempts


def _cause(first: Acceptance, second: Acceptance, interrupted: Sequence[Interrupted], rules: Rules) -> str:
    if rules.policy is not LeaseExpiryPolicy.RETRY or first.message_id != second.message_id:
        return ""
    return _unknown(first, interrupted, rules)


def _unknown(acceptance: Acceptance, interrupted: Sequence[Interrupted], rules: Rules) -> str:
    """Why Firepost could not know about a delivery; empty if it could."""
    if not acceptance.heard:
        return "the mail server accepted the mail without an answer"
    begin, end = acceptance.time - _LATE_DATA_SECONDS, acceptance.time + rules.lease
    hit = (each for each in interrupted if each.process == acceptance.sender and each.begin < end and each.end > begin)
    return next((f"the sender was {each.what}" for each in hit), "")


def _info(fields: Fields, what: str) -> Sequence[str]:
    return (fields.get("info") or {}).get(what) or ()
