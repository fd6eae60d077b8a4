"""What is paused, and what the state machine decides meanwhile and afterwards."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final

import pytest

from shared.delivery.machine import after_pause, next_look, on_event, on_message, on_reconcile, while_paused
from shared.delivery.model import DELETE, Changes, Decision, Delivery, DocumentState, Lease, Reason, State
from shared.delivery.pause import (
    AFTERMATH,
    KNOWN_WITHIN,
    LONG,
    Kind,
    Part,
    Pause,
    Resumed,
    caught_up,
    control_path,
    gathered,
    pausing,
    resuming,
    share,
)
from shared.delivery.policy import LeaseExpiryPolicy, Policy, Ttl, TtlUnit
from shared.errors import Paused
from tests.fakes import applied

NOW: Final = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
BULK, EU, NEWS = Part(Kind.TRANSPORT, "bulk"), Part(Kind.TRANSPORT, "eu"), Part(Kind.LANE, "bulk")
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
POLICY: Final = Policy(timedelta(seconds=60), stranded_after=timedelta(minutes=15))
RETRYING: Final = replace(POLICY, max_attempts=3, lease_expiry=LeaseExpiryPolicy.RETRY)


def document(state: State, send_at: datetime | None = None, expires: datetime | None = None, **more: Any) -> Any:
    return DocumentState(Delivery(state, **more), send_at, expires)


class TestTheControlDocument:
    @pytest.mark.parametrize(
        ("fields", "pause"),
        [
            pytest.param(None, Pause(), id="absent"),
            pytest.param({}, Pause(), id="empty"),
            pytest.param({"pausedTime": NOW}, Pause(NOW), id="all-mail"),
            pytest.param({"pausedTransports": {"bulk": NOW}}, Pause(None, {BULK: NOW}), id="a-transport"),
            pytest.param({"pausedLanes": {"bulk": NOW}}, Pause(None, {NEWS: NOW}), id="a-lane"),
            pytest.param({"pausedTemplates": {"a": 1}, "note": "x"}, Pause(), id="of-a-later-version"),
            pytest.param(
                {"resumed": {"time": NOW, "rate": 5, "granted": NOW, "gathered": False}},
                Pause(resumed=Resumed(NOW, 5, NOW)),
                id="rate",
            ),
            pytest.param(
                {"resumed": {"time": NOW, "rate": None, "granted": NOW, "gathered": True}},
                Pause(resumed=Resumed(NOW, None, NOW, gathered=True)),
                id="no-limit",
            ),
        ],
    )
    def test_says_what_is_paused(self, fields: Any, pause: Pause) -> None:
        assert Pause.of(fields) == pause

    @pytest.mark.parametrize(
        "fields",
        [
            {"pausedTime": "now"},
            {"pausedTime": None},
            {"pausedTransports": ["bulk"]},
            {"pausedTransports": {"bulk": True}},
            {"pausedLanes": "bulk"},
            {"pausedLanes": {"bulk": None}},
            {"resumed": NOW},
            {"resumed": {"time": NOW, "rate": 5}},
            *(
                {"resumed": {"time": NOW, "rate": rate, "granted": NOW, "gathered": False}}
                for rate in (0, -1, "5", True, float("inf"), float("nan"))
            ),
            {"resumed": {"time": NOW, "rate": 5, "granted": NOW, "gathered": 0}},
            {"resumed": {"time": NOW, "rate": 5, "granted": NOW, "gathered": False, "lane": "bulk"}},
        ],
    )
    def test_that_makes_no_sense_is_refused_by_the_fields_name(self, fields: dict[str, Any]) -> None:
        [name] = fields
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            Pause.of(fields)

    def test_lies_beside_the_collection(self) -> None:
        assert control_path("tenants/a/mail") == "tenants/a/mail-firepost/control"

    @pytest.mark.parametrize(
        ("pause", "held", "why"),
        [
            (Pause(), "", ""),
            (Pause(NOW), "default default, default bulk, bulk default, bulk bulk", "All mail is paused."),
            (Pause(NOW, {BULK: NOW}), "default default, default bulk, bulk default, bulk bulk", "All mail is paused."),
            (Pause(None, {BULK: NOW}), "default bulk, bulk bulk", "Transport bulk is paused."),
            (Pause(None, {NEWS: NOW}), "bulk default, bulk bulk", "Lane bulk is paused."),
            (Pause(None, {EU: NOW, Part(Kind.LANE, "eu"): NOW}), "", ""),
        ],
    )
    def test_holds_the_mails_of_a_lane_for_a_transport(self, pause: Pause, held: str, why: str) -> None:
        found = {}
        for lane, transport in product(("default", "bulk"), repeat=2):
            try:
                pause.check(lane, transport)
            except Paused as paused:
                found[f"{lane} {transport}"] = str(paused)
        assert ", ".join(found) == held
        assert set(found.values()) == {why} - {""}

    @pytest.mark.parametrize(
        ("pause", "is_held"),
        [
            (Pause(), False),
            (Pause(NOW), True),
            (Pause(None, {NEWS: NOW}), True),
            (Pause(None, {BULK: NOW}), False),
        ],
    )
    def test_holds_the_mails_of_a_lane_whatever_their_transport(self, pause: Pause, is_held: bool) -> None:
        with pytest.raises(Paused) if is_held else nullcontext():
            pause.check("bulk", None)

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({}, ""),
            ({"pausedTime": NOW}, "all mail is paused since 2026-11-24T12:00:00Z"),
            ({"pausedTransports": {"bulk": NOW}}, "transport bulk is paused since 2026-11-24T12:00:00Z"),
            (
                {"pausedTransports": {"eu": NOW, "a": NOW}, "pausedLanes": {"bulk": NOW - DAY}, "pausedTime": NOW},
                "all mail is paused since 2026-11-24T12:00:00Z; lane bulk is paused since 2026-11-23T12:00:00Z; "
                "transport a is paused since 2026-11-24T12:00:00Z; transport eu is paused since 2026-11-24T12:00:00Z",
            ),
        ],
    )
    def test_is_told_in_a_sentence(self, fields: dict[str, Any], sentence: str) -> None:
        assert Pause.of(fields).sentence == sentence

    @pytest.mark.parametrize(
        ("pause", "word"),
        [
            (Pause(), None),
            (Pause(resumed=Resumed(NOW - 2 * LONG, 1, NOW)), None),
            (Pause(NOW), "recent"),
            (Pause(NOW - LONG + SECOND), "recent"),
            (Pause(NOW - LONG), "long"),
            (Pause(NOW, {BULK: NOW - LONG}), "long"),
            (Pause(None, {BULK: NOW, NEWS: NOW - LONG}), "long"),
        ],
    )
    def test_tells_a_long_pause_from_a_recent_one(self, pause: Pause, word: str | None) -> None:
        assert pause.duration(NOW) == word


class TestAnOperator:
    def after(self, pause: Pause, changes: Changes | None) -> Pause:
        assert changes is not None
        named = {"pausedTransports": Kind.TRANSPORT, "pausedLanes": Kind.LANE}
        fields: dict[str, Any] = {name: pause.named(kind) for name, kind in named.items()}
        if pause.since:
            fields["pausedTime"] = pause.since
        return Pause.of(applied(fields, changes))

    def test_pauses_all_mail_once(self) -> None:
        assert self.after(Pause(), pausing(Pause(), None, NOW)) == Pause(NOW)
        assert pausing(Pause(NOW - HOUR), None, NOW) is None

    @pytest.mark.parametrize("part", [Part(Kind.TRANSPORT, "eu.1"), NEWS, Part(Kind.LANE, "eu")])
    def test_pauses_transports_and_lanes_beside_each_other(self, part: Part) -> None:
        first = Pause(None, {BULK: NOW - HOUR})
        assert self.after(first, pausing(first, part, NOW)) == Pause(None, {BULK: NOW - HOUR, part: NOW})
        assert pausing(first, BULK, NOW) is None

    @pytest.mark.parametrize("part", [BULK, EU, NEWS])
    @pytest.mark.parametrize("rate", [None, 5.0])
    def test_resumes_only_what_is_named(self, rate: float | None, part: Part) -> None:
        parts = {BULK: NOW - HOUR, EU: NOW, NEWS: NOW}
        all_of_it, resumed = Pause(NOW - HOUR, parts), Resumed(NOW, rate, NOW + KNOWN_WITHIN)
        expected = replace(all_of_it, since=None, resumed=resumed)
        assert self.after(all_of_it, resuming(all_of_it, None, rate, NOW)) == expected
        rest = {each: time for each, time in parts.items() if each != part}
        expected = replace(all_of_it, parts=rest, resumed=resumed)
        assert self.after(all_of_it, resuming(all_of_it, part, rate, NOW)) == expected

    def test_can_not_resume_what_is_not_paused(self) -> None:
        assert resuming(Pause(None, {BULK: NOW}), None, 5, NOW) is None
        assert resuming(Pause(NOW, {BULK: NOW}), EU, 5, NOW) is None
        assert resuming(Pause(NOW, {BULK: NOW}), NEWS, 5, NOW) is None


class TestTheRate:
    RESUMED: Final = Resumed(NOW, 2.0, NOW)

    @pytest.mark.parametrize(
        ("rate", "ran", "now", "number", "granted"),
        [
            pytest.param(2.0, NOW, NOW + 10 * SECOND, 20, NOW + 10 * SECOND, id="the-time-since-the-last-run"),
            pytest.param(2.0, NOW, NOW + 0.7 * SECOND, 1, NOW + 0.5 * SECOND, id="fractions-are-kept"),
            pytest.param(0.1, NOW, NOW + 9 * SECOND, 0, None, id="less-than-one"),
            pytest.param(0.1, NOW, NOW + 10 * SECOND, 1, NOW + 10 * SECOND, id="one-at-last"),
            pytest.param(2.0, NOW, NOW, 0, None, id="at-once"),
            pytest.param(2.0, NOW, NOW - HOUR, 0, None, id="the-clock-was-set-back"),
            pytest.param(2.0, NOW, NOW + HOUR, 3600, NOW + HOUR, id="half-an-hour-at-most"),
            pytest.param(None, NOW, NOW, None, None, id="no-limit"),
            pytest.param(None, NOW, NOW - SECOND, 0, None, id="no-limit-but-senders-do-not-know-yet"),
        ],
    )
    def test_gives_each_run_its_share(
        self, rate: float | None, ran: datetime, now: datetime, number: int | None, granted: datetime | None
    ) -> None:
        pause = Pause(resumed=Resumed(NOW, rate, ran))
        changes = None if granted is None else {"resumed.granted": granted}
        assert share(pause, now) == (number, changes)

    def test_gives_nothing_while_all_mail_is_paused_or_none_was(self) -> None:
        assert share(Pause(NOW, resumed=self.RESUMED), NOW + HOUR) == (0, None)
        assert share(Pause(None, {BULK: NOW}), NOW + HOUR) == (0, None)

    @pytest.mark.parametrize(
        ("pause", "now", "is_over"),
        [
            (Pause(resumed=RESUMED), NOW + AFTERMATH, True),
            (Pause(None, {BULK: NOW}, RESUMED), NOW + AFTERMATH, True),
            (Pause(resumed=RESUMED), NOW + AFTERMATH - SECOND, False),
            (Pause(resumed=Resumed(NOW + SECOND, 2.0, NOW)), NOW + AFTERMATH + SECOND, False),
            (Pause(), NOW + AFTERMATH, False),
        ],
    )
    def test_gathers_until_no_sender_can_put_off_anything_any_more(
        self, pause: Pause, now: datetime, is_over: bool
    ) -> None:
        assert gathered(pause, self.RESUMED, now) == ({"resumed.gathered": True} if is_over else None)

    @pytest.mark.parametrize(
        ("pause", "ends"),
        [
            (Pause(resumed=replace(RESUMED, gathered=True)), True),
            (Pause(None, {BULK: NOW}, replace(RESUMED, granted=NOW + SECOND, gathered=True)), True),
            (Pause(resumed=RESUMED), False),
            (Pause(resumed=Resumed(NOW + SECOND, 2.0, NOW, gathered=True)), False),
            (Pause(), False),
        ],
    )
    def test_ends_after_that(self, pause: Pause, ends: bool) -> None:
        assert caught_up(pause, self.RESUMED) == ({"resumed": DELETE} if ends else None)


class TestSinceWhenAMailWaits:
    @pytest.mark.parametrize(
        ("known", "since"),
        [
            (DocumentState(), NOW),
            (DocumentState(send_at=NOW - HOUR), NOW - HOUR),
            (document(State.PENDING), NOW),
            (document(State.PENDING, start_time=NOW - DAY), NOW - DAY),
            (document(State.PENDING, send_at=NOW - HOUR, start_time=NOW - DAY), NOW - HOUR),
            (document(State.PENDING, send_at=NOW + HOUR, start_time=NOW - DAY), NOW),
            (document(State.RETRY, start_time=NOW - DAY, end_time=NOW - HOUR), NOW - HOUR),
            (document(State.PENDING, start_time=NOW + DAY), NOW),
        ],
    )
    def test_is_its_age(self, known: DocumentState, since: datetime) -> None:
        assert known.waiting_since(NOW) == since


class TestWhileAllMailIsPaused:
    HELD: Final = {"delivery.nextAttemptTime": NOW - HOUR}
    BEGUN: Final = {
        "delivery.startTime": NOW,
        "delivery.state": State.PENDING,
        "delivery.attempts": 0,
        "delivery.error": None,
        "delivery.nextAttemptTime": NOW,
    }
    QUEUED: Final = document(State.PENDING, start_time=NOW - HOUR)
    ASKED: Final = document(State.RETRY, attempts=1, start_time=NOW - DAY, end_time=NOW - HOUR)
    DEAD: Final = document(State.PROCESSING, attempts=1, start_time=NOW - HOUR, lease_expire_time=NOW - SECOND)

    @pytest.mark.parametrize(
        ("old", "new", "write"),
        [
            pytest.param(None, DocumentState(), BEGUN, id="new"),
            pytest.param(document(State.ERROR), ASKED, HELD, id="requeued"),
            pytest.param(document(State.PROCESSING), DEAD, None, id="lease-expired"),
        ],
    )
    def test_an_event_schedules_what_it_would_publish(
        self, old: DocumentState | None, new: DocumentState, write: Changes | None
    ) -> None:
        decision = on_event(old, new, NOW, RETRYING)
        assert decision.publish
        assert while_paused(decision, new, NOW, RETRYING) == Decision(Reason.PAUSED, write=write)

    @pytest.mark.parametrize(
        ("known", "write"),
        [
            pytest.param(DocumentState(), BEGUN, id="none"),
            pytest.param(QUEUED, HELD, id="pending"),
            pytest.param(ASKED, HELD, id="retry"),
            pytest.param(DEAD, None, id="lease-expired"),
        ],
    )
    def test_a_message_schedules_what_it_would_claim_and_is_acknowledged(
        self, known: DocumentState, write: Changes | None
    ) -> None:
        decision = on_message(known, NOW, RETRYING)
        assert decision.lease
        assert while_paused(decision, known, NOW, RETRYING) == Decision(Reason.PAUSED, write=write)

    @pytest.mark.parametrize(
        ("known", "updated", "write"),
        [
            pytest.param(replace(QUEUED, send_at=NOW - HOUR), NOW - HOUR, HELD, id="stranded"),
            pytest.param(document(State.PENDING, next_attempt_time=NOW), NOW, None, id="due"),
            pytest.param(DEAD, NOW, None, id="lease-expired"),
        ],
    )
    def test_the_reconciler_publishes_nothing(
        self, known: DocumentState, updated: datetime, write: Changes | None
    ) -> None:
        decision = on_reconcile(known, updated, NOW, RETRYING)
        assert decision.publish
        assert while_paused(decision, known, NOW, RETRYING) == Decision(Reason.PAUSED, write=write)

    def test_a_new_mail_gets_its_time_to_live(self) -> None:
        policy, new = replace(POLICY, ttl=Ttl(1, TtlUnit.DAY)), DocumentState()
        held = while_paused(on_event(None, new, NOW, policy), new, NOW, policy)
        assert held.write == self.BEGUN | {"delivery.expireAt": NOW + DAY}

    @pytest.mark.parametrize(
        "known",
        [
            pytest.param(document(State.SUCCESS), id="success"),
            pytest.param(document(State.ERROR), id="error"),
            pytest.param(document(State.CANCELLED), id="cancelled"),
            pytest.param(document(State.PENDING, expires=NOW), id="expired"),
            pytest.param(document(State.PENDING, send_at=NOW + HOUR), id="due-later"),
            pytest.param(document(State.PROCESSING, lease_expire_time=NOW + SECOND), id="held"),
            pytest.param(document(State.RETRY, lease_expire_time=NOW + SECOND), id="asked-for-during-an-attempt"),
            pytest.param(DEAD, id="lease-expired"),
        ],
    )
    def test_everything_else_is_decided_as_always(self, known: DocumentState) -> None:
        decided = [on_message(known, NOW, POLICY), on_event(known, known, NOW, POLICY)]
        assert [while_paused(each, known, NOW, POLICY) for each in decided] == decided

    def test_a_claim_that_was_written_before_goes_on(self) -> None:
        mine = Lease(1, NOW + SECOND)
        known = document(State.PROCESSING, attempts=1, lease_expire_time=NOW + SECOND)
        decision = on_message(known, NOW, POLICY, mine)
        assert while_paused(decision, known, NOW, POLICY) == decision == Decision(Reason.CLAIMED, lease=mine)

    def test_what_it_writes_makes_no_message(self) -> None:
        held = document(State.RETRY, attempts=1, next_attempt_time=NOW - HOUR)
        assert on_event(self.ASKED, held, NOW, POLICY) == Decision(Reason.STILL_QUEUED)
        begun = document(State.PENDING, start_time=NOW, next_attempt_time=NOW)
        assert on_event(DocumentState(), begun, NOW, POLICY) == Decision(Reason.OWN_WRITE)


class TestAMailWhoseTransportOrLaneIsPaused:
    @pytest.mark.parametrize(
        ("since", "again"),
        [(NOW, NOW + DAY), (NOW - HOUR, NOW + 23 * HOUR), (NOW - 3 * DAY - HOUR, NOW + 23 * HOUR)],
    )
    def test_is_looked_at_once_a_day(self, since: datetime, again: datetime) -> None:
        assert next_look(document(State.PENDING, start_time=since), NOW) == again

    @pytest.mark.parametrize("state", [State.PENDING, State.RETRY])
    @pytest.mark.parametrize(
        ("since", "scheduled"),
        [
            ({"start_time": NOW - HOUR}, NOW + 23 * HOUR),
            ({"start_time": NOW - 5 * DAY}, NOW + DAY),
            ({"start_time": NOW - DAY, "end_time": NOW - HOUR}, NOW + 23 * HOUR),
            ({"start_time": NOW - DAY, "send_at": NOW - HOUR}, NOW + 23 * HOUR),
            ({"start_time": NOW - DAY, "send_at": NOW}, NOW + DAY),
            ({"start_time": NOW - HOUR, "expires": NOW + HOUR}, NOW + HOUR),
        ],
    )
    def test_is_due_after_the_pause_by_its_age(self, state: State, since: dict[str, Any], scheduled: datetime) -> None:
        known = document(state, **since, next_attempt_time=scheduled)
        age = max(time for name, time in since.items() if name != "expires")
        assert after_pause(known, NOW, NOW, POLICY) == Decision(Reason.RESUMED, write={"delivery.nextAttemptTime": age})

    @pytest.mark.parametrize(
        "known",
        [
            pytest.param(
                document(State.RETRY, start_time=NOW - HOUR, next_attempt_time=NOW + HOUR - SECOND), id="back-off"
            ),
            pytest.param(document(State.PENDING, send_at=NOW + DAY, next_attempt_time=NOW + DAY), id="sendAt"),
            pytest.param(
                document(State.PENDING, send_at=NOW + DAY, start_time=NOW, next_attempt_time=NOW + DAY),
                id="sendAt-in-a-day",
            ),
            pytest.param(document(State.PENDING, start_time=NOW - HOUR), id="not-scheduled"),
            pytest.param(document(State.CANCELLED, start_time=NOW, next_attempt_time=NOW + DAY), id="cancelled"),
            pytest.param(
                document(State.PENDING, start_time=NOW - DAY, next_attempt_time=NOW + DAY, expires=NOW), id="expired"
            ),
        ],
    )
    def test_others_are_decided_about_as_always(self, known: DocumentState) -> None:
        assert after_pause(known, NOW, NOW, POLICY) == on_reconcile(known, NOW, NOW, POLICY)
