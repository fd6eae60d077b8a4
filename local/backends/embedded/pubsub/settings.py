"""Validates the settings of subscriptions and fills in defaults.

https://cloud.google.com/pubsub/docs/reference/rpc/google.pubsub.v1#google.pubsub.v1.Subscription
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import grpc
from google.protobuf.duration_pb2 import Duration

from local.backends.embedded.backlog import NO_BACKOFF, Backoff
from local.backends.embedded.failure import Failure, invalid, unsupported
from local.backends.embedded.pubsub.filters import compile_filter
from local.backends.embedded.pubsub.protos import PubsubMessage, Subscription

DEFAULT_ACK_SECONDS, MAX_ACK_SECONDS = 10, 600
DEFAULT_ATTEMPTS, MIN_ATTEMPTS, MAX_ATTEMPTS = 5, 5, 100
RETENTION = Duration(seconds=7 * 24 * 3600)
MIN_BACKOFF, MAX_BACKOFF = Duration(seconds=10), Duration(seconds=600)
#: The back-off of rejected pushes without a retry policy: https://cloud.google.com/pubsub/docs/push#push_backoff
PUSH_BACKOFF = Backoff(minimum=0.1, maximum=60.0)

#: The limits of a message: https://cloud.google.com/pubsub/quotas#resource_limits
MAX_MESSAGE_BYTES = 10_000_000
MAX_ATTRIBUTES, MAX_KEY_BYTES, MAX_VALUE_BYTES = 100, 256, 1024

#: The settings that an update may change.
UPDATABLE = frozenset(
    {
        "ack_deadline_seconds",
        "dead_letter_policy",
        "expiration_policy",
        "labels",
        "message_retention_duration",
        "push_config",
        "retain_acked_messages",
        "retry_policy",
    }
)
_UNSUPPORTED = ("enable_exactly_once_delivery", "bigquery_config", "cloud_storage_config", "message_transforms")
_ID = r"[A-Za-z][A-Za-z0-9._~%+-]{2,254}"


def check_name(name: str, kind: str) -> None:
    """Raise INVALID_ARGUMENT unless `name` is `projects/P/KIND/ID`; `kind` is `topics` or `subscriptions`.

    https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
    """
    match = re.fullmatch(rf"projects/[^/]+/{kind}/({_ID})", name)
    if match is None or match[1].startswith("goog"):
        raise invalid(f"Invalid [{kind}] name: (name={name})")


def check_messages(messages: Sequence[PubsubMessage]) -> None:
    """Raise INVALID_ARGUMENT if a message is empty or exceeds Pub/Sub's limits."""
    if not all(message.data or message.attributes for message in messages):
        raise invalid(
            "One or more messages in the publish request is empty. Each message must contain either non-empty "
            "data, or at least one attribute."
        )
    for message in messages:
        if len(message.data) > MAX_MESSAGE_BYTES:
            raise invalid(f"The value for message.data is too large: {MAX_MESSAGE_BYTES} bytes are allowed.")
        if len(message.attributes) > MAX_ATTRIBUTES:
            raise invalid(f"The message has too many attributes: {MAX_ATTRIBUTES} are allowed.")
        for key, value in message.attributes.items():
            if not 1 <= len(key.encode()) <= MAX_KEY_BYTES:
                raise invalid(f"The attribute keys must have between 1 and {MAX_KEY_BYTES} bytes.")
            if len(value.encode()) > MAX_VALUE_BYTES:
                raise invalid(f"The attribute values must have at most {MAX_VALUE_BYTES} bytes.")


def completed(wanted: Subscription) -> Subscription:
    """The settings with all defaults filled in.

    Raises INVALID_ARGUMENT or OUT_OF_RANGE if they violate Google's limits, and UNIMPLEMENTED for settings that this
    backend doesn't support.
    """
    settings = Subscription()
    settings.CopyFrom(wanted)
    check_name(settings.name, "subscriptions")
    compile_filter(settings.filter)
    _check_delivery(settings)
    settings.ack_deadline_seconds = settings.ack_deadline_seconds or DEFAULT_ACK_SECONDS
    if not 0 < settings.ack_deadline_seconds <= MAX_ACK_SECONDS:
        raise invalid(f"Invalid ack deadline given: (ack_deadline_seconds={settings.ack_deadline_seconds})")
    settings.push_config.SetInParent()
    if not settings.HasField("message_retention_duration"):
        settings.message_retention_duration.CopyFrom(RETENTION)
    if settings.HasField("dead_letter_policy"):
        _complete_dead_letter_policy(settings)
    if settings.HasField("retry_policy"):
        _complete_retry_policy(settings)
    return settings


def updated(current: Subscription, wanted: Subscription, paths: Sequence[str]) -> Subscription:
    """The settings with the fields named by `paths` taken from `wanted`. Raises the errors of `completed`."""
    if not paths:
        raise invalid("The update_mask must be set, and must contain a non-empty paths list.")
    settings = Subscription()
    settings.CopyFrom(current)
    for path in paths:
        if path not in Subscription.DESCRIPTOR.fields_by_name:
            raise invalid(f"Invalid update_mask: {path} is not a known Subscription field.")
        if path not in UPDATABLE:
            raise invalid(f"The field {path} of a subscription can't be updated.")
        settings.ClearField(path)
        part = Subscription(**{path: getattr(wanted, path)} if _is_set(wanted, path) else {})
        settings.MergeFrom(part)
    return completed(settings)


def backoff_of(settings: Subscription) -> Backoff:
    """The back-off of a rejected message."""
    if settings.HasField("retry_policy"):
        policy = settings.retry_policy
        return Backoff(_seconds(policy.minimum_backoff), _seconds(policy.maximum_backoff))
    return PUSH_BACKOFF if settings.push_config.push_endpoint else NO_BACKOFF


def max_attempts_of(settings: Subscription) -> int | None:
    """The number of deliveries before a message goes to the dead-letter topic; None for no limit."""
    if not settings.HasField("dead_letter_policy"):
        return None
    attempts: int = settings.dead_letter_policy.max_delivery_attempts
    return attempts


def _check_delivery(settings: Subscription) -> None:
    for name in _UNSUPPORTED:
        if name in Subscription.DESCRIPTOR.fields_by_name and _is_set(settings, name):
            raise unsupported(f"subscriptions with {name}")
    endpoint = settings.push_config.push_endpoint
    if endpoint and not re.fullmatch(r"https?://[!-~]+", endpoint):
        raise invalid(f"Invalid push endpoint given (endpoint={endpoint}): expected a http:// or https:// URL.")
    if settings.push_config.HasField("no_wrapper"):
        raise unsupported("push without a wrapper (no_wrapper)")


def _complete_dead_letter_policy(settings: Subscription) -> None:
    policy = settings.dead_letter_policy
    policy.max_delivery_attempts = policy.max_delivery_attempts or DEFAULT_ATTEMPTS
    if not MIN_ATTEMPTS <= policy.max_delivery_attempts <= MAX_ATTEMPTS:
        raise Failure(
            grpc.StatusCode.OUT_OF_RANGE,
            f"The value for max_delivery_attempts must lie between {MIN_ATTEMPTS} and {MAX_ATTEMPTS}. "
            f"You passed {policy.max_delivery_attempts} in the request.",
        )


def _complete_retry_policy(settings: Subscription) -> None:
    policy = settings.retry_policy
    if not policy.HasField("minimum_backoff"):
        policy.minimum_backoff.CopyFrom(MIN_BACKOFF)
    if not policy.HasField("maximum_backoff"):
        policy.maximum_backoff.CopyFrom(MAX_BACKOFF)
    if not 0 <= _seconds(policy.minimum_backoff) <= _seconds(policy.maximum_backoff) <= MAX_BACKOFF.seconds:
        raise invalid("minimum_backoff and maximum_backoff must lie between 0 and 600 seconds, in this order.")


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _is_set(settings: Subscription, name: str) -> bool:
    return any(field.name == name for field, _ in settings.ListFields())
