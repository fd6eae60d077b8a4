"""The rate limit, with made-up times."""

from __future__ import annotations

from sender.transport.rate_limit import Rate


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
