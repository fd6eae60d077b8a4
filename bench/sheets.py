"""Results as tables of texts, for any renderer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.extension import Beside, beside
from bench.figures import Cost, Operations, Quantiles, Row, Start
from bench.optimisations import Change, changes
from bench.proxy import PUBLISHED, READS, WRITES
from bench.results import Results, Setting
from bench.targets import Target, firestore_calls, per_mail, targets

#: Shown for a figure that could not be measured.
_NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: the first `labels` columns are words, the others figures. Headings may have line breaks."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1


def sheets(results: Results) -> list[Sheet]:
    """All non-empty tables."""
    every = (
        _loads(results.rows),
        _starts(results.starts),
        _beside(beside(results)),
        _operations(results.operations),
        _references(results),
        _changes(changes(results)),
        _targets(targets(results)),
    )
    return [sheet for sheet in every if sheet.rows]


def heading(setting: Setting) -> str:
    """Where and when, on one line."""
    backend = {
        "google": "Google's emulators",
        "embedded": "the EMBEDDED backend (Google's emulators are not installed, or not selected)",
    }
    commit = f", commit {setting.commit}" if setting.commit else ""
    return (
        f"On {backend[setting.backend]}, {setting.cores} × {setting.cpu}, {setting.memory_gb:.0f} GB, "
        f"Python {setting.python}, {setting.begun:%Y-%m-%d %H:%M} UTC, load average {setting.load_average:.1f}{commit}"
    )


def one_line(row: Row) -> str:
    """A row's summary."""
    cpu = f"sender {row.sender_ms:.2f} ms"
    if row.dispatcher_ms is not None:
        cpu = f"dispatcher {row.dispatcher_ms:.2f} ms, {cpu}"
    return f"{row.mode}, {row.load}: {row.rate:.0f} mails/s, CPU per mail: {cpu}"


def _loads(rows: Sequence[Row]) -> Sheet:
    headings = (
        "mode", "load", "mails/s", "write → accept\nms (p50 / 95 / 99)", "write → SUCCESS\nms (p50 / 95 / 99)",
        "dispatcher\nCPU ms", "sender\nCPU ms", "the rest\nCPU ms", "dispatcher\nRSS MB", "sender\nRSS MB",
        "SMTP\nconnections", "SMTP\nround trips",
    )  # fmt: skip
    return Sheet("Loads", headings, [load_cells(row) for row in rows], labels=2)


def load_cells(row: Row) -> tuple[str, ...]:
    """CPU and round trips are per mail; memory is the peak, and the growth from the load's start to its end."""
    return (
        row.mode,
        row.load + ("" if row.is_complete else f" (only {row.succeeded} SUCCESS, {row.duplicates} twice)"),
        f"{row.rate:,.0f}",
        _milliseconds(row.to_accept),
        _milliseconds(row.to_success),
        _NOTHING if row.dispatcher_ms is None else f"{row.dispatcher_ms:.2f}",
        f"{row.sender_ms:.2f}",
        f"{1000 * row.other_cpu / row.mails:.1f}",
        _memory(row.dispatcher),
        _memory(row.sender),
        f"{row.smtp.connections}" if row.smtp else _NOTHING,
        f"{row.smtp.round_trips / row.mails:.2f}" if row.smtp else _NOTHING,
    )


def _milliseconds(seconds: Quantiles | None) -> str:
    if seconds is None:
        return _NOTHING
    return " / ".join(f"{1000 * value:,.0f}" for value in (seconds.p50, seconds.p95, seconds.p99))


def _memory(cost: Cost | None) -> str:
    if cost is None:
        return _NOTHING
    return f"{cost.memory.peak / 1e6:.0f} ({(cost.memory.after - cost.memory.before) / 1e6:+.0f})"


def _operations(operations: Sequence[Operations]) -> Sheet:
    headings = (
        "mode", "load", "Firestore\ncalls", "documents\nread", "documents\nwritten", "messages\npublished",
        "Publish\ncalls", "acknowledging\ncalls",
    )  # fmt: skip
    return Sheet("Operations per mail", headings, [_operation_cells(each) for each in operations], labels=2)


def _operation_cells(each: Operations) -> tuple[str, ...]:
    figures = (
        firestore_calls(each),
        per_mail(each, READS),
        per_mail(each, WRITES),
        per_mail(each, PUBLISHED),
        per_mail(each, "Publish"),
        per_mail(each, "Acknowledge") + per_mail(each, "StreamingPull"),
    )
    return (each.mode, each.load, *(f"{figure:.2f}" for figure in figures))


def _starts(starts: Sequence[Start]) -> Sheet:
    headings = (
        "mode", "service", "starts", "process → GET /health\nms (p50 / 95 / 99)",
        "process → first mail accepted\nms (p50 / 95 / 99)", "CPU to the first answer\nms (p50 / 95 / 99)",
    )  # fmt: skip
    rows = [
        (each.mode, each.service, f"{each.times}", *map(_milliseconds, (each.to_health, each.to_accept, each.cpu)))
        for each in starts
    ]
    return Sheet("Cold starts", headings, rows, labels=2)


def _beside(all_figures: Sequence[Beside]) -> Sheet:
    headings = ("load", "figure", "push", "pull", "Trigger Email\nas deployed", "Trigger Email\n80 in a process")
    rows = [
        (each.load, each.figure, *(_NOTHING if value is None else _figure(value) for value in each.values))
        for each in all_figures
    ]
    return Sheet("Beside Trigger Email", headings, rows, labels=2)


def _references(results: Results) -> Sheet:
    rows = [(each.name, f"{each.value:,.0f}", each.unit) for each in results.references]
    return Sheet("References", ("what", "figure", "unit"), rows)


def _changes(all_changes: Sequence[Change]) -> Sheet:
    rows = [
        (each.optimisation, each.figure, _figure(each.before), _figure(each.after), f"× {each.factor:.2f}")
        for each in all_changes
    ]
    return Sheet("Before and after", ("optimisation", "figure", "before", "after", "change"), rows, labels=2)


def _targets(all_targets: Sequence[Target]) -> Sheet:
    rows = [
        (
            each.name,
            f"≤ {_figure(each.limit)} {each.unit}".rstrip(),
            _NOTHING if each.reached is None else f"{_figure(each.reached)} {each.unit}".rstrip(),
            each.verdict,
        )
        for each in all_targets
    ]
    return Sheet("Targets", ("target", "at most", "reached", ""), rows)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
