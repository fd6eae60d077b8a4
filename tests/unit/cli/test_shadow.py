"""`shadow report`: log entries in, a verdict about each mail out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import cli
from cli.shadow_looks import MEANINGS, Kind, Look, grouped, last_looks

Entry = dict[str, Any]
BEGAN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def at(minutes: float) -> str:
    return (BEGAN + timedelta(minutes=minutes)).isoformat()


def looked(path: str, reason: str = "sent", old: str | None = "SUCCESS", minutes: float = 0, **fields: object) -> Entry:
    """A line of the sender's log."""
    return {
        "severity": "INFO",
        "time": at(minutes),
        "service": "sender",
        "event": "shadow",
        "document": path,
        "reason": reason,
        "old_state": old,
        "recipients": "same",
        "duration_ms": 20.5,
        **fields,
    }


def in_cloud_logging(line: Entry) -> Entry:
    """What Cloud Logging makes of it."""
    payload = {name: value for name, value in line.items() if name not in ("severity", "time")}
    return {"insertId": "x", "timestamp": line["time"], "severity": "INFO", "jsonPayload": payload}


def kinds(lines: Iterable[Entry]) -> dict[str, Kind]:
    return {path: group.kind for group in grouped(last_looks(lines)) for path in group.examples}


def report(text: str, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["shadow", "report", *arguments, "-"], input=text)


def lines(*looks: Entry) -> str:
    return "".join(json.dumps(look) + "\n" for look in looks)


# One mail


@pytest.mark.parametrize(
    ("look", "kind"),
    [
        pytest.param(looked("mail/a"), Kind.BOTH_SEND, id="same"),
        pytest.param(looked("mail/a", recipients="unknown"), Kind.RECIPIENTS_UNKNOWN, id="unknown"),
        pytest.param(looked("mail/a", recipients="differ"), Kind.RECIPIENTS_DIFFER, id="others"),
        pytest.param(looked("mail/a", "validation"), Kind.ONLY_OLD_SENDS, id="ours-refuses"),
        pytest.param(looked("mail/a", "scheduled"), Kind.SENDS_LATER, id="ours-waits"),
        pytest.param(looked("mail/a", "template", "ERROR"), Kind.BOTH_REFUSE, id="both-refuse"),
        pytest.param(looked("mail/a", "sent", "ERROR", old_error="other"), Kind.ONLY_FIREPOST_SENDS, id="theirs-fails"),
        pytest.param(looked("mail/a", "sent", "ERROR"), Kind.ONLY_FIREPOST_SENDS, id="theirs-fails-unexplained"),
        pytest.param(looked("mail/a", "sent", "ERROR", old_error="mail-server"), Kind.SERVER_REFUSES, id="server"),
        pytest.param(looked("mail/a", "sent", None), Kind.RUNNING, id="not-ended"),
        pytest.param(looked("mail/a", "sent", "PROCESSING"), Kind.RUNNING, id="processing"),
        pytest.param(looked("mail/a", old="ODD"), Kind.RUNNING, id="an-odd-state"),
    ],
)
def test_a_mail_is_judged_by_its_look(look: Entry, kind: Kind) -> None:
    assert kinds([look]) == {"mail/a": kind}
    assert kinds([in_cloud_logging(look)]) == {"mail/a": kind}


def test_an_inline_mail_has_nothing_to_compare_with() -> None:
    look = looked("mail/a")
    del look["old_state"], look["recipients"]
    assert kinds([look]) == {"mail/a": Kind.INLINE}


@pytest.mark.parametrize("state", [None, "PENDING", "RETRY", "PROCESSING"])
def test_what_the_old_system_has_not_ended_after_ten_minutes_it_never_ends(state: str | None) -> None:
    found = kinds([looked("mail/a", "validation", state), looked("mail/b", minutes=11)])
    assert found == {"mail/a": Kind.OLD_NEVER_ENDS, "mail/b": Kind.BOTH_SEND}


TWICE = (looked("mail/a", old=None), looked("mail/a", "validation", "SUCCESS", 1), looked("mail/b", minutes=30))


@pytest.mark.parametrize("order", list(itertools.permutations(TWICE)))
def test_the_last_look_counts_in_whatever_order_the_entries_come(order: tuple[Entry, ...]) -> None:
    assert kinds(order)["mail/a"] is Kind.ONLY_OLD_SENDS


def test_a_look_is_as_old_as_its_reading_of_the_document() -> None:
    slow = looked("mail/a", old=None, duration_ms=120_000)
    assert kinds([looked("mail/a", "sent", "SUCCESS", -1), slow]) == {"mail/a": Kind.BOTH_SEND}


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"event": "attempt", "document": "mail/a", "reason": "sent", "time": at(0)},
        looked("mail/a") | {"time": "yesterday"},
        looked("mail/a") | {"document": 5},
        looked("mail/a", "ODD WORD"),
        {"jsonPayload": "text"},
        {"textPayload": "shadow"},
    ],
    ids=str,
)
def test_other_entries_are_no_looks(entry: Entry) -> None:
    assert Look.of(entry) is None


@pytest.mark.parametrize("duration", [None, "long", -1, 1e300, True], ids=str)
def test_a_strange_duration_is_none(duration: object) -> None:
    look = Look.of(looked("mail/a", duration_ms=duration))
    assert look is not None
    assert abs(look.at - BEGAN) <= timedelta(milliseconds=1)


def test_each_kind_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Kind)


# The report


def test_agreement_ends_with_0() -> None:
    result = report(lines(looked("mail/a"), looked("mail/b", "template", "ERROR")))
    assert result.exit_code == 0
    assert result.stdout == (
        "agrees\ttemplate\t1\tboth make it an ERROR\tmail/b\n"
        "agrees\tsent\t1\tboth send it, to the same recipients\tmail/a\n"
    )
    assert result.stderr == "2 mails: 2 agree, 0 differ, 0 can't be compared (yet).\n"


def test_differences_come_first_with_the_first_paths_and_end_with_1() -> None:
    wrong = [looked(f"mail/w{number}", "validation") for number in range(5)]
    result = report(lines(looked("mail/a"), *wrong, looked("mail/b", old=None)), "--json")
    assert result.exit_code == 1
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {
            "result": "differs",
            "kind": "only-old-sends",
            "firepost": "validation",
            "documents": 5,
            "examples": ["mail/w0", "mail/w1", "mail/w2"],
        },
        {"result": "open", "kind": "running", "firepost": "sent", "documents": 1, "examples": ["mail/b"]},
        {"result": "agrees", "kind": "both-send", "firepost": "sent", "documents": 1, "examples": ["mail/a"]},
    ]


def test_nothing_to_compare_is_no_success() -> None:
    result = report('{"event": "attempt"}\n')
    assert (result.exit_code, "does the sender run with SHADOW=true?" in result.stderr) == (1, True)


def test_a_path_can_not_control_the_terminal() -> None:
    result = report(lines(looked("mail/\x1b[2Jx\ny")))
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 1


def test_several_files_are_one_report(tmp_path: Any) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(lines(looked(f"mail/{name}")))
    result = CliRunner().invoke(cli, ["shadow", "report", str(tmp_path / "a"), str(tmp_path / "b")])
    assert "2 mails: 2 agree" in result.stderr


def test_a_missing_file_is_wrong_usage(tmp_path: Any) -> None:
    assert CliRunner().invoke(cli, ["shadow", "report", str(tmp_path / "none")]).exit_code == 2


# Reading


def test_a_byte_that_is_not_utf_8_spoils_no_entry(tmp_path: Any) -> None:
    (tmp_path / "log").write_bytes(
        b"Gr\xfc\xdfe\n" + json.dumps(looked("mail/ä"), ensure_ascii=False).encode() + b"\n\xff"
    )
    result = CliRunner().invoke(cli, ["shadow", "report", str(tmp_path / "log")])
    assert "mail/ä" in result.stdout


@pytest.mark.parametrize("text", ["x" * 101, "{\n" + "  x\n" * 101], ids=["a line", "an object"])
def test_text_without_an_end_is_wrong_usage(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.log_entries.LONGEST", 100)
    result = report(text)
    assert (result.exit_code, "a line or an object has more than 100 characters" in result.stderr) == (2, True)
