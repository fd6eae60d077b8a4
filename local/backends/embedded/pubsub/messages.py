"""Messages in transit: in a push request's JSON, and to a dead-letter topic."""

from __future__ import annotations

import base64
import json

from local.backends.embedded.pubsub.protos import PubsubMessage

#: The HTTP statuses with which a push endpoint acknowledges a message.
#:
#: https://cloud.google.com/pubsub/docs/push#receive_push
ACKNOWLEDGING = frozenset({102, 200, 201, 202, 204})


def push_body(message: PubsubMessage, subscription: str, attempt: int | None) -> bytes:
    """The JSON of a wrapped push request; `attempt` only with a dead-letter policy. Empty fields are left out.

    https://cloud.google.com/pubsub/docs/payload-unwrapping#wrapped_messages
    """
    published = message.publish_time.ToJsonString()
    wrapped: dict[str, object] = {
        "messageId": message.message_id,
        "message_id": message.message_id,
        "publishTime": published,
        "publish_time": published,
    }
    if message.attributes:
        wrapped["attributes"] = dict(message.attributes)
    if message.data:
        wrapped["data"] = base64.b64encode(message.data).decode()
    if message.ordering_key:
        wrapped["orderingKey"] = message.ordering_key
    envelope: dict[str, object] = {"message": wrapped, "subscription": subscription}
    if attempt is not None:
        envelope["deliveryAttempt"] = attempt
    return json.dumps(envelope, separators=(",", ":")).encode()


def dead_letter(message: PubsubMessage, subscription: str, attempts: int) -> PubsubMessage:
    """The message for the dead-letter topic of `subscription` (its full name), which could not deliver `message`.

    https://cloud.google.com/pubsub/docs/handling-failures#track-delivery-attempts
    """
    _, project, _, name = subscription.split("/")
    letter = PubsubMessage(data=message.data, attributes=message.attributes, ordering_key=message.ordering_key)
    letter.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] = str(attempts)
    letter.attributes["CloudPubSubDeadLetterSourceSubscription"] = name
    letter.attributes["CloudPubSubDeadLetterSourceSubscriptionProject"] = project
    letter.attributes["CloudPubSubDeadLetterSourceTopicPublishTime"] = message.publish_time.ToJsonString()
    return letter
