"""The scenarios that are explored: each combines a few kinds of failure, within bounds that keep it tractable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.delivery.model import DocumentState
from shared.delivery.policy import BackOff, LeaseExpiryPolicy, Policy
from tests.exploration.explorer import Explored, Explorer
from tests.exploration.model import Model
from tests.exploration.rules import Rules
from tests.exploration.world import START, TICK, Bounds, World


@dataclass(frozen=True, slots=True)
class Scenario:
    """A policy, bounds on failures, after how many ticks the mail is due and expires, and the ticks of a lease.

    `states` is the expected number of worlds; if it changes, the protocol or the model has changed.
    """

    policy: LeaseExpiryPolicy
    max_attempts: int
    bounds: Bounds
    states: int
    due_after: int | None = None
    expires_after: int | None = None
    lease: int = 1

    def rules(self) -> Rules:
        """Firepost's own rules, but nothing counts as stranded: the system must work without that safety net."""
        return Rules(
            Policy(
                lease=self.lease * TICK,
                max_attempts=self.max_attempts,
                lease_expiry=self.policy,
                back_off=BackOff(TICK, TICK),
                outage_patience=TICK,
                stranded_after=timedelta(days=1),
            )
        )

    def explore(self, rules: Rules | None = None) -> Explored:
        """Explore the scenario; raises `Counterexample`."""
        send_at, expires_at = (
            None if ticks is None else START + ticks * TICK for ticks in (self.due_after, self.expires_after)
        )
        document = DocumentState(send_at=send_at, expires_at=expires_at)
        return Explorer(Model(rules or self.rules()), World(document, self.bounds)).run()


ERROR, UNSENT, RETRY = LeaseExpiryPolicy.ERROR, LeaseExpiryPolicy.RETRY_UNSENT, LeaseExpiryPolicy.RETRY

#: Explored in every test run.
SMALL: Final[Mapping[str, Scenario]] = {
    "once, a crash": Scenario(ERROR, 1, Bounds(ticks=1, crashes=1), 2_924),
    "once, asked again": Scenario(ERROR, 1, Bounds(ticks=1, user_requests=1), 4_919),
    "once, two lost answers": Scenario(ERROR, 1, Bounds(ticks=1, lost_answers=2), 734),
    "once, a repeat": Scenario(ERROR, 1, Bounds(ticks=1, repeats=1), 2_833),
    "once, a release and a lost answer": Scenario(ERROR, 1, Bounds(ticks=1, releases=1, lost_answers=1), 3_855),
    "once, a dead letter and a repeat": Scenario(ERROR, 1, Bounds(ticks=1, dead_letters=1, repeats=1), 5_287),
    "once, a deletion and a crash": Scenario(ERROR, 1, Bounds(ticks=1, deletions=1, crashes=1), 3_269),
    "once, scheduled, a crash": Scenario(ERROR, 1, Bounds(ticks=2, crashes=1), 3_373, due_after=1),
    "once, cancelled": Scenario(ERROR, 1, Bounds(ticks=1, cancellations=1), 452),
    "once, scheduled, cancelled": Scenario(ERROR, 1, Bounds(ticks=2, cancellations=1), 501, due_after=1),
    "once, cancelled, a release": Scenario(ERROR, 1, Bounds(ticks=1, cancellations=1, releases=1), 2_608),
    "once, expires, a release": Scenario(ERROR, 1, Bounds(ticks=1, releases=1), 1_674, expires_after=1),
    "once, expires, asked again": Scenario(ERROR, 1, Bounds(ticks=1, user_requests=1), 2_501, expires_after=1, lease=2),
    "once, scheduled, expires, a crash": Scenario(
        ERROR, 1, Bounds(ticks=2, crashes=1), 3_432, due_after=1, expires_after=2
    ),
    "once, two outages": Scenario(ERROR, 1, Bounds(ticks=1, outages=2), 643),
    "once, two transports": Scenario(ERROR, 1, Bounds(ticks=1, failover=1), 423),
    "again if unsent, an outage": Scenario(UNSENT, 1, Bounds(ticks=1, outages=1), 17_221),
    "once, paused": Scenario(ERROR, 1, Bounds(ticks=1, pauses=1), 3_267),
    "once, scheduled, paused": Scenario(ERROR, 1, Bounds(ticks=2, pauses=1), 3_328, due_after=1),
    "twice if surely not sent, cancelled": Scenario(ERROR, 2, Bounds(ticks=1, cancellations=1), 1_356),
    "twice if surely not sent, expires": Scenario(ERROR, 2, Bounds(ticks=2), 4_745, expires_after=2),
    "twice whatever happened, expires at once": Scenario(RETRY, 2, Bounds(ticks=1), 369, expires_after=1),
    "twice if surely not sent": Scenario(ERROR, 2, Bounds(ticks=1, crashes=1), 6_754),
    "twice whatever happened": Scenario(RETRY, 2, Bounds(ticks=1), 16_725),
    "again if unsent, a crash": Scenario(UNSENT, 1, Bounds(ticks=1, crashes=1), 21_786),
    "again if unsent, a lost answer": Scenario(UNSENT, 1, Bounds(ticks=1, lost_answers=1), 10_790),
}

#: Explored by `make explore`: minutes.
LARGE: Final[Mapping[str, Scenario]] = {
    "once, a crash, asked again": Scenario(ERROR, 1, Bounds(ticks=1, crashes=1, user_requests=1), 45_535),
    "once, a lost answer, asked again": Scenario(ERROR, 1, Bounds(ticks=1, lost_answers=1, user_requests=1), 12_986),
    "once, a crash and a repeat": Scenario(ERROR, 1, Bounds(ticks=1, crashes=1, repeats=1), 14_301),
    "once, asked twice": Scenario(ERROR, 1, Bounds(ticks=1, user_requests=2), 62_161),
    "once, two crashes": Scenario(ERROR, 1, Bounds(ticks=2, crashes=2), 50_071),
    "once, cancelled and asked again, a crash": Scenario(
        ERROR, 1, Bounds(ticks=1, cancellations=1, user_requests=1, crashes=1), 131_128
    ),
    "once, paused twice": Scenario(ERROR, 1, Bounds(ticks=1, pauses=2), 17_045),
    "once, paused, a crash": Scenario(ERROR, 1, Bounds(ticks=1, pauses=1, crashes=1), 27_712),
    "once, paused, a lost answer": Scenario(ERROR, 1, Bounds(ticks=1, pauses=1, lost_answers=1), 7_936),
    "once, paused, asked again": Scenario(ERROR, 1, Bounds(ticks=1, pauses=1, user_requests=1), 89_732),
    "once, paused, cancelled": Scenario(ERROR, 1, Bounds(ticks=1, pauses=1, cancellations=1), 4_985),
    "once, paused, expires": Scenario(ERROR, 1, Bounds(ticks=2, pauses=1), 12_495, expires_after=1),
    "again if unsent, paused": Scenario(UNSENT, 1, Bounds(ticks=1, pauses=1), 174_485),
    "twice if surely not sent, expires, a crash": Scenario(
        ERROR, 2, Bounds(ticks=2, crashes=1), 45_318, expires_after=2
    ),
    "twice whatever happened, expires": Scenario(RETRY, 2, Bounds(ticks=2), 115_630, expires_after=2),
    "twice whatever happened, cancelled, a crash": Scenario(
        RETRY, 2, Bounds(ticks=1, cancellations=1, crashes=1), 156_751
    ),
    "once, an outage, asked again": Scenario(ERROR, 1, Bounds(ticks=1, outages=1, user_requests=1), 14_551),
    "once, two transports, a crash": Scenario(ERROR, 1, Bounds(ticks=1, crashes=1, failover=1), 3_699),
    "twice if surely not sent, two transports": Scenario(ERROR, 2, Bounds(ticks=1, failover=1), 1_263),
    "again if unsent, two transports": Scenario(UNSENT, 1, Bounds(ticks=1, crashes=1, failover=1), 27_406),
    "once, two outages, a crash": Scenario(ERROR, 1, Bounds(ticks=2, outages=2, crashes=1), 41_167),
    "twice if surely not sent, two outages": Scenario(ERROR, 2, Bounds(ticks=2, outages=2), 16_204),
    "again if unsent, cancelled, a crash": Scenario(UNSENT, 1, Bounds(ticks=1, cancellations=1, crashes=1), 44_598),
    "again if unsent, expires": Scenario(UNSENT, 1, Bounds(ticks=2), 16_616, expires_after=2),
    "again if unsent, a release": Scenario(UNSENT, 1, Bounds(ticks=1, releases=1), 69_510),
    "again if unsent, asked again": Scenario(UNSENT, 1, Bounds(ticks=1, user_requests=1), 362_893),
    "twice whatever happened, a crash": Scenario(RETRY, 2, Bounds(ticks=1, crashes=1), 77_760),
    "twice whatever happened, asked again": Scenario(RETRY, 2, Bounds(ticks=1, user_requests=1), 422_618),
}
