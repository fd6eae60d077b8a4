"""The collection of mail documents, over Google's Firestore client.

Every method raises `Unreachable` if Firestore fails, except `set_state`, which returns it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry, if_exception_type
from google.cloud import firestore
from google.cloud.firestore import And, Client, DocumentSnapshot, FieldFilter, Or
from google.cloud.firestore_v1.base_query import BaseFilter

from cli.exits import Failed, Unreachable, reaching
from cli.mail import Mail
from cli.selection import Query
from shared.delivery.lanes import LANE
from shared.delivery.model import State
from shared.errors import FirepostError, Unavailable
from shared.firestore.database import Database, Stale, Unwritable, Version, Write

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

    def __init__(self, client: Client, database: Database, collection: str, name: str) -> None:
        """Both `client` and `database` are Firestore: one reads, one writes in bulk. `name` is its name in errors."""
        self._client = client
        self._database = database
        self._name = name
        self._collection = client.collection(collection)
        self._retry_options: dict[str, Any] = {
            "retry": Retry(initial=0.1, timeout=PATIENCE_SECONDS),
            "timeout": REQUEST_SECONDS,
        }

    def get(self, path: str) -> Mail | None:
        """The document, or None if there is none."""
        with reaching(self._name):
            snapshot = self._client.document(path).get(field_paths=["delivery", LANE], **self._retry_options)
        return _mail(snapshot) if snapshot.exists else None

    def find(
        self, queries: Sequence[Query], fields: Sequence[str] = ("delivery",), reads: Reads | None = None
    ) -> Iterator[Mail]:
        """The documents that the queries find, with these fields, in each query's order, until `reads` are used up.

        Documents written meanwhile may be missing; none comes twice.
        """
        pages = chain.from_iterable(self.pages(query, fields, reads) for query in queries)
        found = chain.from_iterable(pages)
        return found if len(queries) == 1 else _different(found)

    def count(self, query: Query) -> int:
        """How many documents the query finds."""
        options = {**self._retry_options, "timeout": COUNT_SECONDS}
        with reaching(self._name):
            answer: Any = self._asked(query).count().get(**options)  # typed as one list, but is a list of lists
        return int(answer[0][0].value)

    def pages(
        self, query: Query, fields: Sequence[str], reads: Reads | None = None, after: str | None = None
    ) -> Iterator[list[Mail]]:
        """What the query finds, a page at a time, until `reads` are used up.

        `after` is the path of the document, which need not exist, after which a query ordered by id begins.
        """
        everything = self._asked(query).select(fields).order_by(query.order)
        page = everything
        if after is not None:
            page = everything.start_after({query.order: self._client.document(after)})
        while size := PAGE if reads is None else min(PAGE, reads.left):
            snapshots = self._read(page.limit(size))
            if reads is not None:
                reads.done += len(snapshots)
            if snapshots:
                yield [_mail(snapshot) for snapshot in snapshots]
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

    def set_state(self, mails: Sequence[Mail], state: State) -> list[str | Unreachable | None]:
        """Set `delivery.state` of different mails.

        Returns for each why it was not written, in one word, or None: `changed`, since it was read, or `unwritable`,
        because it would be too large. If the answer to a successful write is lost, it also looks like a change, but the
        document says so. Where Firestore gives no answer, it is the failure, and the document may be written or not.
        """
        answers: dict[str, str | None] = {}
        again = Retry(if_exception_type(Unavailable), initial=0.1, timeout=PATIENCE_SECONDS)
        try:
            with reaching(self._name):
                again(self._write_state)(mails, state, answers)
        except Unreachable as failure:
            return [answers.get(mail.path, failure) for mail in mails]
        return [answers[mail.path] for mail in mails]

    def _write_state(self, mails: Sequence[Mail], state: State, answers: dict[str, str | None]) -> None:
        """Write those mails that have no answer yet. Raises `Unavailable` if some still have none."""
        rest = [mail for mail in mails if mail.path not in answers]
        writes = [Write(mail.path, {"delivery.state": state}, mail.version) for mail in rest]
        outcomes = dict(zip((mail.path for mail in rest), self._database.write(writes), strict=True))
        answers |= {path: _refusal(each) for path, each in outcomes.items() if not isinstance(each, Unavailable)}
        for outcome in outcomes.values():
            if isinstance(outcome, Unavailable):
                raise outcome

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

    def delete(self, mail: Mail) -> None:
        """Delete a document, unless it has changed since it was read."""
        unchanged = self._client.write_option(last_update_time=mail.version)
        with reaching(self._name), suppress(google_errors.FailedPrecondition, google_errors.NotFound):
            self._client.document(mail.path).delete(option=unchanged, **self._retry_options)


def _refusal(outcome: Version | FirepostError) -> str | None:
    match outcome:
        case Stale():
            return "changed"
        case Unwritable():
            return "unwritable"
    return None


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
        version=snapshot.update_time.timestamp_pb(),
    )
