"""`python -m bench.pusher PUBSUB SUBSCRIPTION URL`: pushes the messages of a pull subscription, as Pub/Sub would.

Google's emulator keeps only two pushes in flight on two cores; the real Pub/Sub starts with about as many as this and
scales to thousands. A message whose answer is not 2xx is delivered again under the subscription's retry policy.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sys
from typing import Any

from google.api_core.exceptions import DeadlineExceeded, ServiceUnavailable
from google.pubsub_v1.services.subscriber import SubscriberClient

from local.backends.embedded.posting import Connections, NoAnswer, Request
from local.clients import subscriber_client

MAX_IN_FLIGHT = 64
#: Seconds to wait for messages in one request.
_PULL_SECONDS = 5.0
#: Seconds for which acknowledgements are collected.
_COLLECT_SECONDS = 0.02

logger = logging.getLogger(__name__)


def push_body(message: Any, subscription: str) -> bytes:
    """The body that Pub/Sub POSTs: https://cloud.google.com/pubsub/docs/push#receive_push."""
    return json.dumps(
        {
            "message": {
                "data": base64.b64encode(message.data).decode(),
                "attributes": dict(message.attributes),
                "messageId": message.message_id,
                "publishTime": message.publish_time.ToDatetime().isoformat() + "Z",
            },
            "subscription": subscription,
        }
    ).encode()


class Pusher:
    """Pulls as many messages as there is room for, and posts each."""

    def __init__(self, client: SubscriberClient, subscription: str, url: str) -> None:
        self._client = client
        self._subscription = subscription
        self._url = url
        self._connections = Connections()
        self._under_way: set[asyncio.Task[None]] = set()
        self._accepted: list[str] = []
        self._refused: list[str] = []
        self._has_answers = asyncio.Event()

    async def run(self) -> None:
        """Run until the process ends."""
        await asyncio.gather(self._push_all(), self._acknowledge_all())

    async def _push_all(self) -> None:
        while True:
            for received in await asyncio.to_thread(self._pull, MAX_IN_FLIGHT - len(self._under_way)):
                task = asyncio.create_task(self._push(received))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            if len(self._under_way) >= MAX_IN_FLIGHT:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)

    async def _acknowledge_all(self) -> None:
        while await self._has_answers.wait():
            await asyncio.sleep(_COLLECT_SECONDS)
            self._has_answers.clear()
            accepted, self._accepted = self._accepted, []
            refused, self._refused = self._refused, []
            await asyncio.to_thread(self._settle, accepted, refused)

    def _settle(self, accepted: list[str], refused: list[str]) -> None:
        if accepted:
            self._client.acknowledge(subscription=self._subscription, ack_ids=accepted)
        if refused:  # a deadline of 0 is a negative acknowledgement
            self._client.modify_ack_deadline(subscription=self._subscription, ack_ids=refused, ack_deadline_seconds=0)

    async def _push(self, received: Any) -> None:
        body = push_body(received.message, self._subscription)
        request = Request(self._url, {"content-type": "application/json"}, body)
        try:
            is_accepted = 200 <= await self._connections.post(request) < 300
        except NoAnswer as error:
            logger.warning("A push failed: %s", error)
            is_accepted = False
        (self._accepted if is_accepted else self._refused).append(received.ack_id)
        self._has_answers.set()

    def _pull(self, limit: int) -> list[Any]:
        try:
            answer = self._client.pull(
                subscription=self._subscription, max_messages=limit, retry=None, timeout=_PULL_SECONDS
            )
        except (DeadlineExceeded, ServiceUnavailable):
            return []
        return list(type(answer).pb(answer).received_messages)


def main(pubsub: str, subscription: str, url: str) -> None:
    """Push until SIGTERM."""
    with subscriber_client(pubsub) as client:
        asyncio.run(Pusher(client, subscription, f"{url}/").run())


if __name__ == "__main__":
    main(*sys.argv[1:])
