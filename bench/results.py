"""One run's results, and their JSON file."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter

from bench.figures import Operations, Reference, Row, Start
from local.services import ROOT

_PACKAGES = ("grpcio", "protobuf", "google-cloud-firestore", "google-cloud-pubsub", "flask", "granian")


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and when a run took place: `begun` in UTC, `load_average` of the minute before."""

    begun: datetime
    commit: str
    backend: str
    mail_server: str
    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str
    packages: Mapping[str, str]
    load_average: float
    pool_size: int


@dataclass(frozen=True, slots=True)
class Results:
    """A run's measurements, its duration in seconds, and its failures."""

    setting: Setting
    seconds: float
    rows: Sequence[Row]
    operations: Sequence[Operations]
    references: Sequence[Reference]
    failures: Sequence[str]
    starts: Sequence[Start] = ()

    def row(self, mode: str, load: str) -> Row | None:
        """The row with that mode and load, if it was measured."""
        return next((row for row in self.rows if (row.mode, row.load) == (mode, load)), None)


_ADAPTER = TypeAdapter(Results)


def save(results: Results, path: Path) -> None:
    """Write the JSON; missing directories are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_ADAPTER.dump_json(results, indent=1) + b"\n")


def load(path: Path) -> Results:
    """Read a file that `save` wrote. Raises `ValueError` for any other."""
    return _ADAPTER.validate_json(path.read_bytes())


def here_and_now(backend: str, mail_server: str, pool_size: int) -> Setting:
    """This machine, this checkout, the current time."""
    return Setting(
        begun=datetime.now(UTC),
        commit=_commit(),
        backend=backend,
        mail_server=mail_server,
        cpu=_cpu_model(Path("/proc/cpuinfo").read_text()),
        cores=os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages={name: version(name) for name in _PACKAGES},
        load_average=os.getloadavg()[0],
        pool_size=pool_size,
    )


def _commit() -> str:
    """The short hash, with a `+` if the checkout is modified; empty outside a checkout."""
    command = ("git", "describe", "--always", "--dirty=+", "--exclude=*")
    try:
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()


def _cpu_model(cpuinfo: str) -> str:
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == "model name"), platform.machine())
