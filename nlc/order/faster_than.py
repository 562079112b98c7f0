"""Definition 2: edges between components to the relation "is faster than", with a reason in words for every pair.

A is faster than B when it is updated more often, or equally often while B's new state needs A's new state at the same tick, directly
or through others. Otherwise they tie.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from nlc.ir.model import Clock, Family
from nlc.ir.order import Edge
from nlc.order.clocks import TICKS, speed, why_faster
from nlc.source import NOWHERE

Path = tuple[Edge, ...]
"""Edges from a reader to what it needs, each one's source the reader of the next."""

Paths = Mapping[tuple[str, str], Path]
"""The shortest path from a reader to each component whose new state it needs, by (reader, source)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What decides how components compare: their clocks, and the paths along which they need new states.

    `needs` are the paths that order components; `all_needs` has those through other blocks' outputs, too.
    """

    clocks: Mapping[str, Clock]
    needs: Paths
    all_needs: Paths

    def is_faster(self, left: str, right: str) -> bool:
        """Whether `left` is faster than `right` (Definition 2)."""
        one, other = speed(self.clocks[left]), speed(self.clocks[right])
        return one < other or (one == other and (right, left) in self.needs)

    def why_faster(self, left: str, right: str) -> str:
        """The reason why `left` is faster than `right`."""
        fast, slow = self.clocks[left], self.clocks[right]
        return why_faster(fast, slow) if speed(fast) < speed(slow) else self._told(self.needs[right, left])

    def why_tied(self, left: str, right: str) -> str:
        """The reason why neither is faster than the other."""
        if self.clocks[left].family is Family.NEVER:
            return "neither is ever updated"
        path = self.all_needs.get((right, left)) or self.all_needs.get((left, right))
        if path:
            return f"same frequency; {self._told(path)}, but through another block's outputs, which counts only in a strict spec"
        return "same frequency, neither needs the other's new state"

    def _told(self, path: Path) -> str:
        tick = TICKS[self.clocks[path[0].reader].family]
        return "; ".join(f"{edge.reader} at {tick} t reads {edge.source} at {tick} t{_place(edge)}" for edge in path)


def compare(clocks: Mapping[str, Clock], edges: Iterable[Edge]) -> Comparison:
    """What Definition 2 needs to know of a system: only reads of new states matter."""
    new = [edge for edge in edges if edge.kind != "older state"]
    return Comparison(clocks, shortest_paths(edge for edge in new if edge.kind == "same tick"), shortest_paths(new))


def shortest_paths(edges: Iterable[Edge]) -> dict[tuple[str, str], Path]:
    """The shortest path between every two components that the edges connect, also from a component back to itself."""
    outgoing: dict[str, list[Edge]] = {}
    for edge in edges:
        outgoing.setdefault(edge.reader, []).append(edge)
    return {(reader, source): path for reader in sorted(outgoing) for source, path in _paths_from(reader, outgoing).items()}


def _paths_from(reader: str, outgoing: Mapping[str, list[Edge]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    waiting: deque[Path] = deque((edge,) for edge in outgoing[reader])
    while waiting:
        path = waiting.popleft()
        if path[-1].source not in found:
            found[path[-1].source] = path
            waiting.extend((*path, edge) for edge in outgoing.get(path[-1].source, ()))
    return found


def _place(edge: Edge) -> str:
    """`, momentum.yaml:14`: the file and line of a read, if a user wrote it."""
    return "" if edge.span == NOWHERE else f", {PurePath(edge.span.source.name).name}:{edge.span.line}"
