"""A process dies while it handles a batch: every mail ends as it would on its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from sender.transport.envelope import Begin, Envelope, Receipt
from shared.deadline import Deadline
from shared.delivery.machine import SENDING
from shared.delivery.policy import LeaseExpiryPolicy, Policy
from shared.errors import FirepostError
from shared.firestore.database import Version, Write
from tests.assembly import LEASE, PATIENCE
from tests.together import Together

#: The process may die before and after the request for the claims, each of three mails, and the request for results.
PLACES = 2 + 6 + 2


class Death:
    """Kills the process at the n-th moment right before or after an external call.

    From then on, no other thread of the process has any effect either. The first mail, which only made the others form
    a batch, is ignored.
    """

    def __init__(self, world: Together, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left, self._lock = nth, threading.Lock()
        write, send = world.database.write, world.transport.send

        def mortal_write(writes: Sequence[Write]) -> list[Version | FirepostError]:
            paths = [write.path for write in writes]
            counts = len(writes) == 3 and writes[0].changes is not SENDING
            self._strike(paths, counts)
            written = write(writes)
            self._strike(paths, counts)
            return written

        def mortal_send(envelope: Envelope, data: bytes, deadline: Deadline, begin: Begin) -> Receipt:
            self._strike(envelope.recipients, counts=True)
            receipt = send(envelope, data, deadline, begin)
            self._strike(envelope.recipients, counts=True)
            return receipt

        monkeypatch.setattr(world.database, "write", mortal_write)
        monkeypatch.setattr(world.transport, "send", mortal_send)
        monkeypatch.setattr(world.database, "transact", self._no_transaction)

    def _strike(self, names: Sequence[str], counts: bool) -> None:
        if any("first" in name for name in names):
            return
        with self._lock:
            self._left -= counts
            if self._left <= 0:
                raise SystemExit

    def _no_transaction(self, path: str, decide: object) -> None:
        raise SystemExit


@pytest.mark.parametrize("policy", LeaseExpiryPolicy)
@pytest.mark.parametrize("nth", range(1, PLACES + 1))
def test_wherever_a_process_dies_every_mail_ends_according_to_the_policy(
    nth: int, policy: LeaseExpiryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as mortal, ThreadPoolExecutor(8) as threads:
        world = Together(threads, Policy(LEASE, 3, policy))
        world.write(*"abc")
        Death(world, nth, mortal)
        all_are_sent = nth > PLACES - 2
        futures = world.together("abc", results=3 if all_are_sent else 0)
        assert any(isinstance(future.exception(PATIENCE), SystemExit) for future in futures)
    died_with = [name for name in "abc" if world.delivery(name).get("state") == "PROCESSING"]
    assert bool(died_with) == (nth not in (1, PLACES))
    unsent = [name for name in died_with if "unsentLease" in world.delivery(name)]
    assert bool(unsent) == (policy is LeaseExpiryPolicy.RETRY_UNSENT and 1 < nth < 8)
    sent_before = world.sent()
    assert not set(unsent) & set(sent_before)
    world.clock.advance(LEASE)
    world.sender = world.parts.sender()
    assert all(world.handle(name).acknowledge for name in "abc")
    for name in "abc":
        before, count, delivery = sent_before.count(name), world.sent().count(name), world.delivery(name)
        if policy is LeaseExpiryPolicy.RETRY or name in unsent or name not in died_with:
            assert delivery["state"] == "SUCCESS"
            assert count == before + 1 if name in died_with else count == 1
        else:
            assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "lease-expired")
            assert count == before
