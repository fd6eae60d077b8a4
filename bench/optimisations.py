"""The effect of each optimisation: measurements without it and with it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench import plan
from bench.figures import Row
from bench.micro import FLASKS_REQUEST, OUR_EVENT, OUR_MIME, OUR_REQUEST, STANDARD_EVENT, STANDARD_MIME
from bench.results import Results
from bench.targets import ordinary_bursts


@dataclass(frozen=True, slots=True)
class Change:
    """A figure without the optimisation and with it; less is better, unless the unit is a rate."""

    optimisation: str
    figure: str
    before: float
    after: float

    @property
    def factor(self) -> float:
        """The ratio of the two figures."""
        return self.after / self.before


def changes(results: Results) -> list[Change]:
    """All changes with measurements on both sides."""
    return [*_batching(results), *_pulling(results), *_steps(results)]


def _batching(results: Results) -> Iterator[Change]:
    for without, with_it in _largest_common_burst(results, plan.UNBATCHED, plan.PUSH):
        if without.both_ms and with_it.both_ms:
            yield Change(_BATCHING, f"CPU ms per mail, {with_it.load}", without.both_ms, with_it.both_ms)
        yield Change(_BATCHING, f"mails/s, {with_it.load}", without.rate, with_it.rate)


def _pulling(results: Results) -> Iterator[Change]:
    for push, pull in _largest_common_burst(results, plan.PUSH, plan.PULL):
        yield Change(_PULLING, f"sender's CPU ms per mail, {pull.load}", push.sender_ms, pull.sender_ms)
        yield Change(_PULLING, f"mails/s, {pull.load}", push.rate, pull.rate)


def _largest_common_burst(results: Results, one: plan.Mode, other: plan.Mode) -> list[tuple[Row, Row]]:
    """Both modes' rows of their largest common burst; empty if they have none."""
    pairs = [(row, results.row(other.name, row.load)) for row in ordinary_bursts(results, one)]
    common = [(row, counterpart) for row, counterpart in pairs if counterpart is not None]
    return sorted(common, key=lambda pair: pair[0].mails)[-1:]


def _steps(results: Results) -> Iterator[Change]:
    values = {each.name: each.value for each in results.references}
    for optimisation, before, after in (
        ("own MIME writer instead of EmailMessage", STANDARD_MIME, OUR_MIME),
        ("an event read as far as the decision needs, instead of all of it", STANDARD_EVENT, OUR_EVENT),
        ("POST / answered before Flask; a mail makes five", FLASKS_REQUEST, OUR_REQUEST),
    ):
        if before in values and after in values:
            yield Change(optimisation, "CPU µs", values[before], values[after])


_BATCHING = "Firestore operations of concurrent mails in shared requests (instead of BATCH_SIZE=1)"
_PULLING = "streaming pull instead of push"
