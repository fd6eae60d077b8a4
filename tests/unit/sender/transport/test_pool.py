from __future__ import annotations

from typing import cast

import pytest

from sender.transport.smtp.connection import SmtpConnection
from sender.transport.smtp.pool import IdleConnections, KeepOpen

RULES = KeepOpen(max_age=100, max_idle=10, max_mails=3)


class FakeConnection:
    """The part of a connection that the pool uses."""

    def __init__(self, opened_at: float = 0.0, mails: int = 0, usable: bool = True, is_silent: bool = True) -> None:
        self.opened_at = opened_at
        self.mails = mails
        self.usable = usable
        self.is_silent = is_silent
        self.farewell = ""

    def quit(self) -> None:
        self.farewell = "quit"

    def close(self) -> None:
        self.farewell = "close"


def put(pool: IdleConnections, connection: FakeConnection, now: float = 0.0) -> None:
    pool.put(cast(SmtpConnection, connection), now)


def take(pool: IdleConnections, now: float = 0.0) -> FakeConnection | None:
    return cast(FakeConnection | None, pool.take(now))


def pool_of(*connections: FakeConnection) -> IdleConnections:
    pool = IdleConnections(RULES)
    for connection in connections:
        put(pool, connection)
    return pool


def test_an_empty_pool_has_no_connection() -> None:
    assert take(pool_of()) is None


def test_the_most_recently_used_connection_is_taken_first() -> None:
    older, newer = FakeConnection(), FakeConnection()
    pool = pool_of(older, newer)
    assert [take(pool), take(pool), take(pool)] == [newer, older, None]


@pytest.mark.parametrize(
    ("now", "kept"),
    [
        pytest.param(9.9, True, id="idle, but not for long"),
        pytest.param(10.0, False, id="idle for too long"),
    ],
)
def test_an_idle_connection_is_used_until_the_limit(now: float, kept: bool) -> None:
    connection = FakeConnection()
    assert take(pool_of(connection), now) is (connection if kept else None)
    assert connection.farewell == ("" if kept else "quit")


def test_a_fresh_connection_is_used_although_an_older_one_has_expired() -> None:
    old, fresh = FakeConnection(), FakeConnection()
    pool = pool_of(old)
    put(pool, fresh, 8)
    assert take(pool, 12) is fresh
    assert old.farewell == "quit"


def test_connections_on_which_the_server_has_sent_something_are_skipped() -> None:
    good = FakeConnection()
    assert take(pool_of(good, FakeConnection(is_silent=False), FakeConnection(is_silent=False))) is good
    assert take(pool_of(FakeConnection(is_silent=False))) is None


def test_connections_are_kept_for_less_than_the_ten_seconds_of_amazon_ses() -> None:
    assert KeepOpen().max_idle < 10


@pytest.mark.parametrize(
    ("connection", "farewell"),
    [
        pytest.param(FakeConnection(mails=2), "", id="mails to go"),
        pytest.param(FakeConnection(mails=3), "quit", id="enough mails"),
        pytest.param(FakeConnection(opened_at=-99), "", id="old"),
        pytest.param(FakeConnection(opened_at=-100), "quit", id="too old"),
        pytest.param(FakeConnection(usable=False), "close", id="in doubt"),
    ],
)
def test_only_good_connections_are_kept(connection: FakeConnection, farewell: str) -> None:
    pool = pool_of(connection)
    assert connection.farewell == farewell
    assert take(pool) is (None if farewell else connection)


def test_a_closed_pool_quits_idle_connections_and_those_put_back_later() -> None:
    idle, in_use = FakeConnection(), FakeConnection()
    pool = pool_of(idle)
    pool.close()
    put(pool, in_use)
    assert (idle.farewell, in_use.farewell) == ("quit", "quit")
    assert take(pool) is None
