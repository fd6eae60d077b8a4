"""Fault injection."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import firestore

from local.backends.embedded import EmbeddedBackend, Faults
from local.backends.embedded.failure import Failure
from tests.unit.embedded.conftest import Receiver, Topic


def hits(faults: Faults, calls: int, rpc: str = "Commit") -> list[int]:
    """The numbers of the calls that failed, out of this many."""
    wrong = []
    for number in range(1, calls + 1):
        try:
            with faults.around(rpc):
                pass
        except Failure:
            wrong.append(number)
    return wrong


def test_the_calls_named_are_hit_and_counted() -> None:
    faults = Faults()
    faults.on("Commit").nth(2, 4).fail(grpc.StatusCode.ABORTED)
    assert hits(faults, 6) == [2, 4]
    assert hits(faults, 6, rpc="Rollback") == []
    assert faults.counts == {"Commit: ABORTED": 2}


def test_the_same_seed_hits_the_same_calls() -> None:
    def pattern(seed: int) -> list[int]:
        faults = Faults()
        faults.on("*").randomly(0.3, seed=seed).fail(grpc.StatusCode.UNAVAILABLE)
        return hits(faults, 100)

    assert pattern(7) == pattern(7) != pattern(8)
    assert 15 < len(pattern(7)) < 45


def test_cleared_faults_hit_nothing() -> None:
    faults = Faults()
    faults.on("*").fail(grpc.StatusCode.UNAVAILABLE)
    faults.events.duplicate()
    faults.clear()
    assert hits(faults, 3) == []
    assert faults.events.plan().copies == 1


def commit(db: firestore.Client) -> object:
    batch = db.batch()
    batch.set(db.document("mail/a"), {"n": 1})
    return batch.commit(retry=None)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, exceptions.ServiceUnavailable),
        (grpc.StatusCode.ABORTED, exceptions.Aborted),
        (grpc.StatusCode.DEADLINE_EXCEEDED, exceptions.DeadlineExceeded),
    ],
)
def test_a_failing_call_does_nothing(
    backend: EmbeddedBackend, db: firestore.Client, code: grpc.StatusCode, error: type[Exception]
) -> None:
    backend.faults.on("Commit").nth(1).fail(code)
    with pytest.raises(error):
        commit(db)
    assert not db.document("mail/a").get().exists
    assert commit(db)


def test_a_commit_whose_response_is_lost_is_applied(backend: EmbeddedBackend, db: firestore.Client) -> None:
    backend.faults.on("Commit").nth(1).lose_response()
    with pytest.raises(exceptions.ServiceUnavailable, match="response was lost"):
        commit(db)
    assert db.document("mail/a").get().exists
    assert backend.faults.counts["Commit: response lost"] == 1


def test_a_delayed_call_takes_longer(backend: EmbeddedBackend, db: firestore.Client) -> None:
    backend.faults.on("Commit").delay(0.05)
    begun = time.monotonic()
    commit(db)
    assert time.monotonic() - begun >= 0.05


def test_duplicated_events_arrive_twice_with_the_same_id(
    backend: EmbeddedBackend, db: firestore.Client, receiver: Receiver
) -> None:
    backend.faults.events.duplicate()
    db.document("mail/a").set({"n": 1})
    assert len({delivery.headers["ce-id"] for delivery in receiver.wait_for(2)}) == 1
    assert backend.faults.counts == {"event: duplicated": 1}


def arrivals(receiver: Receiver, count: int) -> list[str]:
    return [delivery.headers["ce-document"].rpartition("/")[2] for delivery in receiver.wait_for(count)]


@pytest.mark.parametrize("fault", ["reorder", "drop"])
def test_a_delayed_event_arrives_after_later_ones(
    backend: EmbeddedBackend, db: firestore.Client, receiver: Receiver, fault: str
) -> None:
    getattr(backend.faults.events, fault)()
    db.document("mail/first").set({"n": 1})
    backend.faults.clear()
    db.document("mail/second").set({"n": 1})
    assert arrivals(receiver, 2) == ["second", "first"]


def test_pushes_can_be_harmed_too(backend: EmbeddedBackend, topic: Topic, receiver: Receiver) -> None:
    topic.subscribe(push_config={"push_endpoint": receiver.url})
    backend.faults.pushes.duplicate()
    topic.publish("hello")
    first, second = receiver.wait_for(2)
    assert first.body == second.body


def test_several_harms_add_up() -> None:
    faults = Faults()
    faults.pushes.duplicate()
    faults.pushes.delay(1.5)
    faults.pushes.drop(share=0.0)
    plan: Any = faults.pushes.plan()
    assert (plan.copies, plan.wait, plan.lost) == (2, 1.5, False)
