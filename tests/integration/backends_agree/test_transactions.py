"""Transactions and reads in the past: what they see, how they end, and that they are serializable.

Not compared is what becomes of a writer whose document an open transaction has read: see the package's docstring.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.api_core.exceptions import Aborted
from google.api_core.retry import Retry, if_exception_type
from google.cloud import firestore
from google.cloud.firestore_v1 import FieldFilter

from tests.integration.backends_agree.sides import EXAMPLE_NUMBERS, Side, outcome
from tests.patience import patience

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("backends agree")]

READ_WRITE: dict[str, Any] = {"read_write": {}}
READ_ONLY: dict[str, Any] = {"read_only": {}}
#: How often a transaction may be begun again, on a side where transactions wait for each other.
ATTEMPTS = 30


class Script:
    """Single RPCs on one side, in documents of its own; each returns the numbers read, or the code of its error."""

    def __init__(self, side: Side, collection: str) -> None:
        self.db = side.db
        self._api = side.db._firestore_api
        self._database = side.db._database_string
        self._metadata = side.db._rpc_metadata
        self.collection = collection

    def name(self, identifier: str) -> str:
        return f"{self._database}/documents/{self.collection}/{identifier}"

    def put(self, identifier: str, number: int) -> Any:
        """Write outside of a transaction; returns the time."""
        return self.db.document(f"{self.collection}/{identifier}").set({"n": number}).update_time

    def begin(self, options: dict[str, Any] = READ_WRITE) -> bytes:
        transaction: bytes = self._call("begin_transaction", options=options).transaction
        return transaction

    def get(self, identifier: str, **selector: Any) -> object:
        def read() -> object:
            found = self._call("batch_get_documents", documents=[self.name(identifier)], **selector)
            return [one.found.fields["n"].integer_value if one.found.name else None for one in found]

        return outcome(read)

    def query(self, **selector: Any) -> object:
        query = {"from_": [{"collection_id": self.collection}], "order_by": [{"field": {"field_path": "n"}}]}

        def read() -> object:
            request = {"parent": f"{self._database}/documents", "structured_query": query, **selector}
            answers = self._api.run_query(request=request, metadata=self._metadata, retry=None)
            return [one.document.fields["n"].integer_value for one in answers if one.document.name]

        return outcome(read)

    def commit(self, transaction: bytes, **numbers: int) -> object:
        writes = [
            {"update": {"name": self.name(identifier), "fields": {"n": {"integer_value": number}}}}
            for identifier, number in numbers.items()
        ]
        return outcome(lambda: len(self._call("commit", transaction=transaction, writes=writes).write_results))

    def rollback(self, transaction: bytes) -> object:
        return outcome(lambda: self._call("rollback", transaction=transaction))

    def _call(self, method: str, **fields: Any) -> Any:
        request = {"database": self._database, **fields}
        answer = getattr(self._api, method)(request=request, metadata=self._metadata, retry=None)
        return list(answer) if method == "batch_get_documents" else answer


def committed(script: Script) -> object:
    transaction = script.begin()
    uses = [script.get("a", transaction=transaction), script.commit(transaction, a=5)]
    return [*uses, *after_the_end(script, transaction), script.get("a")]


def rolled_back(script: Script) -> object:
    transaction = script.begin()
    uses = [script.get("a", transaction=transaction), script.rollback(transaction)]
    return [*uses, *after_the_end(script, transaction), script.get("a")]


def after_the_end(script: Script, transaction: bytes) -> list[object]:
    selector = {"transaction": transaction}
    return [
        script.get("a", **selector),
        script.query(**selector),
        script.commit(transaction, a=9),
        script.rollback(transaction),
        script.rollback(transaction),
    ]


def unknown(script: Script) -> object:
    other = b"nonsense-of-some-length"
    return [script.get("a", transaction=other), script.commit(other, a=9), script.rollback(other), script.rollback(b"")]


def begun_again(script: Script) -> object:
    first = script.begin()
    script.rollback(first)
    second = script.begin({"read_write": {"retry_transaction": first}})
    return [first != second, script.get("a", transaction=second), script.commit(second, a=7), script.get("a")]


def read_only(script: Script) -> object:
    transaction = script.begin(READ_ONLY)
    seen = []
    for number in (50, 60):
        script.put("a", number)
        script.put(f"new-{number}", number)
        seen += [script.get("a", transaction=transaction), script.query(transaction=transaction)]
    refused = script.commit(transaction, a=3)
    return [seen, refused, script.get("a", transaction=transaction), script.rollback(transaction), script.query()]


def first_read_decides(script: Script) -> object:
    transaction = script.begin()
    script.put("a", 70)
    seen = script.get("a", transaction=transaction)
    script.put("b", 80)
    return [seen, script.commit(transaction, c=1), script.query()]


def own_documents_missing(script: Script) -> object:
    transaction = script.begin()
    seen = [script.get("none", transaction=transaction), script.commit(transaction, none=1)]
    return [*seen, script.get("none")]


def the_past(script: Script) -> object:
    times = [script.put("a", number) for number in (10, 20)]
    script.db.document(f"{script.collection}/a").delete()
    times.append(script.put("b", 30))
    script.put("c", 40)
    return [
        [script.get("a", read_time=time), script.query(read_time=time), in_the_past(script, time)]
        for time in [*times, times[0] + datetime.timedelta(microseconds=1)]
    ]


def in_the_past(script: Script, time: Any) -> object:
    transaction = script.begin({"read_only": {"read_time": time}})
    return [script.query(transaction=transaction), script.get("a", transaction=transaction)]


def impossible_times(script: Script) -> object:
    now = datetime.datetime.now(datetime.UTC)
    times = [now + datetime.timedelta(minutes=1), now - datetime.timedelta(days=7)]
    return [[script.get("a", read_time=time), script.query(read_time=time)] for time in times]


@pytest.mark.parametrize(
    "play",
    [
        committed,
        rolled_back,
        unknown,
        begun_again,
        read_only,
        first_read_decides,
        own_documents_missing,
        the_past,
        impossible_times,
    ],
)
def test_transactions_agree(sides: tuple[Side, Side], play: Callable[[Script], object]) -> None:
    collection = f"t{next(EXAMPLE_NUMBERS)}"
    ours, theirs = (Script(side, collection) for side in sides)
    for script in (ours, theirs):
        for number, identifier in enumerate("abc"):
            script.put(identifier, number)
    assert play(ours) == play(theirs)


@pytest.mark.timeout(patience(180))
def test_transactions_that_conflict_are_serializable(sides: tuple[Side, Side]) -> None:
    """Money moves between accounts, while others look at the sum and a bonus is paid without a transaction."""
    collection = f"t{next(EXAMPLE_NUMBERS)}"
    ours, theirs = (_moved(side.db.collection(collection)) for side in sides)
    assert ours == theirs == {"sums": {400}, "accounts": [85, 130, 90, 95], "bonus": 6}


def _moved(accounts: Any) -> dict[str, object]:
    client = accounts._client
    for account in range(4):
        accounts.document(str(account)).set({"n": 100, "open": True})
    sums: set[int] = set()

    @firestore.transactional
    def move(transaction: firestore.Transaction, source: str, target: str, amount: int) -> None:
        found = {name: accounts.document(name).get(transaction=transaction) for name in (source, target)}
        transaction.update(found[source].reference, {"n": found[source].get("n") - amount})
        transaction.update(found[target].reference, {"n": found[target].get("n") + amount})

    @firestore.transactional
    def look(transaction: firestore.Transaction) -> None:
        query = accounts.where(filter=FieldFilter("open", "==", True))
        sums.add(sum(one.get("n") for one in query.stream(transaction=transaction)))
        transaction.create(accounts.document(), {"open": False})

    def bonus() -> None:
        for _ in range(3):
            client.document(f"{accounts.id}-bonus/one").set({"n": firestore.Increment(2)}, merge=True)

    moves = [("0", "1", 10), ("1", "2", 5), ("2", "3", 15), ("3", "0", 20), ("0", "1", 25)]
    # The client repeats an aborted commit; an aborted read, which only a lock can cause, is for the application.
    persist = Retry(predicate=if_exception_type(Aborted), initial=0.1, timeout=patience(120))
    with ThreadPoolExecutor(8) as threads:
        jobs = [threads.submit(persist(move), client.transaction(max_attempts=ATTEMPTS), *each) for each in moves]
        jobs += [threads.submit(persist(look), client.transaction(max_attempts=ATTEMPTS)) for _ in range(2)]
        jobs.append(threads.submit(bonus))
        for job in jobs:
            job.result()
    return {
        "sums": sums,
        "accounts": [accounts.document(str(account)).get().get("n") for account in range(4)],
        "bonus": client.document(f"{accounts.id}-bonus/one").get().get("n"),
    }
