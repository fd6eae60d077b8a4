"""Stand-ins for Google Cloud on a laptop: Firestore, Pub/Sub, and the events of document writes.

Two backends offer the same: `google` (Google's own emulators) and `embedded` (in-memory servers, pure Python). Where
they differ, Google's is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


def _ignore(text: str) -> None:
    """Ignore what is told."""


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """The options of a backend, fixed before it starts.

    `events_url` is where CloudEvents of writes below `collection` (a collection path such as `mail`) are POSTed, at
    least once, as Eventarc does. Port 0 means any free one. `on_failure` is called, from any thread, with a
    human-readable text when the running backend ends unexpectedly. `on_change` is called, from any thread, with the
    path of each document below `collection` that was written, and perhaps of others; it must return at once. `faults`
    are the faults to inject (`local.backends.embedded.fault_flags`), with random numbers from `seed`. With
    `sign_events`, events carry a token; with `limit_events`, those that are too large for Eventarc are dropped. With
    `attach_to` (host:port), the Firestore is an emulator that runs there already.
    """

    project: str
    collection: str
    events_url: str
    firestore_port: int = 0
    pubsub_port: int = 0
    on_failure: Callable[[str], None] = _ignore
    on_change: Callable[[str], None] = _ignore
    faults: Sequence[str] = ()
    seed: int = 0
    sign_events: bool = False
    limit_events: bool = True
    attach_to: str | None = None


#: The service account as which Eventarc, Pub/Sub and Cloud Scheduler call.
CALLER = "firepost@local.iam.gserviceaccount.com"


class Tokens(Protocol):
    """Signs OIDC tokens as Google does."""

    @property
    def certs_url(self) -> str:
        """The URL of the certificates that verify the tokens."""
        ...

    def token(self, email: str, audience: str) -> str:
        """A token that identifies the caller as the service account `email`, for `audience`."""
        ...


class Backend(Protocol):
    """A running stand-in; `firestore` and `pubsub` are `host:port` for the clients' `*_EMULATOR_HOST`."""

    @property
    def firestore(self) -> str:
        """The address of the Firestore API (gRPC, without TLS)."""
        ...

    @property
    def pubsub(self) -> str:
        """The address of the Pub/Sub API (gRPC, without TLS)."""
        ...

    @property
    def tokens(self) -> Tokens | None:
        """The signer of the tokens of pushes and events; None if the backend has none."""
        ...

    def start(self) -> None:
        """Return when both APIs answer and events of new writes will be delivered.

        Raises `local.errors.CannotStart` with one sentence about what is missing, `local.errors.PartFailed` if
        something started but failed to become ready.
        """
        ...

    def watch(self, collection: str) -> None:
        """Move the trigger: from now on, only writes below `collection` cause events, as after a `terraform apply`.

        Raises `local.errors.PartFailed` if that is refused.
        """
        ...

    def waiting(self) -> Mapping[str, int]:
        """How many messages are not acknowledged, by the full name of their subscription; empty if not known."""
        ...

    def stop(self) -> None:
        """End every process and thread that `start` created; safe to call twice, and after a failed start."""
        ...
