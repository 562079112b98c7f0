"""Same-tick cycles: components that need one another's new state, which no order can serve (NLC305)."""

from __future__ import annotations

from collections.abc import Mapping

from nlc.codes import order as codes
from nlc.diagnostics import Diagnostic
from nlc.ir.model import Component
from nlc.ir.order import Edge
from nlc.order.clocks import TICKS
from nlc.order.faster_than import Path, Paths
from nlc.source import NOWHERE, Span


def same_tick_cycles(components: Mapping[str, Component], all_needs: Paths) -> tuple[Diagnostic, ...]:
    """A diagnostic for each shortest cycle, shortest first, none of which share a component."""
    cycles = sorted((path for (reader, source), path in all_needs.items() if reader == source), key=len)
    reported: set[str] = set()
    diagnostics = []
    for cycle in cycles:
        if reported.isdisjoint(edge.reader for edge in cycle):
            reported.update(edge.reader for edge in cycle)
            diagnostics.append(_diagnostic(_from_the_top(cycle), components))
    return tuple(diagnostics)


def _from_the_top(cycle: Path) -> Path:
    """The same cycle, told from the read that comes first in its file."""
    first = min(range(len(cycle)), key=lambda index: (cycle[index].span.source.name, cycle[index].span.start))
    return cycle[first:] + cycle[:first]


def _diagnostic(cycle: Path, components: Mapping[str, Component]) -> Diagnostic:
    reads = [(edge.reader, edge.source, _read_span(edge, components)) for edge in cycle]
    tick = TICKS[components[cycle[0].reader].every.family]
    return codes.same_tick_cycle(reads, tick, _delayed(cycle[-1]))


def _read_span(edge: Edge, components: Mapping[str, Component]) -> Span:
    return components[edge.reader].span if edge.span == NOWHERE else with_argument(edge.span)


def _delayed(edge: Edge) -> str:
    """The read of an edge, written with `prev`: `prev(memory)(k)`."""
    name = edge.span.text or edge.source
    return f"prev({name}){with_argument(edge.span).text[len(edge.span.text) :]}"


def with_argument(span: Span) -> Span:
    """The span of a name and of the argument that it is applied to: `memory` in `memory(k)` to the whole call."""
    text, depth = span.source.text, 0
    if not text.startswith("(", span.end):
        return span
    for offset in range(span.end, len(text)):
        depth += (text[offset] == "(") - (text[offset] == ")")
        if depth == 0:
            return Span(span.source, span.start, offset + 1)
    return span
