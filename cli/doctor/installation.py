"""The names of an installation, from Terraform's outputs or from its prefix. Pure.

The module derives all names from its variable `name`; tests/unit/cli/doctor/test_installation.py holds these to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Terraform's outputs nest at most this deep: an output, instances of the module, the module's outputs.
_DEPTH = 4

_ENVIRONMENT = ("GOOGLE_CLOUD_PROJECT", "DATABASE", "MAIL_COLLECTION", "MAIL_TOPIC", "DEAD_LETTER_SUBSCRIPTION")


@dataclass(frozen=True, slots=True)
class Installation:
    """One instance of the Terraform module. `trigger` and `scheduler_job` are full names, all others ids.

    `pulls`: the senders are worker pools. `is_watched`: it has modules/monitoring. `lanes` are those beside the default
    one; None if they are not known.
    """

    project: str
    database: str
    collection: str
    name: str
    region: str
    trigger: str
    scheduler_job: str
    pulls: bool
    is_watched: bool = True
    lanes: tuple[str, ...] | None = None

    @classmethod
    def named(
        cls,
        project: str,
        database: str,
        collection: str,
        name: str,
        region: str,
        database_location: str | None = None,
        scheduler_region: str | None = None,
        pulls: bool = False,
    ) -> Installation:
        """With the names that the module gives by default; locations that are not given are `region`."""
        return cls(
            project,
            database,
            collection,
            name,
            region,
            f"projects/{project}/locations/{database_location or region}/triggers/{name}-documents",
            f"projects/{project}/locations/{scheduler_region or region}/jobs/{name}-reconcile",
            pulls,
        )

    @property
    def dispatcher(self) -> str:
        """The dispatcher's service."""
        return f"{self.name}-dispatcher"

    @property
    def sender(self) -> str:
        """The sender's service or worker pool."""
        return f"{self.name}-sender"

    @property
    def mail_subscription(self) -> str:
        """The subscription that the sender's messages come from."""
        return f"{self.name}-mail-sender"

    @property
    def dead_letter_topic(self) -> str:
        """The topic of messages that could not be processed."""
        return f"{self.name}-mail-dead-letter"

    @property
    def dead_event_topic(self) -> str:
        """The topic of events that could not be delivered."""
        return f"{self.name}-document-events-dead-letter"

    @property
    def collection_id(self) -> str:
        """The last part of the collection's path, which indexes are for."""
        return self.collection.rpartition("/")[2]

    def account(self, purpose: str) -> str:
        """The e-mail address of a service account: dispatcher, sender, events, push or scheduler."""
        return f"{self.name}-{purpose}@{self.project}.iam.gserviceaccount.com"


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of one instance of the module: the installation, and what points the command line at it."""

    installation: Installation
    topic: str
    dead_letter_subscription: str


def read_outputs(document: object, name: str | None) -> Outputs:
    """What `terraform output -json` prints, with or without an output's name; `name` selects one of several instances.

    Raises `ValueError` with a sentence if it has none of the module's outputs, or several that `name` does not decide.
    """
    found = [_outputs(each) for each in _instances(_plain(document), _DEPTH)]
    chosen = [each for each in found if name in (None, each.installation.name)]
    if len(chosen) == 1:
        return chosen[0]
    if not found:
        raise ValueError(
            "it must be what 'terraform output -json' prints, with the outputs 'resources', 'region' and "
            "'command_line_environment' of the module"
        )
    names = ", ".join(sorted(each.installation.name for each in found))
    raise ValueError(f"it describes {names}; choose one with --name")


def _plain(value: object) -> object:
    """Without the wrapping of `terraform output -json`: {"sensitive": ..., "type": ..., "value": ...}."""
    if not isinstance(value, Mapping):
        return value
    if "sensitive" in value and "value" in value:
        return _plain(value["value"])
    return {key: _plain(each) for key, each in value.items()}


def _instances(value: object, depth: int) -> Iterator[Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        return
    if isinstance(value.get("resources"), Mapping) and isinstance(value.get("command_line_environment"), Mapping):
        yield value
    elif depth:
        for each in value.values():
            yield from _instances(each, depth - 1)


def _outputs(outputs: Mapping[str, Any]) -> Outputs:
    environment, resources = outputs["command_line_environment"], outputs["resources"]
    project, database, collection, topic, dead_letters = (_text(environment, key) for key in _ENVIRONMENT)
    installation = Installation(
        project,
        database,
        collection,
        name=_text(resources, "dispatcher").removesuffix("-dispatcher"),
        region=_text(outputs, "region"),
        trigger=_text(resources, "trigger"),
        scheduler_job=_text(resources, "scheduler_job"),
        pulls=resources.get("sender_is_worker_pool") is True,
        is_watched="dashboard" in outputs,
        lanes=_lanes(resources.get("lanes")),
    )
    return Outputs(installation, topic, dead_letters)


def _lanes(given: object) -> tuple[str, ...] | None:
    """In the order of the module, which is that of their names."""
    return tuple(sorted(given)) if isinstance(given, Mapping) else None


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} must be a text, found {'nothing' if value is None else type(value).__name__}")
    return value
