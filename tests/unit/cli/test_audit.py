"""What `audit` finds and what it does not: entries that the state machine allows, others, and any at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.__main__ import cli
from cli.allowed import fault
from cli.auditor import Auditor, Finding
from shared.delivery.history import ended
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.observability.events import FIELDS, Event
from tests.unit.cli.builders import NOW
from tests.unit.cli.conftest import Store

ONCE = Policy(timedelta(minutes=1))
AGAIN = Policy(timedelta(minutes=1), 3, LeaseExpiryPolicy.RETRY)

NEW = {"event": "change", "before": None, "after": None, "reason": "new", "published": True, "written": True}
SENT = {
    "event": "attempt",
    "attempt": 1,
    "before": "PENDING",
    "after": "SUCCESS",
    "reason": "sent",
    "written": "finished",
}
HELD = {"event": "message", "reason": "lease-held", "acknowledged": False, "before": "PROCESSING", "lease_ms": 5.0}
RELEASED = {"event": "deferral", "attempt": 1, "before": None, "reason": "released", "written": "released"}
DUE = {"event": "reconciliation", "reason": "due", "before": "RETRY", "after": "RETRY", "due_ms": -3.1}
DEAD = {"event": "dead-letter", "reason": "dead-letter", "before": "RETRY"}


@pytest.mark.parametrize(
    "entry",
    [
        NEW,
        {**NEW, "written": False, "marked_after_ms": 0.0},
        {**NEW, "reason": "scheduled", "published": False, "due_ms": 9e6},
        {**NEW, "published": False, "refused": True},
        {**NEW, "before": "SUCCESS", "after": "RETRY", "reason": "requeued", "written": None},
        {
            **NEW,
            "before": "PENDING",
            "after": "PROCESSING",
            "reason": "lease-expired",
            "published": False,
            "lease_ms": -1.0,
        },
        {"event": "change", "before": None, "after": None, "reason": "unknown-state"},
        {"event": "ignored", "reason": "own-write", "count": 3},
        {**NEW, "reason": "paused", "published": False},
        {"event": "message", "reason": "paused", "acknowledged": True, "before": "RETRY"},
        {"event": "message", "reason": "paused", "acknowledged": True, "before": None},
        {**RELEASED, "before": "PENDING", "reason": "paused"},
        {**DUE, "reason": "paused", "due_ms": None, "before": "PENDING", "after": "PENDING"},
        {**DUE, "reason": "resumed", "due_ms": 80_000_000.0},
        {**DUE, "reason": "resumed", "due_ms": 80_000_000.0, "expires_ms": 90_000_000.0},
        SENT,
        {**SENT, "before": None},
        {**SENT, "written": "outdated"},
        {**SENT, "before": "PROCESSING", "lease_ms": 59_000.0, "continued": True},
        {**SENT, "written": "requeued", "found": "RETRY", "found_attempt": 1, "held": True, "left": "RETRY"},
        {**SENT, "written": "late-result", "found": "ERROR", "found_attempt": 1, "held": False, "left": "SUCCESS"},
        {**SENT, "written": "finished", "found": "PROCESSING", "found_attempt": 1, "held": True, "left": "SUCCESS"},
        {**SENT, "written": "finished", "found": "SUCCESS", "found_attempt": 1, "held": False, "left": "SUCCESS"},
        {**SENT, "after": "ERROR", "reason": "rejected"},
        {**SENT, "after": "ERROR", "reason": "temporary", "unsettled": True},
        {**SENT, "expires_ms": 90.0, "begun_ms": 80.0},
        {**SENT, "expires_ms": 90.0, "begun_ms": 95.0},  # two readings of the clock
        {**SENT, "after": "ERROR", "reason": "expired", "expires_ms": 90.0, "begun_ms": 5_000.0},
        {**RELEASED, "reason": "outage"},
        {**RELEASED, "reason": "outage", "outage_ms": -3_599_000.0},
        {**RELEASED, "reason": "outage", "outage_ms": -9e9},  # no waiting mail's: it has just begun
        {**SENT, "outage_ms": -9e6},
        {**SENT, "after": "ERROR", "reason": "connection", "outage": True, "outage_ms": -3_600_000.0},
        {**SENT, "after": "ERROR", "reason": "connection", "outage": True, "outage_ms": -3.5e6, "duration_ms": 2e5},
        {**SENT, "after": "ERROR", "reason": "auth", "outage": True, "outage_ms": -300_000.0},
        {**SENT, "after": "ERROR", "reason": "auth", "outage": True, "expires_ms": 5.0},  # it had expired meanwhile
        {**SENT, "outage": True, "outage_ms": -300_000.0},  # an earlier attempt has reached somebody
        {**SENT, "after": "ERROR", "reason": "connection"},  # lost later
        HELD,
        {**HELD, "lease_ms": 0.0},
        {"event": "message", "reason": "busy", "acknowledged": False},
        {"event": "message", "reason": "other-lane", "acknowledged": True},
        {"event": "message", "reason": "deleted", "acknowledged": True},
        {"event": "message", "reason": "lease-held"},
        RELEASED,
        {**RELEASED, "written": "outdated", "found": "ERROR", "found_attempt": 1, "held": False, "left": "ERROR"},
        DUE,
        {**DUE, "reason": "scheduled", "due_ms": 1000.0},
        {**DUE, "reason": "stranded", "before": "PENDING", "after": "PENDING", "due_ms": None},
        {**DUE, "reason": "lease-expired", "before": "PROCESSING", "after": "ERROR", "lease_ms": -1.0},
        DEAD,
        {**DEAD, "reason": "refused"},
        {"event": "dead-letter", "reason": "deleted"},
        {"event": "reconciler-run", "examined": 1},
        {"event": "something of a later version"},
    ],
)
def test_what_the_tables_have_is_allowed(entry: Mapping[str, Any]) -> None:
    assert fault(entry, ONCE) is None


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({**NEW, "marked_after_ms": -0.1}, "marked before"),
        ({**NEW, "published": False}, "not published; allowed: "),
        (
            {**NEW, "before": "SUCCESS", "after": "ERROR"},
            "SUCCESS became ERROR: 'new', published; allowed: final-state",
        ),
        ({**NEW, "due_ms": 9e6}, "due later"),
        ({"event": "ignored", "reason": "requeued", "count": 1}, "calls for a message"),
        ({**SENT, "before": "SUCCESS"}, "SUCCESS was claimed; allowed: final-state"),
        ({**SENT, "before": "PROCESSING", "lease_ms": 1.0}, "with a live lease was claimed"),
        ({**SENT, "before": "PROCESSING", "lease_ms": -1.0}, "with an expired lease was claimed"),
        ({**SENT, "before": None, "due_ms": 1.0}, "due later was claimed; allowed: not-due"),
        ({**SENT, "reason": "rejected"}, "'rejected' in SUCCESS, expected ERROR"),
        ({**SENT, "after": "RETRY", "reason": "temporary", "unsettled": True}, "in RETRY, expected ERROR"),
        ({**SENT, "written": "late-result"}, "without a changed document"),
        (
            {**SENT, "found": "RETRY", "found_attempt": 1, "held": True, "left": "SUCCESS"},
            "found RETRY at attempt 1, with the lease: 'finished', leaving SUCCESS; allowed: requeued",
        ),
        ({**SENT, "found": "PROCESSING", "found_attempt": 2, "held": False, "left": "SUCCESS"}, "allowed: outdated"),
        ({**SENT, "expires_ms": 90.0, "begun_ms": 5_090.0}, "handed over 5000 ms after it had expired"),
        (
            {**SENT, "after": "ERROR", "reason": "unknown", "expires_ms": 90.0, "begun_ms": 5_090.0},
            "handed over 5000 ms after",
        ),
        ({**SENT, "after": "ERROR", "reason": "rejected", "expires_ms": 9.0, "expired": True}, "is not 'expired'"),
        ({**SENT, "expired": True}, "is not 'expired'"),
        ({**SENT, "expires_ms": "soon", "begun_ms": 1.0}, "of another type"),
        ({**RELEASED, "reason": "outage", "outage_ms": -3_700_000.0}, "for 3700 s, and was to wait on"),
        ({**SENT, "after": "ERROR", "reason": "connection", "outage": True}, "did not wait"),
        ({**SENT, "after": "ERROR", "reason": "auth", "outage": True, "outage_ms": -2e5}, "did not wait"),
        (
            {**SENT, "after": "ERROR", "reason": "temporary", "outage": True, "outage_ms": -3e6, "duration_ms": 2e5},
            "did not wait",
        ),
        ({**SENT, "outage": True}, "did not wait"),
        ({**HELD, "acknowledged": True}, "acknowledged; allowed: lease-held"),
        ({**HELD, "lease_ms": -0.1}, "allowed: lease-expired"),
        ({**HELD, "lease_ms": 1e9}, "with nobody's lease"),
        ({"event": "message", "reason": "busy", "acknowledged": True}, "nobody had read"),
        ({"event": "message", "reason": "other-lane", "acknowledged": False}, "was not acknowledged"),
        ({**RELEASED, "found": "SUCCESS", "found_attempt": 1, "held": False, "left": "PENDING"}, "allowed: outdated"),
        ({**DUE, "reason": "not-due"}, "allowed: due"),
        ({**DUE, "after": "SUCCESS"}, "leaving SUCCESS"),
        ({**DUE, "marked_after_ms": -5.0}, "marked before"),
        ({**DEAD, "before": "PROCESSING", "lease_ms": 5.0}, "allowed: processing"),
        ({**SENT, "attempt": "1"}, "of another type"),
        ({"event": "attempt"}, "a field is missing"),
    ],
)
def test_what_they_do_not_have_is_a_finding_with_what_is_allowed(entry: Mapping[str, Any], why: str) -> None:
    found = fault(entry, ONCE)
    assert found is not None
    assert why in found


def test_cloud_logging_makes_numbers_floats_and_may_leave_out_nulls() -> None:
    def exported(entry: Mapping[str, Any]) -> Mapping[str, Any]:
        numbers = {name: float(value) for name, value in entry.items() if type(value) is int}
        return {name: value for name, value in {**entry, **numbers}.items() if value is not None}

    not_due = {"event": "message", "reason": "not-due", "acknowledged": True, "before": None, "due_ms": 5.0}
    unknown = {**SENT, "written": "outdated", "found": None, "found_attempt": 1, "held": True, "left": None}
    for entry in (not_due, unknown, SENT, RELEASED, NEW):
        assert fault(exported(entry), ONCE) is None
    assert "attempt 1 ended" in str(fault(exported({**SENT, "reason": "auth"}), ONCE))


def test_what_is_allowed_depends_on_the_policy() -> None:
    again = {**SENT, "attempt": 2, "before": "PROCESSING", "lease_ms": -1.0}
    retry = {**SENT, "after": "RETRY", "reason": "unknown", "unsettled": True}
    for entry in (again, retry):
        assert fault(entry, AGAIN) is None
        assert fault(entry, ONCE) is not None
    assert "expected RETRY" in str(fault({**retry, "after": "ERROR"}, AGAIN))


def test_the_next_attempt_comes_before_a_mail_expires() -> None:
    again = {**SENT, "reason": "temporary", "unsettled": True, "after": "RETRY", "expires_ms": 60_000.0}
    assert fault({**again, "next_ms": 59_999.9}, AGAIN) is None
    assert "was to follow 1000 ms after the mail expires" in str(fault({**again, "next_ms": 61_000.0}, AGAIN))
    assert fault({**again, "after": "ERROR", "expired": True}, AGAIN) is None
    for last in ({**again, "attempt": 3, "before": "RETRY"}, {**again, "unsettled": False}):
        assert "is not 'expired'" in str(fault({**last, "after": "ERROR", "expired": True}, AGAIN))


@pytest.mark.parametrize(("attempts", "allowed"), [(1, "claimed"), (2, "claimed"), (3, None)])
def test_an_expired_lease_is_retried_up_to_a_number_of_attempts(attempts: int, allowed: str | None) -> None:
    given_up = {**HELD, "reason": "lease-expired", "acknowledged": True, "lease_ms": -1.0, "attempts": attempts}
    found = fault(given_up, AGAIN)
    assert (found is None) if allowed is None else (f"allowed: {allowed}" in str(found))
    assert fault({name: value for name, value in given_up.items() if name != "attempts"}, AGAIN) is None


NAMES = sorted({"event", *(name for fields in FIELDS.values() for name in fields)})
JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["RETRY", "SUCCESS", "sent", ""])
    | st.lists(st.none())
)


@given(st.sampled_from(Event), st.dictionaries(st.sampled_from(NAMES), JUNK))
def test_any_entry_is_allowed_or_a_finding(event: Event, entry: dict[str, Any]) -> None:
    auditor = Auditor(AGAIN)
    found = auditor.entry({**entry, "event": event.value}, "here")
    assert found is None or found.why
    assert all(each.why for each in auditor.stories())


def stories(*entries: Mapping[str, Any]) -> list[Finding]:
    auditor = Auditor(AGAIN)
    assert [auditor.entry({**entry, "document": "mail/a"}, str(line)) for line, entry in enumerate(entries)] == [
        None for _ in entries
    ]
    return [*auditor.stories()]


REQUEUED = {**NEW, "before": "SUCCESS", "after": "RETRY", "reason": "requeued", "written": None}
FAILED = {**SENT, "after": "RETRY", "reason": "temporary", "unsettled": True}


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([NEW, SENT], id="sent"),
        pytest.param([SENT, NEW], id="in any order"),
        pytest.param([NEW, RELEASED, SENT], id="after a release"),
        pytest.param([NEW, FAILED, {**SENT, "attempt": 2, "before": "RETRY"}], id="retried"),
        pytest.param([NEW, SENT, REQUEUED, {**SENT, "attempt": 2, "before": "RETRY"}], id="asked again"),
        pytest.param([NEW, SENT, REQUEUED, {**SENT, "before": "RETRY"}], id="asked again, with another `delivery`"),
        pytest.param([NEW, SENT, NEW, SENT], id="written again under the same id"),
        pytest.param([{**SENT, "before": None}, {**SENT, "before": None}], id="published again after its deletion"),
        pytest.param([NEW, SENT, {**SENT, "attempt": 2, "written": "outdated"}], id="a result that was not written"),
    ],
)
def test_a_story_that_may_happen(entries: list[Mapping[str, Any]]) -> None:
    assert stories(*entries) == []


def test_two_attempts_with_the_same_number_are_a_finding() -> None:
    assert stories(NEW, SENT, SENT) == [
        Finding("2", "mail/a", "attempt 1 ended 2 times: two senders held the same lease, or a lease was lost")
    ]


def test_a_mail_that_was_sent_again_though_nobody_asked_is_a_finding() -> None:
    [found] = stories(NEW, SENT, {**SENT, "attempt": 2})
    assert (found.where, found.why) == ("2", "concluded 2 times, asked for 1 times")


HANDED_OVER = {**SENT, "begun_ms": 12.0}
TAKEN_OVER = {**HANDED_OVER, "attempt": 2, "before": "PROCESSING", "lease_ms": -1.0, "unsent": True}


def test_an_attempt_that_takes_over_from_one_that_has_sent_is_a_finding() -> None:
    frozen = {**HANDED_OVER, "written": "outdated"}
    why = "attempt 1 handed the mail over, but the next one was made because it had not"
    for found in (stories(NEW, TAKEN_OVER, frozen), stories(frozen, TAKEN_OVER, NEW)):
        assert [each.why for each in found] == [why]
    assert stories(NEW, TAKEN_OVER, {**frozen, "begun_ms": None, "after": "ERROR", "reason": "template"}) == []
    assert stories(NEW, TAKEN_OVER) == []
    assert stories(NEW, HANDED_OVER, NEW, TAKEN_OVER) == []  # written again under the same id


def entry_of(attempt: int, state: str, code: str | None = None) -> dict[str, Any]:
    return dict(ended(attempt, NOW, NOW, state, code))


@pytest.mark.parametrize(
    ("delivery", "why"),
    [
        pytest.param(None, None, id="none"),
        pytest.param({"state": "SUCCESS", "attempts": 1}, None, id="of an older version"),
        pytest.param({"state": "SUCCESS", "attempts": 1, "history": [entry_of(1, "SUCCESS")]}, None, id="sent"),
        pytest.param(
            {"state": "SUCCESS", "attempts": 2, "history": [entry_of(1, "RETRY", "temporary"), entry_of(2, "SUCCESS")]},
            None,
            id="retried",
        ),
        pytest.param({"state": "RETRY", "attempts": 1, "history": [entry_of(1, "SUCCESS")]}, None, id="asked again"),
        pytest.param(
            {"state": "ERROR", "errorCode": "dead-letter", "attempts": 1, "history": [entry_of(1, "SUCCESS")]},
            None,
            id="asked again, and given up",
        ),
        pytest.param(
            {"state": "ERROR", "errorCode": "auth", "attempts": 1, "history": [entry_of(1, "SUCCESS")]},
            "attempt 1, ERROR (auth), but its history ends with attempt 1, SUCCESS (sent)",
            id="another end",
        ),
        pytest.param(
            {"state": "SUCCESS", "attempts": 2, "history": [entry_of(1, "SUCCESS")]},
            "attempt 2",
            id="a missing attempt",
        ),
        pytest.param(
            {"state": "SUCCESS", "attempts": 1, "history": [entry_of(1, "SUCCESS", "auth")]},
            "ended with 'auth' in SUCCESS",
            id="a success with an error",
        ),
        pytest.param(
            {"state": "SUCCESS", "attempts": 1, "history": [entry_of(1, "SUCCESS")], "outageTime": "2026-11-26T12:00Z"},
            "still waits",
            id="an end while it waits",
        ),
        pytest.param(
            {"state": "PENDING", "attempts": 1, "history": [entry_of(1, "RETRY", "temporary")], "outageTime": "x"},
            None,
            id="waiting after an attempt",
        ),
        pytest.param(
            {"state": "RETRY", "attempts": 3, "history": [entry_of(3, "RETRY", "temporary")]},
            "expected ERROR",
            id="a retry too many",
        ),
        pytest.param(
            {"state": "RETRY", "attempts": 1, "history": [entry_of(2, "ERROR", "auth"), entry_of(1, "ERROR", "auth")]},
            "attempt 1 follows attempt 2",
            id="back in time",
        ),
    ],
)
def test_a_history_is_held_against_the_state(delivery: object, why: str | None) -> None:
    found = Auditor(AGAIN).document("mail/a", delivery, "here")
    assert (found is None) == (why is None)
    assert found is None or str(why) in found.why


class TestCommand:
    def run(self, tmp_path: Path, *entries: Mapping[str, Any], options: tuple[str, ...] = ()) -> Any:
        log = tmp_path / "log"
        log.write_text("".join(f"{json.dumps({'document': 'mail/a', **entry})}\n" for entry in entries))
        return CliRunner().invoke(cli, ["audit", str(log), *options])

    def test_all_that_is_allowed_is_counted(self, tmp_path: Path) -> None:
        result = self.run(tmp_path, NEW, SENT, {"delivery": {"state": "PENDING"}})
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == "2 log entries and 1 documents: all as the state machine allows.\n"

    def test_a_finding_has_its_line_and_its_document(self, tmp_path: Path) -> None:
        result = self.run(tmp_path, NEW, {**SENT, "before": "SUCCESS"})
        assert result.exit_code == 1
        assert result.stdout == f"{tmp_path}/log:2\tmail/a\tSUCCESS was claimed; allowed: final-state\n"
        assert "1 findings" in result.stderr

    def test_no_more_are_shown_than_asked_for(self, tmp_path: Path) -> None:
        wrong = {**SENT, "before": "SUCCESS"}
        result = self.run(tmp_path, wrong, wrong, wrong, options=("--limit", "2", "--json"))
        assert [json.loads(line)["where"][-2:] for line in result.stdout.splitlines()] == [":1", ":2"]
        assert "there may be more" in result.stderr

    def test_the_policy_is_the_services(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        retried = {**SENT, "after": "RETRY", "reason": "temporary", "unsettled": True}
        assert self.run(tmp_path, retried).exit_code == 1
        monkeypatch.setenv("MAX_ATTEMPTS", "2")
        assert self.run(tmp_path, retried).exit_code == 0

    def test_the_patience_is_the_services(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        waiting = {**RELEASED, "reason": "outage", "outage_ms": -4_000_000.0}
        assert self.run(tmp_path, waiting).exit_code == 1
        assert self.run(tmp_path, waiting, options=("--patience", "4001")).exit_code == 0
        monkeypatch.setenv("OUTAGE_PATIENCE", "4001")
        assert self.run(tmp_path, waiting).exit_code == 0

    def test_without_anything_to_check_it_is_wrong_usage(self) -> None:
        result = CliRunner().invoke(cli, ["audit"])
        assert (result.exit_code, "Specify FILE..., or --scan" in result.stderr) == (2, True)

    @pytest.mark.parametrize(
        "entries",
        [
            pytest.param([], id="no lines"),
            pytest.param([{"message": "started"}], id="other lines"),
            pytest.param([{"event": "connection", "server": "a:25"}], id="no decisions"),
        ],
    )
    def test_a_log_with_nothing_to_check_is_no_success(self, tmp_path: Path, entries: list[Mapping[str, Any]]) -> None:
        result = self.run(tmp_path, *entries)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: Nothing was checked")

    def test_an_empty_collection_is_no_success_either(self, store: Store) -> None:
        result = store.run("audit", "--scan")
        assert (result.exit_code, "Nothing was checked" in result.stderr) == (1, True)
        store.write({"mail/a": {"delivery": {"state": "PENDING"}}})
        assert store.run("audit", "--scan").exit_code == 0

    def test_a_line_without_an_end_is_wrong_usage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cli.log_entries.LONGEST", 100)
        result = self.run(tmp_path, {"event": "x" * 200})
        assert (result.exit_code, "more than 100 characters" in result.stderr) == (2, True)
