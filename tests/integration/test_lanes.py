"""Lanes: the mails of one never wait for those of another."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from shared.observability.events import Event
from tests.integration.system import PATIENCE, Configuration, Fields, System, wait_for
from tests.patience import patience

pytestmark = pytest.mark.integration

MESSAGE = {"subject": "Hello", "text": "World"}
#: Mails of the lane `bulk` that are queued, and the seconds that the mail server takes for each: over ten connections,
#: more than the time that the other mails take here, so that there is always a queue.
BULK, BULK_SECONDS = 500, 0.8
#: Mails of the default lane.
SINGLE = 20
#: Seconds by which a machine that does other things as well may delay any mail; in the lane itself, it would wait 40.
NOISE = patience(1.0)


@pytest.fixture(scope="module", params=["push", "pull"])
def configuration(request: pytest.FixtureRequest) -> Configuration:
    lanes = "bulk=template:news transport:marketing, reports"
    settings = {"LANES": lanes, "SMTP_MAX_CONNECTIONS": "10"}
    return Configuration(sender=request.param, reconcile_seconds=1, settings=settings)


def lane_of(system: System, path: str) -> str:
    """The sender that has attempted the mail, once there is an entry about that."""

    def look() -> str | None:
        found = [name for name in system.stack.options.senders if system.log(name, path, Event.ATTEMPT)]
        assert len(found) < 2
        return found[0] if found else None

    return wait_for(look, f"an attempt at {path} is logged")


@pytest.mark.parametrize(
    ("fields", "sender"),
    [
        pytest.param({}, "sender", id="no lane"),
        pytest.param({"lane": "bulk"}, "sender-bulk", id="named"),
        pytest.param({"lane": "reports"}, "sender-reports", id="another"),
        pytest.param({"transport": "marketing"}, "sender-bulk", id="by a rule"),
        pytest.param({"transport": "marketing", "lane": "default"}, "sender", id="the field wins over the rule"),
    ],
)
def test_a_mail_is_sent_by_the_sender_of_its_lane(system: System, fields: Fields, sender: str) -> None:
    path = system.write({"to": "ada@example.com", "message": MESSAGE, **fields})
    delivery = system.concluded(path)
    assert (delivery["state"], delivery.get("warnings")) == ("SUCCESS", None)
    assert lane_of(system, path) == sender


def test_an_unknown_lane_is_the_default_one_and_causes_a_warning(system: System) -> None:
    path = system.write({"to": "ada@example.com", "message": MESSAGE, "lane": "fast"})
    delivery = system.concluded(path)
    assert delivery["state"] == "SUCCESS"
    assert delivery["warnings"] == [
        "Field 'lane': expected one of bulk, reports, default; found another string. The mail is in the lane 'default'."
    ]
    assert lane_of(system, path) == "sender"


@pytest.mark.parametrize(("lane", "sender"), [("bulk", "sender-bulk"), ("fast", "sender")])
def test_a_published_mail_is_in_the_lane_of_its_message(system: System, lane: str, sender: str) -> None:
    path = system.new_path()
    system.publish({"mail": {"to": "ada@example.com", "message": MESSAGE}, "id": path.partition("/")[2]}, lane=lane)
    assert system.concluded(path)["state"] == "SUCCESS"
    assert system.document(path)["lane"] == lane
    assert lane_of(system, path) == sender


def test_a_scheduled_mail_and_one_sent_again_are_in_the_documents_lane(system: System) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    path = system.write({"to": "ada@example.com", "message": MESSAGE, "lane": "bulk", "sendAt": soon})
    system.concluded(path)
    assert lane_of(system, path) == "sender-bulk"
    system.retry(path, lane="reports")
    system.concluded(path, attempts=2)
    wait_for(lambda: attempts_of(system, path) == [0, 1, 1], "each lane's sender has logged its attempt")


def attempts_of(system: System, path: str) -> list[int]:
    """How many attempts each sender has logged, after the document says that they have ended."""
    return [len(system.log(name, path, Event.ATTEMPT)) for name in system.stack.options.senders]


def latency(system: System) -> float:
    """The seconds in which a mail of the default lane gets from the document to the mail server."""
    address = f"{system.new_path().partition('/')[2]}@single.example.com"
    began = time.monotonic()
    path = system.write({"to": address, "message": MESSAGE})
    system.server.wait_until(lambda: bool(system.mails_to(address)), PATIENCE)
    took = time.monotonic() - began
    assert system.concluded(path)["state"] == "SUCCESS"
    return took


def latencies(system: System) -> list[float]:
    """Those of `SINGLE` mails, one after another, once the first is as fast as usual.

    Earlier ones wait for what happens once, such as connections, and for what Google's emulators do one by one: events
    about earlier documents, and messages of other lanes, because its Pub/Sub ignores filters.
    """
    wait_for(lambda: latency(system) < 2 * NOISE, "a mail is as fast as usual")
    return [latency(system) for _ in range(SINGLE)]


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def test_a_mail_does_not_wait_for_those_of_another_lane(system: System) -> None:
    """It takes 15 s: it measures a lane twice, by itself and beside hundreds of slow mails."""
    alone = p95(latencies(system))
    system.server.when("BODY", "@bulk.example.com").pause(BULK_SECONDS)
    paths = [system.new_path() for _ in range(BULK)]
    for some in (paths[at : at + 250] for at in range(0, BULK, 250)):
        batch = system.firestore.batch()
        for path in some:
            to = f"{path.partition('/')[2]}@bulk.example.com"
            batch.set(system.firestore.document(path), {"to": to, "message": MESSAGE, "lane": "bulk"})
        batch.commit()
    wait_for_all(system, paths, lambda delivery: bool(delivery), "queued")
    beside = p95(latencies(system))
    system.server.forget_rules()
    assert sent_in_bulk(system) < BULK, "the lane bulk was not busy all the time"
    assert beside <= 2 * max(alone, NOISE), f"{beside:.3f} s beside {BULK} mails of another lane, {alone:.3f} s alone"
    wait_for(lambda: sent_in_bulk(system) == BULK, "all mails have been sent")
    wait_for_all(system, paths, lambda delivery: delivery == {"state": "SUCCESS", "attempts": 1}, "sent at once")


def wait_for_all(system: System, paths: Sequence[str], looks_right: Callable[[Fields], bool], what: str) -> None:
    """Wait until state and attempts of all look right. Those that do are not read again."""
    left = set(paths)

    def none_left() -> bool:
        documents = [system.firestore.document(path) for path in left]
        for each in system.firestore.get_all(documents, ["delivery.state", "delivery.attempts"]):
            if looks_right((each.to_dict() or {}).get("delivery", {})):
                left.remove(each.reference.path)
        return not left

    wait_for(none_left, f"all mails are {what}", found_instead=lambda: f"{len(left)} are not: {sorted(left)[:3]}")


def sent_in_bulk(system: System) -> int:
    return sum(mail.recipients[0].endswith("@bulk.example.com") for mail in system.server.accepted)
