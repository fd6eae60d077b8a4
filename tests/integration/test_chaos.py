"""A short chaos run: everything that can fail does, and the books agree. `make chaos` is the long one."""

from __future__ import annotations

import pytest

from chaos.plan import Interruption
from chaos.run import Chosen, run
from shared.delivery.policy import LeaseExpiryPolicy

#: Each takes 20 to 25 s: leases expire, and messages of killed senders come again after 10 s.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("chaos")]


@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(Chosen(100, 1, LeaseExpiryPolicy.RETRY, max_attempts=4), id="at least once"),
        pytest.param(Chosen(50, 2, LeaseExpiryPolicy.ERROR, max_attempts=1), id="at most once"),
        pytest.param(Chosen(50, 3, LeaseExpiryPolicy.RETRY, max_attempts=4, sender="pull"), id="senders that pull"),
        pytest.param(Chosen(50, 4, LeaseExpiryPolicy.RETRY_UNSENT, max_attempts=1), id="again if unsent"),
    ],
)
def test_under_chaos_no_mail_is_lost_stuck_or_sent_twice_without_cause(chosen: Chosen) -> None:
    outcome = run(chosen, show=lambda progress: None)
    assert outcome.verdict.good, outcome.verdict
    assert outcome.audited.findings == ()
    assert outcome.audited.entries > chosen.mails
    assert outcome.good, f"the last mail ended after {outcome.ends[-1]} s, not within {outcome.latest} s"
    killed = [fault for fault in outcome.faults if fault.startswith(("sender", "dispatcher"))]
    assert any(Interruption.KILL_AT_DATA in fault for fault in killed), "nobody was killed at the worst moment"
    assert outcome.states["SUCCESS"] > chosen.mails / 2
