"""Shared by the comparisons: the two sides, random values, and comparable results."""

from __future__ import annotations

import datetime
import itertools
import math
import os
from collections.abc import Callable

from google.api_core.exceptions import GoogleAPICallError
from google.cloud import firestore
from google.events.cloud.firestore import DocumentEventData
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from local.backends import Backend
from local.clients import firestore_client, publisher_client, subscriber_client

PROJECT = "demo-agree"
#: The variable that selects another number of examples, random ones, to find rare disagreements.
EXAMPLES = "AGREE_EXAMPLES"

agree = settings(
    max_examples=int(os.environ.get(EXAMPLES, "100")),
    deadline=None,
    derandomize=EXAMPLES not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

#: Each example uses separate names.
EXAMPLE_NUMBERS = itertools.count()


class Side:
    """One backend, its clients, and the events it has sent."""

    def __init__(self, backend: Backend, events: list[DocumentEventData]) -> None:
        self.events = events
        self.firestore = backend.firestore
        self.db = firestore_client(backend.firestore, PROJECT)
        self.publisher = publisher_client(backend.pubsub)
        self.subscriber = subscriber_client(backend.pubsub)

    def close(self) -> None:
        self.db.close()
        self.publisher.transport.close()
        self.subscriber.transport.close()


#: Ids in the order of Firestore, and not in that of ASCII: numeric ones come first, by number.
IDS = [
    *(f"__id{number}__" for number in (-(2**63), -10, -9, 7, 10, 2**63 - 1)),
    *(
        "!",
        "-",
        "00",
        "10",
        "9",
        "A",
        "Z9",
        "_",
        "__",
        "__id7_",
        "a",
        "a\0",
        "a!",
        "aé",
        "b",
        "é",
        "\uffff",
        "\U0001f600",
    ),
]
KEYS = st.sampled_from(["a", "b", "c", "d.e", "f g", "h`i", "jé", "k\\l", "_m0"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**63 - 1, -(2**63), 0.0, -0.0, 1.0, 1.5, math.inf, -math.inf, math.nan]),
    st.sampled_from(["", "a", "b", "é", "z\U0001f600", "\uffff"]),
    st.binary(max_size=2),
    st.sampled_from([datetime.datetime(2000, 1, 1, microsecond=us, tzinfo=datetime.UTC) for us in (0, 1, 1001)]),
    st.builds(firestore.GeoPoint, st.sampled_from([0.0, 1.5]), st.sampled_from([0.0, -2.5])),
)
ARRAYS = st.lists(st.one_of(SCALARS, st.dictionaries(KEYS, SCALARS, max_size=1)), max_size=3)
MAPS = st.recursive(
    st.dictionaries(KEYS, st.one_of(SCALARS, ARRAYS), max_size=3),
    lambda inner: st.dictionaries(KEYS, st.one_of(SCALARS, inner), max_size=2),
    max_leaves=4,
)
VALUES = st.one_of(SCALARS, ARRAYS, MAPS)
DATA = st.dictionaries(KEYS, VALUES, max_size=3)


def plain(value: object) -> object:
    """A comparable form, the same for equal documents of both sides: server times are masked."""
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [plain(element) for element in value]
    if isinstance(value, datetime.datetime):
        return "server time" if value.year > 2000 else value.isoformat()
    if isinstance(value, firestore.GeoPoint):
        return ("geo", value.latitude, value.longitude)
    return (type(value).__name__, repr(value))


def outcome(action: Callable[[], object]) -> object:
    """The result of an operation, or the code of its error."""
    try:
        return action()
    except GoogleAPICallError as error:
        assert error.grpc_status_code is not None, error
        return error.grpc_status_code.name
    except (TypeError, ValueError) as error:
        return type(error).__name__  # refused by the client itself
