"""Single steps of the hot path, compared with the obvious alternatives."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from google.cloud.firestore_v1.types import Document
from google.events.cloud.firestore_v1 import DocumentEventData
from werkzeug.test import run_wsgi_app

from bench import naive
from bench.documents import mail, queued
from bench.figures import Reference
from bench.plan import SINGLE
from dispatcher import events
from sender.document.addresses import Address
from sender.message.compose import Composer, Defaults
from shared.firestore.values import encode_fields
from shared.http.app import base_app

STANDARD_MIME, OUR_MIME = "MIME by EmailMessage", "validation and MIME by sender/message/compose.py"
STANDARD_EVENT, OUR_EVENT = "event by proto-plus, all of it", "event by dispatcher/events.py, what decides"
FLASKS_REQUEST, OUR_REQUEST = "POST / through Flask", "POST / by the fast path of shared/http/fast_path.py"
_ROUNDS, _REPEATS = 500, 5


def measure() -> list[Reference]:
    """CPU microseconds of each step, the best of a few repeats."""
    now, fields = datetime.now(UTC), mail("micro-1", "micro", SINGLE.size)
    compose = Composer(Defaults(Address("Firepost", "firepost@example.com")))
    event = _event(fields)
    app = base_app("micro", None, len(event), lambda header, body: ("done\n", 200)).wsgi_app
    steps: dict[str, Callable[[], object]] = {
        STANDARD_MIME: lambda: naive.written(fields).as_bytes(),
        OUR_MIME: lambda: compose(fields, seed="micro", now=now),
        STANDARD_EVENT: lambda: DocumentEventData.to_dict(DocumentEventData.deserialize(event)),
        OUR_EVENT: lambda: events.parse(events.EVENT_TYPE, event, "mail"),
        FLASKS_REQUEST: lambda: run_wsgi_app(app, _request(event, CONTENT_LENGTH="")),
        OUR_REQUEST: lambda: run_wsgi_app(app, _request(event, CONTENT_LENGTH=str(len(event)))),
    }
    return [Reference(name, microseconds(step, time.process_time), "µs") for name, step in steps.items()]


def microseconds(step: Callable[[], object], clock: Callable[[], float]) -> float:
    """The duration of one call on the `clock` (in seconds), in microseconds; the lowest of several averages."""
    averages = []
    for _ in range(_REPEATS):
        begin = clock()
        for _ in range(_ROUNDS):
            step()
        averages.append((clock() - begin) / _ROUNDS)
    return 1e6 * min(averages)


def _event(fields: dict[str, object]) -> bytes:
    """The event that Eventarc sends when such a document has been queued: the document before and after."""
    name = "projects/bench/databases/(default)/documents/mail/micro-1"
    event = DocumentEventData.pb()()
    for document, content in ((event.old_value, fields), (event.value, queued(fields))):
        # Firestore's and the event's documents are the same on the wire, but have different classes.
        document.ParseFromString(Document.pb()(name=name, fields=encode_fields(content)).SerializeToString())
    data: bytes = event.SerializeToString()
    return data


def _request(body: bytes, **variables: str) -> dict[str, Any]:
    """A WSGI environment; without the content length, the fast path leaves the request to Flask."""
    fixed = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "SERVER_NAME": "bench", "SERVER_PORT": "80"}
    fixed |= {"HTTP_HOST": "127.0.0.1", "CONTENT_TYPE": "application/protobuf"}
    stream = {"wsgi.input": BytesIO(body), "wsgi.input_terminated": True, "wsgi.url_scheme": "http"}
    return {**fixed, **stream, **variables}
