"""The circuit breaker, with made-up times."""

from __future__ import annotations

import logging

import pytest

from sender.transport.breaker import Breaker, BreakerRules
from shared.errors import Deferred, DeliveryFailed, ErrorCode, NotSent, Outage, OutcomeUnknown

RULES = BreakerRules(threshold=3, first_pause=10, longest_pause=30)

THROTTLED = NotSent(ErrorCode.THROTTLED, "421 Slow down")
AWAY = Outage(ErrorCode.CONNECTION, "Nobody there.")
LOST = NotSent(ErrorCode.CONNECTION, "Lost.")
REFUSED = NotSent(ErrorCode.REJECTED, "550 No")

either_way = pytest.mark.parametrize("failure", [THROTTLED, AWAY], ids=["throttled", "outage"])


def breaker(rules: BreakerRules = RULES) -> Breaker:
    return Breaker("mx.example.com:25", rules)


def opened(failure: NotSent, at: float = 0) -> Breaker:
    opened = breaker()
    for _ in range(RULES.threshold):
        assert opened.admit(at) is False
        opened.record(failure, at, is_probe=False)
    return opened


def wait(held: Breaker, now: float) -> float | None:
    """The seconds for which a mail is refused; 0 if it is admitted."""
    try:
        held.admit(now)
    except Deferred as deferred:
        return deferred.seconds
    except Outage as outage:
        return outage.retry_after
    return 0


@either_way
class TestOpening:
    def test_one_mail_does_not_open_it(self, failure: NotSent) -> None:
        one = breaker()
        assert one.record(failure, 0, is_probe=False) is None
        assert wait(one, 0) == 0

    @pytest.mark.parametrize("other", [None, REFUSED, OutcomeUnknown("?")], ids=["sent", "refused", "unknown"])
    def test_only_mails_in_a_row_count(self, failure: NotSent, other: DeliveryFailed | None) -> None:
        one = breaker()
        for outcome in (failure, failure, other, failure, failure):
            one.record(outcome, 0, is_probe=False)
        assert wait(one, 0) == 0

    def test_a_lost_connection_says_nothing(self, failure: NotSent) -> None:
        one = breaker()
        for outcome in (failure, failure, LOST, failure):
            one.record(outcome, 0, is_probe=False)
        assert wait(one, 0) == 10

    def test_three_in_a_row_open_it(self, failure: NotSent) -> None:
        assert wait(opened(failure, at=100), 104) == 6

    def test_mails_in_flight_when_it_opens_do_not_lengthen_the_pause(self, failure: NotSent) -> None:
        """Otherwise, of 16 concurrent mails, the last 13 would turn five seconds into five minutes."""
        one = opened(failure)
        for _ in range(13):
            one.record(failure, 1, is_probe=False)
        assert wait(one, 1) == 9

    def test_the_pause_is_at_least_what_the_server_asks_for(self, failure: NotSent) -> None:
        asking = type(failure)(failure.code, "Come back in an hour")
        asking.retry_after = 3600
        one = breaker()
        for each in (failure, failure, asking):
            one.record(each, 100, is_probe=False)
        assert wait(one, 101) == 3599


@either_way
class TestProbes:
    def test_after_the_pause_one_mail_probes_and_the_others_wait_however_long_it_takes(self, failure: NotSent) -> None:
        one = opened(failure)
        assert one.admit(10) is True
        assert [wait(one, now) for now in (10, 20, 1000)] == [10, 10, 10]

    def test_a_successful_probe_closes_it(self, failure: NotSent) -> None:
        one = opened(failure)
        assert one.record(None, 11, one.admit(10)) == 0
        assert one.admit(11) is one.admit(11) is False

    def test_so_does_a_mail_that_was_in_flight_when_it_opened(self, failure: NotSent) -> None:
        one = opened(failure)
        assert one.record(None, 1, is_probe=False) == 0
        assert one.admit(1) is False

    def test_a_failed_probe_doubles_the_pause_up_to_a_limit(self, failure: NotSent) -> None:
        one, now, pauses = opened(failure), 10.0, []
        for _ in range(4):
            pause = one.record(failure, now, one.admit(now))
            pauses.append(pause)
            assert pause is not None
            assert wait(one, now) == pause
            now += pause
        assert pauses == [20, 30, 30, 30]

    def test_the_failure_of_another_mail_is_not_the_probes(self, failure: NotSent) -> None:
        one = opened(failure)
        one.admit(10)
        assert one.record(failure, 11, is_probe=False) is None
        assert wait(one, 12) == 10

    def test_a_probe_whose_connection_is_lost_is_followed_by_another_after_the_same_pause(
        self, failure: NotSent
    ) -> None:
        one = opened(failure)
        assert one.record(LOST, 12, one.admit(10)) is None
        assert (wait(one, 13), wait(one, 22)) == (9, 0)

    def test_a_probe_that_does_not_get_to_the_server_is_followed_by_another_at_once(self, failure: NotSent) -> None:
        one = opened(failure)
        one.forget(one.admit(10))
        assert wait(one, 10) == 0


def test_a_mail_learns_what_it_waits_for() -> None:
    with pytest.raises(Deferred, match=r"mx\.example\.com:25 is throttling"):
        opened(THROTTLED).admit(1)
    with pytest.raises(Outage, match="Nobody there") as caught:
        opened(AWAY).admit(1)
    assert (caught.value.code, caught.value.retry_after) == (ErrorCode.CONNECTION, 9)


def test_without_patience_outages_do_not_open_it() -> None:
    one = breaker(BreakerRules(threshold=3, outages=False))
    for _ in range(9):
        one.record(AWAY, 0, is_probe=False)
    assert one.admit(0) is False


class TestPassage:
    def pass_through(self, one: Breaker, now: float, outcome: Exception | None = None) -> None:
        with one.passage(lambda: now):
            if outcome is not None:
                raise outcome

    def test_the_outcome_of_the_block_is_recorded(self) -> None:
        one = breaker()
        for _ in range(3):
            with pytest.raises(Outage):
                self.pass_through(one, 0, AWAY)
        assert wait(one, 1) == 9
        self.pass_through(one, 10)
        assert one.admit(10) is False

    @pytest.mark.parametrize("error", [Deferred(1.0, "busy"), RuntimeError("a bug")], ids=["deferred", "bug"])
    def test_a_mail_that_does_not_get_to_the_server_leaves_the_probe_to_the_next(self, error: Exception) -> None:
        one = opened(AWAY)
        with pytest.raises(type(error)):
            self.pass_through(one, 10, error)
        assert one.admit(10) is True

    def test_opening_and_closing_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        one = opened(AWAY)
        with caplog.at_level(logging.INFO):
            with pytest.raises(Outage):
                self.pass_through(one, 10, AWAY)
            self.pass_through(one, 30)
        fields = [vars(record)["fields"] for record in caplog.records]
        common = {"event": "breaker", "server": "mx.example.com:25"}
        assert fields == [
            {**common, "reason": "connection", "retry_after_ms": 20_000.0},
            {**common, "reason": "closed", "retry_after_ms": 0.0},
        ]
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
