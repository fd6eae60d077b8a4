from __future__ import annotations

import pytest

from local.backends.embedded.pubsub.filters import MAX_BYTES, compile_filter
from local.errors import CannotStart
from local.options import StackOptions
from local.topics import sender_subscription
from shared.delivery.lanes import DEFAULT_LANE, MOST_LANES, Lanes

TOPICS = ("projects/p/topics/mail", "projects/p/topics/dead")
ENDPOINT = "http://127.0.0.1:1/"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        pytest.param("75", 75, id="the sender's basis for its time limits"),
        pytest.param("3", 10, id="never less than Pub/Sub allows"),
    ],
)
def test_the_subscription_waits_as_long_as_the_sender_thinks(setting: str, expected: int) -> None:
    options = StackOptions(project="p", settings={"ACK_DEADLINE_SECONDS": setting, "MAIL_TOPIC": "post"})
    made = sender_subscription(options, "sender", *TOPICS, ENDPOINT)
    assert made.ack_deadline_seconds == expected
    assert made.name == "projects/p/subscriptions/post-sender"
    assert made.dead_letter_policy.dead_letter_topic == "projects/p/topics/dead"
    assert made.push_config.push_endpoint == "http://127.0.0.1:1/"
    assert not made.filter


def test_a_sender_that_pulls_is_not_pushed_to() -> None:
    options = StackOptions(project="p", sender="pull")
    assert not sender_subscription(options, "sender", *TOPICS, ENDPOINT).push_config.push_endpoint


def test_each_lane_has_a_sender_with_a_subscription() -> None:
    options = StackOptions(project="p", settings={"LANES": "bulk=template:news, reports"})
    made = {sender: sender_subscription(options, sender, *TOPICS, ENDPOINT) for sender in options.senders}
    assert {sender: (each.name.rpartition("/")[2], each.filter) for sender, each in made.items()} == {
        "sender": ("mail-sender", 'NOT attributes.lane="bulk" AND NOT attributes.lane="reports"'),
        "sender-bulk": ("mail-sender-bulk", 'attributes.lane="bulk"'),
        "sender-reports": ("mail-sender-reports", 'attributes.lane="reports"'),
    }


@pytest.mark.parametrize(
    ("attributes", "lane"),
    [
        ({}, "default"),
        ({"document": "mail/a"}, "default"),
        ({"lane": "bulk"}, "bulk"),
        ({"lane": "reports"}, "reports"),
        ({"lane": "Bulk"}, "default"),
        ({"lane": ""}, "default"),
        ({"lane": "default"}, "default"),
    ],
)
def test_each_message_gets_to_one_lane(attributes: dict[str, str], lane: str) -> None:
    lanes = Lanes.parse("bulk,reports")
    every = (DEFAULT_LANE, *lanes.rules)
    assert [each for each in every if compile_filter(lanes.filter_of(each))(attributes)] == [lane]
    assert lanes.of_message(attributes) == lane


def test_the_filter_of_the_longest_lanes_is_one_that_pubsub_takes() -> None:
    lanes = Lanes.parse(",".join(letter * 20 for letter in "abcdefgh"[:MOST_LANES]))
    assert len(lanes.filter_of(DEFAULT_LANE)) <= MAX_BYTES


def test_lanes_that_can_not_be_meant_stop_the_start() -> None:
    with pytest.raises(CannotStart, match="LANES: expected names"):
        _ = StackOptions(settings={"LANES": "Bulk"}).lanes
