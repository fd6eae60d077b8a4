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
_STATES: Final[Mapping[object, State]] = {state.value: state for state in State}
_ERROR_CODES: Final = frozenset(code.value for code in ErrorCode)
_WORD: Final = re.compile(r"[a-z-]{1,40}")


class Result(StrEnum):
    """Whether both systems do the same; `open`: that can't be said, or not yet."""

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
    SERVER_REFUSES = "server-refuses"
    RUNNING = "running"
    INLINE = "inline"


#: What each kind means.
MEANINGS: Final[Mapping[Kind, tuple[Result, str]]] = {
    Kind.BOTH_SEND: (Result.AGREES, "both send it, to the same recipients"),
    Kind.RECIPIENTS_UNKNOWN: (Result.AGREES, "both send it; the old system does not say to whom"),
    Kind.BOTH_REFUSE: (Result.AGREES, "both make it an ERROR"),
    Kind.ONLY_OLD_SENDS: (Result.DIFFERS, "the old system sends it, Firepost would make it an ERROR"),
    Kind.ONLY_FIREPOST_SENDS: (Result.DIFFERS, "the old system makes it an ERROR, Firepost would send it"),
    Kind.OLD_NEVER_ENDS: (Result.DIFFERS, "the old system does not end it, Firepost would"),
    Kind.SENDS_LATER: (Result.DIFFERS, "the old system sends it at once, Firepost would wait for 'sendAt'"),
    Kind.RECIPIENTS_DIFFER: (Result.DIFFERS, "both send it, to different recipients"),
    Kind.SERVER_REFUSES: (Result.OPEN, "the mail server refused the old system, Firepost has not asked it"),
    Kind.RUNNING: (Result.OPEN, "the old system has not ended it yet"),
    Kind.INLINE: (Result.OPEN, "published as a message: the old system does not know it"),
}


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the mail at `path`, at a time (UTC): `reason` is what Firepost would do with it.

    `server_refused`: the other system's ERROR is the mail server's. `recipients` is None for an inline mail, which the
    other system does not know.
    """

    path: str
    at: datetime
    reason: str
    old_state: State | None
    server_refused: bool
    recipients: str | None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Look | None:
        """From a log entry, as a service writes it or as Cloud Logging keeps it; None if it is about something else."""
        match entry.get("jsonPayload", entry):
            case {"event": Event.SHADOW.value, "document": str(path), "reason": str(reason), **fields}:
                logged = point_in_time(entry.get("timestamp") or fields.get("time"))
                if logged is None or not _WORD.fullmatch(reason):
                    return None
                state, recipients = fields.get("old_state"), fields.get("recipients")
                return cls(
                    path=path,
                    at=logged - _taken(fields.get("duration_ms")),
                    reason=reason,
                    old_state=_STATES.get(state) if isinstance(state, str) else None,
                    server_refused=fields.get("old_error") == "mail-server",
                    recipients=recipients if isinstance(recipients, str) else None,
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
        group = groups.setdefault((kind, look.reason), Group(MEANINGS[kind][0], kind, look.reason))
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
    | ERROR      | otherwise  | server-refuses, or only-firepost-sends                       |
    """
    refuses = look.reason in _ERROR_CODES
    if look.recipients is None:
        return Kind.INLINE
    if look.old_state is State.ERROR:
        if refuses:
            return Kind.BOTH_REFUSE
        return Kind.SERVER_REFUSES if look.server_refused else Kind.ONLY_FIREPOST_SENDS
    if look.old_state is not State.SUCCESS:
        return Kind.OLD_NEVER_ENDS if newest - look.at > ENDED_WITHIN else Kind.RUNNING
    if refuses:
        return Kind.ONLY_OLD_SENDS
    if look.reason != _SENT:
        return Kind.SENDS_LATER
    by_recipients = {"same": Kind.BOTH_SEND, "differ": Kind.RECIPIENTS_DIFFER}
    return by_recipients.get(look.recipients, Kind.RECIPIENTS_UNKNOWN)
