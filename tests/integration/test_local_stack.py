"""`python -m local` as a black box: its contract with scripts, and its cleanup."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from google.pubsub_v1.types import PubsubMessage

from local import __main__ as command
from local.clients import firestore_client, publisher_client
from local.errors import PartFailed
from local.options import StackOptions
from local.ports import accepts, free_port
from local.stack import Stack
from local.topics import topic_path
from local.waiting import wait_until
from tests.integration.backends import BACKENDS, needs_google
from tests.patience import patience

#: On Google's emulators each test takes 10 to 20 s: two Java processes start, and are not shared here.
pytestmark = pytest.mark.integration

on_each_backend = pytest.mark.parametrize("backend", BACKENDS)

ROOT = Path(__file__).resolve().parents[2]
#: What only the command line of Google's Firestore emulator says, also where a path says "firestore".
EMULATOR = "com.google.cloud.datastore.emulator.firestore"
#: Seconds, with a large margin.
PATIENCE = patience(60.0)
#: Stranded documents are found within seconds: Google's Pub/Sub emulator loses some messages when a push endpoint goes
#: away.
FORGETFUL = {"STRANDED_AFTER": "5"}


class Up:
    """A running `python -m local up`, in a process group of its own; what it writes is in its directory."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.process = process
        self.ready_file = directory / "ready.json"
        self._directory = directory

    @property
    def output(self) -> str:
        """What it has written to standard output."""
        return (self._directory / "output").read_text(encoding="utf-8")

    @property
    def errors(self) -> str:
        """What it has written to standard error."""
        return (self._directory / "errors").read_text(encoding="utf-8")

    def ready(self) -> dict[str, str]:
        """The content of the ready file, once it exists."""
        self.await_start(self.ready_file.exists)
        found: dict[str, str] = json.loads(self.ready_file.read_text())
        return found

    def await_start(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; fail with the process's output if it ends first."""
        assert wait_until(lambda: condition() or self.process.poll() is not None, PATIENCE, pause=0.01)
        if self.process.poll() is not None:
            pytest.fail(f"It ended with {self.process.returncode}: {self.output}{self.errors}")

    def end(self) -> tuple[int, str]:
        """Exit status and standard error, once it has ended."""
        return self.process.wait(PATIENCE), self.errors


@contextmanager
def up(directory: Path, backend: str, *arguments: str, **environment: str) -> Iterator[Up]:
    ready_file = directory / "ready.json"
    with (directory / "output").open("wb") as output, (directory / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "up", "--backend", backend, "--ready-file", str(ready_file), *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(directory), **environment},
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield Up(process, directory)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def descendants(ancestor: int) -> set[int]:
    """All running processes that `ancestor`, or one of its descendants, started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = stat.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended in the meantime
        parents[int(stat.parent.name)] = int(rest.split()[1])
    found = {ancestor}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {ancestor}


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_ended(processes: set[int]) -> bool:
    return not any(map(is_running, processes))


def command_line(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")


def write_mail(ready: dict[str, str], identifier: str, collection: str = "mail", **more: Any) -> None:
    client = firestore_client(ready["firestore"], ready["project"])
    client.document(f"{collection}/{identifier}").create(
        {"to": "grace@example.com", "message": {"subject": identifier, "text": "Hello."}, **more}
    )
    client.close()


def publish(ready: dict[str, str], data: bytes) -> None:
    with publisher_client(ready["pubsub"]) as publisher:
        topic = topic_path(ready["project"], ready["topic"])
        publisher.publish(topic=topic, messages=[PubsubMessage(data=data)])


def dead_letters(ready: dict[str, str]) -> list[str]:
    """The reasons of the dead letters, according to the console."""
    found = requests.get(f"{ready['inbox']}/api/dead-letters", timeout=PATIENCE).json()
    return [each["reason"] for each in found]


def inbox_subjects(ready: dict[str, str]) -> list[str]:
    mails: list[dict[str, Any]] = requests.get(f"{ready['inbox']}/api/messages", timeout=PATIENCE).json()
    return [mail["subject"] for mail in mails]


def counts(ready: dict[str, str]) -> dict[str, int]:
    """How many documents are in each state, according to the console."""
    found: dict[str, int] = requests.get(f"{ready['inbox']}/api/documents", timeout=PATIENCE).json()["counts"]
    return found


def put_down(ready: dict[str, str]) -> None:
    requests.put(f"{ready['inbox']}/api/faults", json={"inbox": "down"}, timeout=PATIENCE).raise_for_status()


def all_answer(ready: dict[str, str]) -> bool:
    urls = (f"{ready['dispatcher']}/health", f"{ready['sender']}/health", ready["console"], ready["inbox"])
    return all(accepts(ready[name]) for name in ("firestore", "pubsub", "smtp")) and all(
        requests.get(url, timeout=PATIENCE).status_code == 200 for url in urls
    )


@on_each_backend
def test_it_reports_its_addresses_keeps_its_data_over_a_restart_and_leaves_nothing_behind(
    tmp_path: Path, backend: str
) -> None:
    """It takes 15 to 20 s: a system starts twice, and a mail is due in between."""
    settings = ("MAIL_COLLECTION=post", "MAIL_TOPIC=post", "STRANDED_AFTER=5", "OUTAGE_PATIENCE=0")
    options = ("--project", "demo-up", *(text for setting in settings for text in ("--set", setting)))
    data = ("--data", str(tmp_path / "data"))
    with up(tmp_path, backend, *options, *data) as stack:
        ready = stack.ready()
        assert set(ready) == {
            "firestore", "pubsub", "dispatcher", "sender", "console", "inbox", "smtp", "project", "topic",
        }  # fmt: skip
        assert (ready["project"], ready["topic"]) == ("demo-up", "post")
        assert all_answer(ready)
        write_mail(ready, "before", collection="post")
        assert wait_until(lambda: inbox_subjects(ready) == ["before"], PATIENCE)
        assert wait_until(lambda: counts(ready) == {"SUCCESS": 1}, PATIENCE)
        put_down(ready)
        write_mail(ready, "refused", collection="post")
        assert wait_until(lambda: counts(ready) == {"SUCCESS": 1, "ERROR": 1}, PATIENCE)
        assert dead_letters(ready) == []
        publish(ready, b"no JSON")
        assert wait_until(lambda: dead_letters(ready) == ["not-json"], PATIENCE)
        write_mail(ready, "queued", collection="post", sendAt=datetime.now(UTC) + timedelta(seconds=patience(5)))
        assert wait_until(lambda: counts(ready) == {"SUCCESS": 1, "ERROR": 1, "PENDING": 1}, PATIENCE)

        children = descendants(stack.process.pid)
        assert sum("java" in command_line(child) for child in children) == (2 if backend == "google" else 0)
        stack.process.terminate()
        assert stack.end() == (0, "Stopped.\n")
        assert all_ended(children)
        assert not stack.ready_file.exists()

    with up(tmp_path, backend, *options, *data) as stack:
        ready = stack.ready()
        assert wait_until(lambda: dead_letters(ready) == ["not-json"], PATIENCE)
        assert wait_until(lambda: inbox_subjects(ready) == ["queued", "before"], PATIENCE)
        retry = f"{ready['inbox']}/api/documents/refused/retry"
        requests.post(retry, json={}, timeout=PATIENCE).raise_for_status()
        assert wait_until(lambda: inbox_subjects(ready) == ["refused", "queued", "before"], PATIENCE)
        assert wait_until(lambda: counts(ready) == {"SUCCESS": 3}, PATIENCE)
        replay_and_discard_the_dead_letter(f"{ready['inbox']}/api/dead-letters")

        children = descendants(stack.process.pid)
        os.killpg(stack.process.pid, signal.SIGKILL)
        assert wait_until(lambda: all_ended(children), PATIENCE), "its children end when it is killed"


def replay_and_discard_the_dead_letter(url: str) -> None:
    """It comes back as another one, because it can never work."""

    def letters() -> list[str]:
        found = requests.get(url, timeout=PATIENCE).json()
        assert {each["reason"] for each in found} <= {"not-json"}
        return [each["id"] for each in found]

    (first,) = letters()
    requests.post(f"{url}/{first}/replay", json={}, timeout=PATIENCE).raise_for_status()
    assert wait_until(lambda: letters() not in ([], [first]), PATIENCE)
    (second,) = letters()
    requests.delete(f"{url}/{second}", timeout=PATIENCE).raise_for_status()
    assert letters() == []


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {"--console-port": free_port(), "--smtp-port": free_port()}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> Iterator[Up]:
    """One for all tests that leave it as it is."""
    with up(tmp_path_factory.mktemp("up"), "embedded", "--quiet", *as_arguments(ports)) as stack:
        stack.ready()
        yield stack


def as_arguments(ports: dict[str, int]) -> list[str]:
    return [text for option, port in ports.items() for text in (option, str(port))]


on_the_one_that_runs = pytest.mark.xdist_group("local up")


@on_the_one_that_runs
def test_its_ports_are_the_same_from_start_to_start(running: Up, ports: dict[str, int], tmp_path: Path) -> None:
    ready = running.ready()
    assert (ready["inbox"], ready["smtp"]) == (
        f"http://127.0.0.1:{ports['--console-port']}",
        f"127.0.0.1:{ports['--smtp-port']}",
    )
    with up(tmp_path, "embedded", *as_arguments(ports)) as second:
        status, errors = second.end()
    assert (status, "is in use" in errors) == (3, True)


@on_the_one_that_runs
def test_the_recipe_for_pytest_works_as_it_is_documented(running: Up, tmp_path: Path) -> None:
    document = (ROOT / "docs" / "local.md").read_text(encoding="utf-8")
    recipe = document.partition("```python\n")[2].partition("```")[0]
    application = """
@pytest.fixture
def application():
    class Application:
        def sign_up(self, address):
            text = "https://shop.example/confirm?code=1"
            document = {"to": address, "message": {"subject": "Confirm your address", "text": text}}
            requests.post(f"{INBOX}/api/documents", json=document, timeout=5).raise_for_status()
    return Application()
"""
    (tmp_path / "test_recipe.py").write_text(recipe + application)
    ready = running.ready()
    host, port = ready["smtp"].split(":")
    with smtplib.SMTP(host, int(port), timeout=PATIENCE) as smtp:
        smtp.sendmail("x@example.com", ["ada@example.com"], b"Subject: An older one\r\n\r\nx")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "FIREPOST_INBOX": ready["inbox"]},
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout


@on_the_one_that_runs
def test_what_it_says_fits_80_columns(running: Up) -> None:
    ready = running.ready()
    assert wait_until(lambda: f"{ready['inbox']}/api/tokens/sender" in running.output, PATIENCE)  # the last line
    assert [line for line in running.output.splitlines() if len(line) > 80] == []
    for variable, name in (
        ("FIRESTORE_EMULATOR_HOST", "firestore"),
        ("PUBSUB_EMULATOR_HOST", "pubsub"),
        ("GOOGLE_CLOUD_PROJECT", "project"),
    ):
        assert f"export {variable}={ready[name]}" in running.output


@on_the_one_that_runs
def test_a_document_in_another_project_is_told_about(running: Up) -> None:
    ready = running.ready()
    write_mail({**ready, "project": "my-shop"}, "lost")
    shown = requests.get(f"{ready['inbox']}/api/logs?service=stack", timeout=PATIENCE).json()
    assert "project my-shop, which is not served here" in shown[0]["message"]
    assert "project my-shop, which is not served here: use GOOGLE_CLOUD_PROJECT=demo-firepost" in running.errors


@on_each_backend
def test_stopped_while_it_starts_it_leaves_nothing_behind(tmp_path: Path, backend: str) -> None:
    with up(tmp_path, backend) as stack:
        stack.await_start(lambda: len(descendants(stack.process.pid)) >= 2)
        children = descendants(stack.process.pid)
        stack.process.send_signal(signal.SIGINT)
        assert stack.end()[0] == 0
        assert wait_until(lambda: all_ended(children), PATIENCE)
        assert not stack.ready_file.exists()


@needs_google
def test_without_one_of_its_emulators_it_ends(tmp_path: Path) -> None:
    with up(tmp_path, "google") as stack:
        stack.ready()
        children = descendants(stack.process.pid)
        os.kill(next(child for child in children if EMULATOR in command_line(child)), signal.SIGKILL)
        status, errors = stack.end()
        assert (status, all_ended(children)) == (4, True)
        assert "The Firestore emulator died" in errors


def test_a_wrong_setting_prevents_the_start_with_the_services_own_error(tmp_path: Path) -> None:
    with up(tmp_path, "embedded", "--set", "LEASE_SECONDS=soon") as stack:
        status, errors = stack.end()
    assert status == 4
    assert "LEASE_SECONDS='soon'" in errors


def test_wrong_usage_is_exit_code_2(tmp_path: Path) -> None:
    with up(tmp_path, "embedded", "--set", "LEASE_SECONDS") as stack:
        status, errors = stack.end()
    assert (status, "not NAME=VALUE" in errors) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param(("--set", "PORT=80"), "PORT can't be set", id="a setting that belongs to the stack"),
        pytest.param(("--set", "MAX_ATTEMPS=3"), "did you mean MAX_ATTEMPTS", id="a setting that there is not"),
        pytest.param(("--fault", "Comit:fail"), "did you mean Commit", id="a fault of nothing"),
        pytest.param(("--release-uri", "mail.example.com"), "--release-uri", id="no mail server"),
        pytest.param(("--firestore-port", "70000"), "70000", id="no port"),
        pytest.param(("--ready-file", "/no/such/directory/ready.json"), "no directory", id="nowhere to write"),
    ],
)
def test_wrong_usage_is_explained_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], error: str
) -> None:
    monkeypatch.setattr(command, "Stack", None)  # so that calling it fails
    result = CliRunner().invoke(command.cli, ["up", *arguments])
    assert result.exit_code == 2
    assert error in " ".join(result.stderr.split())


def test_without_gcloud_the_error_says_what_to_install(tmp_path: Path) -> None:
    with up(tmp_path, "google", PATH=str(tmp_path)) as stack:
        status, errors = stack.end()
    assert status == 3
    assert errors.count("\n") == 1
    assert "gcloud components install cloud-firestore-emulator pubsub-emulator" in errors


@on_each_backend
def test_a_dead_service_is_restarted_on_the_same_port(backend: str) -> None:
    with Stack(StackOptions(backend, reconcile_seconds=0.5, settings=FORGETFUL)) as stack:
        health = f"{stack.ready['sender']}/health"
        stack.kill("sender")
        assert wait_until(lambda: accepts(stack.ready["sender"].removeprefix("http://")), PATIENCE)
        write_mail(stack.ready, "after the crash")
        assert wait_until(lambda: inbox_subjects(stack.ready) == ["after the crash"], PATIENCE)
        assert requests.get(health, timeout=PATIENCE).ok
        for _ in range(3):
            stack.kill("sender")
        with pytest.raises(PartFailed, match="The sender dies repeatedly"):
            stack.wait()


@on_each_backend
def test_tests_can_decide_when_a_service_lives(backend: str) -> None:
    with Stack(StackOptions(backend, supervise=False, reconcile_seconds=0.5, settings=FORGETFUL)) as stack:
        stack.kill("sender")
        write_mail(stack.ready, "waiting")
        assert wait_until(lambda: counts(stack.ready) == {"PENDING": 1}, PATIENCE)
        stack.start_service("sender")
        assert wait_until(lambda: inbox_subjects(stack.ready) == ["waiting"], PATIENCE)
        stack.pause("dispatcher")
        with pytest.raises(requests.ReadTimeout):
            requests.get(f"{stack.ready['dispatcher']}/health", timeout=0.2)
        stack.resume("dispatcher")
        assert requests.get(f"{stack.ready['dispatcher']}/health", timeout=PATIENCE).ok


@on_each_backend
def test_the_demo_ends_well(backend: str) -> None:
    """It takes 10 s: the demo shows mails that are tried again."""
    ended = subprocess.run(
        [sys.executable, "-m", "local", "demo", "--backend", backend],
        cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.rstrip().endswith("✓ Everything ended as expected.")
