"""What arrives at the services: tokens, requests, pushed messages, events; and what they read from Firestore."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from io import BytesIO
from random import Random
from types import SimpleNamespace
from typing import Any, Final

import trustme
from flask import Flask
from google.auth import crypt, jwt
from werkzeug.test import run_wsgi_app

from dispatcher.app import create_app as create_dispatcher
from dispatcher.eventarc import cloud_event
from dispatcher.events import EVENT_TYPE
from dispatcher.lifecycle import LifecycleEvent
from sender.entrypoints.push import create_app as create_sender
from shared.delivery.model import DocumentState
from shared.errors import InvalidMessage
from shared.firestore.values import encode_fields
from shared.http.auth import Certificates, TokenVerifier, Unauthorized
from shared.pubsub import message
from tests.assembly import DispatcherParts, SenderParts
from tests.fakes import MemoryDatabase, MemoryPublisher
from tests.fuzz.generators import (
    ANY,
    JSON,
    TEXT,
    Generator,
    as_json,
    listed,
    mapped,
    nested,
    octets,
    one_of,
    pick,
    rarely,
    some_of,
    tupled,
)
from tests.fuzz.kind import Check, Kind, pure
from tests.unit.dispatcher.test_events import body as event_body

_AUDIENCE, _CALLER = "https://sender.example.com", "pusher@p.iam.gserviceaccount.com"
#: Valid claims of a token, but for the times; Google's other name as the issuer is as good.
_CLAIMS: Final = {"iss": "https://accounts.google.com", "aud": _AUDIENCE, "email": _CALLER, "email_verified": True}
_OTHER_ISSUER: Final = "accounts.google.com"

_ODD: Generator[Any] = pick(
    None, [], {}, "soon", 10**400, True, 0, -1, 1e308, [_AUDIENCE], _CALLER.upper(), "*", _AUDIENCE + "/"
)
_CHANGES = mapped(pick(*_CLAIMS, "iat", "exp"), one_of(_ODD, JSON, pick(_OTHER_ISSUER)), 3)
_HEADERS = mapped(
    pick("alg", "kid", "typ", "jku", "jwk", "crit"),
    one_of(pick("none", "HS256", "RS256", "ES256", "None", "", "k1", "k2"), JSON),
    2,
)
_MANNERS = ("signed", "other key", "no signature", "removed", "cut", "raw", "hmac")


@contextlib.contextmanager
def _tokens() -> Iterator[Check]:
    issuer = trustme.CA(key_type=trustme.KeyType.RSA)
    ours, other = (issuer.issue_cert("a.test", key_type=trustme.KeyType.RSA) for _ in range(2))
    published = json.dumps({"k1": ours.cert_chain_pems[0].bytes().decode()}).encode()
    answer = SimpleNamespace(status=200, data=published, headers={})
    certificates = Certificates("https://certs.test", lambda *args, **options: answer)  # type: ignore[arg-type]
    verifiers = [
        TokenVerifier(_AUDIENCE, frozenset({_CALLER}), certificates, behind_cloud_run=behind)
        for behind in (False, True)
    ]
    signers = {
        manner: crypt.RSASigner.from_string(leaf.private_key_pem.bytes(), "k1")
        for manner, leaf in {"other key": other, "signed": ours}.items()
    }

    def check(given: tuple[str, dict[str, Any], dict[str, Any], str]) -> None:
        manner, header, changes, scheme = given
        now = int(time.time())
        claims = {**_CLAIMS, "iat": now, "exp": now + 3600, **changes}
        token = _token(manner, header, claims, signers)
        is_ours = manner == "signed" and scheme.lower() == "bearer"
        is_right = all(_is_valid(name, claims[name]) for name in _CLAIMS)
        for verifier in verifiers:
            try:
                verifier.verify(f"{scheme} {token}")
            except Unauthorized:
                assert not (is_ours and is_right and not header and not changes.keys() & {"iat", "exp"}), (
                    "a valid token was rejected"
                )
            else:
                assert is_right, "a token with other claims was accepted"
                assert is_ours or (manner == "removed" and verifier.behind_cloud_run), "a forged token was accepted"

    yield check


def _is_valid(name: str, value: object) -> bool:
    return type(value) is type(_CLAIMS[name]) and (value == _CLAIMS[name] or (name, value) == ("iss", _OTHER_ISSUER))


def _token(manner: str, header: dict[str, Any], claims: dict[str, Any], signers: dict[str, Any]) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    match manner:
        case "signed" | "other key":
            signed: bytes = jwt.encode(signers[manner], claims, header or None)
            return signed.decode()
        case "no signature":
            return f"{part({'alg': 'none', **header})}.{part(claims)}."
        case "removed":
            return f"{part({'alg': 'RS256', 'kid': 'k1', **header})}.{part(claims)}.SIGNATURE_REMOVED_BY_GOOGLE"
        case "cut":
            return f"{part({'alg': 'RS256', 'kid': 'k1'})}.{part(claims)}"[:-3]
        case "raw":
            return str(claims["iss"])
        case _:
            return f"{part({'alg': 'HS256', 'kid': 'k1', **header})}.{part(claims)}.{part('x' * 256)}"


@contextlib.contextmanager
def _requests() -> Iterator[Check]:
    apps = [_sender_app(SenderParts()), create_dispatcher(DispatcherParts().handlers(), "mail", None)]

    def check(given: tuple[str, str, dict[str, str], bytes, str | None]) -> None:
        method, path, headers, body, length = given
        for app in apps:
            status, _ = _answer(app, method, path, headers, body, length)
            assert status < 500 or status == 501, status

    yield check


def _sender_app(parts: SenderParts) -> Flask:
    return create_sender(parts.sender(), None)


def _answer(
    app: Flask, method: str, path: str, headers: dict[str, str], body: bytes, length: str | None
) -> tuple[int, str]:
    """The status and the text, from the app in this process. `length` is the header Content-Length, if any."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "HTTP_HOST": "localhost",
        "CONTENT_TYPE": "application/json",
        **{_variable(name): value for name, value in headers.items()},
    }
    if length is not None:
        environ["CONTENT_LENGTH"] = length
    chunks, status, _ = run_wsgi_app(app.wsgi_app, environ, buffered=True)
    return int(status.partition(" ")[0]), b"".join(chunks).decode()


def _variable(header: str) -> str:
    """The WSGI variable of a request header (PEP 3333)."""
    name = header.upper().replace("-", "_")
    return name if name == "CONTENT_TYPE" else f"HTTP_{name}"


def _latin(random: Random) -> str:
    """A text as WSGI has them."""
    return octets(20)(random).decode("latin-1")


_NAMES = (
    "Authorization",
    "traceparent",
    "tracestate",
    "ce-type",
    "ce-subject",
    "Content-Type",
    "X-Cloud-Trace-Context",
)
_REQUESTS = tupled(
    pick("POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "DELETE", "TRACE", "post", "X", ""),
    rarely(
        _latin, pick("/", "/", "", "//", "/health", "/healthz", "/reconcile", "/dead-letters", "/..", "/%00", "/\0")
    ),
    mapped(pick(*_NAMES), one_of(_latin, pick(EVENT_TYPE, f"00-{'a' * 32}-{'b' * 16}-01")), 3),
    one_of(octets(200), as_json(JSON)),
    pick(None, "", "0", "1", "5", "-1", "9" * 30, "1e3", "٣", "abc", "16777217"),
)

_ATTRIBUTES = mapped(one_of(pick("version", "document", "reason", "googclient_OpenTelemetry"), TEXT), JSON, 3)
_TIMES = pick("2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", {"seconds": 2**62, "nanoseconds": 0}, "soon", 5)
_MAILS = some_of(
    {
        "to": rarely(JSON, pick("a@b.c")),
        "message": rarely(JSON, pick({"subject": "s", "text": "t"})),
        **dict.fromkeys(("sendAt", "expiresAt"), rarely(one_of(JSON, _TIMES), pick(None), 0.3)),
        "x": one_of(JSON, lambda random: nested(int(900 ** random.random()))),
    },
    0.9,
)
_DELIVERIES = some_of({"delivery": JSON}, 0.05)
_IDS, _PATHS = pick("order-17", "..", "a/b", "__a__", "a" * 1501), pick("mail/a", "mail/a/b", "other/a", "mail/")
_BODIES: Generator[Any] = one_of(
    lambda random: {"mail": _MAILS(random) | _DELIVERIES(random), **some_of({"id": rarely(JSON, _IDS, 0.3)})(random)},
    lambda random: {"document": rarely(JSON, _PATHS, 0.3)(random), **some_of({"x": JSON}, 0.1)(random)},
    JSON,
)
_DATA = rarely(octets(60), as_json(_BODIES))
_ENVELOPES = some_of({"attributes": rarely(JSON, _ATTRIBUTES), "publishTime": one_of(_TIMES, JSON)}, 0.2)


def _push(random: Random) -> dict[str, Any]:
    if random.random() < 0.1:
        return {"message": JSON(random)}
    pushed = {
        "messageId": rarely(JSON, pick("1", "2", ""))(random),
        "data": rarely(JSON, lambda random: base64.b64encode(_DATA(random)).decode())(random),
    }
    return {"message": pushed | _ENVELOPES(random)}


@contextlib.contextmanager
def _pushes() -> Iterator[Check]:
    database = MemoryDatabase()
    apps = {
        "/": _sender_app(SenderParts(database=database)),
        "/dead-letters": create_dispatcher(DispatcherParts(database=database).handlers(), "mail", None),
    }

    def check(given: tuple[dict[str, Any], str]) -> None:
        pushed, path = given
        body = json.dumps(pushed).encode()
        database.documents.clear()
        status, text = _answer(apps[path], "POST", path, {}, body, str(len(body)))
        assert status in (200, 400), (status, text)
        for document in database.documents.values():
            state = DocumentState.of(document.fields)
            is_waiting = state.send_at is not None
            assert state.delivery is not None
            assert is_waiting or state.delivery.state in ("SUCCESS", "ERROR"), state

    yield check


def _check_message(given: tuple[bytes, dict[str, Any]]) -> None:
    """Whatever is decoded can be written."""
    data, attributes = given
    with contextlib.suppress(InvalidMessage):
        decoded = message.decode(data, {name: str(value) for name, value in attributes.items()}, "1", "mail")
        encode_fields(decoded.mail or {})


class _Eventarc:
    """A channel that encodes events, and keeps none."""

    def publish(self, event: LifecycleEvent) -> None:
        json.loads(cloud_event(event)["textData"])


@contextlib.contextmanager
def _events() -> Iterator[Check]:
    parts = DispatcherParts(lifecycle=MemoryPublisher(), eventarc=_Eventarc())
    app = create_dispatcher(parts.handlers(), "mail", None)

    def check(given: tuple[bytes, list[tuple[int, int]], bool, str]) -> None:
        data, mutations, in_json, event_type = given
        mutated = bytearray(data)
        for at, byte in mutations:
            if mutated:
                mutated[at % len(mutated)] = byte
        body = bytes(mutated)
        if in_json:
            attributes = {"ce-type": event_type}
            envelope = {"message": {"attributes": attributes, "data": base64.b64encode(body).decode()}}
            body = json.dumps(envelope).encode()
        status, text = _answer(app, "POST", "/", {"ce-type": event_type}, body, str(len(body)))
        assert status in (200, 400), (status, text)

    yield check


def _stored(random: Random) -> Any:
    """A value that Firestore can store."""
    while True:
        value = ANY(random)
        with contextlib.suppress(TypeError, ValueError):
            encode_fields({"x": value})
            return value


_STATES = some_of(
    {
        "state": one_of(pick("PENDING", "RETRY", "PROCESSING", "SUCCESS", "ERROR", "CANCELLED"), _stored),
        **dict.fromkeys(("attempts", "startTime", "endTime", "leaseExpireTime", "nextAttemptTime", "resumes"), _stored),
    }
)
_FIELDS = rarely(
    pick(None), some_of({"to": _stored, "sendAt": _stored, "expiresAt": _stored, "delivery": rarely(_stored, _STATES)})
)


def _event(random: Random) -> bytes:
    path = random.choice(("mail/a", "mail/ü ", "other/a", "mail/a/b/c"))
    return octets(60)(random) if random.random() < 0.1 else event_body(_FIELDS(random), _FIELDS(random), path)


_MUTATIONS = rarely(listed(lambda random: (random.randrange(300), random.randrange(256)), 4), pick([]), 0.5)
_EVENTS = tupled(_event, _MUTATIONS, pick(True, False), rarely(_latin, pick(EVENT_TYPE)))

KINDS: Final = (
    Kind(
        "tokens",
        "only a token that Google signed for this service and one of its callers is accepted; any other is a 401",
        tupled(pick(*_MANNERS), rarely(_HEADERS, pick({}), 0.5), _CHANGES, pick("Bearer", "bearer", "Basic", "")),
        _tokens,
    ),
    Kind("HTTP requests", "no answer is a 500", _REQUESTS, _requests),
    Kind(
        "pushed messages",
        "acknowledged or 400; what was stored has ended or waits for its time",
        tupled(_push, pick("/", "/", "/dead-letters")),
        _pushes,
    ),
    Kind(
        "messages",
        "rejected, or such that Firestore can store them",
        tupled(_DATA, _ATTRIBUTES),
        pure(_check_message),
    ),
    Kind("document events", "acknowledged or 400, in both forms, whatever is in them", _EVENTS, _events),
)
