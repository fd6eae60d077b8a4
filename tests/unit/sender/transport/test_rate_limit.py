"""The circuit breaker and the rate limit, with made-up times."""

from __future__ import annotations

from sender.transport.rate_limit import Breaker, BreakerRules, Rate

RULES = BreakerRules(threshold=3, first_pause=10, longest_pause=30)


def opened(at: float) -> Breaker:
    breaker = Breaker(RULES)
    for _ in range(RULES.threshold):
        breaker.record(throttled=True, now=at)
    return breaker


class TestBreaker:
    def test_one_throttled_mail_does_not_open_it(self) -> None:
        breaker = Breaker(RULES)
        breaker.record(throttled=True, now=0)
        assert breaker.wait(0) == 0

    def test_only_mails_in_a_row_count(self) -> None:
        breaker = Breaker(RULES)
        for throttled in (True, True, False, True, True):
            breaker.record(throttled, now=0)
        assert breaker.wait(0) == 0

    def test_three_in_a_row_open_it(self) -> None:
        breaker = opened(at=100)
        assert breaker.wait(104) == 6

    def test_after_the_pause_one_mail_probes_and_the_others_wait(self) -> None:
        breaker = opened(at=0)
        assert breaker.wait(10) == 0
        assert breaker.wait(10) == 10

    def test_a_successful_probe_closes_it(self) -> None:
        breaker = opened(at=0)
        breaker.wait(10)
        breaker.record(throttled=False, now=11)
        assert breaker.wait(11) == breaker.wait(11) == 0

    def test_a_throttled_probe_doubles_the_pause_up_to_a_limit(self) -> None:
        breaker, now = opened(at=0), 0.0
        pauses = []
        for _ in range(4):
            now += breaker.wait(now)
            assert breaker.wait(now) == 0
            breaker.record(throttled=True, now=now)
            pauses.append(breaker.wait(now))
        assert pauses == [20, 30, 30, 30]

    def test_the_pause_is_at_least_what_the_server_asks_for(self) -> None:
        breaker = Breaker(RULES)
        for wanted in (0, 0, 3600):
            breaker.record(throttled=True, now=100, wanted=wanted)
        assert breaker.wait(101) == 3599

    def test_mails_in_flight_when_it_opens_do_not_lengthen_the_pause(self) -> None:
        """Otherwise, of 16 concurrent mails, the last 13 would turn five seconds into five minutes."""
        breaker = opened(at=0)
        for _ in range(13):
            breaker.record(throttled=True, now=1)
        assert breaker.wait(1) == 9

    def test_each_pause_is_lengthened_only_once(self) -> None:
        breaker = opened(at=0)
        breaker.wait(10)
        for _ in range(4):
            breaker.record(throttled=True, now=11)
        assert breaker.wait(11) == 20

    def test_a_probe_without_an_outcome_is_followed_by_another(self) -> None:
        breaker = opened(at=0)
        assert (breaker.wait(10), breaker.wait(20)) == (0, 0)


class TestRate:
    def test_one_seconds_worth_goes_at_once_and_the_rest_evenly_spaced(self) -> None:
        rate = Rate(per_second=4)
        assert [rate.wait(0, patience=9) for _ in range(7)] == [0, 0, 0, 0, 0.25, 0.5, 0.75]

    def test_unused_capacity_does_not_accumulate(self) -> None:
        rate = Rate(per_second=4)
        assert [rate.wait(1000, patience=9) for _ in range(5)] == [0, 0, 0, 0, 0.25]

    def test_a_mail_that_would_wait_too_long_reserves_no_turn(self) -> None:
        rate = Rate(per_second=1)
        rate.wait(0, patience=0)
        assert rate.wait(0, patience=0) == 1
        assert rate.wait(1, patience=0) == 0

    def test_less_than_one_a_second_is_possible(self) -> None:
        rate = Rate(per_second=0.1)
        assert [rate.wait(0, patience=60) for _ in range(3)] == [0, 10, 20]
