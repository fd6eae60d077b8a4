"""What stands in for Google Cloud on a laptop: a Firestore, a Pub/Sub, and the events of document writes.

Two backends offer the same: `google` (Google's own emulators) and `embedded` (in-memory servers, pure Python).
Where they differ, Google's is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


def _nobody(failure: str) -> None:
    """The listener of those who don't want to know."""


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """What a backend is told before it starts.

    `events_url` is where CloudEvents of writes below `collection` (a collection path such as `mail`) are POSTed, at
    least once, as Eventarc does. A port of 0 means any free one. `on_failure` is called, from any thread, with a
    text for people when the running backend has ended without having been asked to. `faults` are what is to go wrong
    (`local.backends.embedded.fault_flags`), by chances drawn from `seed`. With `sign_events`, events bear a token.
    """

    project: str
    collection: str
    events_url: str
    firestore_port: int = 0
    pubsub_port: int = 0
    on_failure: Callable[[str], None] = _nobody
    faults: Sequence[str] = ()
    seed: int = 0
    sign_events: bool = False


#: The service account that Eventarc, Pub/Sub and Cloud Scheduler are pretended to call as.
CALLER = "firepost@local.iam.gserviceaccount.com"


class Tokens(Protocol):
    """Signs OIDC tokens as Google does."""

    @property
    def certs_url(self) -> str:
        """Where the certificates are served that they can be verified with."""
        ...

    def token(self, email: str, audience: str) -> str:
        """A token that says the service account `email` calls `audience`."""
        ...


class Backend(Protocol):
    """A running stand-in; `firestore` and `pubsub` are `host:port` for the clients' `*_EMULATOR_HOST`."""

    @property
    def firestore(self) -> str:
        """Where the Firestore API is served (gRPC, without TLS)."""
        ...

    @property
    def pubsub(self) -> str:
        """Where the Pub/Sub API is served (gRPC, without TLS)."""
        ...

    @property
    def tokens(self) -> Tokens | None:
        """What signs the tokens of pushes and events; None where there are none."""
        ...

    def start(self) -> None:
        """Return when both APIs answer and events of new writes will be delivered.

        Raises `local.errors.CannotStart` with one sentence that says what is missing, `local.errors.PartFailed` when
        something was started and did not come up.
        """
        ...

    def stop(self) -> None:
        """End every process and thread that `start` began; safe to call twice, and after a failed start."""
        ...
