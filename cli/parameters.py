"""What `import` reads and makes: Trigger Email's parameters, and Firepost's configuration. Pure.

Parameters have the names that the extension gave them, whoever wrote the file.

The Firebase CLI renames parameters when it exports an extension for a function kit
(https://github.com/firebase/firebase-tools/blob/master/src/extensions/export.ts):

    the extension's name                              the kit's name
    SMTP_PASSWORD=projects/…/secrets/…/versions/…     FIREBASE_SECRET_REF_SMTP_PASSWORD=…
    firebaseextensions.v1beta.function/memory         EXT_MIGRATED_SYSTEM_MEMORY
    firebaseextensions.v1beta.v2function/location     FUNCTION_DEFAULT_REGION
    ALLOWED_EVENT_TYPES                               EXT_SELECTED_EVENTS
    EVENTARC_CHANNEL                                  the same, or FIREBASE_EVENTARC_CHANNEL
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

#: The parameters that are secrets of Secret Manager; the file has their names.
SECRETS: Final = ("SMTP_PASSWORD", "CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN")

_SYSTEM: Final = re.compile(r"(?:firebaseextensions\.v1beta\.(?:v2)?function/|EXT_MIGRATED_SYSTEM_)(\w+)")
_REFERRING: Final = "FIREBASE_SECRET_REF_"
_RENAMED: Final[Mapping[str, str]] = {
    "FUNCTION_DEFAULT_REGION": "location",
    "EXT_SELECTED_EVENTS": "ALLOWED_EVENT_TYPES",
    "FIREBASE_EVENTARC_CHANNEL": "EVENTARC_CHANNEL",
}
#: `projects/P/secrets/S/versions/V`, or the functions' short forms `S`, `S:V` and `S@V`.
_REFERENCE: Final = re.compile(
    r"projects/([\w.:-]+)/secrets/([\w-]+)(?:/versions/(\w+))?|([\w-]+)(?:[:@](\w+))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """A secret in Secret Manager, and its version: a number, or `latest`."""

    project: str
    secret: str
    version: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter: its name in the file, and its value, or else the secret that has it."""

    written: str
    value: str
    secret: SecretVersion | None = None


def own_name(written: str) -> str:
    """The extension's name of a parameter, for Firebase's own ones the part after the slash, in lower case."""
    if match := _SYSTEM.fullmatch(written):
        return match[1].lower()
    name = written.removeprefix(_REFERRING)
    return _RENAMED.get(name, name)


def parameter(written: str, value: str, project: str) -> Parameter:
    """Read one parameter; `project` is the id of the project that the extension is in."""
    value = value.replace("${param:PROJECT_ID}", project)
    if written.startswith(_REFERRING) or (written in SECRETS and value.startswith("projects/")):
        value = value.replace("${param:PROJECT_NUMBER}", project)
        if match := _REFERENCE.fullmatch(value):
            version = SecretVersion(match[1] or project, match[2] or match[4], match[3] or match[5] or "latest")
            return Parameter(written, value, version)
    return Parameter(written, value)


class Result(StrEnum):
    """What became of a parameter."""

    SAME = "same"
    DIFFERS = "differs"
    UNUSED = "unused"
    TO_DO = "to-do"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one parameter.

    `place` is the variable of Terraform that has its value now, if any. `text` is what differs or what to do, in
    sentences without secrets.
    """

    parameter: str
    result: Result
    place: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret to create for a setting, and the parameter with its value or with the secret to copy it from."""

    setting: str
    id: str
    source: Parameter


@dataclass(slots=True)
class Configuration:
    """Firepost's configuration, as Terraform's variables; `settings` and `secrets` are variables, too."""

    variables: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    secrets: list[Secret] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


#: The parameters with a value, by the extension's names.
Given = Mapping[str, Parameter]


def value_of(given: Given, own: str) -> str:
    """A parameter's value; empty if it is not given."""
    return given[own].value if own in given else ""


def planned_secret(given: Given, into: Configuration, own: str, setting: str, text: str = "") -> Finding:
    """Plan a secret for the setting, with the parameter's value; `text` is what differs, if anything."""
    source = given[own]
    identifier = f"{into.variables['name']}-{setting.lower().replace('_', '-')}"
    into.secrets.append(Secret(setting, identifier, source))
    texts = [text] if text else []
    if source.secret:
        texts.append("It is copied to a secret of Firepost's, because Firebase deletes its own with the extension.")
    return Finding(own, Result.DIFFERS if texts else Result.SAME, f"secrets.{setting}", " ".join(texts))
