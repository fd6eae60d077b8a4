"""The real handlebars.js, from npm, in a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.unit.sender.handlebars.case import Case

#: What the cases were checked against; another release may differ.
VERSION = "4.7.10"
_SCRIPT = Path(__file__).with_name("reference.js")


class NotAvailable(Exception):
    """There is no handlebars.js to be had here; the text says why."""


class Reference:
    """handlebars.js in the given directory, which must be outside of the checkout."""

    def __init__(self, directory: Path) -> None:
        """Install it. Raises `NotAvailable`."""
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise NotAvailable(f"{program} is not installed")
        command = ["npm", "install", "--no-save", "--prefix", str(directory), f"handlebars@{VERSION}"]
        installed = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if installed.returncode:
            raise NotAvailable(f"npm can't install handlebars {VERSION}: {installed.stderr.strip()[-300:]}")
        self._environment = {**os.environ, "NODE_PATH": str(directory / "node_modules")}

    def render(self, cases: Sequence[Case]) -> list[str | None]:
        """What it makes of each case; None where it raises an error."""
        fields = ("template", "data", "partials", "escape", "strict")
        ran = subprocess.run(
            ["node", str(_SCRIPT)],
            input=json.dumps([{name: getattr(case, name) for name in fields} for case in cases]),
            capture_output=True,
            text=True,
            timeout=300,
            env=self._environment,
            check=True,
        )
        return [result.get("text") for result in json.loads(ran.stdout)]
