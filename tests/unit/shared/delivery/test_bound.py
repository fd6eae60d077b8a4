"""The promise of docs/reliability.md: by when every document has ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dispatcher.reconciler import PAGE
from shared.delivery.bound import Surroundings, latest_end
from shared.delivery.policy import BackOff, Policy

MINUTE = timedelta(minutes=1)
DEFAULT = Policy(lease=MINUTE, back_off=BackOff(), stranded_after=15 * MINUTE)
CLOUD = Surroundings(
    event_pause=10 * MINUTE, message_pause=2 * MINUTE, interval=MINUTE, page=PAGE, queued=500, processing=500
)


@pytest.mark.parametrize(
    ("policy", "around", "minutes"),
    [
        pytest.param(DEFAULT, CLOUD, 20, id="by default: stranded, found, delivered, attempted"),
        pytest.param(DEFAULT, replace(CLOUD, queued=100_000), 219, id="among many queued ones"),
        pytest.param(
            replace(DEFAULT, stranded_after=MINUTE),
            replace(CLOUD, event_pause=15 * MINUTE),
            18,
            id="its event comes last",
        ),
        pytest.param(replace(DEFAULT, stranded_after=MINUTE), CLOUD, 14, id="it has waited for its server"),
        pytest.param(replace(DEFAULT, stranded_after=MINUTE, lease=9 * MINUTE), CLOUD, 22, id="its sender has died"),
        pytest.param(replace(DEFAULT, max_attempts=4), CLOUD, 212, id="tried again at the longest intervals"),
    ],
)
def test_the_latest_end(policy: Policy, around: Surroundings, minutes: int) -> None:
    assert latest_end(policy, around) == minutes * MINUTE
