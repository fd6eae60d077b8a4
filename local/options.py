"""The options of one run of the local stack, and the services' settings that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.errors import CannotStart
from shared.delivery.lanes import DEFAULT_LANE, Lanes

#: Defaults that suit a laptop. `ACK_DEADLINE_SECONDS` is here because the sender, which derives its time limits from
#: it, and the subscription must agree on it. `STRANDED_AFTER` is short, because Google's Pub/Sub emulator loses some
#: messages when a push endpoint goes away, and a developer is waiting.
DEFAULT_SETTINGS: Mapping[str, str] = {
    "MAIL_COLLECTION": "mail",
    "MAIL_TOPIC": "mail",
    "DEAD_LETTER_TOPIC": "mail-dead-letter",
    "DEFAULT_FROM": "Firepost <firepost@example.com>",
    "LEASE_SECONDS": "60",
    "ACK_DEADLINE_SECONDS": "75",
    "STRANDED_AFTER": "30",
}

#: Where the console (with the inbox's pages) and the inbox's SMTP server usually listen.
CONSOLE_PORT, SMTP_PORT = 4690, 4625

#: Settings that the stack determines itself, and the option that changes each, if there is one.
DECIDED_HERE: Mapping[str, str] = {
    "PORT": "chosen by the stack",
    "FIRESTORE_EMULATOR_HOST": "use --firestore-port",
    "PUBSUB_EMULATOR_HOST": "use --pubsub-port",
    "GOOGLE_CLOUD_PROJECT": "use --project",
    "SMTP_CONNECTION_URI": "use --smtp-uri",
    "MAIL_SUBSCRIPTION": "it is called after MAIL_TOPIC",
    "LANE": "each sender has its own; use LANES",
    "DATABASE": "the local stack has one database, (default)",
}


@dataclass(frozen=True, slots=True)
class StackOptions:
    """One run of the stack.

    Port 0 means any free one; None means the usual one or, if that is taken, one of the next. `smtp_uri` None means the
    stack's own inbox. In the directory `data`, documents, mails and dead letters are kept from one run to the next;
    None means that they are lost. Mails in the inbox can be released to real addresses over the mail server
    `release_uri`; None means that they can't.

    `settings` are environment variables for both services and override `DEFAULT_SETTINGS`. With `supervise`, a
    service that dies is restarted. The dispatcher's /reconcile is called every `reconcile_seconds`, as by Cloud
    Scheduler; None means never. `delivery_attempts` is how often Pub/Sub delivers a message before it is a dead
    letter: at most 100, as in production, so that only long infrastructure failures cause dead letters. `faults`
    are the faults to inject, with random numbers from `seed`. `verify_tokens` is whether the services accept only
    calls that carry a token; None means where the backend signs tokens. `sender` is its subscription type: `push`
    or `pull`. With `limit_events`, events that are too large for Eventarc are dropped. `firestore` (host:port) is a
    Firestore emulator that runs already, to be used in place of the backend's own.
    """

    backend: str = "embedded"
    project: str = "demo-firepost"
    firestore_port: int = 0
    pubsub_port: int = 0
    console_port: int | None = 0
    smtp_port: int | None = 0
    data: Path | None = None
    release_uri: str | None = None
    smtp_uri: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    supervise: bool = True
    reconcile_seconds: float | None = 5.0
    delivery_attempts: int = 100
    faults: tuple[str, ...] = ()
    seed: int = 0
    verify_tokens: bool | None = None
    sender: str = "push"
    limit_events: bool = True
    firestore: str | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether calls carry a token, and the services verify it. Google's emulators sign none."""
        return self.backend == "embedded" if self.verify_tokens is None else self.verify_tokens

    @property
    def lanes(self) -> Lanes:
        """The lanes beside the default one. Raises `CannotStart`."""
        given = self.settings.get("LANES")
        try:
            return Lanes.parse(given) if given else Lanes()
        except ValueError as error:
            raise CannotStart(f"LANES: {error}.") from error

    @property
    def senders(self) -> Mapping[str, str]:
        """The lane of each sender by the sender's name: `sender`, which has the default one, `sender-bulk` …"""
        return {"sender": DEFAULT_LANE, **{f"sender-{lane}": lane for lane in self.lanes.rules}}

    @property
    def services(self) -> tuple[str, ...]:
        """The names of all services."""
        return ("dispatcher", *self.senders)

    def subscription(self, sender: str) -> str:
        """The id of the subscription of one of the `senders`."""
        return f"{self.setting('MAIL_TOPIC')}-{sender}"

    def setting(self, name: str) -> str:
        """The services' value of one of `DEFAULT_SETTINGS`."""
        return self.settings.get(name, DEFAULT_SETTINGS[name])


def parse_address(text: str) -> str:
    """Check that a text is `host:port`, and return it. Raises `ValueError`, with a human-readable text, if not."""
    host, _, port = text.rpartition(":")
    if not host or "/" in host or not (port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080.")
    return text


def parse_setting(text: str) -> tuple[str, str]:
    """Split `NAME=VALUE`. Raises `ValueError`, with a human-readable text, if it can't be set."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier() or not name.isupper():
        found = repr(name) if equals else "one of the settings"  # the value may be a secret
        raise ValueError(f"{found} is not NAME=VALUE, with NAME an environment variable such as LEASE_SECONDS.")
    if name in DECIDED_HERE:
        raise ValueError(f"{name} can't be set ({DECIDED_HERE[name]}).")
    return name, value
