"""The display of mails and dead letters. Pure: data in; records, rows and lines out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.text import Text

from cli.mail import NOT_ACCEPTED, Mail
from cli.output import Cell, one_line, printable
from cli.times import brief, rfc3339, with_age
from shared.delivery.model import State
from shared.pubsub.letters import Letter

MAIL_COLUMNS = ("DOCUMENT", "STATE", "CODE", "TRIES", "AGE", "ERROR")
LETTER_COLUMNS = ("ID", "AGE", "REASON", "DOCUMENT", "ERROR")
COUNT_COLUMNS = ("COUNTED", "NAME", "MAILS", "SHARE", "")

#: The width of the bar that stands for all mails, in characters.
_BAR = 20

#: The display order; other fields follow by name.
_ORDER = (
    *("error", "errorCode", "attempts", "startTime", "endTime", "nextAttemptTime", "leaseExpireTime", "createTime"),
    "lane",
)
#: The colour of each state.
COLOURS: Mapping[str, str] = {
    State.SUCCESS: "green",
    State.ERROR: "red",
    State.PROCESSING: "blue",
    State.PENDING: "yellow",
    State.RETRY: "yellow",
    State.CANCELLED: "dim",
}


def mail_record(mail: Mail) -> dict[str, Any]:
    """The mail as JSON data."""
    lane = {"lane": mail.lane} if mail.lane is not None else {}
    return {"document": mail.path, "createTime": mail.created, **lane, "delivery": mail.delivery}


def mail_row(mail: Mail, now: datetime) -> Sequence[Cell]:
    """The mail as a row of a table with `MAIL_COLUMNS`; its age is that of the last change."""
    delivery = mail.delivery or {}
    return (
        one_line(mail.path),
        _state(mail),
        one_line(mail.error_code),
        str(delivery.get("attempts", 0)),
        brief((now - mail.moved()).total_seconds()),
        one_line(str(delivery.get("error") or "")) or (_acceptance(mail) if mail.is_partial else ""),
    )


def mail_details(mail: Mail, now: datetime) -> Text:
    """The `lane` and the whole `delivery`, one line per field, without the history, which has a table (timeline.py)."""
    lines = [Text.assemble((one_line(mail.path), "bold"), "  ", _state(mail))]
    facts = {"createTime": mail.created, **(mail.delivery or {})}
    if mail.lane is not None:
        facts["lane"] = mail.lane
    for shown in ("state", "history"):
        facts.pop(shown, None)
    fields = sorted(_flat(facts), key=_reading_order)
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        lines.append(Text.assemble("  ", (f"{one_line(name):<{width}}", "dim"), "  ", _value(value, now)))
    return Text("\n").join(lines)


def mail_step(mail: Mail, now: datetime) -> Text:
    """A line about the mail's current state, for `--watch`; it shows the time of day of `now`."""
    return Text.assemble(
        (f"{now:%H:%M:%S}", "dim"),
        "  ",
        _state(mail),
        f"  {one_line(mail.path)}{_status_note(mail)}",
    )


def _status_note(mail: Mail) -> str:
    match mail.state, mail.delivery:
        case State.ERROR, {"error": str(error)}:
            return f"  {one_line(error)}"
        case State.SUCCESS, {"info": {"accepted": list(), "rejected": list(), "pending": list()}}:
            return f"  {_acceptance(mail)}"
        case State.PROCESSING, {"attempts": int(attempts)}:
            return f"  attempt {attempts}"
        case State.PENDING, {"nextAttemptTime": datetime() as time, "outageTime": datetime(), "error": str(error)}:
            return f"  not before {rfc3339(time)}: {one_line(error)}"
        case ((State.PENDING | State.RETRY), {"nextAttemptTime": datetime() as time}):
            return f"  not before {rfc3339(time)}"
    return ""


def _acceptance(mail: Mail) -> str:
    accepted, *others = (len(mail.recipients(outcome)) for outcome in ("accepted", *NOT_ACCEPTED))
    withheld = len(mail.recipients("withheld"))
    return f"accepted for {accepted} of {accepted + sum(others)}" + (f", {withheld} withheld" if withheld else "")


@dataclass(frozen=True, slots=True)
class Count:
    """How many of the `total` mails have something in common.

    `kind` is `all`, `state` or `error-code`, `name` its value; None is no value, or one unknown to Firepost.
    """

    kind: str
    name: str | None
    mails: int
    total: int

    @property
    def share(self) -> float:
        """The part of all mails, from 0 to 1."""
        return min(self.mails / self.total, 1) if self.total else 0.0


def count_record(count: Count) -> dict[str, Any]:
    """The count as JSON data."""
    return {"counted": count.kind, "name": count.name, "mails": count.mails, "share": round(count.share, 6)}


def count_row(count: Count, with_bar: bool) -> Sequence[Cell]:
    """The count as a row of a table with `COUNT_COLUMNS`; without the last one unless `with_bar`."""
    name = count.name or ("(none)" if count.kind == "state" else "")
    colour = COLOURS.get(name, "")
    number = f"{count.mails:,}" if with_bar else str(count.mails)
    share = f"{count.share:.1%}" if count.share >= 0.001 or not count.mails else "<0.1%"
    cells = (count.kind, Text(name, style=colour), Text(number, justify="right"), Text(share, justify="right"))
    length = max(round(count.share * _BAR), 1 if count.mails else 0)
    return (*cells, Text("#" * length, style=colour)) if with_bar else cells


def letter_record(letter: Letter, collection: str) -> dict[str, Any]:
    """The dead letter as JSON data, without its content."""
    return {
        "id": letter.id,
        "publishTime": letter.published,
        "reason": letter.reason,
        "error": letter.error,
        "document": letter.document(collection),
    }


def letter_row(letter: Letter, collection: str, now: datetime) -> Sequence[Cell]:
    """The dead letter as a row of a table with `LETTER_COLUMNS`."""
    age = brief((now - letter.published).total_seconds())
    texts = (letter.id, age, letter.reason, letter.document(collection) or "-", letter.error)
    return [one_line(text) for text in texts]


def letter_details(letter: Letter, now: datetime) -> Text:
    """The whole dead letter: its attributes, and its data if it is text."""
    lines = [
        Text.assemble((letter.id, "bold"), f"  {with_age(letter.published, now)}"),
        *(
            Text.assemble("  ", (one_line(name), "dim"), f"  {one_line(value)}")
            for name, value in sorted(letter.attributes.items())
        ),
        Text(""),
        Text(printable(_readable(letter.data))),
    ]
    return Text("\n").join(lines)


def _readable(data: bytes) -> str:
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return data.decode(errors="backslashreplace")


def _state(mail: Mail) -> Text:
    return Text(one_line(mail.state) or "(new)", style=COLOURS.get(mail.state, ""))


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of nested maps, by dotted path."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _reading_order(field: tuple[str, Any]) -> tuple[int, str]:
    name, _ = field
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER)), name


def _value(value: Any, now: datetime) -> str:
    match value:
        case None | []:
            return "-"
        case datetime():
            return with_age(value, now)
        case list():
            return ", ".join(_value(item, now) for item in value)
    return one_line(str(value))
