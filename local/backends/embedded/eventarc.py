"""Document writes as Eventarc's CloudEvents: over HTTP, at least once, in no particular order.

Format: https://cloud.google.com/eventarc/docs/cloudevents and
https://github.com/googleapis/google-cloudevents/blob/main/proto/google/events/cloud/firestore/v1/data.proto. An event
with an attribute that can't be a header comes as the Pub/Sub message that it is to Eventarc
(https://github.com/GoogleCloudPlatform/functions-framework-nodejs/issues/786).
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from unicodedata import category
from urllib.parse import quote

from google.events.cloud.firestore import DocumentEventData

from local.backends.embedded.backlog import Backlog, Backoff, Lease
from local.backends.embedded.faults import DeliveryFaults
from local.backends.embedded.firestore import fields
from local.backends.embedded.firestore.documents import Change
from local.backends.embedded.firestore.names import collection_of, path_of
from local.backends.embedded.posting import Request
from local.backends.embedded.pubsub.messages import push_body
from local.backends.embedded.pubsub.protos import PubsubMessage
from local.backends.embedded.pushing import Pusher
from local.eventarc import is_dropped

EVENT_TYPE = "google.cloud.firestore.document.v1.written"
#: Google retries for 24 hours at intervals from 10 s to 600 s, which is too slow for a developer.
RETRY = Backoff(minimum=0.1, maximum=10.0)
#: Seconds that a receiver may take to answer.
ANSWER_SECONDS = 60.0

#: Printable ASCII without the space, the double quote and the percent sign.
_VERBATIM = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')

_EventData = DocumentEventData.pb()


class Eventarc:
    """A trigger on the documents of one collection; POSTs their changes to `url`, with a `token` if given.

    `collection` may be changed at any time; events that are under way arrive all the same. With `limit_events`, those
    that are too large for Eventarc are dropped.
    """

    def __init__(
        self,
        project: str,
        collection: str,
        url: str,
        faults: DeliveryFaults,
        token: Callable[[], str] | None = None,
        limit_events: bool = True,
    ) -> None:
        self.collection = collection
        self._documents = f"projects/{project}/databases/(default)/documents"
        self._url = url
        self._faults = faults
        self._token = token
        self._limit_events = limit_events
        self._backlog: Backlog[Change] = Backlog(RETRY)
        self._lock = threading.Lock()
        self._pusher = Pusher(
            self._backlog, self._lock, self._request, lambda status: 200 <= status < 300, lambda: ANSWER_SECONDS
        )

    def watch(self, changes: Sequence[Change]) -> None:
        """Add the changes of a commit."""
        now, collection = time.monotonic(), f"{self._documents}/{self.collection}"
        with self._lock:
            for change in changes:
                if collection_of(change.name) != collection:
                    continue
                if self._limit_events and is_dropped(path_of(change.name), size(change)):
                    continue
                self._backlog.add(change, now, plan=self._faults.plan())
                self._pusher.wake()

    def stop(self) -> None:
        """Start no more deliveries."""
        self._pusher.stop()

    def waiting(self) -> int:
        """The number of events not accepted yet."""
        with self._lock:
            return len(self._backlog)

    def _request(self, lease: Lease[Change]) -> Request:
        change = lease.item.payload
        authorization = {"authorization": f"Bearer {self._token()}"} if self._token else {}
        given = attributes(change)
        if all(_fits_header(value) for value in given.values()):
            headers = {name: _header_value(value) for name, value in given.items()}
            return Request(self._url, {"content-type": "application/protobuf"} | headers | authorization, body(change))
        message = PubsubMessage(
            data=body(change), attributes=given, message_id=given["ce-id"], publish_time=change.time
        )
        subscription = f"projects/{given['ce-project']}/subscriptions/eventarc-local-documents-sub"
        return Request(
            self._url, {"content-type": "application/json"} | authorization, push_body(message, subscription, None)
        )


def attributes(change: Change) -> dict[str, str]:
    """The event's attributes; all attempts to deliver a change have the same id."""
    _, project, _, database, _ = change.name.split("/", 5)[:5]
    path = path_of(change.name)
    return {
        "ce-specversion": "1.0",
        "ce-type": EVENT_TYPE,
        "ce-source": f"//firestore.googleapis.com/projects/{project}/databases/{database}",
        "ce-subject": f"documents/{path}",
        "ce-id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{change.name}@{change.time.ToMicroseconds()}")),
        "ce-time": change.time.ToJsonString(),
        "ce-datacontenttype": "application/protobuf",
        "ce-dataschema": "https://github.com/googleapis/google-cloudevents/blob/main/proto/google/events/cloud/firestore/v1/data.proto",
        "ce-location": "local",
        "ce-project": project,
        "ce-database": database,
        "ce-namespace": "(default)",
        "ce-document": path,
    }


def _fits_header(text: str) -> bool:
    """Whether an HTTP header can hold the text: it has no control characters, and no white space at its ends."""
    return text == text.strip() and not any(category(character) == "Cc" for character in text)


def _header_value(text: str) -> str:
    """Percent-encode what is not ASCII, and spaces (CloudEvents HTTP binding 1.0.2, section 3.1.3.2)."""
    return quote(text, safe=_VERBATIM)


def size(change: Change) -> int:
    """The bytes of both documents, which is nearly the event's size."""
    return sum(document.ByteSize() for document in (change.old, change.new) if document is not None)


def body(change: Change) -> bytes:
    """The serialized `DocumentEventData`: the document after and before, and for updates the changed fields."""
    data = _EventData()
    if change.new is not None:
        data.value.MergeFromString(change.new.SerializeToString())  # the same message under another name
    if change.old is not None:
        data.old_value.MergeFromString(change.old.SerializeToString())
    if change.new is not None and change.old is not None:
        paths = fields.changed(change.old.fields, change.new.fields)
        data.update_mask.field_paths.extend(fields.render(path) for path in paths)
    encoded: bytes = data.SerializeToString()
    return encoded
