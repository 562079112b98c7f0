"""Edges between components -> wires: rails in the gaps between lines of boxes, joined by lanes beside the boxes.

A gap lies above each line of boxes and below the last one. Everything that one component sends to its neighbours is one rail, and
everything of one kind that reaches a component from afar is one rail: a wire through any number of lines takes one lane.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal as OneOf
from typing import TypeVar

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


def rails(edges: Iterable[Edge], line_of: Mapping[str, int]) -> tuple[Rail, ...]:
    """The rails of all edges, by gap; `line_of` gives the line of boxes on which each component stands."""
    ordered = sorted(edges, key=lambda edge: (line_of[edge.source], edge.source, KINDS.index(edge.kind), line_of[edge.reader], edge.reader))
    sources = _grouped((edge.source, edge.kind, _source_gap(edge, line_of)) for edge in ordered)
    found: list[Rail] = []
    arriving: dict[tuple[int, Kind, Port], list[Lane]] = {}
    for source, kind, gap in sources:
        mine = [edge for edge in ordered if (edge.source, edge.kind, _source_gap(edge, line_of)) == (source, kind, gap)]
        near = [edge.reader for edge in mine if _reader_gap(edge, line_of) == gap]
        far = [edge for edge in mine if _reader_gap(edge, line_of) != gap]
        lane = Lane(source, kind, (gap, *dict.fromkeys(_reader_gap(edge, line_of) for edge in far)))
        ports = (Port(source, line_of[source] < gap, False), *(Port(name, line_of[name] < gap, True) for name in near))
        found.append(Rail(gap, kind, ports, (lane,) if far else ()))
        for edge in far:
            there = _reader_gap(edge, line_of)
            arriving.setdefault((there, kind, Port(edge.reader, line_of[edge.reader] < there, True)), []).append(lane)
    found += [Rail(gap, kind, (port,), tuple(lanes)) for (gap, kind, port), lanes in arriving.items()]
    return tuple(sorted(found, key=lambda rail: rail.gap))


Item = TypeVar("Item")


def _grouped(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys(items))


def _source_gap(edge: Edge, line_of: Mapping[str, int]) -> int:
    """Below the source when the reader stands below, else above it."""
    source = line_of[edge.source]
    return source + 1 if line_of[edge.reader] > source else source


def _reader_gap(edge: Edge, line_of: Mapping[str, int]) -> int:
    """Above the reader, unless the source stands below it."""
    reader = line_of[edge.reader]
    return reader + 1 if line_of[edge.source] > reader else reader


def colours(intervals: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """The least number for each interval that no interval before it and overlapping it has."""
    taken: list[int] = []
    for index, (start, end) in enumerate(intervals):
        near = {taken[other] for other in range(index) if intervals[other][0] <= end and start <= intervals[other][1]}
        taken.append(next(number for number in range(index + 1) if number not in near))
    return tuple(taken)
