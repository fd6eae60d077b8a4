"""What Firepost decides, gathered so that a test can put a wrong decision in a right one's place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from shared.delivery import machine
from shared.delivery.model import Changes, Decision, DocumentState, Lease, Result
from shared.delivery.policy import Policy


@dataclass(frozen=True)
class Rules:
    """The pure core's functions, and the two manners of those who carry its decisions out.

    `publishes_first`: a message is on its way before the write that takes it for granted. `conditional`: writes are
    refused once the document is no longer what was known.
    """

    policy: Policy
    on_event: Callable[[DocumentState | None, DocumentState | None, datetime, Policy], Decision] = machine.on_event
    on_message: Callable[[DocumentState | None, datetime, Policy, Lease | None], Decision] = machine.on_message
    on_result: Callable[[DocumentState | None, Lease, Changes, datetime], Decision] = machine.on_result
    on_release: Callable[[DocumentState | None, Lease, datetime | None], Decision] = machine.on_release
    on_reconcile: Callable[[DocumentState, datetime, datetime, Policy], Decision] = machine.on_reconcile
    on_dead_letter: Callable[[DocumentState | None, bool, datetime, str, Policy], Decision] = machine.on_dead_letter
    concluded: Callable[[Result, int, datetime, Policy, float], Changes] = machine.concluded
    publishes_first: bool = True
    conditional: bool = True
