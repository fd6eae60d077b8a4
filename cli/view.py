"""The display of mails and dead letters. Pure: data in; records, rows and lines out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from cli.letters import Letter
from cli.mail import Mail
from cli.output import Cell, one_line, printable
from cli.times import brief, rfc3339, with_age
from shared.delivery.model import State

MAIL_COLUMNS = ("DOCUMENT", "STATE", "CODE", "TRIES", "AGE", "ERROR")
LETTER_COLUMNS = ("ID", "AGE", "REASON", "DOCUMENT", "ERROR")

#: The display order; other fields follow by name.
_ORDER = ("error", "errorCode", "attempts", "startTime", "endTime", "nextAttemptTime", "leaseExpireTime", "createTime")
_COLOURS: Mapping[str, str] = {
    State.SUCCESS: "green",
    State.ERROR: "red",
    State.PROCESSING: "blue",
    State.PENDING: "yellow",
    State.RETRY: "yellow",
}


def mail_record(mail: Mail) -> dict[str, Any]:
    """The mail as JSON data."""
    return {"document": mail.path, "createTime": mail.created, "delivery": mail.delivery}


def mail_row(mail: Mail, now: datetime) -> Sequence[Cell]:
    """The mail as a row of a table with `MAIL_COLUMNS`; its age is that of the last change."""
    delivery = mail.delivery or {}
    return (
        one_line(mail.path),
        _state(mail),
        one_line(mail.error_code),
        str(delivery.get("attempts", 0)),
        brief((now - mail.moved()).total_seconds()),
        one_line(str(delivery.get("error") or "")),
    )


def mail_details(mail: Mail, now: datetime) -> Text:
    """The whole `delivery` field, one line per field."""
    lines = [Text.assemble((one_line(mail.path), "bold"), "  ", _state(mail))]
    facts = {"createTime": mail.created, **(mail.delivery or {})}
    facts.pop("state", None)  # shown above already
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
        f"  {one_line(mail.path)}{_status_note(mail.state, mail.delivery or {})}",
    )


def _status_note(state: str, delivery: Mapping[str, Any]) -> str:
    match state, delivery:
        case State.ERROR, {"error": str(error)}:
            return f"  {one_line(error)}"
        case State.SUCCESS, {"info": {"accepted": list(accepted), "rejected": list(no), "pending": list(later)}}:
            return f"  accepted for {len(accepted)} of {len(accepted) + len(no) + len(later)}"
        case State.PROCESSING, {"attempts": int(attempts)}:
            return f"  attempt {attempts}"
        case ((State.PENDING | State.RETRY), {"nextAttemptTime": datetime() as time}):
            return f"  not before {rfc3339(time)}"
    return ""


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
    return Text(one_line(mail.state) or "(new)", style=_COLOURS.get(mail.state, ""))


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
