"""What one run of the local stack is told, and the settings that the services get from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: The settings that a laptop needs no opinion about. `ACK_DEADLINE_SECONDS` is here because two must agree on it: the
#: sender, which nests its time limits in it, and the subscription. `STRANDED_AFTER` is short, because Google's Pub/Sub
#: emulator forgets some messages when a push endpoint goes away, and somebody is watching.
DEFAULT_SETTINGS: Mapping[str, str] = {
    "MAIL_COLLECTION": "mail",
    "MAIL_TOPIC": "mail",
    "DEAD_LETTER_TOPIC": "mail-dead-letter",
    "DEFAULT_FROM": "Firepost <firepost@example.com>",
    "LEASE_SECONDS": "60",
    "ACK_DEADLINE_SECONDS": "75",
    "STRANDED_AFTER": "30",
}

#: What the stack decides itself, and the option that changes it where there is one.
DECIDED_HERE: Mapping[str, str] = {
    "PORT": "chosen by the stack",
    "FIRESTORE_EMULATOR_HOST": "use --firestore-port",
    "PUBSUB_EMULATOR_HOST": "use --pubsub-port",
    "GOOGLE_CLOUD_PROJECT": "use --project",
    "SMTP_CONNECTION_URI": "use --smtp-uri",
    "MAIL_SUBSCRIPTION": "it is called after MAIL_TOPIC",
    "DATABASE": "the local stack has one database, (default)",
}


@dataclass(frozen=True, slots=True)
class StackOptions:
    """One run of the stack.

    A port of 0 means any free one; `smtp_uri` None means the stack's own inbox. `settings` are environment variables
    for both services and win over `DEFAULT_SETTINGS`. With `supervise`, a service that dies is started again.
    Every `reconcile_seconds` the dispatcher's /reconcile is called, as Cloud Scheduler does; never when it is None.
    `delivery_attempts` is how often Pub/Sub delivers a message before it is a dead letter: at most 100, as in
    production, so that only what infrastructure keeps failing for a long time becomes one. `faults` are what is to go
    wrong, by chances drawn from `seed`. With `verify_tokens`, the services accept only calls that bear a token.
    `sender` is its subscription type: `push` or `pull`.
    """

    backend: str = "embedded"
    project: str = "demo-firepost"
    firestore_port: int = 0
    pubsub_port: int = 0
    smtp_uri: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    supervise: bool = True
    reconcile_seconds: float | None = 5.0
    delivery_attempts: int = 100
    faults: tuple[str, ...] = ()
    seed: int = 0
    verify_tokens: bool = False
    sender: str = "push"

    def setting(self, name: str) -> str:
        """The value that the services get for one of `DEFAULT_SETTINGS`."""
        return self.settings.get(name, DEFAULT_SETTINGS[name])


def parse_setting(text: str) -> tuple[str, str]:
    """Split `NAME=VALUE`. Raises `ValueError`, with a text for people, when it can't be set."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier() or not name.isupper():
        raise ValueError(f"{text!r} is not NAME=VALUE, with NAME an environment variable such as LEASE_SECONDS.")
    if name in DECIDED_HERE:
        raise ValueError(f"{name} can't be set ({DECIDED_HERE[name]}).")
    return name, value
