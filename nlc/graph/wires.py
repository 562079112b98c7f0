"""Edges between components -> wires: rails in the gaps between lines of boxes, joined by lanes beside the boxes.

A gap lies above each line of boxes and below the last one. Everything that one component sends to its neighbours is one rail, and
everything of one kind that reaches a component from afar is one rail: a wire through any number of lines takes one lane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal as OneOf

from nlc.ir.order import Edge

Kind = OneOf["same tick", "older state", "forward"]
KINDS: tuple[Kind, ...] = ("same tick", "older state", "forward")


@dataclass(frozen=True, slots=True)
class Lane:
    """A vertical wire beside the boxes, from the gap at its source to the gaps at distant readers."""

    source: str
    kind: Kind
    gaps: tuple[int, ...]

    @property
    def first(self) -> int:
        return min(self.gaps)

    @property
    def last(self) -> int:
        return max(self.gaps)


@dataclass(frozen=True, slots=True)
class Port:
    """Where a rail meets a box: above the gap or below it; a reader's port has an arrowhead."""

    name: str
    is_above: bool
    is_reader: bool


@dataclass(frozen=True, slots=True)
class Rail:
    """A horizontal wire in a gap, with the boxes and the lanes that it joins."""

    gap: int
    kind: Kind
    ports: tuple[Port, ...]
    lanes: tuple[Lane, ...] = ()


@dataclass(frozen=True, slots=True)
class Path:
    """An edge with the gap at its source and the gap at its reader; between neighbours, and on one line, they are the same."""

    kind: Kind
    source: Port
    start: int
    reader: Port
    end: int

    @property
    def is_far(self) -> bool:
        return self.start != self.end


def rails(edges: Iterable[Edge], line_of: Mapping[str, int]) -> tuple[Rail, ...]:
    """The rails of all edges, by gap; `line_of` gives the line of boxes on which each component stands."""
    paths = sorted((_path(edge, line_of) for edge in edges), key=_sort_key)
    departing = _grouped(paths, lambda path: (path.start, path.kind, path.source))
    lanes = {key: _lane(mine) for key, mine in departing.items() if any(path.is_far for path in mine)}
    found = [
        Rail(key[0], key[1], (key[2], *(path.reader for path in mine if not path.is_far)), (lanes[key],) if key in lanes else ())
        for key, mine in departing.items()
    ]
    arriving = _grouped([path for path in paths if path.is_far], lambda path: (path.end, path.kind, path.reader))
    for (gap, kind, reader), mine in arriving.items():
        found.append(Rail(gap, kind, (reader,), tuple(lanes[path.start, path.kind, path.source] for path in mine)))
    return tuple(sorted(found, key=lambda rail: rail.gap))


def _path(edge: Edge, line_of: Mapping[str, int]) -> Path:
    """A path leaves its source towards the reader, and arrives on the side on which the source is; from above on one line."""
    source, reader = line_of[edge.source], line_of[edge.reader]
    start = source + 1 if reader > source else source
    end = reader + 1 if source > reader else reader
    return Path(edge.kind, Port(edge.source, source < start, False), start, Port(edge.reader, reader < end, True), end)


def _sort_key(path: Path) -> tuple[int, str, int, int, str]:
    return path.start, path.source.name, KINDS.index(path.kind), path.end, path.reader.name


Key = tuple[int, Kind, Port]


def _grouped(paths: Iterable[Path], key: Callable[[Path], Key]) -> dict[Key, list[Path]]:
    groups: dict[Key, list[Path]] = {}
    for path in paths:
        groups.setdefault(key(path), []).append(path)
    return groups


def _lane(paths: Sequence[Path]) -> Lane:
    """The lane of paths that leave one source together."""
    return Lane(paths[0].source.name, paths[0].kind, (paths[0].start, *dict.fromkeys(path.end for path in paths if path.is_far)))


def colours(intervals: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """The least number for each interval that no interval before it and overlapping it has."""
    taken: list[int] = []
    for index, (start, end) in enumerate(intervals):
        near = {taken[other] for other in range(index) if intervals[other][0] <= end and start <= intervals[other][1]}
        taken.append(next(number for number in range(index + 1) if number not in near))
    return tuple(taken)
