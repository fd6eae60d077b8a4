"""Keeps documents and dead letters in files from one run of the stack to the next.

Documents are read and written through Firestore's API, so it works with each backend. What is written back causes
events: so a document that was queued when the stack ended is queued again, although its message is lost.
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.api_core.retry import Retry, if_exception_type
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.types import BatchWriteRequest, Document, RunQueryRequest, StructuredQuery, Write
from google.protobuf.json_format import MessageToDict, ParseDict
from google.pubsub_v1.types import PubsubMessage

from local.clients import firestore_api
from local.errors import CannotStart, PartFailed
from shared.pubsub.letters import Letter

logger = logging.getLogger(__name__)

#: Documents per request: Firestore takes 10 MiB, and a document has 1 MiB at most.
WRITTEN_AT_ONCE = 9
#: Seconds that a request may take, and within which a failed one is repeated: longer, the database is gone.
REQUEST_SECONDS, RETRY_SECONDS = 30.0, 5.0
#: How Google's emulator recognizes a caller to whom no security rules apply. The embedded one has none.
_OWNER = (("authorization", "Bearer owner"),)


@contextmanager
def reserved(directory: Path) -> Iterator[None]:
    """Create the directory if need be, and keep other stacks off while the block runs. Raises `CannotStart`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise CannotStart(f"--data {directory}: {error.strerror}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(f"--data {directory}: another local stack uses it.") from None
        yield


class KeptDocuments:
    """The documents of a database, in a file of one JSON object per line."""

    def __init__(self, file: Path, firestore: str, project: str) -> None:
        """`firestore` is the address (`host:port`) of the database."""
        self._file = file
        self._firestore = firestore
        self._database = f"projects/{project}/databases/(default)"
        self._is_restored = False
        # Whatever fails is tried again: it may be a fault on demand.
        retry = Retry(if_exception_type(GoogleAPICallError), initial=0.1, timeout=RETRY_SECONDS)
        self._call: dict[str, Any] = {"metadata": _OWNER, "timeout": REQUEST_SECONDS, "retry": retry}

    def restore(self) -> int:
        """Write the file's documents into the database; returns how many. Raises `PartFailed`."""
        count = 0
        try:
            with ExitStack() as open_:
                client = open_.enter_context(firestore_api(self._firestore))
                if self._file.exists():
                    documents = self._read(open_.enter_context(self._file.open(encoding="utf-8")))
                    while some := list(islice(documents, WRITTEN_AT_ONCE)):
                        self._write(client, some)
                        count += len(some)
        except (ValueError, GoogleAPIError) as error:
            raise PartFailed(f"{self._file} can't be restored: {type(error).__name__}: {error}") from error
        self._is_restored = True
        return count

    def save(self) -> None:
        """Replace the file, in one step. A failure is logged, and leaves the file as it was."""
        if not self._is_restored:  # the database lacks what the file has
            return
        try:
            with firestore_api(self._firestore) as client:
                _replace(self._file, self._all(client))
        except (OSError, GoogleAPIError) as error:
            logger.error("The documents can't be saved in %s: %s", self._file, error)

    def _all(self, client: FirestoreClient) -> Iterator[dict[str, object]]:
        everything = StructuredQuery(from_=[StructuredQuery.CollectionSelector(all_descendants=True)])
        request = RunQueryRequest(parent=f"{self._database}/documents", structured_query=everything)
        for answer in client.run_query(request, **self._call):
            if answer.document.name:
                values = MessageToDict(Document.pb(answer.document))
                path = answer.document.name.removeprefix(f"{self._database}/documents/")
                yield {"path": path, "fields": values.get("fields", {})}

    def _read(self, lines: IO[str]) -> Iterator[Document]:
        for line in lines:
            values = json.loads(line)
            document = Document()
            ParseDict({"fields": values["fields"]}, Document.pb(document))
            document.name = f"{self._database}/documents/{values['path']}"
            yield document

    def _write(self, client: FirestoreClient, documents: list[Document]) -> None:
        writes = [Write(update=document) for document in documents]
        answer = client.batch_write(BatchWriteRequest(database=self._database, writes=writes), **self._call)
        refused = next((status for status in answer.status if status.code), None)
        if refused is not None:
            raise ValueError(refused.message)


def save_letters(file: Path, letters: Callable[[], Iterable[Letter]]) -> None:
    """Replace the file, in one step. A failure is logged, and leaves the file as it was."""
    try:
        _replace(
            file,
            (
                {"data": base64.b64encode(letter.data).decode(), "attributes": dict(letter.attributes)}
                for letter in letters()
            ),
        )
    except (OSError, GoogleAPIError) as error:
        logger.error("The dead letters can't be saved in %s: %s", file, error)


def load_letters(file: Path) -> list[PubsubMessage]:
    """The messages of the dead letters in the file, which may be missing. Raises `PartFailed`."""
    if not file.exists():
        return []
    try:
        with file.open(encoding="utf-8") as lines:
            found = [json.loads(line) for line in lines]
        return [
            PubsubMessage(data=base64.b64decode(each["data"], validate=True), attributes=each["attributes"])
            for each in found
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise PartFailed(f"{file} can't be restored: {type(error).__name__}: {error}") from error


def _replace(file: Path, records: Iterable[Mapping[str, object]]) -> None:
    """Write one JSON object per line, in one step: a failure leaves the file as it was."""
    draft = file.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as lines:
        for record in records:
            lines.write(json.dumps(record) + "\n")
    draft.replace(file)
