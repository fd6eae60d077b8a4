"""The reconciler over the API: how many reads a run costs, how many requests it makes, and how fast it publishes.

All is real but the mails: the embedded Firestore and Pub/Sub behind gRPC, and the services' own adapters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from math import ceil
from time import monotonic

import pytest

from dispatcher.catching_up import BULK
from dispatcher.outbox import Outbox
from dispatcher.reconciler import PAGE, Reconciler
from local.backends import BackendOptions
from local.backends.embedded import EmbeddedBackend
from local.clients import publisher_client
from shared.batcher import Batching
from shared.control import Control
from shared.delivery.policy import Policy
from shared.delivery.store import MailStore
from shared.errors import FirepostError
from shared.firestore.client import connect_firestore
from shared.firestore.database import MAX_WRITES, FirestoreDatabase, RawWrite, Version, Write
from shared.pubsub.publisher import RawMessage, TopicPublisher
from tests.assembly import COLLECTION, LEASE
from tests.patience import patience

pytestmark = pytest.mark.slow

PROJECT = "demo-scale"
AHEAD = timedelta(days=30)
#: What a run reads whatever there is: the position, what is paused, and as one read each, what is in PROCESSING and
#: what is due.
CONSTANT = 4


class Database(FirestoreDatabase):
    """Records the number of writes in each request."""

    requests: list[int]

    def _batch_write(self, writes: Sequence[RawWrite]) -> list[Version | FirepostError]:
        self.requests.append(len(writes))
        return super()._batch_write(writes)


class Topic(TopicPublisher):
    """Records the number of messages in each request, and their documents."""

    requests: list[int]
    documents: set[str]

    def _ids(self, messages: Sequence[RawMessage]) -> Sequence[str]:
        self.requests.append(len(messages))
        self.documents.update(each.attributes["document"] for each in messages)
        return super()._ids(messages)


class System:
    """A collection, a topic, and what the reconciler needs. `now` is its clock."""

    def __init__(self, backend: EmbeddedBackend, database: Database, topic: Topic) -> None:
        self.backend, self.database, self.topic = backend, database, topic
        self.now = datetime.now(UTC)

    def schedule(self, number: int) -> None:
        due = self.now + AHEAD
        delivery = {"state": "PENDING", "attempts": 0, "error": None, "nextAttemptTime": due}
        message = {"subject": "Hello", "text": "Hello."}
        mail = {"to": "ada@example.com", "message": message, "sendAt": due, "delivery": delivery}
        for start in range(0, number, MAX_WRITES):
            places = range(start, min(start + MAX_WRITES, number))
            outcomes = self.database.write([Write(f"{COLLECTION}/{place:06}", mail, None) for place in places])
            assert {type(outcome) for outcome in outcomes} == {Version}
        self.database.requests.clear()

    def run(self) -> tuple[dict[str, int | bool], int]:
        """A run's summary, and the reads that it cost."""
        before = self.backend.reads
        policy = Policy(LEASE, stranded_after=2 * AHEAD)
        outbox = Outbox(self.topic, MailStore(self.database, policy), Batching())
        control = Control(self.database, COLLECTION)
        summary = Reconciler(self.database, outbox, policy, COLLECTION, control, lambda: self.now).run()
        return summary, self.backend.reads - before


@pytest.fixture
def system() -> Iterator[System]:
    backend = EmbeddedBackend(BackendOptions(PROJECT, "nothing", "http://127.0.0.1:1/"))
    backend.start()
    client = publisher_client(backend.pubsub)
    client.create_topic(name=f"projects/{PROJECT}/topics/mail")
    with closing(connect_firestore(backend.firestore)) as connection:
        database, topic = Database(connection, PROJECT, "(default)"), Topic(client, PROJECT, "mail")
        database.requests, topic.requests, topic.documents = [], [], set()
        yield System(backend, database, topic)
    client.transport.close()
    backend.stop()


def test_scheduled_mails_cost_a_page_until_they_are_due_and_then_a_read_and_a_write_each(system: System) -> None:
    system.schedule(2_500)
    for _ in range(3):
        assert system.run() == ({"examined": PAGE, "complete": True}, PAGE + CONSTANT)
    system.now += AHEAD
    summary, reads = system.run()
    assert summary["due"] == 2_500
    assert reads <= 2_500 + PAGE + CONSTANT
    assert sum(system.topic.requests) == sum(system.database.requests) == 2_500
    assert len(system.topic.requests) <= 1 + ceil(2_500 / BULK)
    assert max(system.database.requests) <= MAX_WRITES
    assert "due" not in system.run()[0]


def test_runs_at_the_same_time_publish_everything_between_them(system: System) -> None:
    system.schedule(1_500)
    system.now += AHEAD
    with ThreadPoolExecutor(2) as threads:
        for run in [threads.submit(system.run) for _ in range(2)]:
            run.result(patience(60))
    assert len(system.topic.documents) == 1_500
    assert "due" not in system.run()[0]


@pytest.mark.timeout(patience(600))
@pytest.mark.parametrize(
    "number",
    [
        5_000,
        pytest.param(
            100_000, marks=pytest.mark.skipif(not os.environ.get("EXPLORE"), reason="a minute of CPU: `make explore`")
        ),
    ],
)
def test_what_is_due_at_once_is_published_at_over_a_thousand_documents_a_second(system: System, number: int) -> None:
    """100,000 within two minutes. The time is mostly that of the embedded backend, which answers from one core."""
    system.schedule(number)
    assert system.run() == ({"examined": PAGE, "complete": True}, PAGE + CONSTANT)
    system.now += AHEAD
    began = monotonic()
    while not system.run()[0]["complete"]:
        assert monotonic() - began < patience(30 + number / 833)
    assert monotonic() - began < patience(30 + number / 833)
    assert len(system.topic.documents) == number
    assert len(system.topic.requests) == 1 + ceil((number - PAGE) / BULK)
    assert len(system.database.requests) == ceil(number / MAX_WRITES)
