"""A picture read back as a person reads it: its boxes, its texts, and what reads what, by following wires without a sharp turn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"
KINDS = {"same-tick": "same tick", "older-state": "older state", "forward": "forward"}
STROKE = re.compile(r"M([\d.]+) ([\d.]+)([LQ])([\d. ]+)")
HEAD = re.compile(r"translate\(([\d.]+) ([\d.]+)\) rotate\((\d+)\)")

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    name: str
    left: float
    top: float
    right: float
    bottom: float

    def touches(self, point: Point) -> bool:
        """Whether a point lies on the upper or the lower edge."""
        return self.left < point[0] < self.right and point[1] in (self.top, self.bottom)

    def is_entered(self, stroke: tuple[Point, ...]) -> bool:
        xs, ys = [x for x, _ in stroke], [y for _, y in stroke]
        return max(xs) > self.left and min(xs) < self.right and max(ys) > self.top and min(ys) < self.bottom


@dataclass(frozen=True)
class Wires:
    """The strokes of one kind, with the tips of its arrows."""

    kind: str
    lines: tuple[tuple[Point, Point], ...]
    bends: tuple[tuple[Point, Point, Point], ...]
    tips: tuple[Point, ...]


@dataclass(frozen=True)
class Picture:
    root: ElementTree.Element

    @property
    def groups(self) -> list[ElementTree.Element]:
        return list(self.root.iter(f"{SVG}g"))

    @property
    def boxes(self) -> list[Box]:
        return [self._box(group) for group in self.groups if group.find(f"{SVG}rect") is not None]

    def _box(self, group: ElementTree.Element) -> Box:
        rect, title = group.find(f"{SVG}rect"), group.findtext(f"{SVG}title")
        assert rect is not None and title is not None
        x, y, width, height = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
        return Box(title.partition("\n")[0], x, y, round(x + width, 1), round(y + height, 1))

    @property
    def wires(self) -> list[Wires]:
        """The wires between boxes, by kind: neither the legend nor what enters and leaves."""
        paths = [path for group in self.groups if group.find(f"{SVG}rect") is None for path in group.iter(f"{SVG}path")]
        return [_wires(kind, paths) for kind in KINDS]

    @property
    def edges(self) -> set[tuple[str, str, str]]:
        """(reader, source, kind) of everything that the wires say."""
        return {edge for wires in self.wires for edge in _edges(wires, self.boxes)}

    def texts(self, name: str | None = None) -> list[ElementTree.Element]:
        return [text for text in self.root.iter(f"{SVG}text") if name in (None, text.attrib["class"])]


def read(text: str) -> Picture:
    return Picture(ElementTree.fromstring(text))


def _wires(kind: str, paths: list[ElementTree.Element]) -> Wires:
    strokes = [stroke for path in paths if path.attrib["class"] == kind for stroke in _strokes(path.attrib["d"])]
    heads = [HEAD.match(path.attrib["transform"]) for path in paths if path.attrib["class"] == f"{kind}-end"]
    tips = tuple((float(head[1]), float(head[2])) for head in heads if head)
    assert len(tips) == len(heads)
    lines = tuple((stroke[0], stroke[1]) for stroke in strokes if len(stroke) == 2)
    return Wires(KINDS[kind], lines, tuple((stroke[0], stroke[1], stroke[2]) for stroke in strokes if len(stroke) == 3), tips)


def _strokes(path: str) -> Iterator[tuple[Point, ...]]:
    for x, y, _, rest in STROKE.findall(path):
        numbers = [float(x), float(y), *map(float, rest.split())]
        yield tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _edges(wires: Wires, boxes: list[Box]) -> Iterator[tuple[str, str, str]]:
    """From every place where a wire leaves a box to all the arrows that it leads to."""
    ends = [end for line in wires.lines for end in (line, line[::-1])]
    for start, end in ends:
        for source in boxes:
            if source.touches(start):
                for tip in _arrows(start, _direction(start, end), wires):
                    (reader,) = [box.name for box in boxes if box.touches(tip)]
                    yield reader, source.name, wires.kind


def _arrows(start: Point, direction: Point, wires: Wires) -> set[Point]:
    """The arrows that are reached by going ahead, and by every bend that begins in the direction of travel."""
    found: set[Point] = set()
    seen: set[tuple[Point, Point]] = set()
    waiting = [(start, direction)]
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        reach = _ahead(*place, wires)
        found |= {tip for tip in wires.tips if tip in reach or _is_head(tip, reach[-1], place[1])}
        for bend in [*wires.bends, *(bend[::-1] for bend in wires.bends)]:
            first, corner, last = bend
            if _is_on(first, place[0], reach[-1]) and _direction(first, corner) == place[1]:
                waiting.append((last, _direction(corner, last)))
    return found


def _ahead(point: Point, direction: Point, wires: Wires) -> list[Point]:
    """The points at which lines end that continue one another from a point in a direction."""
    reach = [point]
    while True:
        following = [end for line in wires.lines for start, end in (line, line[::-1]) if _continues(reach[-1], start, end, direction)]
        if not following:
            return reach
        reach.append(max(following, key=lambda end: abs(end[0] - point[0]) + abs(end[1] - point[1])))


def _continues(point: Point, start: Point, end: Point, direction: Point) -> bool:
    return start != end and _direction(start, end) == direction and _is_on(point, start, end) and point != end


def _is_head(tip: Point, end: Point, direction: Point) -> bool:
    """Whether a tip is that of the arrowhead at the end of a line."""
    return tip[0] == end[0] and direction[0] == 0 and abs((tip[1] - end[1]) * direction[1] - 7) < 0.2


def _is_on(point: Point, start: Point, end: Point) -> bool:
    low, high = min(start, end), max(start, end)
    return low[0] <= point[0] <= high[0] and low[1] <= point[1] <= high[1]


def _direction(start: Point, end: Point) -> Point:
    return (end[0] > start[0]) - (end[0] < start[0]), (end[1] > start[1]) - (end[1] < start[1])
