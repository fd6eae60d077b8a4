"""Google's own Firestore and Pub/Sub emulators, as installed with the Google Cloud CLI."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import requests

from local.backends import BackendOptions
from local.errors import CannotStart, PartFailed
from local.eventarc import Event, EventReceiver, Forwarder
from local.ports import LOOPBACK, claim_port
from local.processes import Child, Command, Family, last_lines
from local.waiting import wait_until

logger = logging.getLogger(__name__)

FIRESTORE_LAUNCHER = "cloud-firestore-emulator/cloud_firestore_emulator"
PUBSUB_LAUNCHER = "pubsub-emulator/bin/cloud-pubsub-emulator"
TRIGGER = "firepost"

GCLOUD_SECONDS = 60.0
START_SECONDS = 60.0


class GoogleBackend:
    """Both emulators, and the Eventarc stand-in that the Firestore emulator needs."""

    def __init__(self, options: BackendOptions) -> None:
        self._options = options
        self._running = ExitStack()
        self._firestore_port = 0
        self._pubsub_port = 0

    @property
    def firestore(self) -> str:
        """See `Backend`."""
        return f"{LOOPBACK}:{self._firestore_port}"

    @property
    def pubsub(self) -> str:
        """See `Backend`."""
        return f"{LOOPBACK}:{self._pubsub_port}"

    @property
    def tokens(self) -> None:
        """See `Backend`: these emulators sign no tokens."""
        return None

    def start(self) -> None:
        """See `Backend`."""
        if self._options.faults or self._options.sign_events:
            raise CannotStart("Google's emulators support neither faults nor tokens; use --backend embedded.")
        firestore_launcher, pubsub_launcher = find_launchers()
        self._firestore_port = claim_port(self._options.firestore_port, "--firestore-port")
        self._pubsub_port = claim_port(self._options.pubsub_port, "--pubsub-port")
        logs = Path(self._running.enter_context(tempfile.TemporaryDirectory(prefix="firepost-emulators-")))
        events = self._start_events()
        family = Family()
        self._running.callback(family.stop)
        listen = f"--host={LOOPBACK}"
        firestore = Command(
            name="Firestore emulator",
            arguments=(
                str(firestore_launcher), "start", listen, f"--port={self._firestore_port}",
                f"--functions_emulator={events}",
            ),
            log=logs / "firestore.log",
        )  # fmt: skip
        pubsub = Command(
            name="Pub/Sub emulator",
            arguments=(str(pubsub_launcher), listen, f"--port={self._pubsub_port}"),
            log=logs / "pubsub.log",
        )
        children = [family.start(command, self._on_exit(command)) for command in (firestore, pubsub)]
        for child, address in zip(children, (self.firestore, self.pubsub), strict=True):
            _await_emulator(child, address)
        self.watch(self._options.collection)

    def stop(self) -> None:
        """See `Backend`."""
        self._running.close()

    def _start_events(self) -> str:
        forwarder = Forwarder(self._options.events_url, self._options.limit_events)
        self._running.callback(forwarder.stop)
        forwarder.start()
        receiver = EventReceiver(partial(self._take, forwarder))
        self._running.callback(receiver.stop)
        receiver.start()
        return receiver.address

    def _take(self, forwarder: Forwarder, event: Event) -> None:
        self._options.on_change(unquote(event.headers.get("ce-document", "")))
        forwarder.post(event)

    def _on_exit(self, command: Command) -> Callable[[int], None]:
        def report(status: int) -> None:
            self._options.on_failure(f"The {command.name} died (exit status {status}):\n{last_lines(command.log)}")

        return report

    def waiting(self) -> Mapping[str, int]:
        """See `Backend`: the Pub/Sub emulator does not tell."""
        return {}

    def watch(self, collection: str) -> None:
        """See `Backend`: have the emulator send us every write below the collection."""
        answer = requests.post(
            f"http://{self.firestore}/emulator/v1/projects/{self._options.project}/eventarcTrigger",
            params={"eventarcTriggerId": TRIGGER},
            json={
                "eventType": "google.cloud.firestore.document.v1.written",
                "database": "(default)",
                "namespace": "(default)",
                "document": {"value": f"{collection}/{{documentId}}", "matchType": "PATH_PATTERN"},
            },
            timeout=START_SECONDS,  # for the first request to a Java process on a busy machine
        )
        if not answer.ok:
            raise PartFailed(f"The Firestore emulator refuses the Eventarc trigger: {answer.text}")


def find_launchers() -> tuple[Path, Path]:
    """The programs that start the Firestore and the Pub/Sub emulator.

    Raises `CannotStart` with installation instructions if one of them, `gcloud` or Java is missing.
    """
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        raise CannotStart(
            "Google's emulators need the Google Cloud CLI, and there is no 'gcloud' on the PATH: install it from "
            "https://cloud.google.com/sdk/docs/install, then run "
            "'gcloud components install cloud-firestore-emulator pubsub-emulator'."
        )
    platform = _platform(gcloud)
    launchers = platform / FIRESTORE_LAUNCHER, platform / PUBSUB_LAUNCHER
    missing = [launcher.relative_to(platform).parts[0] for launcher in launchers if not launcher.exists()]
    if missing:
        names = " ".join(missing)
        raise CannotStart(
            f"The Google Cloud CLI lacks {' and '.join(missing)}: run 'gcloud components install {names}', or, where "
            f"it came from apt, 'sudo apt-get install {' '.join(f'google-cloud-cli-{_package(m)}' for m in missing)}'."
        )
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise CannotStart(
            "Google's emulators need Java 21 or later, and there is no 'java' on the PATH: install a JRE, for example "
            "with 'sudo apt-get install default-jre-headless' or 'brew install openjdk'."
        )
    return launchers


def _package(component: str) -> str:
    """The apt package of a component (cloud.google.com/sdk/docs/components#external_package_managers)."""
    return component.removeprefix("cloud-")


def _platform(gcloud: str) -> Path:
    """Where components are installed: usually beside the program's directory; `gcloud` itself takes long to say so."""
    beside = Path(gcloud).resolve().parent.parent / "platform"
    return beside if beside.is_dir() else Path(_sdk_root()) / "platform"


def _sdk_root() -> str:
    found = subprocess.run(
        ["gcloud", "info", "--format=value(installation.sdk_root)"],
        capture_output=True,
        text=True,
        timeout=GCLOUD_SECONDS,
        check=False,
    )
    if found.returncode != 0:
        raise CannotStart(f"'gcloud info' fails: {found.stderr.strip()}")
    return found.stdout.strip()


def _await_emulator(child: Child, address: str) -> None:
    """Return when the emulator answers plain HTTP, which it does once its gRPC side is up."""
    answered = wait_until(lambda: not child.alive or _answers(address), START_SECONDS)
    if not answered or not child.alive:
        what = "did not start" if answered else f"did not answer within {START_SECONDS:.0f} s"
        raise PartFailed(f"The {child.command.name} {what}:\n{last_lines(child.command.log)}")


def _answers(address: str) -> bool:
    try:
        return requests.get(f"http://{address}/", timeout=1).ok
    except requests.RequestException:
        return False
