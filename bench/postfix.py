"""Postfix's two programs for measuring SMTP: smtp-sink and smtp-source. Its daemon is never started."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from local.ports import LOOPBACK

_SECONDS = 120.0
#: Where Debian's package puts them, which is on root's PATH only.
_ELSEWHERE = "/usr/sbin:/usr/local/sbin"


def find(program: str) -> Path | None:
    """Where `smtp-sink` or `smtp-source` is; None if it is not installed."""
    found = shutil.which(program) or shutil.which(program, path=_ELSEWHERE)
    return Path(found) if found else None


def sink_arguments(program: Path, port: int, without: Sequence[str] = ()) -> tuple[str, ...]:
    """smtp-sink on a port of the loopback interface, with room for connections that wait.

    Of the extensions that it can be without, PIPELINING is the one that it has.
    """
    options = ["-p"] if "PIPELINING" in without else []
    if os.geteuid() == 0:
        options += ["-u", "nobody"]  # it insists
    return str(program), *options, f"{LOOPBACK}:{port}", "512"


def rate(program: Path, port: int, mails: int, sessions: int, size: int, *, kept_open: bool) -> float:
    """How many mails a second smtp-source hands to the mail server at `port`.

    Raises `subprocess.CalledProcessError` if that can't be done.
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
