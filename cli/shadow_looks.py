"""What the looks of shadow mode say about each mail: whether Firepost would do as the other system does. Pure.

A mail has several looks, of which the last one counts: the other system may have ended the mail in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from shared.delivery.model import State
from shared.delivery.times import point_in_time
from shared.errors import ErrorCode
from shared.observability.events import Event

#: Paths that are kept for each group.
EXAMPLES: Final = 3
#: Without a later look, a mail that the other system has not ended for this long is not going to end. Its functions run
#: for nine minutes at most (https://firebase.google.com/docs/functions/quotas#time_limits).
ENDED_WITHIN: Final = timedelta(minutes=10)

_SENT: Final = "sent"
_WORD: Final = re.compile(r"[a-z-]{1,40}")


class Result(StrEnum):
    """Whether both systems do the same; `open`: the other one has not ended the mail yet, or has no part in it."""

    AGREES = "agrees"
    DIFFERS = "differs"
    OPEN = "open"


class Kind(StrEnum):
    """How the two systems compare about a mail."""

    BOTH_SEND = "both-send"
    RECIPIENTS_UNKNOWN = "recipients-unknown"
    BOTH_REFUSE = "both-refuse"
    ONLY_OLD_SENDS = "only-old-sends"
    ONLY_FIREPOST_SENDS = "only-firepost-sends"
    OLD_NEVER_ENDS = "old-never-ends"
    SENDS_LATER = "sends-later"
    RECIPIENTS_DIFFER = "recipients-differ"
    RUNNING = "running"
    INLINE = "inline"


MEANINGS: Final[Mapping[Kind, str]] = {
    Kind.BOTH_SEND: "both send it, to the same recipients",
    Kind.RECIPIENTS_UNKNOWN: "both send it; the old system does not say to whom",
    Kind.BOTH_REFUSE: "both make it an ERROR",
    Kind.ONLY_OLD_SENDS: "the old system sends it, Firepost would make it an ERROR",
    Kind.ONLY_FIREPOST_SENDS: "the old system makes it an ERROR, Firepost would send it",
    Kind.OLD_NEVER_ENDS: "the old system does not end it, Firepost would",
    Kind.SENDS_LATER: "the old system sends it at once, Firepost would wait until 'sendAt'",
    Kind.RECIPIENTS_DIFFER: "both send it, to different recipients",
    Kind.RUNNING: "the old system has not ended it yet",
    Kind.INLINE: "published as a message: the old system does not know it",
}

_RESULTS: Final[Mapping[Kind, Result]] = {
    Kind.BOTH_SEND: Result.AGREES,
    Kind.RECIPIENTS_UNKNOWN: Result.AGREES,
    Kind.BOTH_REFUSE: Result.AGREES,
    Kind.ONLY_OLD_SENDS: Result.DIFFERS,
    Kind.ONLY_FIREPOST_SENDS: Result.DIFFERS,
    Kind.OLD_NEVER_ENDS: Result.DIFFERS,
    Kind.SENDS_LATER: Result.DIFFERS,
    Kind.RECIPIENTS_DIFFER: Result.DIFFERS,
    Kind.RUNNING: Result.OPEN,
    Kind.INLINE: Result.OPEN,
}


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the mail at `path`, at a time (UTC): `reason` is what Firepost would do with it.

    `recipients` is None for an inline mail, which the other system does not know.
    """

    path: str
    at: datetime
    reason: str
    old_state: State | None
    recipients: str | None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Look | None:
        """From a log entry, as a service writes it or as Cloud Logging keeps it; None if it is about something else."""
        match entry.get("jsonPayload", entry):
            case {"event": Event.SHADOW.value, "document": str(path), "reason": str(reason), **fields}:
                logged = point_in_time(entry.get("timestamp") or fields.get("time"))
                if logged is None:
                    return None
                state = fields.get("old_state")
                return cls(
                    path=path,
                    at=logged - _taken(fields.get("duration_ms")),
                    reason=reason if _WORD.fullmatch(reason) else "unknown",
                    old_state=State(state) if state in {*State} else None,
                    recipients=fields.get("recipients"),
                )
        return None


def _taken(millis: object) -> timedelta:
    """The duration of a look: the document is as it was before that."""
    if isinstance(millis, int | float) and 0 <= millis < 1e9:
        return timedelta(milliseconds=millis)
    return timedelta()


@dataclass(slots=True)
class Group:
    """The mails about which the two systems compare in the same way; `reason` is what Firepost would do."""

    result: Result
    kind: Kind
    reason: str
    documents: int = 0
    examples: list[str] = field(default_factory=list)


def last_looks(entries: Iterable[Mapping[str, Any]]) -> dict[str, Look]:
    """The last look at each mail, by path, whatever the order of the entries."""
    last: dict[str, Look] = {}
    for entry in entries:
        look = Look.of(entry)
        if look is not None and (look.path not in last or last[look.path].at <= look.at):
            last[look.path] = look
    return last


def grouped(looks: Mapping[str, Look]) -> list[Group]:
    """The mails in groups: differences first, and in each result the most frequent first."""
    groups: dict[tuple[Kind, str], Group] = {}
    newest = max((look.at for look in looks.values()), default=None)
    for path in sorted(looks):
        look = looks[path]
        kind = kind_of(look, newest or look.at)
        group = groups.setdefault((kind, look.reason), Group(_RESULTS[kind], kind, look.reason))
        group.documents += 1
        if len(group.examples) < EXAMPLES:
            group.examples.append(path)
    order = (Result.DIFFERS, Result.OPEN, Result.AGREES)
    return sorted(groups.values(), key=lambda each: (order.index(each.result), -each.documents, each.kind, each.reason))


def kind_of(look: Look, newest: datetime) -> Kind:
    """How the two systems compare about a mail, by its last look; `newest` is the time of the newest one of all.

    | old system | Firepost   | kind                                                         |
    |------------|------------|--------------------------------------------------------------|
    | no part    | any        | inline                                                       |
    | not ended  | any        | running; after ten minutes old-never-ends                    |
    | SUCCESS    | error      | only-old-sends                                               |
    | SUCCESS    | later      | sends-later                                                  |
    | SUCCESS    | sends      | both-send, or recipients-differ, or recipients-unknown       |
    | ERROR      | error      | both-refuse                                                  |
    | ERROR      | otherwise  | only-firepost-sends                                          |
    """
    refuses = look.reason in {*ErrorCode}
    if look.recipients is None:
        return Kind.INLINE
    if look.old_state is State.ERROR:
        return Kind.BOTH_REFUSE if refuses else Kind.ONLY_FIREPOST_SENDS
    if look.old_state is not State.SUCCESS:
        return Kind.OLD_NEVER_ENDS if newest - look.at > ENDED_WITHIN else Kind.RUNNING
    if refuses:
        return Kind.ONLY_OLD_SENDS
    if look.reason != _SENT:
        return Kind.SENDS_LATER
    by_recipients = {"same": Kind.BOTH_SEND, "differ": Kind.RECIPIENTS_DIFFER}
    return by_recipients.get(look.recipients, Kind.RECIPIENTS_UNKNOWN)
