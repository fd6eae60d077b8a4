"""The paths of docs/migrating-from-trigger-email.md: its commands, played literally, with what an old system leaves.

The shell, `python -m cli` and Firepost are real. What `firebase`, `terraform`, `gcloud` and `git` do on Google Cloud is
played by the stand-ins in `Migration.PLAYED`; a command that nothing plays fails the test.
"""

from __future__ import annotations

import re
import shutil
import smtplib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.cloud.firestore import DocumentReference

from cli.target import EMULATORS
from tests import trigger_email
from tests.integration.system import PATIENCE, Configuration, Fields, System, SystemKeeper, wait_for
from tests.unit.docs.documents import ROOT, paths, quoted, table

#: A path takes 10 to 20 s: a dozen processes of the command line, and two moves of both services.
pytestmark = pytest.mark.integration

PAGE = "docs/migrating-from-trigger-email.md"
PATHS = paths(PAGE)
#: What becomes of each kind of old document: a state in backticks, or "unchanged".
BECOMES = table(PAGE, "document")
TRIAL = "firepost-trial"
CONFIGURATION = Configuration(
    reconcile_seconds=1, settings={"STRANDED_AFTER": "2", "MAIL_COLLECTION": TRIAL}, project="my-shop"
)
MESSAGE = {"subject": "s", "text": "t"}
ENDED = ("`SUCCESS`", "`ERROR`")
GAP, BACK_GAP = "written in the gap", "written on the way back"

#: Documents of each kind that the page has a row for, and what an old system has left in `delivery`; None: nothing.
LEFT: Mapping[str, Fields | None] = {
    "`PENDING`": {"state": "PENDING", "attempts": 0, "error": None},
    "`RETRY`": {"state": "RETRY", "attempts": 1, "error": "Error: Connection timeout"},
    "`PROCESSING`, its lease expired": {"state": "PROCESSING", "attempts": 0, "error": None, "lease": -60.0},
    "`PROCESSING` without a lease": {"state": "PROCESSING", "attempts": 0, "error": None, "leaseExpireTime": None},
    "no `delivery`, written before the switch": None,
    "no `delivery`, nothing to send, written before the switch": None,
    "edited after the switch, and without `delivery`": None,
    "set to RETRY in the gap": {"state": "ERROR", "attempts": 1, "error": "Error: Invalid login"},
}


class OldSystem:
    """The state machine of Trigger Email, worked by hand: `work` handles what was written since."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._seen: dict[str, Any] | None = None

    def install(self) -> None:
        """From now on, writes are events."""
        self._seen = {each.reference.path: each.update_time for each in self._documents()}

    def uninstall(self) -> None:
        self._seen = None

    @property
    def installed(self) -> bool:
        return self._seen is not None

    def work(self) -> None:
        while self._seen is not None:
            written = [each for each in self._documents() if self._seen.get(each.reference.path) != each.update_time]
            if not written:
                return
            for each in written:
                self._seen[each.reference.path] = each.update_time
                self._handle(each)

    def _documents(self) -> list[Any]:
        return list(self._system.firestore.collection("mail").stream())

    def _handle(self, document: Any) -> None:
        fields = document.to_dict()
        if not isinstance(fields.get("message"), dict):
            return
        state = fields.get("delivery", {}).get("state")
        if "delivery" not in fields:
            trigger_email.queue(document.reference)
        elif state in ("PENDING", "RETRY"):
            trigger_email.claim(document.reference)
            self._deliver(document.reference, fields.get("to"))

    def _deliver(self, document: DocumentReference, to: str | None) -> None:
        if not to:
            trigger_email.fail(document, "Error: Failed to deliver email. Expected at least 1 recipient.")
            return
        with smtplib.SMTP("127.0.0.1", self._system.server.port) as smtp:
            smtp.sendmail("old@example.com", [to], b"Subject: s\r\n\r\nt\r\n")
        trigger_email.succeed(document, [to])


@dataclass
class Migration:
    """One path of the page: the checkout's directory, the shell's variables, the documents by their kind.

    `exported` is the file that `firebase ext:export` writes, `firepost` the collection that Firepost works on, and
    `earlier` the number of mails that the server has got before.
    `patience` is the time limit of a command, in seconds.
    """

    system: System
    directory: Path
    environment: dict[str, str]
    exported: str
    path: str
    old: OldSystem = field(init=False)
    earlier: int = field(init=False)
    documents: dict[str, str] = field(default_factory=dict)
    firepost: str = TRIAL
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        self.old = OldSystem(self.system)
        self.earlier = len(self.system.server.accepted)

    #: What plays a command, by its beginning; the longest that fits.
    PLAYED = (
        ("firebase ext:export", "export"),
        ("firebase ext:uninstall", "nothing"),  # changes firebase.json only; the deployment does it
        ("firebase functions:delete kit-default-processQueue", "remove_old"),
        ("firebase deploy --only extensions", "deploy_extensions"),
        ("firebase deploy --only functions:default", "install_old"),
        ("terraform -chdir=infra/terraform init", "nothing"),
        ("terraform -chdir=infra/terraform apply -target=module.core.google_artifact_registry", "nothing"),
        (f"terraform -chdir=infra/terraform apply -var=mail_collection={TRIAL}", "try_firepost"),
        ("terraform -chdir=infra/terraform apply", "move_firepost"),
        ("gcloud eventarc triggers delete firepost-documents", "delete_trigger"),
        ("git push production main", "release"),
        ("git push --force production before-firepost:main", "nothing"),
    )

    def play(self, step: str, expected: Mapping[str, int] | None = None) -> None:
        """The commands of a step; `expected` are exit codes other than 0, by a part of the command."""
        for command in PATHS[self.path][step]:
            code = next((code for part, code in (expected or {}).items() if part in command), 0)
            self.run(command, code)

    def run(self, command: str, code: int = 0) -> str:
        """Run a command as in a shell that goes on afterwards, and play what it does elsewhere."""
        kept = self.directory / "environment"
        script = f"{command}\nstatus=$?\nenv -0 > {kept}\nexit $status"
        ended = subprocess.run(
            ["bash", "-c", script], cwd=self.directory, env=self.environment, capture_output=True, text=True,
            timeout=self.patience, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert ended.returncode == code, f"{command}\n{ended.stdout}{ended.stderr}"
        pairs = (each.partition("=") for each in kept.read_text().split("\0") if each)
        self.environment = {name: value for name, _, value in pairs}
        fitting = [(start, name) for start, name in self.PLAYED if command.startswith(start)]
        if command.startswith(("firebase ", "terraform ", "gcloud ", "git ")):
            assert fitting, f"nothing plays: {command}"
            getattr(self, max(fitting, key=lambda each: len(each[0]))[1])()
        return ended.stdout

    # What the commands do on Google Cloud

    def nothing(self) -> None:
        """Nothing that a document could notice."""

    def export(self) -> None:
        (self.directory / "firebase.json").write_text('{"extensions": {}}')
        (self.directory / "extensions").mkdir()
        shutil.copy(self.exported, self.directory / "extensions" / "firestore-send-email.env")

    def deploy_extensions(self) -> None:
        if self.old.installed:
            self.remove_old()
        else:
            assert (self.directory / "extensions" / "firestore-send-email.env").exists()
            self.install_old()

    def install_old(self) -> None:
        self.old.install()

    def remove_old(self) -> None:
        self.old.uninstall()
        self.write(GAP)
        self.write(f"{GAP}, not valid", to=None)
        retried = self.documents["set to RETRY in the gap"]
        self.system.firestore.document(retried).update({"delivery.state": "RETRY"})

    def try_firepost(self) -> None:
        self._move(TRIAL)

    def move_firepost(self) -> None:
        variables = (self.directory / "infra/terraform/terraform.tfvars").read_text()
        [collection] = re.findall(r'^mail_collection *= "(.*)"$', variables, re.MULTILINE)
        self._move(collection)

    def delete_trigger(self) -> None:
        self.system.stack.watch("nowhere")
        self.write(BACK_GAP)

    def release(self) -> None:
        """The application writes into the new collection, once before the trigger works."""
        self.system.stack.watch("nowhere")
        self.write(GAP)
        self.system.stack.watch("mail")
        self.write("written after the switch")

    def _move(self, collection: str) -> None:
        if collection == self.firepost:
            return
        self.firepost = collection
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda service: self.system.stack.move(service, collection), ("dispatcher", "sender")))
        self.system.stack.watch(collection)

    # Documents

    def forget(self) -> None:
        """Leave the system as it was before: without documents, and with Firepost on trial."""
        self._move(TRIAL)
        self.system.stack.watch(TRIAL)  # from wherever the trigger is
        for collection in self.system.firestore.collections(timeout=PATIENCE):
            self.system.firestore.recursive_delete(collection)

    def write(self, kind: str, collection: str = "mail", **fields: Any) -> str:
        """A mail to an address of its own, which is remembered by its kind; fields that are None are left out."""
        number = len(self.documents)
        mail = {"to": f"kind-{number}@example.com", "message": MESSAGE, **fields}
        path = f"{collection}/kind-{number}"
        self.system.write({name: value for name, value in mail.items() if value is not None}, path)
        self.documents[kind] = path
        return path

    def leave(self) -> None:
        """What the old system leaves: mails that it has worked on, and mails in every state that it may die in."""
        self.old.install()
        self.write("`SUCCESS`")
        self.write("`ERROR`", to=None)
        self.old.work()
        for kind, delivery in LEFT.items():
            left = dict(delivery) if delivery is not None else None
            if left is not None and "lease" in left:
                left["leaseExpireTime"] = datetime.now(UTC) + timedelta(seconds=left.pop("lease"))
            self.write(kind, delivery=left, message=None if "nothing to send" in kind else MESSAGE)
        later = datetime.now(UTC) + timedelta(seconds=1)  # `date` counts seconds
        wait_for(lambda: datetime.now(UTC) > later, "the switch is in a later second")

    def contents(self) -> dict[str, Fields]:
        return {kind: self.system.document(path) for kind, path in self.documents.items()}

    def sent(self, kind: str) -> int:
        address = f"{self.documents[kind].rpartition('/')[2]}@example.com"
        return sum(address in mail.recipients for mail in self.system.server.accepted[self.earlier :])

    def reached(self, kind: str, state: str) -> Fields:
        """The document's delivery, once it is in this state, with the old system at work."""

        def look() -> Fields | None:
            self.old.work()
            delivery = self.system.delivery(self.documents[kind])
            return delivery if delivery.get("state") == state else None

        return wait_for(look, f"{kind} is {state}", found_instead=lambda: self.system.delivery(self.documents[kind]))


@pytest.fixture(params=["extension", "kit", "function"])
def path(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def migration(keeper: SystemKeeper, backend: str, path: str, tmp_path: Path) -> Iterator[Migration]:
    with keeper.lend(backend, CONFIGURATION) as system:
        migration = begin(system, path, tmp_path)
        try:
            yield migration
        finally:
            migration.forget()


def begin(system: System, path: str, directory: Path) -> Migration:
    """A migration in a new checkout below the directory, with the programs that the commands call."""
    programs = directory / "bin"
    programs.mkdir()
    for name in ("firebase", "terraform", "gcloud", "git"):
        _program(programs / name, "echo v0.3.0")
    _program(programs / "terraform", "echo gcloud pubsub subscriptions update")  # if it is asked for an output
    _program(programs / "python", f'exec {sys.executable} "$@"')
    checkout = directory / "checkout"
    (checkout / "infra" / "terraform").mkdir(parents=True)
    (checkout / "functions").mkdir()
    imports = ROOT / "tests/unit/cli/imports"
    shutil.copy(imports / "kit-exported.env", checkout / "functions" / ".env")
    addresses = dict(zip(EMULATORS, (system.stack.ready["firestore"], system.stack.ready["pubsub"]), strict=True))
    environment = {
        **addresses,
        "PATH": f"{programs}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(directory),
    }
    return Migration(system, checkout, environment, str(imports / "extension.env"), path)


def _program(file: Path, script: str) -> None:
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_the_page_has_three_paths_with_the_same_steps() -> None:
    assert list(PATHS) == ["extension", "kit", "function"]
    assert {tuple(steps) for steps in PATHS.values()} == {("Set up", "Check", "Switch", "Back")}


@pytest.mark.parametrize(("path", "step"), [("extension", "Switch"), ("kit", "Switch"), ("function", "Set up")])
def test_events_are_kept_of_the_trigger_that_the_last_apply_has_created(path: str, step: str) -> None:
    commands = PATHS[path][step]
    last = max(number for number, command in enumerate(commands) if command.endswith("infra/terraform apply"))
    assert commands[last + 1] == 'sh -c "$(terraform -chdir=infra/terraform output -raw keep_events_command)"'


def expected(kind: str) -> str | None:
    """The state that the page says; None if it says that the document is unchanged."""
    said = quoted(BECOMES[", ".join(ENDED) if kind in ENDED else kind])
    return said[0] if said else None


@pytest.mark.parametrize("path", ["extension", "kit"], indirect=True)
def test_from_trigger_email_and_back(migration: Migration) -> None:
    migration.leave()
    migration.play("Set up")
    migration.play("Check", {"check-documents": 1})
    before = migration.contents()
    migration.play("Switch")
    migration.system.firestore.document(migration.documents["edited after the switch, and without `delivery`"]).update(
        {"note": "edited"}
    )
    migration.write("filled in two steps after the switch", message=None)

    kinds = [kind for row in BECOMES for kind in (ENDED if row == ", ".join(ENDED) else (row,))]
    assert set(kinds) == set(migration.documents), "each row has a document, and each document a row"
    for kind in kinds:
        if state := expected(kind):
            migration.reached(kind, state)
        else:
            assert migration.contents()[kind] == before[kind], kind
    arrived = {kind for kind in kinds if expected(kind) == "SUCCESS"} | {"`SUCCESS`"}
    assert {kind: migration.sent(kind) for kind in kinds} == {kind: int(kind in arrived) for kind in kinds}

    second = {"message": MESSAGE, "delivery.state": "RETRY"}
    migration.system.firestore.document(migration.documents["filled in two steps after the switch"]).update(second)
    migration.reached("filled in two steps after the switch", "SUCCESS")

    still = migration.contents()
    go_back(migration)
    migration.reached(BACK_GAP, "SUCCESS")
    migration.write("written after the way back")
    migration.reached("written after the way back", "SUCCESS")
    assert [migration.sent(kind) for kind in (BACK_GAP, "written after the way back")] == [1, 1]
    assert {kind: fields for kind, fields in migration.contents().items() if kind in still} == still


def go_back(migration: Migration) -> None:
    """The page says that `counts` is repeated until nothing is queued."""
    for command in PATHS[migration.path]["Back"]:
        if command.endswith("cli counts"):
            wait_for(lambda: not queued(migration.run(command)), "nothing is queued")  # noqa: B023 (runs at once)
        else:
            migration.run(command)


def queued(counts: str) -> list[str]:
    return re.findall(r"^state\t(?:PENDING|RETRY|PROCESSING)\t[1-9]\d*\t", counts, re.MULTILINE)


@pytest.mark.parametrize("path", ["function"], indirect=True)
def test_from_a_function_of_ones_own_and_back(migration: Migration) -> None:
    sent, waiting = (migration.write(kind, "outbox", done=done) for kind, done in (("sent", True), ("waiting", False)))
    before = [migration.system.document(path) for path in (sent, waiting)]
    migration.play("Set up")
    migration.play("Check")
    migration.play("Switch")
    for kind in (GAP, "written after the switch"):
        migration.reached(kind, "SUCCESS")
    migration.system.firestore.document(sent).update({"note": "edited"})
    go_back(migration)
    assert [migration.sent(kind) for kind in (GAP, "written after the switch", "sent", "waiting")] == [1, 1, 0, 0]
    assert migration.system.document(sent) == before[0] | {"note": "edited"}
    assert migration.system.document(waiting) == before[1]
