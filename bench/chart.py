"""A bar chart as SVG: CPU per mail, split into dispatcher and sender. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from bench import plan
from bench.results import Results
from bench.targets import under_load

_WIDTH, _LABELS, _FIGURES = 760, 230, 150
_BAR, _GAP, _TOP, _BOTTOM = 24, 14, 56, 30
_DISPATCHER, _SENDER = "#8ab4f8", "#1a73e8"
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#3c4043}.title{font-weight:600;font-size:15px}"
    "@media(prefers-color-scheme:dark){text{fill:#e8eaed}}"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """CPU milliseconds per mail; no dispatcher part if only the sender was measured."""

    label: str
    dispatcher: float
    sender: float

    @property
    def total(self) -> float:
        """The sum of both parts."""
        return self.dispatcher + self.sender


def bars(results: Results) -> list[Bar]:
    """Each mode under its largest burst, and the senders without a dispatcher."""
    ends = [row for mode in plan.MODES.values() if (row := under_load(results, mode))]
    alone = [row for row in results.rows if row.load == plan.QUEUED_3K.name]
    return [Bar(f"{row.mode}, {row.load}", row.dispatcher_ms or 0.0, row.sender_ms) for row in ends] + [
        Bar(f"{row.mode} alone", 0.0, row.sender_ms) for row in alone
    ]


def svg(results: Results) -> str:
    """The chart; it needs no script and no font, and is readable on light and dark pages."""
    chosen = bars(results)
    height = _TOP + len(chosen) * (_BAR + _GAP) + _BOTTOM
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" role="img" aria-label="CPU milliseconds per mail">',
            f"<style>{_STYLE}</style>",
            '<text class="title" x="0" y="18">CPU milliseconds per mail</text>',
            *_legend(),
            *_bars(chosen),
            "</svg>",
            "",
        )
    )


def _legend() -> Iterator[str]:
    for x, colour, label in ((0, _DISPATCHER, "dispatcher"), (110, _SENDER, "sender")):
        yield f'<rect x="{x}" y="30" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{x + 18}" y="41">{label}</text>'


def _bars(chosen: Sequence[Bar]) -> Iterator[str]:
    longest = max((bar.total for bar in chosen), default=1.0)
    scale = (_WIDTH - _LABELS - _FIGURES) / longest
    for number, bar in enumerate(chosen):
        y = _TOP + number * (_BAR + _GAP)
        middle, x = y + _BAR * 0.7, _LABELS + bar.dispatcher * scale
        yield f'<text x="{_LABELS - 10}" y="{middle:.0f}" text-anchor="end">{escape(bar.label)}</text>'
        yield _rect(_LABELS, y, bar.dispatcher * scale, _DISPATCHER)
        yield _rect(x, y, bar.sender * scale, _SENDER)
        yield f'<text x="{x + bar.sender * scale + 8:.0f}" y="{middle:.0f}">{_figures(bar)}</text>'


def _rect(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'


def _figures(bar: Bar) -> str:
    parts = f" ({bar.dispatcher:.2f} + {bar.sender:.2f})" if bar.dispatcher else ""
    return f"{bar.total:.2f}{parts}"
