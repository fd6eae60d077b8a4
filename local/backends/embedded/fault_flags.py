"""Faults in the form of command-line options: `TARGET:WHAT[@SHARE]`.

events:duplicate@0.3          a third of the CloudEvents come twice
pushes:delay=2                all pushes come two seconds late; also reorder, drop
Commit:lose-response@0.1      applied, but the client gets UNAVAILABLE
BatchGetDocuments:fail=ABORTED@0.05
*:delay=0.2                   every call of every RPC is slow
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import grpc

from local.backends.embedded.faults import CallFault, DeliveryFaults, Faults
from local.spelling import meant

_SPEC = re.compile(r"(?P<target>\*|\w+):(?P<what>[\w-]+)(?:=(?P<argument>[\w.]+))?(?:@(?P<share>[01]?\.?\d+))?")

#: Google's client libraries, each of which says in a file which RPCs its API has.
_LIBRARIES = ("google.cloud.firestore_v1", "google.pubsub_v1")
_DELIVERIES = ("events", "pushes")

EXPECTED = "expected TARGET:WHAT[@SHARE], as in events:duplicate@0.3 or Commit:lose-response@0.1"


def apply(faults: Faults, specs: Sequence[str], seed: int) -> None:
    """Add the faults that `specs` describe; each has its own random generator from `seed`.

    Raises `ValueError` with a human-readable text.
    """
    for number, spec in enumerate(specs):
        found = _SPEC.fullmatch(spec)
        if found is None:
            raise ValueError(f"{spec!r}: {EXPECTED}.")
        share = float(found["share"] or 1)
        if share > 1:
            raise ValueError(f"{spec!r}: expected a share of at most 1.")
        _check_target(spec, found["target"])
        try:
            if found["target"] in _DELIVERIES:
                _hit_deliveries(
                    getattr(faults, found["target"]), found["what"], found["argument"], share, seed + number
                )
            else:
                call = faults.on(found["target"])
                _hit_calls(call.randomly(share, seed + number), found["what"], found["argument"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{spec!r}: {EXPECTED}.") from None


@cache
def rpcs() -> frozenset[str]:
    """The names of all RPCs of Firestore and Pub/Sub."""
    described = (json.loads((files(library) / "gapic_metadata.json").read_text()) for library in _LIBRARIES)
    services = (service for library in described for service in library["services"].values())
    return frozenset(rpc for service in services for rpc in service["clients"]["grpc"]["rpcs"])


def _check_target(spec: str, target: str) -> None:
    known = {"*", *_DELIVERIES, *rpcs()}
    if target not in known:
        hint = meant(target, known) or "expected events, pushes, * or an RPC of Firestore or Pub/Sub, such as Commit"
        raise ValueError(f"{spec!r}: there is no RPC {target}; {hint}.")


def _hit_deliveries(deliveries: DeliveryFaults, what: str, argument: str | None, share: float, seed: int) -> None:
    if what == "delay":
        deliveries.delay(_seconds(argument), share, seed)
        return
    kinds = {"duplicate": deliveries.duplicate, "reorder": deliveries.reorder, "drop": deliveries.drop}
    kinds[what](share, seed)


def _hit_calls(call: CallFault, what: str, argument: str | None) -> None:
    match what:
        case "delay":
            call.delay(_seconds(argument))
        case "lose-response":
            call.lose_response()
        case "fail":
            call.fail(grpc.StatusCode[(argument or "UNAVAILABLE").upper()])
        case _:
            raise KeyError(what)


def _seconds(argument: str | None) -> float:
    return float(argument or "")
