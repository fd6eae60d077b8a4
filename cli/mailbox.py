"""The collection of mail documents, over Google's Firestore client.

Every method raises `Unreachable` if Firestore fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry
from google.cloud import firestore
from google.cloud.firestore import And, Client, DocumentSnapshot, FieldFilter, Or
from google.cloud.firestore_v1.base_query import BaseFilter

from cli.exits import Failed, Unreachable, reaching
from cli.mail import Mail
from cli.selection import Query
from shared.delivery.model import State

#: Documents per query: only one page is in memory, whatever the collection's size.
PAGE = 300
#: Time limits in seconds: for one request, and for retries while Firestore fails.
REQUEST_SECONDS, PATIENCE_SECONDS = 10.0, 5.0
#: The same for a count, which takes longer the more it counts; Firestore itself gives up after 60 seconds
#: (https://firebase.google.com/docs/firestore/query-data/aggregation-queries#limitations).
COUNT_SECONDS = 60.0


@dataclass(slots=True)
class Reads:
    """A bound on the documents that a command reads, as each one costs; `done` were read."""

    limit: int
    done: int = 0

    @property
    def left(self) -> int:
        """How many more may be read."""
        return self.limit - self.done


class Mailbox:
    """Reads and counts documents, and requests new attempts or none."""

    def __init__(self, client: Client, collection: str, name: str) -> None:
        """`name` is Firestore's name in error texts."""
        self._client = client
        self._name = name
        self._collection = client.collection(collection)
        self._retry_options: dict[str, Any] = {
            "retry": Retry(initial=0.1, timeout=PATIENCE_SECONDS),
            "timeout": REQUEST_SECONDS,
        }

    def get(self, path: str) -> Mail | None:
        """The document, or None if there is none."""
        with reaching(self._name):
            snapshot = self._client.document(path).get(field_paths=["delivery"], **self._retry_options)
        return _mail(snapshot) if snapshot.exists else None

    def find(
        self, queries: Sequence[Query], fields: Sequence[str] = ("delivery",), reads: Reads | None = None
    ) -> Iterator[Mail]:
        """The documents that the queries find, with these fields, in each query's order, until `reads` are used up.

        Documents written meanwhile may be missing; none comes twice.
        """
        found = chain.from_iterable(self._pages(query, fields, reads) for query in queries)
        return found if len(queries) == 1 else _different(found)

    def count(self, query: Query) -> int:
        """How many documents the query finds."""
        options = {**self._retry_options, "timeout": COUNT_SECONDS}
        with reaching(self._name):
            answer: Any = self._asked(query).count().get(**options)  # typed as one list, but is a list of lists
        return int(answer[0][0].value)

    def _pages(self, query: Query, fields: Sequence[str], reads: Reads | None) -> Iterator[Mail]:
        everything = self._asked(query).select(fields).order_by(query.order)
        page = everything
        while size := PAGE if reads is None else min(PAGE, reads.left):
            snapshots = self._read(page.limit(size))
            if reads is not None:
                reads.done += len(snapshots)
            yield from map(_mail, snapshots)
            if len(snapshots) < size:
                break
            page = everything.start_after(snapshots[-1])

    def _asked(self, query: Query) -> firestore.Query:
        asked = firestore.Query(self._collection)
        filters: list[BaseFilter] = [FieldFilter(*condition) for condition in query.conditions]
        return asked.where(filter=(Or if query.any_of else And)(filters)) if filters else asked

    def _read(self, page: firestore.Query) -> list[DocumentSnapshot[Any]]:
        with reaching(self._name):
            try:
                return list(page.get(**self._retry_options))
            except google_errors.FailedPrecondition as error:
                raise Unreachable(
                    f"{self._name} lacks an index for this, which the Terraform module creates (see "
                    f"docs/command-line.md, Indexes): {error.message}"
                ) from error

    def set_retry(self, mail: Mail) -> bool:
        """Request another attempt; see `set_state`."""
        return self.set_state(mail, State.RETRY)

    def set_state(self, mail: Mail, state: State) -> bool:
        """Set `delivery.state`; returns False, without writing, if the document has changed since it was read.

        If the answer to a successful write is lost, it also looks like a change (False), but the document says so.
        """
        unchanged = self._client.write_option(last_update_time=mail.version)
        document = self._client.document(mail.path)
        with reaching(self._name):
            try:
                document.update({"delivery.state": state.value}, option=unchanged, **self._retry_options)
            except (google_errors.FailedPrecondition, google_errors.NotFound):
                return False
        return True

    def create(self, path: str, fields: Mapping[str, Any]) -> None:
        """Write a new document. Raises `Failed` if it already exists, or can't be stored.

        Not retried: after a lost answer, a retry would find the document and mistake it for someone else's.
        """
        with reaching(f"{self._name}, and whether {path} was written is unknown"):
            try:
                self._client.document(path).create(dict(fields), retry=None, timeout=REQUEST_SECONDS)
            except google_errors.AlreadyExists as error:
                raise Failed(f"{path} already exists; nothing was written.") from error
            except google_errors.InvalidArgument as error:
                raise Failed(f"Firestore refuses the document: {error.message}") from error
            except (TypeError, ValueError) as error:  # an integer beyond 64 bits, for example
                raise Failed("A value of the mail can't be stored in Firestore.") from error


def _different(mails: Iterable[Mail]) -> Iterator[Mail]:
    seen: set[str] = set()
    for mail in mails:
        if mail.path not in seen:
            seen.add(mail.path)
            yield mail


def _mail(snapshot: DocumentSnapshot[Any]) -> Mail:
    return Mail(
        path=snapshot.reference.path,
        fields=snapshot.to_dict() or {},
        created=snapshot.create_time,
        version=snapshot.update_time,
    )
