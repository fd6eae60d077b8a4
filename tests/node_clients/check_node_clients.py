"""What Google's clients for Node do on the embedded backend, they do on Google's emulators, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from local.backends import Backend, BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.backends.google import GoogleBackend
from local.errors import CannotStart
from tests.integration.backends import GOOGLE_IS_REQUIRED
from tests.node_clients.node import NotAvailable, install, outcomes

pytestmark = pytest.mark.timeout(900)

UNIMPLEMENTED = 12
#: The cases that the embedded backend has no implementation for, and how it says so; docs/local.md names them, too.
UNSUPPORTED = {
    "explain": UNIMPLEMENTED,
    "findNearest": UNIMPLEMENTED,
    "getPartitions": UNIMPLEMENTED,
    "snapshots": UNIMPLEMENTED,
    "lite": "unimplemented",
}

#: Two workers, each with backends of its own: the first two wait long for transactions that conflict.
FILES = [
    pytest.param("firestore", "firebase-admin", id="firebase-admin", marks=pytest.mark.xdist_group("admin")),
    pytest.param("firestore", "@google-cloud/firestore", id="firestore", marks=pytest.mark.xdist_group("others")),
    pytest.param("web", "firebase", id="firebase", marks=pytest.mark.xdist_group("others")),
    pytest.param("pubsub", "@google-cloud/pubsub", id="pubsub", marks=pytest.mark.xdist_group("others")),
]


@pytest.fixture(scope="module", autouse=True)
def clients() -> None:
    try:
        install()
    except NotAvailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[[type[Backend]], Backend]]:
    with ExitStack() as running:

        def start(kind: Any) -> Backend:
            backend: Backend = kind(BackendOptions("demo-node", "mail", "http://127.0.0.1:9/"))
            running.callback(backend.stop)
            backend.start()
            return backend

        yield start


@pytest.fixture(scope="module")
def embedded(start: Callable[[Any], Backend]) -> Backend:
    return start(EmbeddedBackend)


@pytest.fixture(scope="module")
def google(start: Callable[[Any], Backend]) -> Backend:
    try:
        return start(GoogleBackend)
    except CannotStart as reason:
        if GOOGLE_IS_REQUIRED:
            raise
        pytest.skip(str(reason))


@pytest.mark.parametrize(("file", "library"), FILES)
def test_the_clients_find_the_same_on_both_backends(
    embedded: Backend, google: Backend, file: str, library: str
) -> None:
    ours, theirs = (outcomes(backend, file, library) for backend in (embedded, google))
    refused = {case: ours.pop(case)["error"] for case in UNSUPPORTED if case in ours}
    assert refused == {case: UNSUPPORTED[case] for case in refused}
    assert {case: shown(ours[case]) for case in ours} == {case: shown(theirs[case]) for case in ours}
    assert [case for case, outcome in ours.items() if outcome.get("error") == "TIMEOUT"] == []


def shown(outcome: dict[str, Any]) -> object:
    """What is compared: the value, or the code of the error; its text may differ."""
    return ("fails", outcome["error"]) if "error" in outcome else outcome.get("value")
