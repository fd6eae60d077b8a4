"""Firestore, Pub/Sub and Eventarc in memory, pure Python: for laptops without Java, and for tests.

    front.py      the ports; `relay.py` passes gRPC on to the servers, and answers HTTP/1 in words
    rpc.py        gRPC plumbing: methods as plain functions, `failure.py` as statuses, `faults.py` around each call
    firestore/    service.py answers the RPCs; store, transactions, queries and listeners below it; pure: writes,
                  values, fields, names, filters, limits
    attached.py   the changes of a Firestore emulator that somebody else runs, in place of firestore/
    pubsub/       publisher.py and subscriber.py answer the RPCs; broker, subscriptions and filters below them
    backlog.py    undelivered items, at-least-once (pure); `pushing.py` delivers them, `posting.py` speaks HTTP
    eventarc.py   document changes as CloudEvents
    tokens.py     OIDC tokens for push, and their certificates

The unchanged Google clients work with it. Unsupported requests are answered UNIMPLEMENTED; where it differs from
Google's own, Google's is right.
"""

from __future__ import annotations

from local.backends.embedded.backend import EmbeddedBackend
from local.backends.embedded.faults import Faults

__all__ = ["EmbeddedBackend", "Faults"]
