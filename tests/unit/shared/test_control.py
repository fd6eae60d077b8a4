"""Reading what is paused: seldom, and so that a failure pauses and resumes nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.control import FRESH_SECONDS, Control
from shared.delivery.pause import Pause, control_path
from shared.errors import FirepostError, Paused, Unavailable
from shared.firestore.database import Snapshot
from tests.fakes import MemoryDatabase

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PAUSED = Pause(NOW)


class Database(MemoryDatabase):
    """Counts reads, which fail while `broken`."""

    reads = 0
    broken = False

    def read(self, paths: Sequence[str]) -> list[Snapshot | FirepostError | None]:
        self.reads += 1
        return [Unavailable("down")] if self.broken else super().read(paths)


class World:
    def __init__(self) -> None:
        self.database, self.seconds = Database(), 0.0
        self.control = Control(self.database, "mail", monotonic=lambda: self.seconds)

    def says(self, fields: dict[str, Any] | None) -> None:
        self.database.put(control_path("mail"), fields)

    def pause_later(self) -> Pause:
        self.seconds += FRESH_SECONDS
        return self.control.pause()


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_read_before_anybody_asks(world: World) -> None:
    world.says({"pausedTime": NOW})
    assert world.control.health("ok") == "ok"
    assert world.database.reads == 0


def test_what_was_read_is_used_for_some_seconds(world: World) -> None:
    assert world.control.pause() == Pause()
    world.says({"pausedTime": NOW})
    world.seconds += FRESH_SECONDS - 0.1
    assert world.control.pause() == Pause()
    assert world.database.reads == 1
    world.seconds += 0.1
    assert world.control.pause() == PAUSED
    assert world.control.health("ok") == "ok; all mail is paused since 2026-11-24T12:00:00Z"
    world.says({})
    assert world.pause_later() == Pause()
    assert world.control.health("ok") == "ok"


@pytest.mark.parametrize(("lane", "is_held"), [("bulk", True), ("default", False)])
def test_a_process_checks_the_mails_of_its_own_lane(world: World, lane: str, is_held: bool) -> None:
    world.says({"pausedLanes": {"bulk": NOW}})
    control = Control(world.database, "mail", lane)
    with pytest.raises(Paused, match="Lane bulk") if is_held else nullcontext():
        control.check("default")
    assert control.health("ok") == "ok; lane bulk is paused since 2026-11-24T12:00:00Z"


@pytest.mark.parametrize("fault", ["broken", "malformed"])
def test_a_document_that_says_nothing_changes_nothing_and_is_logged_once(
    world: World, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    def set_fault(on: bool) -> None:
        world.database.broken = on and fault == "broken"
        world.says({"pausedTime": "yes" if on and fault == "malformed" else NOW})

    set_fault(False)
    assert world.control.pause() == PAUSED
    for _ in range(2):
        caplog.clear()
        set_fault(True)
        assert [world.pause_later() for _ in range(3)] == [PAUSED] * 3
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        set_fault(False)
        assert world.pause_later() == PAUSED


def test_a_process_that_has_never_read_it_does_nothing_until_it_can(world: World) -> None:
    world.database.broken = True
    with pytest.raises(Unavailable):
        world.control.pause()
    world.database.broken = False
    assert world.control.pause() == Pause()


def test_a_malformed_document_at_the_start_pauses_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.says({"pausedTransports": 3})
    assert world.control.pause() == Pause()
    assert "pausedTransports: expected a map of timestamps" in caplog.text
