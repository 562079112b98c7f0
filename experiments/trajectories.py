"""Points that optimizers went through -> a picture: for each landscape its contours, and the ways across them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sin, sqrt
from types import MappingProxyType

from nlc.graph.svg import EDGE, INK, PAPER, disc, document, line, pixels, rectangle, text
from nlc.graph.text import NAME, NOTE, TITLE, xml_text

Point = tuple[float, float]

SIDE, GAP, MARGIN, TOP = 300.0, 28.0, 24.0, 76.0
"""The side of a panel, what is between panels and around them, and what is above."""

LEGEND = 64.0
HIGH, SAMPLES = 5.5, 121
"""A panel shows both coordinates from -HIGH to HIGH; a contour is drawn through so many points."""

FEW = 300
"""At most so many points are drawn one by one, beside the line through them."""

LEVELS = (1.0, 4.0, 9.0, 16.0)
CONTOUR, VALLEY = "#dde3e9", "#b9c4cf"
COLOURS: Mapping[str, str] = MappingProxyType({"heavy ball": "#a8400a", "delta": "#1d5fa6"})


@dataclass(frozen=True, slots=True)
class Landscape:
    """psi(r, t) = r^2 + steepness * (r - t + height * sin(waves * r))^2."""

    steepness: float
    height: float
    waves: float

    @property
    def text(self) -> str:
        return f"{self.steepness:g}, {self.height:g}, {self.waves:g}"

    def valley(self, r: float) -> float:
        """Where psi is least for this r."""
        return r + self.height * sin(self.waves * r)

    def contour(self, level: float) -> Iterator[Point]:
        """The points at which psi has a value, once around."""
        turn = sqrt(level)
        rs = [turn * (2 * number / (SAMPLES - 1) - 1) for number in range(SAMPLES)]
        for sign, ordered in ((1.0, rs), (-1.0, rs[::-1])):
            for r in ordered:
                yield r, self.valley(r) + sign * sqrt(max(0.0, level - r * r) / self.steepness)


@dataclass(frozen=True, slots=True)
class Way:
    """The points that a method went through, and what is said of it below the picture."""

    method: str
    says: str
    points: tuple[Point, ...]


def picture(title: str, panels: Sequence[tuple[Landscape, Sequence[Way]]]) -> str:
    """The landscapes side by side."""
    width = 2 * MARGIN + len(panels) * SIDE + (len(panels) - 1) * GAP
    says = "; ".join(
        f"landscape {landscape.text}: {', '.join(f'{item.method}, {item.says}' for item in ways)}" for landscape, ways in panels
    )
    parts = [text(MARGIN, 36, title, TITLE)]
    for number, (landscape, ways) in enumerate(panels):
        parts += _panel(MARGIN + number * (SIDE + GAP), landscape, ways)
    return document(width, TOP + SIDE + LEGEND, title, says, parts)


def _panel(left: float, landscape: Landscape, ways: Sequence[Way]) -> Iterator[str]:
    yield text(left, TOP - 10, f"k, a, w = {landscape.text}", NAME)
    yield rectangle(left, TOP, left + SIDE, TOP + SIDE, PAPER, EDGE)
    rs = [HIGH * (2 * number / (SAMPLES - 1) - 1) for number in range(SAMPLES)]
    yield from _curves(left, [(r, landscape.valley(r)) for r in rs], VALLEY, 1.2)
    for level in LEVELS:
        yield from _curves(left, list(landscape.contour(level)), CONTOUR, 1.0)
    for way in ways:
        yield from _curves(left, way.points, COLOURS[way.method], 1.6)
    for way in ways:
        each = way.points if len(way.points) <= FEW else ()
        yield from (disc(*_place(left, point), 1.8, COLOURS[way.method]) for point in each if _is_inside(point))
    yield from (disc(*_place(left, point), 4, INK) for point in (ways[0].points[0], (0.0, 0.0)))
    for number, way in enumerate(ways):
        y = TOP + SIDE + 24 + 20 * number
        yield line(left, y - 4, left + 22, y - 4, COLOURS[way.method])
        yield text(left + 30, y, f"{way.method}, {way.says}", NOTE)


def _place(left: float, point: Point) -> Point:
    """A point as pixels: r to the right, t upward."""
    r, t = point
    return left + SIDE * (r + HIGH) / (2 * HIGH), TOP + SIDE * (HIGH - t) / (2 * HIGH)


def _is_inside(point: Point) -> bool:
    return max(map(abs, point)) <= HIGH


def _curves(left: float, points: Sequence[Point], colour: str, width: float) -> Iterator[str]:
    """A line through the points, without what leaves the panel."""
    pieces: list[list[str]] = [[]]
    for point in points:
        if _is_inside(point):
            x, y = _place(left, point)
            pieces[-1].append(f"{pixels(x)} {pixels(y)}")
        elif pieces[-1]:
            pieces.append([])
    for piece in pieces:
        if len(piece) > 1:
            yield f'<path d="M{"L".join(piece)}" fill="none" stroke="{xml_text(colour)}" stroke-width="{width}"/>'
