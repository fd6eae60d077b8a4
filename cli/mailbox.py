"""The collection of mail documents, over Google's Firestore client.

Every method raises `Unreachable` when Firestore did not do it.
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

#: Documents per query: one page is all that is held of a collection of any size.
PAGE = 300
#: Seconds for one request, and for repeating it while Firestore is out of order.
REQUEST_SECONDS, PATIENCE_SECONDS = 10.0, 5.0


class Mailbox:
    """Reads documents without what is in the mails, and asks for new attempts."""

    def __init__(self, client: Client, collection: str, name: str) -> None:
        """`name` is how Firestore is called when it fails."""
        self._client = client
        self._name = name
        self._collection = client.collection(collection)
        self._patient: dict[str, Any] = {
            "retry": Retry(initial=0.1, timeout=PATIENCE_SECONDS),
            "timeout": REQUEST_SECONDS,
        }

    def get(self, path: str) -> Mail | None:
        """The document, or None if there is none."""
        with reaching(self._name):
            snapshot = self._client.document(path).get(field_paths=["delivery"], **self._patient)
        return _mail(snapshot) if snapshot.exists else None

    def find(self, selection: Selection) -> Iterator[Mail]:
        """The documents that are meant, in the order of their ids.

        What is written meanwhile may be among them or not; no document comes twice.
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
            return list(page.get(**self._patient))

    def set_retry(self, mail: Mail) -> bool:
        """Ask for another attempt, unless the document has changed since it was read: then nothing is written.

        An answer that got lost, too, looks like a change: False. The document says RETRY then.
        """
        unchanged = self._client.write_option(last_update_time=mail.version)
        document = self._client.document(mail.path)
        with reaching(self._name):
            try:
                document.update({"delivery.state": State.RETRY.value}, option=unchanged, **self._patient)
            except (google_errors.FailedPrecondition, google_errors.NotFound):
                return False
        return True

    def create(self, path: str, fields: Mapping[str, Any]) -> None:
        """Write a new document. Raises `Failed` if there is one already, or if it can't be stored.

        Not repeated: after a lost answer, a repetition would find the document and call it someone else's.
        """
        with reaching(f"{self._name}, and whether {path} was written is not known"):
            try:
                self._client.document(path).create(dict(fields), retry=None, timeout=REQUEST_SECONDS)
            except google_errors.AlreadyExists as error:
                raise Failed(f"{path} exists already; nothing was written.") from error
            except google_errors.InvalidArgument as error:
                raise Failed(f"Firestore refuses the document: {error.message}") from error
            except (TypeError, ValueError) as error:  # an integer beyond 64 bits, say
                raise Failed("A value of the mail can't be stored in Firestore.") from error


def _mail(snapshot: DocumentSnapshot[Any]) -> Mail:
    delivery = (snapshot.to_dict() or {}).get("delivery")
    return Mail(
        path=snapshot.reference.path,
        delivery=delivery if isinstance(delivery, Mapping) else None,
        created=snapshot.create_time,
        version=snapshot.update_time,
    )
