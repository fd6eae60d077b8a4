"""Google's clients for Node, from npm, in a directory below the checkout that git ignores.

As a program, it only installs them. It needs nothing but Python's library, so that it can begin before anything else.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.backends import Backend

_HERE = Path(__file__).parent
#: Where the packages are, in `node_modules`.
INSTALLED = _HERE.parent.parent / ".firepost" / "node-clients"
_LOCK = "package-lock.json"


class NotAvailable(Exception):
    """There are no clients to be had here; the text says why."""


def install() -> None:
    """Install what the lock file says, unless that is done already. Raises `NotAvailable`.

    Of several processes, one does it, and the others wait.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NotAvailable(f"{program} is not installed")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with (INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install()


def _install() -> None:
    done = INSTALLED / "installed-lock.json"
    if done.exists() and done.read_bytes() == (_HERE / _LOCK).read_bytes():
        return
    for name in ("package.json", _LOCK):
        shutil.copyfile(_HERE / name, INSTALLED / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(INSTALLED)]
    installed = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if installed.returncode:
        raise NotAvailable(f"npm can't install the clients: {installed.stderr.strip()[-300:]}")
    shutil.copyfile(_HERE / _LOCK, done)


def outcomes(backend: Backend, file: str, library: str) -> dict[str, dict[str, Any]]:
    """What each case of a file returned (`value`) or failed with (`error`, `text`)."""
    ran = subprocess.run(
        ["node", str(_HERE / "run.cjs"), file, library],
        capture_output=True,
        text=True,
        timeout=600,
        env={
            **os.environ,
            "NODE_PATH": str(INSTALLED / "node_modules"),
            "FIRESTORE_EMULATOR_HOST": backend.firestore,
            "PUBSUB_EMULATOR_HOST": backend.pubsub,
            "GOOGLE_CLOUD_PROJECT": "demo-node",
        },
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found: dict[str, dict[str, Any]] = json.loads(ran.stdout)
    return found


if __name__ == "__main__":
    try:
        install()
    except NotAvailable as reason:  # the tests are skipped then, and that is no failure
        print(f"{reason}: the tests of Node's clients are skipped.")  # noqa: T201
