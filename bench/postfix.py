"""Postfix's two programs for measuring SMTP: smtp-sink and smtp-source. Its daemon is never started."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from local.ports import LOOPBACK

_SECONDS = 120.0
#: Where Debian's package installs them, which is only on root's PATH.
_SBIN_PATH = "/usr/sbin:/usr/local/sbin"


def find(program: str) -> Path | None:
    """The path of `smtp-sink` or `smtp-source`; None if it is not installed."""
    found = shutil.which(program) or shutil.which(program, path=_SBIN_PATH)
    return Path(found) if found else None


def sink_arguments(program: Path, port: int) -> tuple[str, ...]:
    """The arguments of smtp-sink on a loopback port, with room for waiting connections."""
    options = ["-u", "nobody"] if os.geteuid() == 0 else []  # required by smtp-sink
    return str(program), *options, f"{LOOPBACK}:{port}", "512"


def rate(program: Path, port: int, mails: int, sessions: int, size: int, *, kept_open: bool) -> float:
    """The number of mails per second that smtp-source delivers to the mail server at `port`.

    Raises `subprocess.CalledProcessError` if it fails.
    """
    options = ["-m", str(mails), "-s", str(sessions), "-l", str(size), *(["-d"] if kept_open else [])]
    addresses = ["-f", "bench@source.example", "-t", "bench@sink.example"]
    begin = time.monotonic()
    subprocess.run(  # noqa: S603 - arguments are ours
        [program, *options, *addresses, f"{LOOPBACK}:{port}"],
        check=True,
        capture_output=True,
        timeout=_SECONDS,
    )
    return mails / (time.monotonic() - begin)
