from __future__ import annotations

import pytest

from local.options import StackOptions
from local.topics import sender_subscription


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        pytest.param("75", 75, id="the sender's basis for its time limits"),
        pytest.param("3", 10, id="never less than Pub/Sub allows"),
    ],
)
def test_the_subscription_waits_as_long_as_the_sender_thinks(setting: str, expected: int) -> None:
    options = StackOptions(project="p", settings={"ACK_DEADLINE_SECONDS": setting, "MAIL_TOPIC": "post"})
    made = sender_subscription(options, "projects/p/topics/post", "projects/p/topics/dead", "http://127.0.0.1:1/")
    assert made.ack_deadline_seconds == expected
    assert made.name == "projects/p/subscriptions/post-sender"
    assert made.dead_letter_policy.dead_letter_topic == "projects/p/topics/dead"
    assert made.push_config.push_endpoint == "http://127.0.0.1:1/"


def test_a_sender_that_pulls_is_not_pushed_to() -> None:
    options = StackOptions(project="p", sender="pull")
    made = sender_subscription(options, "projects/p/topics/mail", "projects/p/topics/dead", "http://127.0.0.1:1/")
    assert not made.push_config.push_endpoint
