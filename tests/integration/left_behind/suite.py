"""Tests that fail in the middle of disrupting the system, each followed by one that needs it intact.

Not collected directly: `tests/integration/test_left_behind.py` runs it, in this order, and checks the results.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.integration.system import PATIENCE, System

MAIL = {"to": "ada@example.com", "message": {"subject": "s", "text": "t"}}


@pytest.fixture(scope="session")
def backend() -> str:
    return "embedded"


def leave_paused(system: System) -> None:
    system.stack.pause("sender")


def leave_killed(system: System) -> None:
    system.stack.kill("dispatcher")
    system.stack.terminate("sender")


def leave_refusing(system: System) -> None:
    system.server.when("RCPT").reply("550 5.1.1 No such user")


def leave_stalled(system: System) -> None:
    stall = system.server.when("BODY").stall()
    system.write(MAIL)
    assert stall.reached.wait(PATIENCE)


def leave_queued(system: System) -> None:
    system.stack.kill("sender")
    system.write(MAIL, "mail/left")


def leave_beyond_repair(system: System) -> None:
    system.stack.stop()


LEAVE = (leave_paused, leave_killed, leave_refusing, leave_stalled, leave_queued, leave_beyond_repair)

each_thing_left = pytest.mark.parametrize(
    "leave", [pytest.param(leave, id=leave.__name__) for leave in LEAVE], scope="module"
)


@each_thing_left
def test_fails_halfway(system: System, leave: Callable[[System], None]) -> None:
    leave(system)
    pytest.fail("halfway")


@each_thing_left
def test_that_follows(system: System, leave: Callable[[System], None]) -> None:
    assert not list(system.firestore.collection("mail").stream())
    assert system.concluded(system.write(MAIL))["state"] == "SUCCESS"


def test_that_needs_no_system() -> None:
    assert threading.enumerate() == [threading.main_thread()]
