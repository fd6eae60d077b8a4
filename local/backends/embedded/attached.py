"""The changes of documents in a Firestore emulator that somebody else runs, such as `firebase emulators:start`.

Google's emulator sends events only to the address that it was started with, which is that of Firebase's Functions
emulator or none. So the collection is listened to, as by any client. An event then stands for all writes since the one
before it, which the dispatcher allows for: it decides by the newest.
https://firebase.google.com/docs/firestore/reference/rpc/google.firestore.v1#listenrequest
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
from google.cloud.firestore_v1.types import TargetChange
from google.protobuf.timestamp_pb2 import Timestamp

from local.backends.embedded.firestore.documents import Change
from local.backends.embedded.firestore.protos import Document, ListenRequest, ListenResponse
from local.backends.embedded.firestore.protos import TargetChange as RawTargetChange
from local.backends.embedded.firestore.store import Watcher
from local.errors import CannotStart
from shared.delivery.model import DECIDING_TIMES
from shared.firestore.client import Connection, connect_firestore

logger = logging.getLogger(__name__)

#: Seconds until the emulator must have answered for the first time.
START_SECONDS = 15.0
#: Seconds until another attempt to reach it.
PAUSE_SECONDS = 1.0

_Kind = TargetChange.TargetChangeType


class Attached:
    """Watches the documents of a collection in the emulator at `address` (host:port).

    `watchers` get what changes after the start; the old document has only those of its fields that decisions depend on.
    """

    def __init__(self, address: str, project: str, collection: str, watchers: Sequence[Watcher]) -> None:
        self._address = address
        self._database = f"projects/{project}/databases/(default)"
        self._collection = collection
        self._watchers = watchers
        self._known: dict[str, Document] = {}
        self._unseen: set[str] = set()  # known, but not told of by the present stream, until it is current
        self._was_current = threading.Event()
        self._is_lost = False
        self._stopping = threading.Event()
        self._call: Any = None  # the stream
        self._thread = threading.Thread(target=self._run, name="embedded-attached", daemon=True)

    def start(self) -> None:
        """Return when all documents are known. Raises `CannotStart` if the emulator does not answer."""
        self._thread.start()
        if not self._was_current.wait(START_SECONDS):
            raise CannotStart(
                f"No Firestore emulator answers at {self._address} (--firestore): start it first, for example with "
                "'firebase emulators:start'."
            )

    def stop(self) -> None:
        """Stop watching; safe to call twice. The emulator keeps running."""
        self._stopping.set()
        if self._call is not None:
            self._call.cancel()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        connection = connect_firestore(self._address)
        while not self._stopping.is_set():
            try:
                self._listen(connection)
            except grpc.RpcError as error:
                if self._was_current.is_set() and not self._is_lost and not self._stopping.is_set():
                    self._is_lost = True
                    logger.warning("The Firestore emulator at %s is lost: %s.", self._address, error.code().name)
            self._stopping.wait(PAUSE_SECONDS)
        connection.close()

    def _listen(self, connection: Connection) -> None:
        """Follow one stream until it ends, which raises `grpc.RpcError`."""
        ended = threading.Event()
        self._unseen = set(self._known)
        listen: Callable[..., Any] = connection.transport.listen
        headers = (*connection.headers, ("google-cloud-resource-prefix", self._database))
        self._call = call = listen(self._requests(ended), metadata=headers)
        if self._stopping.is_set():
            call.cancel()
        try:
            for response in call:
                self._take(ListenResponse.FromString(type(response).serialize(response)))
        finally:
            call.cancel()
            ended.set()

    def _requests(self, ended: threading.Event) -> Iterator[ListenRequest]:
        """The one request of a stream, which stays open as long as there may be more."""
        above, _, collection_id = f"/{self._collection}".rpartition("/")
        query = {"parent": f"{self._database}/documents{above}"}
        yield ListenRequest(
            database=self._database,
            add_target={"query": query | {"structured_query": {"from_": [{"collection_id": collection_id}]}}},
        )
        ended.wait()

    def _take(self, response: ListenResponse) -> None:
        match response.WhichOneof("response_type"):
            case "document_change" if response.document_change.target_ids:
                self._see(response.document_change.document)
            case "document_change":
                self._miss(response.document_change.document.name, response.document_change.document.update_time)
            case "document_delete" | "document_remove" as kind:
                gone = getattr(response, kind)
                self._miss(gone.document, gone.read_time)
            case "target_change":
                self._change_target(response.target_change)

    def _change_target(self, change: RawTargetChange) -> None:
        match change.target_change_type:
            case _Kind.CURRENT:
                self._become_current(change.read_time)
            case _Kind.RESET:
                self._unseen = set(self._known)
            case _Kind.REMOVE:
                logger.warning("The Firestore emulator at %s refuses: %s", self._address, change.cause.message)

    def _see(self, document: Document) -> None:
        name, old = document.name, self._known.get(document.name)
        self._unseen.discard(name)
        kept = Document(name=name, create_time=document.create_time, update_time=document.update_time)
        for field in ("delivery", *DECIDING_TIMES):
            if field in document.fields:
                kept.fields[field].CopyFrom(document.fields[field])
        self._known[name] = kept
        if self._was_current.is_set() and (old is None or old.update_time != document.update_time):
            self._tell(Change(name, old, document, document.update_time))

    def _miss(self, name: str, time: Timestamp) -> None:
        self._unseen.discard(name)
        if (old := self._known.pop(name, None)) is not None:
            self._tell(Change(name, old, None, time))

    def _tell(self, change: Change) -> None:
        for watcher in self._watchers:
            watcher([change])

    def _become_current(self, time: Timestamp) -> None:
        for name in list(self._unseen):
            self._miss(name, time)
        if self._is_lost:
            self._is_lost = False
            logger.info("The Firestore emulator at %s answers again.", self._address)
        self._was_current.set()
