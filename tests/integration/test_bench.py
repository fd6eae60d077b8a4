"""The benchmark on a small scale: real services, a few mails, and every figure is present."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import plan
from bench.plan import Load, Mode, Shape
from bench.player import Player
from bench.proxy import PUBLISHED, READS, WRITES
from bench.suite import Chosen, Suite
from bench.system import DISPATCHER, SENDER, Parts, System
from bench.targets import per_mail

#: The slowest takes 15 s: it starts four systems, one of which can't start.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("bench")]

MAILS = 20
BURST = replace(plan.BURST_1K, mails=MAILS)
SINGLE = replace(plan.SINGLE, mails=3)
STEADY = replace(plan.STEADY, mails=MAILS, rate=50.0)
QUEUED = replace(plan.QUEUED_3K, mails=MAILS)
IGNORE, PUBLISH = ("bench.standin", "ignore"), ("bench.standin", "publish")


def silent(text: str) -> None:
    pass


def test_loads_are_measured_from_document_to_result() -> None:
    with System(Parts("embedded", plan.PUSH)) as system:
        player = Player(system, silent)
        for load in (SINGLE, BURST, STEADY):
            row = player.measure(load)
            assert row.is_complete, row
            assert row.to_accept and row.to_success and row.dispatcher and row.smtp
            assert 0 < row.to_accept.p50 < row.to_success.p50 <= row.seconds
            assert row.sender.memory.peak > 10_000_000
            assert row.smtp.connections <= load.mails
            assert row.smtp.round_trips >= load.mails
            assert row.other_cpu > 0


@pytest.mark.parametrize(("mode", "services"), [(plan.PUSH, (DISPATCHER, SENDER)), (plan.PULL, (SENDER,))])
def test_a_service_is_started_again_and_sends_its_first_mail(mode: Mode, services: tuple[str, ...]) -> None:
    """It takes 10 s: services start again and again, one after the other."""
    with System(Parts("embedded", mode)) as system:
        player = Player(system, silent)
        player.warm_up(SINGLE)  # a process that is stopped while it opens its first stream may take a message with it
        for service in services:
            start = player.starts(service, 2)
            assert 0 < start.to_health.p50 < start.to_accept.p99
            assert start.cpu.p50 > 0


def test_mails_are_measured_beside_those_of_another_lane() -> None:
    mode = replace(plan.LANES_300_MS, smtp_delay_ms=20)
    with System(Parts("embedded", mode)) as system:
        row = Player(system, silent).measure(replace(plan.BESIDE_1K, mails=2 * MAILS, bulk=MAILS, rate=50.0))
    assert row.is_complete, row
    assert row.mails == 2 * MAILS
    assert row.to_accept


def test_calls_are_counted_for_each_service() -> None:
    with System(Parts("embedded", plan.PUSH, counted=True)) as system:
        counted = Player(system, silent).count(BURST)
    assert counted.dispatcher["messages published"] == counted.dispatcher["documents written"] == MAILS
    assert counted.sender["documents read"] >= MAILS
    assert counted.sender["documents written"] >= 2 * MAILS
    assert [per_mail(counted, name) >= least for name, least in ((READS, 1), (WRITES, 3), (PUBLISHED, 1))] == [True] * 3


@pytest.mark.parametrize("mode", [plan.NAIVE, plan.PUSH], ids=lambda mode: mode.name)
def test_a_sender_is_measured_without_a_dispatcher(mode: Mode) -> None:
    with System(Parts("embedded", mode, IGNORE)) as system:
        row = Player(system, silent).measure(QUEUED)
    assert row.is_complete
    assert row.succeeded == MAILS
    assert row.dispatcher is None
    assert row.seconds > 0


def test_empty_handlers_show_the_time_between_write_and_push() -> None:
    with System(Parts("embedded", plan.FLOOR, PUBLISH, has_mail_server=False)) as system:
        row = Player(system, silent).measure(SINGLE)
    assert row.to_accept and 0 < row.to_accept.p50 < 5
    assert row.to_success is None


def test_a_failed_measurement_is_named_and_the_rest_continues() -> None:
    broken = Mode("broken", sender=("sender", "fly"))
    few = Load("a few", Shape.BURST, 5)
    chosen = Chosen("embedded", [broken, plan.PUSH], [few], with_references=False, counted=few, warm_up=5)
    measured = Suite(chosen, silent, lambda row: None).run()
    assert [row.mode for row in measured.rows] == ["push"]
    assert [failure.partition(":")[0] for failure in measured.failures] == ["broken", "operations, broken"]
    assert "No such command 'fly'" in measured.failures[0]
