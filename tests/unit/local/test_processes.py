"""Real child processes: shell and Python."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.errors import PartFailed
from local.processes import Command, Family, last_lines
from local.waiting import wait_until
from local.watchdog import groups_left
from tests.patience import patience

PATIENCE = patience(10)


@pytest.fixture
def family() -> Iterator[Family]:
    family = Family()
    yield family
    family.stop()


def shell(script: str, tmp_path: Path) -> Command:
    return Command("child", ("/bin/sh", "-c", script), log=tmp_path / "child.log")


def is_running(process: int) -> bool:
    """Whether a process exists and is not just a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def written_number(log: Path) -> int:
    """The number that a child writes as its first line."""
    assert wait_until(lambda: last_lines(log) != "", patience(5))
    return int(last_lines(log).splitlines()[0])


def test_an_unexpected_death_is_reported(family: Family, tmp_path: Path) -> None:
    statuses: queue.Queue[int] = queue.Queue()
    family.start(shell("exit 7", tmp_path), statuses.put)
    assert statuses.get(timeout=patience(5)) == 7


def test_a_requested_end_is_not_reported(family: Family, tmp_path: Path) -> None:
    statuses: queue.Queue[int] = queue.Queue()
    child = family.start(shell("exec sleep 60", tmp_path), statuses.put)
    child.stop()
    assert not child.alive
    assert statuses.empty()


def test_output_of_both_kinds_is_added_to_the_log(family: Family, tmp_path: Path) -> None:
    statuses: queue.Queue[int] = queue.Queue()
    for text in ("first", "second"):
        family.start(shell(f"echo {text}; echo {text} error >&2", tmp_path), statuses.put)
        assert statuses.get(timeout=patience(5)) == 0
    assert last_lines(tmp_path / "child.log", count=3) == "first error\nsecond\nsecond error"


def test_a_child_that_ignores_sigterm_is_killed(family: Family, tmp_path: Path) -> None:
    child = family.start(shell("trap '' TERM; echo 1; while :; do sleep 1; done", tmp_path), lambda status: None)
    written_number(tmp_path / "child.log")  # the trap is set
    child.stop(grace=0.1)
    assert not child.alive


def test_descendants_of_a_dead_child_end_with_it(family: Family, tmp_path: Path) -> None:
    child = family.start(shell("sleep 60 & echo $!; wait", tmp_path), lambda status: None)
    grandchild = written_number(tmp_path / "child.log")
    child.stop()
    assert not is_running(grandchild)


def test_a_paused_child_can_be_stopped(family: Family, tmp_path: Path) -> None:
    child = family.start(shell("exec sleep 60", tmp_path), lambda status: None)
    child.pause()
    child.stop()
    assert not child.alive


def test_a_paused_child_stops_working(family: Family, tmp_path: Path) -> None:
    """Not even in a thread of a child process, and not even briefly after `pause` returned."""
    script = tmp_path / "threads.py"
    script.write_text(
        "import os, threading\n"
        "def work():\n"
        "    while True:\n"
        "        os.write(1, b'.')\n"
        "for _ in range(8):\n"
        "    threading.Thread(target=work).start()\n"
    )
    child = family.start(shell(f"{sys.executable} {script} & wait", tmp_path), lambda status: None)
    log = tmp_path / "child.log"

    def has_grown(than: int, seconds: float) -> bool:
        return wait_until(lambda: log.stat().st_size > than, seconds, pause=0.0001)

    assert has_grown(0, PATIENCE)
    for _ in range(20):
        child.pause()
        size = log.stat().st_size
        assert not has_grown(size, 0.01)
        child.send(signal.SIGCONT)
        assert has_grown(size, PATIENCE)


def test_a_child_whose_start_was_interrupted_is_not_started_later(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[threading.Thread] = []

    def interrupt(thread: threading.Thread) -> None:
        late.append(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "start", interrupt)
        family.start(shell("echo started", tmp_path), lambda status: None)
    family.stop()
    [thread] = late
    thread.start()
    thread.join(PATIENCE)
    assert last_lines(tmp_path / "child.log") == ""


def test_a_missing_program_is_named(family: Family, tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match=r"child: can't run /no/such/program"):
        family.start(Command("child", ("/no/such/program",), log=tmp_path / "log"), lambda status: None)


def test_children_of_a_killed_owner_are_ended_by_the_watchdog(tmp_path: Path) -> None:
    owner_script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from local.processes import Command, Family
        command = Command("child", ("/bin/sh", "-c", "sleep 60 & echo $!; wait"), log=Path(sys.argv[1]))
        Family().start(command, lambda status: None)
        print("started", flush=True)
        time.sleep(60)
        """
    )
    log = tmp_path / "child.log"
    with subprocess.Popen(
        [sys.executable, "-c", owner_script, str(log)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"started\n"
        grandchild = written_number(log)
        os.killpg(owner.pid, signal.SIGKILL)
    assert wait_until(lambda: not is_running(grandchild), 10)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([], set(), id="nothing was started"),
        pytest.param(["+5\n", "+6\n"], {5, 6}, id="both live"),
        pytest.param(["+5\n", "+6\n", "-5\n"], {6}, id="one has ended"),
        pytest.param(["+5\n", "-5\n", "-5\n"], set(), id="ended twice"),
    ],
)
def test_the_watchdog_knows_which_groups_are_left(lines: list[str], expected: set[int]) -> None:
    assert groups_left(lines) == expected
