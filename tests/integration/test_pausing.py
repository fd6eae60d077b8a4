"""`python -m cli pause` and `resume` with the running system: nothing is sent, nothing is lost, no attempt counts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from google.cloud.firestore import DELETE_FIELD

from cli.__main__ import cli
from cli.target import EMULATORS
from local.stack import write_ready_file
from shared.delivery.pause import control_path
from shared.observability.events import Event
from tests.integration.system import SMTP, Configuration, Fields, System, wait_for
from tests.patience import patience

pytestmark = pytest.mark.integration

MESSAGE = {"subject": "s", "text": "t"}
#: What docs/operating.md promises.
BOUND = 10.0
#: The time between two runs of the reconciler.
INTERVAL = 0.5

Run = Callable[..., str]


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    lease = round(patience(40))
    settings = {
        "LEASE_SECONDS": f"{lease}",
        "ACK_DEADLINE_SECONDS": f"{lease + 6}",
        "STRANDED_AFTER": "20",  # Google's emulator loses messages when a push endpoint goes away
        "TRANSPORTS": "bulk",
        "BULK_SMTP_CONNECTION_URI": SMTP,
        "LANES": "news",
    }
    return Configuration(reconcile_seconds=INTERVAL, settings=settings)


@pytest.fixture
def run(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command, with what it prints."""
    for name in EMULATORS:  # --local sets them; this restores them
        monkeypatch.setenv(name, "")
    ready = tmp_path / "ready.json"
    write_ready_file(ready, system.stack.ready)

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["--local", str(ready), *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    paused = "paused since" in invoke("status")
    system.firestore.document(control_path("mail")).delete()  # which also says what was resumed
    if paused:  # a test has failed halfway
        restart(system)
    return invoke


def write(system: System, name: str, **fields: Any) -> str:
    return system.write({"to": f"{name}@example.com", "message": MESSAGE, **fields}, f"mail/{name}")


def names(system: System, prefix: str) -> list[str]:
    """The mails with this prefix that the server has taken, in its order."""
    found = [mail.recipients[0].partition("@")[0] for mail in system.server.accepted]
    return [name for name in found if name.startswith(prefix)]


def queued(system: System, path: str) -> Fields | None:
    """The delivery, if the mail waits and the reconciler has it on its schedule."""
    delivery = system.delivery(path)
    waits = delivery.get("state") in ("PENDING", "RETRY") and delivery.get("nextAttemptTime") is not None
    return delivery if waits else None


def all_queued(system: System, paths: Sequence[str]) -> list[Fields]:
    def look() -> list[Fields] | None:
        found = [queued(system, path) for path in paths]
        return [each for each in found if each] if all(found) else None

    def others() -> list[tuple[str, Fields]]:
        return [(path, system.delivery(path)) for path in paths if not queued(system, path)]

    return wait_for(look, "all mails are queued", found_instead=others)


def test_a_pause_of_all_mail_with_mails_in_every_state(system: System, run: Run) -> None:
    """It takes 20 s: the services may notice a pause within ten seconds, and the resumed mails leave at a rate."""
    ended = write(system, "ended-before")
    system.ended(ended)
    refused = write(system, "refused", to=None)
    system.ended(refused)
    running = write(system, "running")
    stall = system.server.when("BODY", "running@").stall()
    assert stall.reached.wait(patience(60))
    later = write(system, "later", sendAt=datetime.now(UTC) + timedelta(seconds=BOUND + 5))
    far = write(system, "far", sendAt=datetime.now(UTC) + timedelta(days=2))
    wait_for(lambda: queued(system, later) and queued(system, far), "both are scheduled")
    system.stack.pause("sender")
    backlog = [write(system, f"held-backlog-{number:02}") for number in range(20)]
    wait_for(lambda: all(system.delivery(path) for path in backlog), "all are published")

    run("pause")
    began = time.monotonic()
    system.stack.resume("sender")
    new: list[str] = []
    while time.monotonic() < began + BOUND:
        new.append(write(system, f"held-new-{len(new):02}"))
        wait_for(lambda: time.monotonic() > began + 0.4 * len(new), "it is time for the next one")
    taken = set(names(system, "held-"))  # the rest of ten seconds
    after = [write(system, f"held-after-{number}") for number in range(5)]
    system.publish({"mail": {"to": "held-inline@example.com", "message": MESSAGE}, "id": "held-inline"})
    after.append("mail/held-inline")
    system.firestore.document(refused).update({"to": "held-asked@example.com", "delivery.state": "RETRY"})
    cancelled = write(system, "held-cancelled")
    system.in_state(cancelled, "PENDING")
    system.firestore.document(cancelled).update({"delivery.state": "CANCELLED"})
    expired = write(system, "held-expired", expiresAt=datetime.now(UTC) + timedelta(seconds=1))
    stall.release()
    assert system.ended(running)["state"] == "SUCCESS"
    waiting = [path for path in (*backlog, *new) if path.removeprefix("mail/") not in taken]
    deliveries = all_queued(system, [*waiting, *after, refused, later])
    assert {each["attempts"] for each in deliveries} == {0, 1}
    assert system.ended(expired)["errorCode"] == "expired"
    assert set(names(system, "held-")) == taken
    assert "all mail is paused since" in requests.get(f"{system.stack.ready['dispatcher']}/health", timeout=60).text
    assert "all mail is paused since" in requests.get(f"{system.stack.ready['sender']}/health", timeout=60).text
    assert run("status").startswith("All mail: paused since")
    assert "All mail is paused since" in requests.get(system.stack.ready["console"], timeout=60).text

    rate, since = 10.0, datetime.now(UTC)
    run("resume", "--rate", f"{rate:g}")
    for path in (*waiting, *after, later):
        delivery = system.ended(path)
        assert (delivery["state"], delivery["attempts"], delivery.get("errorCode")) == ("SUCCESS", 1, None), path
    assert system.ended(refused)["state"] == "SUCCESS"
    assert system.delivery(refused)["attempts"] == 2
    assert system.delivery(cancelled)["state"] == "CANCELLED"
    assert system.delivery(far)["state"] == "PENDING"
    held = [path.removeprefix("mail/") for path in (*waiting, *after)]
    arrived = [name for name in names(system, "held-") if name not in taken | {"held-asked"}]
    assert sorted(arrived) == sorted(held)
    followed = published(system, [f"mail/{name}" for name in held], since)
    ages = [system.delivery(path)["startTime"] for path, _ in followed]
    assert len(ages) == len(held)
    assert ages == sorted(ages)
    assert_rate(followed, rate, since)
    assert_not_redelivered(system, [*waiting, *after])


def published(system: System, paths: Sequence[str], since: datetime) -> list[tuple[str, datetime]]:
    """When the reconciler published these documents, in its order."""
    lines = (system.stack.logs / "dispatcher.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines if '"reconciliation"' in line]
    found = [
        (entry["document"], datetime.fromisoformat(entry["time"])) for entry in entries if entry["reason"] == "due"
    ]
    return [(path, at) for path, at in found if path in paths and at > since]


def assert_rate(published: Sequence[tuple[str, datetime]], rate: float, since: datetime) -> None:
    for number, (path, at) in enumerate(published, 1):
        assert number <= rate * (at - since).total_seconds(), (path, number, at - since)


def assert_not_redelivered(system: System, paths: Sequence[str], sender: str = "sender") -> None:
    for path in paths:
        entries = system.log(sender, path, Event.MESSAGE)
        assert {(each["reason"], each["acknowledged"]) for each in entries} <= {("paused", True)}, path


@pytest.mark.parametrize(("kind", "name", "sender"), [("transport", "bulk", "sender"), ("lane", "news", "sender-news")])
def test_a_pause_of_one_transport_or_lane(system: System, run: Run, kind: str, name: str, sender: str) -> None:
    """It takes 10 s: the services may notice a pause, and its end, within ten seconds."""
    part = {kind: name}
    run("pause", f"--{kind}", name)
    time_known = time.monotonic() + BOUND
    wait_for(lambda: time.monotonic() > time_known or is_held(system, part), "the sender knows")
    for place in (f"{system.stack.ready['dispatcher']}/health", system.stack.ready["console"]):
        wait_for(lambda: f"{kind} {name} is paused since" in page(place).lower(), f"{place} shows it")  # noqa: B023
    held = [write(system, f"{name}-{number}", **part) for number in range(6)]
    other = [write(system, f"other-{number}") for number in range(3)]
    assert [system.ended(path)["state"] for path in other] == ["SUCCESS"] * 3
    deliveries = all_queued(system, held)
    assert {(each["state"], each["attempts"], each.get("errorCode")) for each in deliveries} == {("PENDING", 0, None)}
    soon = datetime.now(UTC) + timedelta(hours=23)
    assert all(soon < each["nextAttemptTime"] < soon + timedelta(hours=1, seconds=1) for each in deliveries)
    versions = [system.firestore.document(path).get().update_time for path in held]
    runs = time.monotonic() + 6 * INTERVAL
    wait_for(lambda: time.monotonic() > runs, "the reconciler has run")
    assert [system.firestore.document(path).get().update_time for path in held] == versions, "rewritten in each run"
    asked, called_off = held[0], held[1]
    system.retry(asked)
    system.firestore.document(called_off).update({"delivery.state": "CANCELLED"})
    assert names(system, f"{name}-") == []
    assert f"{kind.capitalize()} {name}: paused since" in run("status")

    run("resume", f"--{kind}", name, "--rate", "20")
    for path in (asked, *held[2:]):
        delivery = system.ended(path)
        assert (delivery["state"], delivery["attempts"]) == ("SUCCESS", 1)
    assert system.delivery(called_off)["state"] == "CANCELLED"
    assert sorted(names(system, f"{name}-")) == [f"{name}-{number}" for number in (0, 2, 3, 4, 5)]
    assert_not_redelivered(system, held[2:], sender)


def page(place: str) -> str:
    return requests.get(place, timeout=60).text


def is_held(system: System, part: Fields) -> bool:
    """Whether a mail of this part is put off now, instead of sent."""
    path = system.write({"to": "control@example.com", "message": MESSAGE, **part})
    wait_for(lambda: queued(system, path) or system.delivery(path).get("state") == "SUCCESS", "it is held or sent")
    return queued(system, path) is not None


def restart(system: System) -> None:
    """Kill both services and start them again: so they know at once what is paused."""
    for service in ("dispatcher", *system.stack.options.senders):
        system.stack.kill(service)
        system.stack.start_service(service)


def test_services_that_are_killed_during_a_pause_lose_nothing(system: System, run: Run) -> None:
    """It takes 10 s: the services start three times, and may notice a resumption within ten seconds."""
    system.stack.pause("sender")
    paths = [write(system, f"killed-{number}") for number in range(10)]
    wait_for(lambda: all(system.delivery(path) for path in paths), "all are published")
    run("pause")
    restart(system)
    paths += [write(system, f"killed-{number}") for number in range(10, 15)]
    all_queued(system, paths)
    system.stack.kill("sender")
    run("resume")
    system.stack.start_service("sender")
    for path in paths:
        delivery = system.ended(path)
        assert (delivery["state"], delivery["attempts"]) == ("SUCCESS", 1)
    assert sorted(names(system, "killed-")) == sorted(path.removeprefix("mail/") for path in paths)


def test_a_control_document_that_makes_no_sense_pauses_nothing_and_resumes_nothing(system: System, run: Run) -> None:
    """It takes 10 s: the services look at the control document at most every five seconds."""
    run("pause")
    restart(system)
    path = write(system, "sense")
    wait_for(lambda: queued(system, path), "it is held")
    control = system.firestore.document(control_path("mail"))
    control.update({"pausedTime": "yesterday"})
    wait_for(
        lambda: "makes no sense: pausedTime" in (system.stack.logs / "dispatcher.log").read_text(), "that is logged"
    )
    runs = time.monotonic() + 6 * INTERVAL
    wait_for(lambda: time.monotonic() > runs, "the reconciler has run")
    assert queued(system, path)
    control.update({"pausedTime": DELETE_FIELD})
    assert system.ended(path)["state"] == "SUCCESS"
