"""Iterating over dead letters: each is seen once, and none is lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cli.subscription import browsing
from shared.pubsub.letters import Letter
from tests.unit.cli.builders import letter


class Deliveries:
    """A subscription with prepared answers, which records what happens to the messages."""

    def __init__(self, *batches: Sequence[Letter]) -> None:
        self.batches = list(batches)
        self.acknowledged: list[str] = []
        self.released: list[str] = []

    def pull(self) -> list[Letter]:
        return list(self.batches.pop(0)) if self.batches else []

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        self.acknowledged += ack_ids

    def release(self, ack_ids: Sequence[str]) -> None:
        self.released += ack_ids


A, B, C = (letter(identifier=name) for name in "abc")
A_AGAIN = Letter("a", "ack-a-2", A.data, A.attributes, A.published)


def test_looking_gives_everything_back() -> None:
    subscription = Deliveries([A, B], [C])
    with browsing(subscription) as browser:
        assert [each.id for each in browser] == ["a", "b", "c"]
    assert (subscription.acknowledged, subscription.released) == ([], ["ack-a", "ack-b", "ack-c"])


def test_finished_dead_letters_are_acknowledged_and_the_rest_always_released() -> None:
    subscription = Deliveries([A, B])

    def fail_after_the_first() -> None:
        with browsing(subscription) as browser:
            browser.done(next(iter(browser)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_after_the_first()
    assert (subscription.acknowledged, subscription.released) == (["ack-a"], ["ack-b"])


def test_a_letter_whose_deadline_passed_meanwhile_is_not_seen_twice() -> None:
    subscription = Deliveries([A, B], [A_AGAIN, C])
    with browsing(subscription) as browser:
        assert [each.id for each in browser] == ["a", "b", "c"]
    assert subscription.released == ["ack-a-2", "ack-b", "ack-c"]


def test_it_ends_when_nothing_new_comes() -> None:
    with browsing(Deliveries([A], [A_AGAIN], [B])) as browser:
        assert [each.id for each in browser] == ["a"]


def test_an_acknowledgement_that_came_too_late_is_repeated() -> None:
    subscription = Deliveries([A], [A_AGAIN, B])
    with browsing(subscription) as browser:
        for each in browser:
            browser.done(each)
    assert (subscription.acknowledged, subscription.released) == (["ack-a", "ack-a-2", "ack-b"], [])
