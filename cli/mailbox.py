"""The collection of mail documents, over Google's Firestore client.

Every method raises `Unreachable` if Firestore fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry
from google.cloud.firestore import Client, DocumentSnapshot, FieldFilter, Query

from cli.exits import Failed, reaching
from cli.mail import Mail
from cli.selection import Selection
from shared.delivery.model import State

#: Documents per query: only one page is in memory, whatever the collection's size.
PAGE = 300
#: Time limits in seconds: for one request, and for retries while Firestore fails.
REQUEST_SECONDS, PATIENCE_SECONDS = 10.0, 5.0


class Mailbox:
    """Reads documents without the content of the mails, and requests new attempts."""

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

    def find(self, selection: Selection) -> Iterator[Mail]:
        """The selected documents, by id.

        Documents written meanwhile may be missing; none comes twice.
        """
        query = self._collection.select(["delivery"])
        for condition in selection.conditions():
            query = query.where(filter=FieldFilter(*condition))
        page = query = query.order_by("__name__").limit(PAGE)
        while snapshots := self._read(page):
            yield from filter(selection.includes, map(_mail, snapshots))
            page = query.start_after(snapshots[-1])

    def _read(self, page: Query) -> list[DocumentSnapshot[Any]]:
        with reaching(self._name):
            return list(page.get(**self._retry_options))

    def set_retry(self, mail: Mail) -> bool:
        """Request another attempt; returns False, without writing, if the document has changed since it was read.

        If the answer to a successful write is lost, it also looks like a change (False), but the document says RETRY.
        """
        unchanged = self._client.write_option(last_update_time=mail.version)
        document = self._client.document(mail.path)
        with reaching(self._name):
            try:
                document.update({"delivery.state": State.RETRY.value}, option=unchanged, **self._retry_options)
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


def _mail(snapshot: DocumentSnapshot[Any]) -> Mail:
    delivery = (snapshot.to_dict() or {}).get("delivery")
    return Mail(
        path=snapshot.reference.path,
        delivery=delivery if isinstance(delivery, Mapping) else None,
        created=snapshot.create_time,
        version=snapshot.update_time,
    )
