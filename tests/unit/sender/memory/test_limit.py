"""The memory limit of a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from sender.memory.limit import memory_limit

MIB = 1024 * 1024
HALF = 512 * MIB


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{HALF}\n"}, id="version-2"),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": f"{HALF}",
                "sys/fs/cgroup/a/b/memory.max": "max",
            },
            id="version-2-of-a-group-around",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a\n",
                "sys/fs/cgroup/memory.max": f"{2 * HALF}",
                "sys/fs/cgroup/a/memory.max": f"{HALF}",
            },
            id="version-2-the-lowest",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "3:cpu:/\n4:memory:/\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{HALF}\n",
            },
            id="version-1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:cpu,memory:/docker/0123\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{HALF}",
            },
            id="version-1-under-a-path-that-the-container-does-not-have",
        ),
    ],
)
def test_the_container_limits_it(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory_limit(tmp_path) == HALF


@pytest.mark.parametrize("text", ["", "0::/\n", "nonsense", "4:memory:/\n"])
def test_without_a_container_the_machine_does(tmp_path: Path, text: str) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(text)
    assert memory_limit(tmp_path) > HALF
