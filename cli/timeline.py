"""A mail's attempts in the order of time, as rows of a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.text import Text

from cli.mail import Mail
from cli.output import Cell, one_line
from cli.times import brief, rfc3339
from cli.view import COLOURS
from shared.delivery.history import Entry, entries
from shared.delivery.model import QUEUED, Delivery, State

#: The bars are in the column without a name, which is left out in a pipe.
TIMELINE_COLUMNS = ("WHEN", "WHAT", "STATE", "CODE", "TOOK", "", "TRANSPORT", "RESPONSE")
_BARS = TIMELINE_COLUMNS.index("")

#: The width of the bars, in characters.
_WIDTH = 40


@dataclass(frozen=True, slots=True)
class _Span:
    """From when the mail was queued to its end, or to now."""

    begin: datetime
    end: datetime

    def column(self, time: datetime) -> int:
        """Where a time lies among the columns of the bars."""
        whole = (self.end - self.begin).total_seconds()
        share = (time - self.begin).total_seconds() / whole if whole > 0 else 0.0
        return round(min(max(share, 0.0), 1.0) * _WIDTH)

    def bar(self, begin: datetime, end: datetime, state: str) -> Text:
        """The attempt between these times, after dots for the time before it."""
        first = min(self.column(begin), _WIDTH - 1)
        length = max(self.column(end) - first, 1)
        return Text.assemble(("·" * first, "dim"), ("█" * length, COLOURS.get(state, "")))


def timeline(mail: Mail, now: datetime, with_bars: bool) -> list[Sequence[Cell]]:
    """Rows with `TIMELINE_COLUMNS`: when it was queued, each attempt that has ended, and what comes next.

    There are none if no attempt has ended, none is under way and none is scheduled. `with_bars` adds the column of
    bars, and leaves out parts of seconds.
    """
    delivery, history = Delivery.of(mail.delivery), entries((mail.delivery or {}).get("history"))
    attempts = [_attempt(entry) for entry in history]
    following = _following(delivery)
    if not attempts and following is None:
        return []
    rows = [_row(delivery.start_time, "queued", None), *attempts, *([following] if following else [])]
    if not with_bars:
        return rows
    bars = [Text(""), *_bars(delivery, history, now), Text("")]
    return [(_seconds(row[0]), *row[1:_BARS], bar, *row[_BARS:]) for row, bar in zip(rows, bars, strict=False)]


def _attempt(entry: Entry) -> Sequence[Cell]:
    begin, end = entry["startTime"], entry["endTime"]
    took = _duration((end - begin).total_seconds()) if begin and end else ""
    return _row(begin, f"attempt {entry['attempt']}", entry["state"], entry, took)


def _following(delivery: Delivery) -> Sequence[Cell] | None:
    if delivery.state is State.PROCESSING:
        return _row(None, f"attempt {delivery.attempts}", delivery.state)
    if delivery.state in QUEUED and delivery.next_attempt_time is not None:
        return _row(delivery.next_attempt_time, "not before", delivery.state)
    return None


def _row(
    when: datetime | None, what: str, state: str | None, texts: Mapping[str, str | None] | None = None, took: str = ""
) -> Sequence[Cell]:
    code, transport, response = (
        one_line((texts or {}).get(name) or "") for name in ("errorCode", "transport", "response")
    )
    shown = Text(one_line(state or ""), style=COLOURS.get(state or "", ""))
    return (rfc3339(when) if when else "", what, shown, code, took, transport, response)


def _bars(delivery: Delivery, history: Sequence[Entry], now: datetime) -> list[Text]:
    times = [time for entry in history for time in (entry["startTime"], entry["endTime"]) if time]
    ends = times if delivery.state in (State.SUCCESS, State.ERROR) and times else [*times, now]
    span = _Span(min(filter(None, [delivery.start_time, *times, now])), max(ends))
    return [
        span.bar(entry["startTime"], entry["endTime"], entry["state"])
        if entry["startTime"] and entry["endTime"]
        else Text("")
        for entry in history
    ]


def _seconds(time: Cell) -> str:
    """The time without the part below the second, for people."""
    return f"{str(time)[:19].replace('T', ' ')}Z" if str(time) else ""


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if 0 <= seconds < 10 else brief(seconds)
