"""Firepost's decision functions in one object, so that a test can replace any of them with a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sender.transport.routing import may_fail_over
from shared.delivery import machine
from shared.delivery.model import Changes, Decision, DocumentState, Lease, Result
from shared.delivery.policy import Policy
from shared.errors import ErrorCode


@dataclass(frozen=True)
class Rules:
    """The pure core's functions, and two properties of how decisions are executed.

    `publishes_first`: a message is published before the document is marked. `conditional`: writes fail if the document
    has changed.
    """

    policy: Policy
    on_event: Callable[[DocumentState | None, DocumentState | None, datetime, Policy], Decision] = machine.on_event
    on_message: Callable[[DocumentState | None, datetime, Policy, Lease | None], Decision] = machine.on_message
    on_sending: Callable[[DocumentState | None, Lease], Decision] = machine.on_sending
    on_result: Callable[[DocumentState | None, Lease, Result, datetime, Policy, float], Decision] = machine.on_result
    on_release: Callable[[DocumentState | None, Lease, datetime | None, Changes | None], Decision] = machine.on_release
    on_reconcile: Callable[[DocumentState, datetime, datetime, Policy], Decision] = machine.on_reconcile
    while_paused: Callable[[Decision, DocumentState, datetime, Policy], Decision] = machine.while_paused
    on_dead_letter: Callable[[DocumentState | None, bool, bool, datetime, Result, Policy], Decision] = (
        machine.on_dead_letter
    )
    concluded: Callable[[Result, int, datetime, Policy, float, datetime | None], Changes] = machine.concluded
    outage_pause: Callable[[Policy, ErrorCode, datetime, datetime, timedelta], timedelta | None] = Policy.outage_pause
    may_fail_over: Callable[[Exception], bool] = may_fail_over
    expired: Callable[[DocumentState, datetime], bool] = DocumentState.expired
    publishes_first: bool = True
    conditional: bool = True
