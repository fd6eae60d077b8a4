"""Whoever may write a document may write `delivery`: whatever it says, the document ends, and nobody else gets mail.

The classes are production's; only Firestore, Pub/Sub and the mail server are in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.delivery.model import AT_REST, QUEUED, DocumentState, State
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.firestore.values import Reference, encode
from tests.assembly import LEASE
from tests.exploration.crash_points import PATH, Moment, Place, Trap
from tests.fakes import Clock

NOW = Clock().now
DAY = timedelta(days=1)
FOREVER = datetime.max.replace(tzinfo=UTC)
OWN, VICTIM = ("ada@example.com", "bob@example.com"), "victim@elsewhere.example"
MAIL: Mapping[str, Any] = {"to": list(OWN), "message": {"subject": "s", "text": "t"}}

#: One when it is queued or changed, and one for each run of the reconciler, for each of two writes from outside.
MOST_MESSAGES = 6

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.just(Reference("projects/p/databases/d/documents/users/a")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=9), inner, max_size=3),
    max_leaves=5,
)
MOMENTS = st.sampled_from(
    [timedelta(days=-9999), -DAY, -LEASE, timedelta(0), LEASE, timedelta(minutes=9), DAY, 9999 * DAY]
)
TIMES = MOMENTS.map(lambda ahead: NOW + ahead) | st.sampled_from(
    [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
TEXTS = st.sampled_from([*OWN, VICTIM, f"{VICTIM}> NOTIFY=NEVER", f"{OWN[0]}>\r\nRCPT TO:<{VICTIM}", ""])
ADDRESSES = st.lists(TEXTS, max_size=4) | st.lists(JUNK, max_size=2)
TO_VICTIM = {"accepted": [VICTIM], "rejected": [VICTIM], "pending": [VICTIM], "response": None}
INFO = st.fixed_dictionaries(
    {"accepted": ADDRESSES, "rejected": ADDRESSES, "pending": ADDRESSES, "response": st.none() | st.text(max_size=9)}
)
FORGED = st.fixed_dictionaries(
    {"state": st.sampled_from([*(state.value for state in State)])},
    optional={
        "attempts": st.sampled_from([-1, 0, 1, 10**6, 2**63 - 1, True]) | JUNK,
        "resumes": st.just(True) | JUNK,
        "info": INFO | JUNK,
        "error": JUNK,
        "errorCode": st.sampled_from(["lease-expired", "x" * 1000]) | JUNK,
        "warnings": JUNK,
        "history": JUNK | st.lists(JUNK | st.fixed_dictionaries({"attempt": JUNK}, optional={"response": JUNK})),
        "redacted": st.booleans(),
        **dict.fromkeys(
            ("startTime", "endTime", "leaseExpireTime", "unsentLease", "republishTime", "expireAt"), TIMES | JUNK
        ),
        "nextAttemptTime": TIMES | JUNK,
    },
)
RESUMING = st.fixed_dictionaries(
    {"state": st.sampled_from(["PENDING", "RETRY"]), "resumes": st.just(True), "info": INFO}  # what chooses recipients
)
WITHOUT_STATE = JUNK | FORGED.map(lambda forged: forged | {"state": None})
#: Times that have come after a day; a later one is believed, and the mail waits.
SEND_AT = TIMES.filter(lambda time: time <= NOW + DAY) | JUNK
EXPIRES_AT = TIMES | JUNK
POLICIES = st.sampled_from([Policy(LEASE), *(Policy(LEASE, 3, each) for each in LeaseExpiryPolicy)])


def play(place: Place) -> None:
    """Handle all that is under way, then let the reconciler run twice."""
    settle(place)
    for _ in range(2):
        place.clock.advance(DAY)
        place.reconcile()
        settle(place)


def settle(place: Place) -> None:
    """Handle events, messages and refused messages until nothing is left but what waits for a lease."""
    for _ in range(3):
        place.work()
        place.conclude_refused()


class Counting(Place):
    """A place that counts the messages that the dispatcher and the reconciler publish."""

    def __init__(self, policy: Policy, most_bytes: int | None = None) -> None:
        super().__init__(policy, Trap(Moment.PUBLISH, 0))
        self.database.most_bytes = most_bytes
        self.messages = 0
        publish_all = self.topic.publish_all

        def counted(messages: Any) -> Any:
            self.messages += len(messages)
            return publish_all(messages)

        self.topic.publish_all = counted  # type: ignore[method-assign]

    def delivery(self) -> Any:
        return self.database.documents[PATH].fields.get("delivery")

    def check(self) -> None:
        """What must hold at the end, whatever was forged."""
        assert self.messages <= MOST_MESSAGES
        assert not self.topic.published, "a message goes on for ever"
        assert {each for envelope, _ in self.transport.sent for each in envelope.recipients} <= {*OWN}


def check_end(place: Counting) -> None:
    place.check()
    delivery = place.delivery()
    assert delivery["state"] in AT_REST
    assert delivery.get("errorCode") != "unknown"


@settings(max_examples=400)
@given(
    delivery=FORGED | RESUMING | WITHOUT_STATE,
    send_at=st.none() | SEND_AT,
    expires_at=st.none() | EXPIRES_AT,
    policy=POLICIES,
)
@example({"state": "RETRY", "leaseExpireTime": FOREVER}, None, None, Policy(LEASE))
@example({"state": "PROCESSING", "leaseExpireTime": FOREVER}, None, None, Policy(LEASE))
@example({"state": "RETRY", "attempts": 2**63 - 1}, None, None, Policy(LEASE))
@example({"state": "RETRY", "nextAttemptTime": FOREVER}, None, None, Policy(LEASE))
@example({"state": "RETRY", "nextAttemptTime": FOREVER}, None, NOW + LEASE, Policy(LEASE))
@example({"state": "RETRY", "resumes": True, "info": TO_VICTIM}, None, None, Policy(LEASE))
@example({"state": "RETRY", "resumes": True, "info": TO_VICTIM}, None, NOW, Policy(LEASE))
@example({"state": "RETRY", "resumes": True}, NOW + LEASE, NOW, Policy(LEASE))
@example({"state": "CANCELLED", "nextAttemptTime": NOW, "leaseExpireTime": NOW + LEASE}, NOW, NOW, Policy(LEASE))
def test_a_new_document_ends(delivery: Any, send_at: Any, expires_at: Any, policy: Policy) -> None:
    place = Counting(policy)
    place.database.put(PATH, {**MAIL, "sendAt": send_at, "expiresAt": expires_at, "delivery": delivery})
    play(place)
    check_end(place)
    known = DocumentState.of({"delivery": delivery, "expiresAt": expires_at})
    state = known.delivery.state if known.delivery else None
    if send_at is expires_at is None and (known.delivery is None or state in QUEUED):
        assert place.delivery()["state"] == "SUCCESS" or "rejected" in str(delivery), "nothing was wrong with the mail"
    if state is State.CANCELLED or known.expired(NOW) or (expires_at is not None and known.expires_at is None):
        assert not place.transport.sent, "unwanted, too late, or it can't be known whether it is"


@settings(max_examples=200)
@given(delivery=FORGED | WITHOUT_STATE, is_handled=st.booleans(), policy=POLICIES)
def test_a_document_changed_on_its_way_ends(delivery: Any, is_handled: bool, policy: Policy) -> None:
    place = Counting(policy)
    place.database.put(PATH, dict(MAIL))
    if is_handled:
        settle(place)
    place.database.put(PATH, {**MAIL, "delivery": delivery})
    play(place)
    check_end(place)


@settings(max_examples=200)
@given(delivery=FORGED, room=st.integers(0, 300))
def test_a_document_without_room_for_more_ends(delivery: Any, room: int) -> None:
    fields = {**MAIL, "delivery": delivery}
    place = Counting(Policy(LEASE), encode(fields).ByteSize() + room)
    place.database.put(PATH, fields)
    play(place)
    check_end(place)


@pytest.mark.parametrize("room", [0, 10, 40, 80, 120, 200])
@pytest.mark.parametrize("delivery", [None, {}, 5], ids=repr)
def test_a_new_document_without_room_gets_a_bounded_number_of_messages(delivery: Any, room: int) -> None:
    fields = {**MAIL, "delivery": delivery}
    place = Counting(Policy(LEASE), encode(fields).ByteSize() + room)
    place.database.put(PATH, fields)
    play(place)
    place.check()
    assert place.messages <= 1 + 2


def test_an_unknown_state_is_left_alone() -> None:
    place = Counting(Policy(LEASE))
    place.database.put(PATH, {**MAIL, "delivery": {"state": "CANCELED"}})
    play(place)
    place.check()
    assert (place.messages, place.delivery()) == (0, {"state": "CANCELED"})
