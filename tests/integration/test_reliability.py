"""Automatic work: retries, schedules, throttling, dead letters, graceful shutdown. The reconciler runs here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.delivery.policy import LONGEST_LEASE_SECONDS
from tests.https_server import HttpsServer
from tests.integration.system import Configuration, System, wait_for
from tests.integration.test_faults import message_id
from tests.patience import patience

pytestmark = pytest.mark.integration

MESSAGE = {"subject": "s", "text": "t"}
#: Long enough to observe that a mail waits for its time.
SOON = timedelta(seconds=patience(3))


@pytest.fixture(scope="module")
def eventarc() -> Iterator[HttpsServer]:
    """Where Firebase's emulator of Eventarc would listen."""
    with HttpsServer(None) as server:
        server.usually(200, body={})
        yield server


@pytest.fixture(scope="module")
def configuration(eventarc: HttpsServer) -> Configuration:
    settings = {
        "MAX_ATTEMPTS": "4",
        "RETRY_FIRST_SECONDS": "1",
        "RETRY_LONGEST_SECONDS": "2",
        "STRANDED_AFTER": "5",
        "EVENTS_TOPIC": "events",
        "EVENTARC_CHANNEL": "locations/europe-west1/channels/firebase",
        "CLOUD_EVENTARC_EMULATOR_HOST": eventarc.url,
    }
    return Configuration(reconcile_seconds=0.3, settings=settings)


def test_a_mail_that_may_get_through_later_is_tried_until_it_does(system: System) -> None:
    system.server.when("RCPT", "later@").reply("451 4.3.0 Later")
    path = system.write({"to": "later@example.com", "message": MESSAGE})
    assert system.attempts(path, 1)[0]["after"] == "RETRY"
    system.server.forget_rules()
    delivery = system.ended(path)
    assert (delivery["state"], delivery["error"]) == ("SUCCESS", None)
    assert delivery["attempts"] >= 2
    assert "nextAttemptTime" not in delivery


def test_a_mail_that_does_not_get_through_ends_as_error(system: System) -> None:
    system.server.when("RCPT", "never@").reply("451 4.3.0 Later")
    delivery = system.concluded(system.write({"to": "never@example.com", "message": MESSAGE}), attempts=4)
    assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "temporary")
    history = [(each["attempt"], each["state"]) for each in delivery["history"]]
    assert history == [(1, "RETRY"), (2, "RETRY"), (3, "RETRY"), (4, "ERROR")]
    assert all("451 4.3.0 Later" in each["response"] for each in delivery["history"])


def test_a_permanent_refusal_is_not_tried_again(system: System) -> None:
    system.server.when("RCPT", "nobody@").reply("550 5.1.1 No such user")
    delivery = system.concluded(system.write({"to": "nobody@example.com", "message": MESSAGE}))
    assert (delivery["state"], delivery["attempts"]) == ("ERROR", 1)


def test_pending_recipients_get_the_mail_later_and_the_others_no_second_one(system: System) -> None:
    system.server.when("RCPT", "slow@").reply("451 4.3.0 Later")
    path = system.write({"to": ["fast@example.com", "slow@example.com", "gone@example.com"], "message": MESSAGE})
    assert system.attempts(path, 1)[0]["after"] == "RETRY"
    system.server.forget_rules()
    info = wait_for(lambda: (d := system.delivery(path))["state"] == "SUCCESS" and d["info"], "all have it")
    assert (info["accepted"], info["pending"]) == (["fast@example.com", "gone@example.com", "slow@example.com"], [])
    (first,), (second,) = system.mails_to("fast@example.com"), system.mails_to("slow@example.com")
    assert message_id(first.data) == message_id(second.data)


def test_a_mail_is_not_sent_before_its_time(system: System) -> None:
    send_at = datetime.now(UTC) + SOON
    path = system.write({"to": "scheduled@example.com", "message": MESSAGE, "sendAt": send_at})
    assert system.in_state(path, "PENDING")["nextAttemptTime"] == send_at
    delivery = system.concluded(path)
    assert delivery["state"] == "SUCCESS"
    assert delivery["endTime"] >= send_at


def test_a_mail_that_is_put_off_while_it_waits_is_sent_at_its_new_time(system: System) -> None:
    send_at = datetime.now(UTC) + SOON
    path = system.write({"to": "put-off@example.com", "message": MESSAGE, "sendAt": send_at})
    system.in_state(path, "PENDING")
    system.firestore.document(path).update({"sendAt": send_at + SOON})
    assert system.concluded(path)["endTime"] >= send_at + SOON


def test_a_published_mail_may_be_scheduled_too(system: System) -> None:
    send_at = datetime.now(UTC) + SOON
    mail = {"to": "inline@example.com", "message": MESSAGE, "sendAt": send_at.isoformat()}
    system.publish({"mail": mail, "id": "scheduled"})
    assert system.concluded("mail/scheduled")["endTime"] >= send_at


@pytest.mark.parametrize("how", ["deleted", "final-state"])
def test_a_scheduled_mail_can_be_cancelled(system: System, how: str) -> None:
    send_at = datetime.now(UTC) + SOON
    path = system.write({"to": f"{how}@example.com", "message": MESSAGE, "sendAt": send_at})
    system.in_state(path, "PENDING")
    if how == "deleted":
        system.firestore.document(path).delete()
    else:
        system.firestore.document(path).update({"delivery.state": "ERROR"})
    later = system.write({"to": "control@example.com", "message": MESSAGE, "sendAt": send_at + timedelta(seconds=1)})
    assert system.concluded(later)["state"] == "SUCCESS"
    assert not system.mails_to(f"{how}@example.com")


def test_the_breaker_opens_for_a_throttling_server_and_the_mails_wait(system: System) -> None:
    """Mails beyond those that are sent at once don't fail one after another: they wait, and all are sent."""
    system.server.when("MAIL").reply("421 4.7.0 Too many mails")
    paths = [system.write({"to": f"many{n}@example.com", "message": MESSAGE}) for n in range(40)]
    wait_for(lambda: any(scheduled_untried(system, path) for path in paths), "a mail waits without an attempt")
    system.server.forget_rules()
    deliveries = [system.ended(path) for path in paths]
    assert {delivery["state"] for delivery in deliveries} == {"SUCCESS"}


def scheduled_untried(system: System, path: str) -> bool:
    delivery = system.delivery(path)
    return delivery.get("attempts") == 0 and "nextAttemptTime" in delivery


def write_marked(system: System, to: str) -> str:
    """Write a mail that no sender claims before the dispatcher has marked it as queued: it may, as nothing waits for
    the mark, and then there is no event about PENDING."""
    system.stack.pause("sender")
    path = system.write({"to": to, "message": MESSAGE})
    system.in_state(path, "PENDING")
    system.stack.resume("sender")
    return path


def test_others_can_follow_a_mail_by_its_lifecycle_events(system: System) -> None:
    project = f"projects/{system.stack.options.project}"
    subscription = f"{project}/subscriptions/followers"
    system.subscriber.create_subscription(name=subscription, topic=f"{project}/topics/events")
    path = write_marked(system, "followed@example.com")
    heard: set[str] = set()

    def all_heard() -> bool:
        pulled = system.subscriber.pull(subscription=subscription, max_messages=100, timeout=5, retry=None)
        events = [each.message.attributes for each in pulled.received_messages]
        heard.update(each["ce-type"].rpartition(".")[2] for each in events if each["ce-subject"] == path)
        return heard == {"onStart", "onPending", "onProcessing", "onSuccess", "onComplete"}

    wait_for(all_heard, "all events have arrived", found_instead=lambda: heard)


def test_functions_that_followed_trigger_email_can_follow_the_mail_too(system: System, eventarc: HttpsServer) -> None:
    """Once the dispatcher has reached Eventarc again: until then, mails are sent, and their events wait."""
    eventarc.usually(503)
    path = write_marked(system, "heard@example.com")
    assert system.concluded(path)["state"] == "SUCCESS"
    eventarc.requests.clear()
    eventarc.usually(200, body={})
    identifier = path.rpartition("/")[2]

    def heard() -> dict[str, Any]:
        events = [event for request in list(eventarc.requests) for event in request.json["events"]]
        mine = [event for event in events if event["attributes"]["subject"]["ceString"] == identifier]
        return {event["type"].rpartition(".")[2]: json.loads(event["textData"]) for event in mine}

    names = {"onStart", "onPending", "onProcessing", "onSuccess", "onComplete"}
    wait_for(lambda: heard().keys() == names, "all events have arrived", found_instead=lambda: heard().keys())
    assert heard()["onPending"]["doc"]["delivery"]["state"] == "PENDING"
    sent = heard()["onSuccess"]["doc"]
    assert sent["_ref"]["_path"]["segments"] == path.split("/")
    assert sent["_fieldsProto"]["delivery"]["mapValue"]["fields"]["state"] == {"stringValue": "SUCCESS"}
    assert len(system.mails_to("heard@example.com")) == 1


def test_a_message_that_is_never_acknowledged_is_an_error_on_its_document(system: System) -> None:
    """A lease that nobody ends stands in for a Firestore that fails for as long as Pub/Sub tries.

    It takes 15 s: the back-off of five deliveries.
    """
    far = datetime.now(UTC) + timedelta(seconds=LONGEST_LEASE_SECONDS)
    path = system.new_path()
    if system.stack.options.backend == "google":  # whose emulator forgets some of what is refused again and again
        system.write({"to": "poison@example.com", "delivery": {"state": "RETRY", "leaseExpireTime": far}}, path)
        system.publish({"document": path}, "mail-dead-letter", CloudPubSubDeadLetterSourceDeliveryCount="5")
    else:
        system.stack.kill("dispatcher")
        system.write({"to": "poison@example.com", "delivery": {"state": "RETRY", "leaseExpireTime": far}}, path)
        system.publish({"document": path})
        system.stack.start_service("dispatcher")
    delivery = system.ended(path)
    assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "dead-letter")


def test_documents_written_while_nothing_runs_are_sent_later(system: System) -> None:
    """Google's emulator loses some messages when their endpoint goes away; their documents are found stranded."""
    system.stack.kill("dispatcher")
    system.stack.kill("sender")
    paths = [system.write({"to": f"patient{n}@example.com", "message": MESSAGE}) for n in range(5)]
    system.stack.start_service("dispatcher")
    system.stack.start_service("sender")
    assert {system.ended(path)["state"] for path in paths} == {"SUCCESS"}


def test_sigterm_under_load_loses_nothing_and_sends_nothing_twice(system: System) -> None:
    """Google's emulator loses some messages when the endpoint goes away; their documents are found stranded."""
    system.server.when("BODY").pause(0.3)
    paths = [system.write({"to": f"load{n}@example.com", "message": MESSAGE}) for n in range(40)]
    system.server.wait_until(lambda: bool(system.mails_to("load0@example.com")) or len(system.server.accepted) > 0)
    system.stack.terminate("sender")
    system.server.forget_rules()
    system.stack.start_service("sender")
    deliveries = [system.ended(path) for path in paths]
    assert {delivery["state"] for delivery in deliveries} == {"SUCCESS"}
    assert [len(system.mails_to(f"load{n}@example.com")) for n in range(40)] == [1] * 40
