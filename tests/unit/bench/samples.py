"""Sample results for tables, targets and charts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from bench import plan
from bench.figures import Cost, Memory, Operations, Quantiles, Reference, Row, Smtp, Start
from bench.results import Results, Setting

STEADY_MEMORY = Memory(before=100_000_000, early_peak=110_000_000, late_peak=110_000_000, after=105_000_000)
SETTING = Setting(
    begun=datetime(2026, 5, 4, 12, 30, tzinfo=UTC),
    commit="abc1234",
    backend="google",
    mail_server="smtp-sink",
    cpu="A CPU",
    cores=2,
    memory_gb=8.2,
    system="Linux 6",
    python="3.11.2",
    packages={"grpcio": "1.0"},
    load_average=0.25,
    pool_size=10,
)


def row(
    mode: plan.Mode = plan.PUSH, load: plan.Load = plan.BURST_1K, dispatcher: float = 1.0, sender: float = 2.0
) -> Row:
    """A row whose services used this many CPU milliseconds per mail."""
    return Row(
        mode=mode.name,
        load=load.name,
        mails=load.mails,
        succeeded=load.mails,
        duplicates=0,
        seconds=load.mails / 200,
        other_cpu=load.mails * 0.005,
        to_accept=Quantiles(0.020, 0.050, 0.0804),
        to_success=Quantiles(0.025, 0.055, 1.2345),
        dispatcher=Cost(dispatcher * load.mails / 1000, STEADY_MEMORY),
        sender=Cost(sender * load.mails / 1000, STEADY_MEMORY),
        smtp=Smtp(connections=10, round_trips=2 * load.mails),
    )


def alone(mode: plan.Mode, sender: float) -> Row:
    """A row of a sender without a dispatcher."""
    measured = row(mode, plan.QUEUED_3K, sender=sender)
    return replace(measured, to_accept=None, to_success=None, dispatcher=None, smtp=None)


def operations(mode: plan.Mode, calls: int, reads: int = 1000, writes: int = 3000) -> Operations:
    """A thousand mails, for which each service made half of `calls` Firestore calls."""
    return Operations(
        mode.name,
        plan.BURST_1K.name,
        1000,
        dispatcher={"BatchWrite": calls // 2, "documents written": 1000, "Publish": 100, "messages published": 1000},
        sender={"BatchGetDocuments": calls // 2, "documents read": reads, "documents written": writes - 1000},
    )


START = Start("push", "sender", 10, Quantiles(0.5, 0.6, 0.7), Quantiles(0.8, 0.9, 1.0), Quantiles(0.45, 0.5, 0.5))


def results(
    *rows: Row,
    operations: tuple[Operations, ...] = (),
    references: tuple[Reference, ...] = (),
    failure: str = "",
    starts: tuple[Start, ...] = (),
) -> Results:
    """A run with these measurements."""
    return Results(SETTING, 120.0, rows, operations, references, [failure] if failure else [], starts)
