"""Publishes lifecycle events to a channel of Eventarc, as Trigger Email does: the same requests, the same content.

The extension calls `publish` of firebase-admin's `Channel`
(https://github.com/firebase/firebase-admin-node/tree/master/src/eventarc), which posts to
https://cloud.google.com/eventarc/docs/reference/publishing/rest/v1/projects.locations.channels/publishEvents
"""

from __future__ import annotations

import json
from collections.abc import Collection
from http import HTTPStatus
from typing import Any, Final

import google.auth
import google.auth.exceptions
import requests
import tenacity
from google.auth.transport.requests import AuthorizedSession
from requests.adapters import HTTPAdapter

from dispatcher import snapshots
from dispatcher.event_names import EventType
from dispatcher.lifecycle import LifecycleEvent
from shared.batcher import REQUEST_SECONDS
from shared.errors import Unavailable
from shared.firestore.database import RawDocument
from shared.pubsub.publisher import Unpublishable

_API: Final = "https://eventarcpublishing.googleapis.com/v1"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"

#: Seconds for which a transient failure is retried; after that, Eventarc repeats the Firestore event.
_RETRY_SECONDS = 5.0
#: Answers that mean that the event itself is wrong, such as too large, and that it would be refused again.
_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
_PASSING = frozenset({HTTPStatus.TOO_MANY_REQUESTS, *(status for status in HTTPStatus if status >= 500)})

#: The types whose `doc` is a snapshot; the others have its data.
_WITH_SNAPSHOT = frozenset({EventType.START, EventType.PROCESSING, EventType.SUCCESS, EventType.COMPLETE})


def cloud_event(event: LifecycleEvent, source: str | None = None) -> dict[str, Any]:
    """The event as an item of the request's `events`. It contains the whole document.

    `source` is the CloudEvent's; None means that of the Firestore event, the database.
    """
    document = event.change.document()
    attributes = {
        "time": {"ceTimestamp": event.time},
        "subject": {"ceString": event.change.path.rpartition("/")[2]},
        "datacontenttype": {"ceString": "application/json"},
    }
    return {
        "@type": "type.googleapis.com/io.cloudevents.v1.CloudEvent",
        "id": event.id,
        "type": event.type.value,
        "specVersion": "1.0",
        "source": source or event.source or _database(document),
        "attributes": attributes,
        "textData": json.dumps(_data(event.type, document), ensure_ascii=False, allow_nan=False),
    }


def _database(document: RawDocument) -> str:
    name: str = document.name
    return f"//firestore.googleapis.com/{name.partition('/documents/')[0]}"


def _data(kind: EventType, document: RawDocument) -> dict[str, Any]:
    if kind in _WITH_SNAPSHOT:
        return {"doc": snapshots.snapshot(document)}
    data = snapshots.data(document)
    match data:
        case {"delivery": {"error": error}} if kind is EventType.ERROR:
            return {"doc": data, "err": error}
    return {"doc": data}


class _Passing(Unavailable):
    """The same request may succeed at once."""


class EventarcChannel:
    """A channel of Eventarc as a `Place`, over connections that are kept alive. Thread-safe."""

    def __init__(
        self,
        channel: str,
        session: requests.Session,
        *,
        api: str = _API,
        source: str | None = None,
        selected: Collection[EventType] | None = None,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """`channel` is `projects/…/locations/…/channels/…`, `session` adds the credentials.

        `source` is that of the events; None means that of the Firestore events. Other types than `selected` are left
        out; None means no others.
        """
        self._url = f"{api}/{channel}:publishEvents"
        self._session = session
        self._source = source
        self._selected = frozenset(EventType) if selected is None else frozenset(selected)
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Passing),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=1),
            stop=tenacity.stop_after_delay(retry_seconds),
            reraise=True,
        )

    def publish(self, event: LifecycleEvent) -> None:
        """See `Place.publish`. Returns at once if the type is not selected."""
        if event.type in self._selected:
            body = json.dumps({"events": [cloud_event(event, self._source)]}, ensure_ascii=False).encode()
            self._retrying(self._post, body)

    def _post(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        try:
            answer = self._session.post(
                self._url, body, headers=headers, timeout=REQUEST_SECONDS, allow_redirects=False
            )
        except requests.RequestException as error:
            raise _Passing(f"Eventarc's channel does not answer: {type(error).__name__}") from error
        except google.auth.exceptions.GoogleAuthError as error:
            raise Unavailable(f"There is no token for Eventarc's channel: {type(error).__name__}") from error
        if answer.status_code != HTTPStatus.OK:
            raise _kind(answer.status_code)(f"Eventarc's channel did not accept the event: {answer.status_code}")


def _kind(status: int) -> type[Unavailable]:
    if status in _REFUSED:
        return Unpublishable
    return _Passing if status in _PASSING else Unavailable


def connect_eventarc(connections: int) -> AuthorizedSession:
    """A session with the service's own credentials, for so many threads; Google is asked for a token on first use."""
    credentials, _ = google.auth.default(scopes=[_SCOPE])
    session = AuthorizedSession(credentials)
    session.mount("https://", HTTPAdapter(pool_maxsize=connections))
    return session


def connect_emulator(connections: int) -> requests.Session:
    """A session without credentials, and without the proxies of the environment, for so many threads."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=connections))
    session.trust_env = False
    return session
