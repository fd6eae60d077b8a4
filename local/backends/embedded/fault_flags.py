"""Faults in the form of command-line options: `TARGET:WHAT[@SHARE]`.

events:duplicate@0.3          a third of the CloudEvents come twice
pushes:delay=2                all pushes come two seconds late; also reorder, drop
Commit:lose-response@0.1      applied, but the client gets UNAVAILABLE
BatchGetDocuments:fail=ABORTED@0.05
*:delay=0.2                   every call of every RPC is slow
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import grpc

from local.backends.embedded.faults import CallFault, DeliveryFaults, Faults

_SPEC = re.compile(r"(?P<target>\*|\w+):(?P<what>[\w-]+)(?:=(?P<argument>[\w.]+))?(?:@(?P<share>[01]?\.?\d+))?")

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
        try:
            if found["target"] in ("events", "pushes"):
                _hit_deliveries(
                    getattr(faults, found["target"]), found["what"], found["argument"], share, seed + number
                )
            else:
                call = faults.on(found["target"])
                _hit_calls(call.randomly(share, seed + number), found["what"], found["argument"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{spec!r}: {EXPECTED}.") from None


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
