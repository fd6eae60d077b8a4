"""The chaos run's judge: what it must find if it happens, and what it must not take for a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from chaos.books import Rules, Verdict, compare
from chaos.mailserver import Acceptance
from chaos.plan import SENDER_A, SENDER_B, Fate, Interruption, Plan
from chaos.system import Interrupted
from shared.delivery.policy import LeaseExpiryPolicy

ONCE = Rules(LeaseExpiryPolicy.ERROR, max_attempts=1, lease=6)
ONCE_UNLESS_UNSENT = replace(ONCE, policy=LeaseExpiryPolicy.RETRY_UNSENT)
TWICE = Rules(LeaseExpiryPolicy.RETRY, max_attempts=2, lease=6)

SUCCESS = {"state": "SUCCESS", "attempts": 1, "info": {"accepted": ["a@b.c"]}}


def error(code: str, attempts: int = 1) -> Mapping[str, Any]:
    return {"state": "ERROR", "errorCode": code, "attempts": attempts}


def taken(time: float = 10, *, heard: bool = True, message_id: str = "<1@x>") -> Acceptance:
    return Acceptance("a@b.c", message_id, SENDER_A, time, heard)


def killed(time: float, whom: str = SENDER_A) -> Interrupted:
    return Interrupted(whom, Interruption.KILL, time, time)


def judge(
    delivery: Mapping[str, Any],
    acceptances: Sequence[Acceptance],
    rules: Rules,
    interrupted: Sequence[Interrupted] = (),
    undelivered: bool = False,
) -> Verdict:
    return compare({"m": ["a@b.c"]}, {"m": delivery}, acceptances, interrupted, undelivered, rules)


@pytest.mark.parametrize(
    ("delivery", "acceptances", "rules", "interrupted"),
    [
        pytest.param(SUCCESS, [taken()], ONCE, [], id="sent and said so"),
        pytest.param(error("rejected"), [], ONCE, [], id="not sent and said so"),
        pytest.param(error("unknown"), [taken(heard=False)], ONCE, [], id="an unknown outcome is called unknown"),
        pytest.param(error("lease-expired"), [taken()], ONCE, [killed(11)], id="a dead sender's mail"),
        pytest.param(SUCCESS, [taken(heard=False), taken(20)], TWICE, [], id="again, as the answer was lost"),
        pytest.param(SUCCESS, [taken(), taken(20)], TWICE, [killed(12)], id="again, as the sender had died"),
        pytest.param(error("temporary", attempts=2), [], TWICE, [], id="tried as often as allowed"),
    ],
)
def test_books_that_agree(
    delivery: Mapping[str, Any], acceptances: Sequence[Acceptance], rules: Rules, interrupted: Sequence[Interrupted]
) -> None:
    assert judge(delivery, acceptances, rules, interrupted).good


@pytest.mark.parametrize(
    ("what", "delivery", "acceptances", "rules", "interrupted"),
    [
        pytest.param("not_received", SUCCESS, [], ONCE, [], id="a success without a mail"),
        pytest.param("lost", {"state": "SUCCESS", "attempts": 1}, [], ONCE, [], id="a recipient forgotten"),
        pytest.param("denied", error("connection"), [taken()], ONCE, [], id="a mail denied"),
        pytest.param("stuck", {"state": "PENDING"}, [], ONCE, [], id="a mail that waits for ever"),
        pytest.param("stuck", {}, [], ONCE, [], id="a document nobody looked at"),
        pytest.param("given_up_early", error("temporary"), [], TWICE, [], id="an attempt not made"),
        pytest.param("without_cause", SUCCESS, [taken(), taken(20)], TWICE, [], id="twice for no reason"),
        pytest.param(
            "without_cause", SUCCESS, [taken(heard=False), taken(20)], ONCE, [], id="twice under the policy error"
        ),
        pytest.param(
            "without_cause",
            SUCCESS,
            [taken(), taken(20)],
            ONCE_UNLESS_UNSENT,
            [killed(12)],
            id="unsent, sent twice",
        ),
        pytest.param("denied", error("temporary"), [taken()], ONCE_UNLESS_UNSENT, [], id="unsent, but sent"),
        pytest.param(
            "without_cause", SUCCESS, [taken(), taken(20)], TWICE, [killed(12, SENDER_B)], id="another sender had died"
        ),
        pytest.param(
            "without_cause", SUCCESS, [taken(), taken(20)], TWICE, [killed(17)], id="it died when the lease was over"
        ),
        pytest.param(
            "without_cause",
            SUCCESS,
            [taken(heard=False), taken(20, message_id="<2@x>")],
            TWICE,
            [],
            id="the copy can't be told for one",
        ),
    ],
)
def test_books_that_do_not(
    what: str,
    delivery: Mapping[str, Any],
    acceptances: Sequence[Acceptance],
    rules: Rules,
    interrupted: Sequence[Interrupted],
) -> None:
    verdict = judge(delivery, acceptances, rules, interrupted)
    assert getattr(verdict, what)
    assert not verdict.good


def test_what_is_still_on_its_way_is_a_fault() -> None:
    assert not judge(SUCCESS, [taken()], ONCE, undelivered=True).good


def test_the_same_seed_makes_the_same_plan_and_another_a_different_one() -> None:
    def outline(plan: Plan) -> object:
        fates = [plan.at_rcpt(f"{number}@b.c", 1) for number in range(300)]
        return fates, plan.interruptions(), plan.fault_seed("x")

    assert outline(Plan(1, 5000)) == outline(Plan(1, 5000))
    assert outline(Plan(1, 5000)) != outline(Plan(2, 5000))


def test_every_fate_comes_up_in_a_long_run() -> None:
    plan = Plan(1, 5000)
    drawn = {draw(f"{number}@b.c", 1) for number in range(5000) for draw in (plan.at_rcpt, plan.at_data)}
    assert drawn == set(Fate)
