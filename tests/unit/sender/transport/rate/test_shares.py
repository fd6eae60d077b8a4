"""Shares of a limit, as they stand in a document."""

from __future__ import annotations

from typing import Any

import pytest

from sender.transport.rate.shares import (
    LEASE,
    PAUSE,
    Share,
    Sighting,
    Wish,
    allot,
    present,
    read_ledger,
    returned,
    sighted,
    written_ledger,
)

LIMIT = 20


def seen_first(known: dict[str, Share], now: float) -> dict[str, Sighting]:
    return sighted({"all": known}, {}, now)["all"]


def shares(**entries: tuple[int, int, int, int]) -> dict[str, Share]:
    return {process: Share(*entry) for process, entry in entries.items()}


@pytest.mark.parametrize(
    ("others", "wanted", "seconds", "mails"),
    [
        pytest.param({}, 20, 0, 20, id="alone"),
        pytest.param({}, 3, 0, 3, id="no more than wanted"),
        pytest.param({"b": (1, 20, 20, 20)}, 20, 0, 0, id="nothing is left"),
        pytest.param({"b": (2, 10, 20, 20)}, 20, 0, 0, id="what another gives up may still be in use"),
        pytest.param({"b": (2, 10, 20, 20)}, 20, PAUSE, 10, id="what another gave up a while ago"),
        pytest.param({"b": (1, 2, 2, 2)}, 20, 0, 18, id="what others do not want"),
        pytest.param({"b": (1, 7, 7, 20), "c": (1, 6, 6, 20)}, 20, 0, 6, id="a fair part"),
        pytest.param({"b": (1, 15, 15, 20)}, 20, LEASE + PAUSE, 20, id="another that has vanished"),
        pytest.param({"b": (1, 15, 15, 20)}, 20, LEASE, 5, id="another that may still send"),
        pytest.param({"b": (1, 40, 40, 40)}, 20, 0, 0, id="another that takes too much"),
    ],
)
def test_a_process_gets(others: dict[str, tuple[int, int, int, int]], wanted: int, seconds: float, mails: int) -> None:
    known = shares(**others)
    after = allot(known, "a", Wish(LIMIT, wanted), seen_first(known, 100.0), 100.0 + seconds)
    assert after["a"] == Share(1, mails, 0, wanted)


def test_who_has_too_much_gives_up_what_others_want() -> None:
    known = shares(a=(4, 20, 20, 20), b=(1, 0, 0, 20))
    assert allot(known, "a", Wish(LIMIT, 20, 3), seen_first(known, 0.0), 0.0)["a"] == Share(5, 10, 20, 20, 3)


def test_a_renewal_is_seen_for_the_first_time_once() -> None:
    first = sighted({"all": shares(b=(1, 5, 5, 5))}, {}, 10.0)
    assert sighted({"all": shares(b=(1, 5, 5, 5))}, first, 20.0) == {"all": {"b": Sighting(1, 10.0)}}
    assert sighted({"all": shares(b=(2, 5, 5, 5))}, first, 20.0) == {"all": {"b": Sighting(2, 20.0)}}


def test_entries_are_read_as_they_were_written() -> None:
    known = shares(a=(1, 2, 3, 4), b=(5, 6, 7, 8))
    assert read_ledger(written_ledger({"all": known, "tenant": {}})) == {"all": known}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"limits": [1]},
        {"limits": {"all": [1]}},
        {"limits": {"all": {"a": None}}},
        {"limits": {"all": {"a": {"renewal": 1, "mails": 1, "before": 1, "wanted": 1}}}},
        {"limits": {"all": {"a": {"renewal": 1, "mails": -1, "before": 1, "wanted": 1, "waiting": 0}}}},
        {"limits": {"all": {"a": {"renewal": 1, "mails": 1.5, "before": 1, "wanted": 1, "waiting": 0}}}},
    ],
)
def test_what_is_no_entry_counts_for_nothing(fields: dict[str, Any]) -> None:
    assert read_ledger(fields) == {}


def test_who_has_vanished_has_no_entry() -> None:
    known = shares(b=(1, 5, 5, 5))
    assert present(known, seen_first(known, 0.0), LEASE + PAUSE - 0.1) == known
    assert present(known, seen_first(known, 0.0), LEASE + PAUSE) == {}


def test_a_share_that_is_given_back_may_be_in_use_for_a_while() -> None:
    once = returned(shares(a=(4, 7, 5, 7), b=(1, 5, 5, 5)), "a")
    assert once == shares(a=(5, 0, 7, 0), b=(1, 5, 5, 5))
    assert returned(once, "a") == shares(b=(1, 5, 5, 5))
