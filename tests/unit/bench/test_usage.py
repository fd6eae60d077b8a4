"""Parsing /proc."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench import usage
from bench.usage import MemoryWatch, Usage, parse_machine, parse_stat

TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("name", ["python", "a b", "x) S 1 (y", "(("])
def test_a_process_may_have_any_name(name: str) -> None:
    # pid (name) state ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt utime stime cutime cstime
    # priority nice threads itrealvalue starttime vsize rss
    text = f"7 ({name}) S 1 42 42 0 -1 0 9 9 9 9 300 40 20 1 20 0 8 0 1000 99999 50 0"
    group, found = parse_stat(text)
    assert group == 42
    assert found == Usage(cpu=361 / TICK, resident=50 * PAGE)


def test_the_machine_is_busy_with_all_but_idling_and_waiting_for_disks() -> None:
    text = "cpu  100 10 50 9000 700 3 2 1 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
    assert parse_machine(text) == (100 + 10 + 50 + 3 + 2) / TICK


def test_a_group_is_all_of_its_processes_and_their_ended_children() -> None:
    busy = "while sum(__import__('os').times()[:2]) < 0.1: pass"
    script = f"import subprocess,sys; subprocess.run([sys.executable, '-c', {busy!r}]); print(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        used = usage.of_groups({process.pid})
        process.communicate(b"")
    assert used.cpu >= 0.1
    assert used.resident > 1_000_000
    assert usage.of_groups({process.pid}) == Usage()


def test_memory_is_looked_at_at_least_at_the_begin_and_at_the_end() -> None:
    with MemoryWatch({os.getpgrp()}, every=60) as watch:
        pass
    assert len(watch.samples) == 2
    assert all(sample > 1_000_000 for sample in watch.samples)
