"""Messages: what is delivered, how often, and where undeliverable ones go."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.waiting import wait_until
from tests.integration.backends_agree.sides import EXAMPLE_NUMBERS, PROJECT, Side, agree, outcome

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("backends agree")]

MESSAGES = st.fixed_dictionaries(
    {
        "data": st.sampled_from([b"", b"one", b"two"]),
        "attributes": st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["", "1"]), max_size=2),
    }
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.lists(MESSAGES, min_size=1, max_size=3)),
        st.tuples(st.sampled_from(["acknowledge", "refuse", "refuse"]), st.just("mail")),
        st.tuples(st.just("acknowledge"), st.just("dead")),
    ),
    min_size=1,
    max_size=12,
)


class Post:
    """The topics `mail` and `dead` with a subscription each on one side; `mail` may forward to `dead`."""

    def __init__(self, side: Side, buries: bool, example: int) -> None:
        self._side = side
        self._example = example
        for name in ("dead", "mail"):
            topic = self._path("topics", name)
            side.publisher.create_topic(name=topic)
            request: dict[str, Any] = {"name": self._path("subscriptions", name), "topic": topic}
            if buries and name == "mail":
                policy = {"dead_letter_topic": self._path("topics", "dead"), "max_delivery_attempts": 5}
                request["dead_letter_policy"] = policy
            side.subscriber.create_subscription(request=request)

    def publish(self, messages: Any) -> object:
        return len(self._side.publisher.publish(topic=self._path("topics", "mail"), messages=messages).message_ids)

    def lease(self, name: str, expected: int) -> list[Any]:
        """Pull for a limited time, which ends as soon as there are as many messages as expected."""
        received: list[Any] = []
        request = {"subscription": self._path("subscriptions", name), "max_messages": 100, "return_immediately": True}

        def pull() -> bool:
            received.extend(self._side.subscriber.pull(request=request).received_messages)
            return len(received) >= expected

        wait_until(pull, seconds=3, pause=0.01)
        return received

    def acknowledge(self, name: str, ack_ids: list[str]) -> None:
        self._side.subscriber.acknowledge(subscription=self._path("subscriptions", name), ack_ids=ack_ids)

    def refuse(self, name: str, ack_ids: list[str]) -> None:
        subscription = self._path("subscriptions", name)
        self._side.subscriber.modify_ack_deadline(subscription=subscription, ack_ids=ack_ids, ack_deadline_seconds=0)

    def _path(self, kind: str, name: str) -> str:
        return f"projects/{PROJECT}/{kind}/{name}-{self._example}"


def contents(received: list[Any]) -> list[Any]:
    return sorted(
        (one.message.data, sorted(plain_attributes(one.message.attributes)), one.delivery_attempt) for one in received
    )


def plain_attributes(attributes: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, "" if name.endswith("PublishTime") else value) for name, value in attributes.items()]


@pytest.mark.filterwarnings("ignore:The return_immediately flag is deprecated:DeprecationWarning")
@agree
@given(st.booleans(), STEPS)
def test_deliveries_agree(sides: tuple[Side, Side], buries: bool, steps: list[tuple[str, Any]]) -> None:
    example = next(EXAMPLE_NUMBERS)
    ours, theirs = (Post(side, buries, example) for side in sides)
    for step, argument in steps:
        if step == "publish":
            assert outcome(partial(ours.publish, argument)) == outcome(partial(theirs.publish, argument))
            continue
        leased = ours.lease(argument, expected=0)
        same = theirs.lease(argument, expected=len(leased))
        assert contents(leased) == contents(same)
        for post, received in ((ours, leased), (theirs, same)):
            if received:
                getattr(post, step)(argument, [one.ack_id for one in received])
