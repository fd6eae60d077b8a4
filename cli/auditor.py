"""Holds log entries and documents against the state machine: one by one, and as each mail's story. Pure.

Entries may come in any order, because the services' clocks differ and processes pause. A story is therefore told by
counts: how often each attempt number was used, and how often the mail was concluded, against how often anybody asked
for it. What only users do to a document is not in the log, unless it led to a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TextIO

from cli.allowed import CHECKED_EVENTS, fault, fault_of_ending
from cli.records import Document, records
from shared.delivery.history import entries
from shared.delivery.model import FINAL, Delivery, Reason, State
from shared.delivery.policy import Policy
from shared.errors import ErrorCode
from shared.observability.events import Event

#: Errors that conclude a document without an attempt.
_WITHOUT_ATTEMPT: Final = (ErrorCode.DEAD_LETTER, ErrorCode.EXPIRED, ErrorCode.VALIDATION)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is not allowed: `where` is the file and the line, `document` its path, empty if there is none."""

    where: str
    document: str
    why: str


@dataclass(slots=True)
class _Story:
    """What the log says about one document. `where` are the places of the last entries about …"""

    numbers: Counter[int] = field(default_factory=Counter)  # … ended attempts, by number
    handed_over: Counter[int] = field(default_factory=Counter)  # … attempts that began to hand the mail over
    found_unsent: Counter[int] = field(default_factory=Counter)  # … attempts that a later claim found not to have
    where_ended: str = ""
    conclusions: int = 0
    queued_anew: int = 0  # by the dispatcher, as a new mail
    claimed_anew: int = 0  # by a sender, as a new mail
    requests: int = 0

    @property
    def times_asked(self) -> int:
        """How often somebody has asked for the mail, at most."""
        return max(1, self.queued_anew, self.claimed_anew) + self.requests


class Auditor:
    """Collects entries and documents. `entries` and `documents` count what was held against the state machine."""

    def __init__(self, policy: Policy) -> None:
        """`policy` is the installation's; of its times, only the patience matters."""
        self._policy = policy
        self._stories: dict[str, _Story] = {}
        self.entries = self.documents = 0

    def file(self, file: TextIO, name: str) -> Iterator[Finding]:
        """Check what is in a file with this name. Raises `cli.log_entries.TooLong`."""
        for record in records(file):
            where = f"{name}:{record.line}"
            match record.found:
                case Document(path, delivery):
                    finding = self.document(path, delivery, where)
                case entry:
                    finding = self.entry(entry, where)
            if finding is not None:
                yield finding

    def entry(self, entry: Mapping[str, Any], where: str) -> Finding | None:
        """Check a log entry, found at `where`, and add it to its document's story.

        An entry that is not about a decision is not counted.
        """
        self.entries += entry.get("event") in CHECKED_EVENTS
        path = str(entry.get("document") or "")
        if why := fault(entry, self._policy):
            return Finding(where, path, why)
        if path:
            self._add(self._stories.setdefault(path, _Story()), entry, where)
        return None

    def _add(self, story: _Story, entry: Mapping[str, Any], where: str) -> None:
        reason, before = entry.get("reason"), entry.get("before")
        match entry.get("event"):
            case Event.CHANGE if reason == Reason.NEW or (reason == Reason.SCHEDULED and entry.get("after") is None):
                story.queued_anew += 1
            case Event.CHANGE if reason in (Reason.REQUEUED, Reason.SCHEDULED):
                story.requests += 1
            case Event.RECONCILIATION if reason == Reason.STRANDED:
                story.requests += 1  # perhaps one whose event was lost
            case Event.ATTEMPT | Event.DEFERRAL as event:
                story.claimed_anew += before is None
                if before == State.PROCESSING and entry.get("unsent") and not entry.get("continued"):
                    story.found_unsent[entry["attempt"] - 1] += 1
                if event == Event.ATTEMPT:
                    story.numbers[entry["attempt"]] += 1
                    story.conclusions += entry.get("written") == Reason.FINISHED and entry.get("after") in FINAL
                    story.handed_over[entry["attempt"]] += entry.get("begun_ms") is not None
                    story.where_ended = where

    def stories(self) -> Iterator[Finding]:
        """What is not allowed in the stories as a whole; to be called after the last entry."""
        for path, story in self._stories.items():
            if why := _fault_of_story(story):
                yield Finding(story.where_ended, path, why)

    def document(self, path: str, delivery: object, where: str) -> Finding | None:
        """Check a document by its decoded field `delivery`: the history, and its last attempt against the state."""
        self.documents += 1
        why = _fault_of_history(delivery, self._policy)
        return Finding(where, path, why) if why else None


def _fault_of_story(story: _Story) -> str | None:
    number, times = max(story.numbers.items(), key=lambda item: item[1], default=(0, 0))
    if times > story.times_asked:
        return f"attempt {number} ended {times} times: two senders held the same lease, or a lease was lost"
    for number, times in story.found_unsent.items():
        if times + story.handed_over[number] > story.times_asked:
            return f"attempt {number} handed the mail over, but the next one was made because it had not"
    if story.conclusions > story.times_asked:
        return f"concluded {story.conclusions} times, asked for {story.times_asked} times"
    return None


def _fault_of_history(value: object, policy: Policy) -> str | None:
    fields: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    known, history = Delivery.of(value), entries(fields.get("history"))
    for earlier, later in pairwise(history):
        if later["attempt"] <= earlier["attempt"]:
            return f"history: attempt {later['attempt']} follows attempt {earlier['attempt']}"
    for entry in history:
        if why := fault_of_ending(entry["errorCode"] or "sent", None, entry["attempt"], entry["state"], policy):
            return f"history: {why}"
    if not history or known.state not in (State.SUCCESS, State.ERROR) or known.error_code in _WITHOUT_ATTEMPT:
        return None
    last = history[-1]
    if (last["attempt"], last["state"], last["errorCode"]) != (known.attempts, known.state, known.error_code):
        said = f"attempt {known.attempts}, {known.state} ({known.error_code or 'sent'})"
        told = f"attempt {last['attempt']}, {last['state']} ({last['errorCode'] or 'sent'})"
        return f"{said}, but its history ends with {told}"
    if fields.get("outageTime") is not None:
        return f"{known.state} at attempt {known.attempts}, but the mail still waits for a server"
    return None
