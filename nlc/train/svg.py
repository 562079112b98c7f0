"""Turns series of numbers into a line chart: SVG text, readable at 800 pixels, the same for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10

WIDTH, HEIGHT = 800, 460
LEFT, RIGHT, TOP, BOTTOM = 72, 776, 56, 400
"""The edges of the plot inside the picture."""

LEGEND_RIGHT, LEGEND_LINE = RIGHT - 12, 22
BASELINE_COLOUR = "#b4541a"
STEPS = (1, 2, 2.5, 5, 10)

SMALLEST_RANGE = 1e-9
"""Numbers closer than this, relative to their size or 1, are drawn as one."""

STYLE = (
    "svg text{font:13px system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#3b4652}"
    "svg .title{font-size:16px;font-weight:600;fill:#17202a}svg .grid{stroke:#e6eaee}svg .axis{stroke:#7b8794}"
    "svg .line{fill:none;stroke-width:2;stroke-linejoin:round}"
)


@dataclass(frozen=True, slots=True)
class Series:
    """A named line through points (x, y), in a CSS colour; points that are not finite are left out."""

    name: str
    colour: str
    points: tuple[tuple[float, float], ...]
    has_markers: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """Numbers from `low` to `high` laid from pixel `start` to pixel `end`, with ticks a round `step` apart."""

    low: float
    high: float
    step: float
    start: float
    end: float

    def pixel(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> tuple[float, ...]:
        first = ceil(self.low / self.step - 1e-9)
        last = floor(self.high / self.step + 1e-9)
        return tuple(number * self.step for number in range(first, last + 1))

    def text(self, value: float) -> str:
        decimals = max(0, ceil(-log10(self.step) - 1e-9))
        if self.step * 10**decimals % 1 > 1e-6:
            decimals += 1
        return f"{value:,.{decimals}f}"


def line_chart(*, title: str, x_label: str, y_label: str, series: Sequence[Series], baseline: tuple[str, float]) -> str:
    """A chart of lines with axes, ticks, a legend, and a dashed line across at the baseline (name, y)."""
    lines = [Series(line.name, line.colour, _finite(line.points), line.has_markers) for line in series]
    xs = [x for line in lines for x, _ in line.points] or [0.0]
    ys = [y for line in lines for _, y in line.points] + [baseline[1]]
    across = _axis([0.0, *xs], LEFT, RIGHT, is_tight=True)
    up = _axis(ys, BOTTOM, TOP)
    parts = [
        *_frame(title, x_label, y_label),
        *_horizontal_ticks(across),
        *_vertical_ticks(up),
        *_baseline(up.pixel(baseline[1])),
        *(part for line in lines for part in _line(line, across, up)),
        *_legend(lines, baseline),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _finite(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple((x, y) for x, y in points if isfinite(x) and isfinite(y))


def _axis(values: Sequence[float], start: float, end: float, *, is_tight: bool = False) -> Axis:
    """An axis that holds all values, with about eight ticks; a tight one ends at the last value, another at a tick."""
    low, high = min(values), max(values)
    if high - low < SMALLEST_RANGE * max(1.0, abs(low), abs(high)):
        high = low + 1
    step = _round_step((high - low) / 8)
    if is_tight:
        return Axis(low, high, step, start, end)
    return Axis(floor(low / step) * step, ceil(high / step) * step, step, start, end)


def _round_step(rough: float) -> float:
    magnitude = 10.0 ** floor(log10(rough))
    return next(step * magnitude for step in STEPS if step * magnitude >= rough * (1 - 1e-9))


def _frame(title: str, x_label: str, y_label: str) -> Iterator[str]:
    middle = (TOP + BOTTOM) // 2
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">'
    yield f"<title>{escape(title)}</title>"
    yield f"<style>{STYLE}</style>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    yield f'<text class="title" x="{LEFT}" y="32">{escape(title)}</text>'
    yield f'<text x="{(LEFT + RIGHT) // 2}" y="{HEIGHT - 14}" text-anchor="middle">{escape(x_label)}</text>'
    yield f'<text transform="translate(20 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'


def _horizontal_ticks(axis: Axis) -> Iterator[str]:
    yield f'<line class="axis" x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{BOTTOM}"/>'
    for tick in axis.ticks:
        x = axis.pixel(tick)
        yield f'<line class="axis" x1="{x:.1f}" y1="{BOTTOM}" x2="{x:.1f}" y2="{BOTTOM + 5}"/>'
        yield f'<text x="{x:.1f}" y="{BOTTOM + 22}" text-anchor="middle">{axis.text(tick)}</text>'


def _vertical_ticks(axis: Axis) -> Iterator[str]:
    for tick in axis.ticks:
        y = axis.pixel(tick)
        yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 10}" y="{y + 4.5:.1f}" text-anchor="end">{axis.text(tick)}</text>'


def _baseline(y: float) -> Iterator[str]:
    yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="{BASELINE_COLOUR}" stroke-width="1.5" stroke-dasharray="6 4"/>'


def _line(line: Series, across: Axis, up: Axis) -> Iterator[str]:
    pixels = [(across.pixel(x), up.pixel(y)) for x, y in line.points]
    if len(pixels) > 1:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        yield f'<polyline class="line" stroke="{escape(line.colour)}" points="{points}"/>'
    if line.has_markers or len(pixels) == 1:
        for x, y in pixels:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{escape(line.colour)}"/>'


def _legend(lines: Sequence[Series], baseline: tuple[str, float]) -> Iterator[str]:
    """Each line's name and last value, at the upper right: losses fall, so that this corner is empty."""
    rows = [(line.name, line.colour, line.points[-1][1], "") for line in lines if line.points]
    rows.append((baseline[0], BASELINE_COLOUR, baseline[1], ' stroke-dasharray="6 4"'))
    for number, (name, colour, value, dashes) in enumerate(rows):
        y = TOP + 16 + number * LEGEND_LINE
        yield f'<text x="{LEGEND_RIGHT - 36}" y="{y + 4.5}" text-anchor="end">{escape(name)} {value:.3f}</text>'
        yield (
            f'<line x1="{LEGEND_RIGHT - 28}" y1="{y}" x2="{LEGEND_RIGHT}" y2="{y}" stroke="{escape(colour)}" stroke-width="2.5"{dashes}/>'
        )
