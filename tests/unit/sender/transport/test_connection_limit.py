"""The number of connections to use: found out step by step, with made-up times."""

from __future__ import annotations

import pytest

from sender.transport.smtp.connection_limit import FIRST, HOLD_SECONDS, UNSURE_SECONDS, ConnectionLimit


def grown(most: int = 40, to: int = 40) -> ConnectionLimit:
    """A limit that has grown without any objection."""
    limit = ConnectionLimit(most)
    while limit.value < to:
        assert limit.accepted(0, in_use=limit.value, are_open=0)
    return limit


@pytest.mark.parametrize(("most", "first"), [(1, 1), (2, 2), (40, FIRST)])
def test_it_begins_with_few(most: int, first: int) -> None:
    assert ConnectionLimit(most).value == first


def test_it_grows_while_all_are_in_use_up_to_the_setting() -> None:
    limit = ConnectionLimit(4)
    grown_by = [limit.accepted(0, in_use=in_use, are_open=in_use) for in_use in (1, 2, 2, 3, 4, 4)]
    assert grown_by == [False, True, False, True, False, False]
    assert limit.value == 4


def test_a_refused_connection_leaves_as_many_as_are_open() -> None:
    limit = grown(to=16)
    limit.refused(now=10, are_open=9, with_words=True)
    assert limit.value == 9
    assert not limit.accepted(11, in_use=9, are_open=9)


def test_others_that_were_being_opened_then_show_that_it_takes_more() -> None:
    limit = grown(to=16)
    limit.refused(now=10, are_open=8, with_words=True)
    limit.opened(began=9, are_open=10)
    assert limit.value == 10


def test_one_that_began_later_only_fills_a_gap() -> None:
    limit = grown(to=16)
    limit.refused(now=10, are_open=8, with_words=True)
    limit.opened(began=11, are_open=12)
    assert limit.value == 8


@pytest.mark.parametrize(("before", "after"), [(40, 20), (3, 1), (1, 1)])
def test_a_throttled_mail_halves_it(before: int, after: int) -> None:
    limit = grown(to=before) if before >= FIRST else ConnectionLimit(1)
    limit.throttled(began=0, now=10)
    assert limit.value == after


def test_mails_that_were_under_way_then_do_not_halve_it_again() -> None:
    limit = grown()
    limit.throttled(began=0, now=10)
    for began in range(10):
        limit.throttled(began, now=12)
    assert limit.value == 20
    limit.throttled(began=11, now=13)
    assert limit.value == 10


def test_one_connection_stays_in_any_case() -> None:
    limit = grown(to=2)
    limit.refused(now=10, are_open=0, with_words=True)
    assert limit.value == 1


def test_what_was_found_is_tried_again_after_a_while_one_by_one() -> None:
    limit = grown(to=16)
    limit.refused(now=0, are_open=10, with_words=True)
    assert not limit.accepted(HOLD_SECONDS - 1, in_use=10, are_open=10)
    assert limit.accepted(HOLD_SECONDS, in_use=10, are_open=10)
    assert not limit.accepted(HOLD_SECONDS, in_use=11, are_open=10), "the eleventh is not open yet"
    assert limit.accepted(HOLD_SECONDS + 1, in_use=11, are_open=11)
    limit.refused(now=HOLD_SECONDS + 2, are_open=11, with_words=True)
    assert limit.value == 11
    assert not limit.accepted(HOLD_SECONDS + 3, in_use=11, are_open=11)


def test_a_refusal_without_words_is_not_kept_for_long() -> None:
    limit = grown(to=16)
    limit.refused(now=0, are_open=10, with_words=False)
    assert not limit.accepted(UNSURE_SECONDS - 1, in_use=10, are_open=10)
    assert limit.accepted(UNSURE_SECONDS, in_use=10, are_open=10)


def test_after_an_outage_it_begins_anew() -> None:
    limit = grown()
    limit.refused(now=0, are_open=3, with_words=False)
    limit.forget()
    assert limit.value == FIRST
    assert limit.accepted(1, in_use=2, are_open=0)


@pytest.mark.parametrize("allowed", range(1, 42))
def test_it_settles_at_what_a_server_allows(allowed: int) -> None:
    """Rounds of mails: each mail in use needs a connection, of which the server refuses those beyond `allowed`."""
    limit, are_open, refusals = ConnectionLimit(40), 0, 0
    for now in range(2000):
        in_use = limit.value
        for _ in range(in_use - are_open):
            if are_open < allowed:
                limit.opened(now, are_open + 1)
                are_open += 1
            else:
                refusals += 1
                limit.refused(now, are_open, with_words=True)
        for _ in range(min(in_use, are_open)):
            limit.accepted(now, in_use, are_open)
    assert limit.value in (min(allowed, 40), allowed + 1)
    assert are_open == min(allowed, 40)
    assert refusals < 40
