"""The target of the commands: one installation of Firepost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

EMULATORS = ("FIRESTORE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST")


@dataclass(frozen=True, slots=True)
class Target:
    """One installation of Firepost; ids, not full names. `project` is empty if not given.

    `services` are the addresses of the local stack's services, by name.
    """

    project: str
    database: str
    collection: str
    topic: str
    dead_letters: str
    services: Mapping[str, str] = field(default_factory=dict)

    @property
    def firestore(self) -> str:
        """The database's name in texts for people."""
        return f"Firestore (project {self.project}, database {self.database})"

    def check_project(self) -> None:
        """Raises `click.UsageError` if there is no project."""
        if not self.project:
            raise click.UsageError("Which project? Use --project ID, set GOOGLE_CLOUD_PROJECT, or use --local FILE.")

    def check(self, environment: Mapping[str, str]) -> None:
        """Raises `click.UsageError` if the target is ambiguous, before anything is done."""
        self.check_project()
        present = [name for name in EMULATORS if environment.get(name)]
        if len(present) == 1:
            absent = next(name for name in EMULATORS if name not in present)
            raise click.UsageError(
                f"{present[0]} is set but {absent} is not: half would happen in Google Cloud. Set both or neither."
            )


def read_ready_file(path: Path) -> dict[str, str]:
    """What a ready file of `python -m local up` says: `firestore`, `pubsub`, `project`, `topic` and more.

    Raises `click.BadParameter` if it is not one.
    """
    try:
        ready = json.loads(path.read_text(encoding="utf-8"))
        needed = {name: str(ready[name]) for name in ("firestore", "pubsub", "project", "topic")}
        return {name: value for name, value in ready.items() if isinstance(value, str)} | needed
    except (OSError, ValueError, KeyError, TypeError) as error:  # no JSON, or no object
        raise click.BadParameter(
            f"{path} is not a ready file of 'python -m local up --ready-file {path}'; is the local stack running?"
        ) from error
