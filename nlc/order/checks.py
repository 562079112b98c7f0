"""What no timetable can serve, though every name and shape is right: clocks that do not fit what they are used for.

Each check gives its diagnostics; `CHECKS` lists the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, pairwise

from nlc.codes import order as codes
from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import Gradient, State
from nlc.ir.model import Clock, ClosedForm, Component, Family, Model
from nlc.ir.starts import reset_clock, started_from
from nlc.order.clocks import chunk, schedule_text, speed
from nlc.order.cycles import with_argument
from nlc.order.dependencies import first_by_component, reads_of, step_expressions
from nlc.source import NOWHERE, Span


def check_chunks(model: Model) -> Iterator[Diagnostic]:
    """A chunk divides every slower chunk of its family."""
    if model.uneven_chunks:
        return
    first_of: dict[Clock, Component] = {}
    for component in _active(model):
        first_of.setdefault(component.every, component)
    for small, large in combinations(sorted(first_of, key=lambda clock: (clock.family.value, chunk(clock), clock.period)), 2):
        if not _divides(small, large):
            yield codes.uneven_chunks(_told(first_of[small]), _told(first_of[large]))


def check_resets(model: Model) -> Iterator[Diagnostic]:
    """A level is reset at its own updates, as often or more rarely."""
    for component in _active(model):
        reset = reset_clock(component)
        words = (component.name, _told(component), (component.place("reset"), schedule_text(reset)))
        if speed(reset) < speed(component.every):
            yield codes.reset_too_fast(*words)
        elif not (model.uneven_chunks or _divides(component.every, reset)):
            yield codes.uneven_reset(*words)


def check_always(model: Model) -> Iterator[Diagnostic]:
    """A level that is re-solved for every query keeps nothing and is solved in closed form."""
    for component in model.components:
        if component.every.family is not Family.ALWAYS or component.host:
            continue
        if component.retention:
            yield codes.kept_state(component.place("retention"), component.every_span, component.name, "a retention")
        if component.has_inlined_optimizer:
            what = f"the optimizer `{component.optimizer_name}`"
            *_, own = (component.span, *(span for key, span in component.places if key == "optimizer"))
            yield codes.kept_state(own, component.every_span, component.name, what)
        elif not isinstance(component.optimizer, ClosedForm):
            yield codes.not_closed_form(component.place("optimizer"), component.every_span, component.name)


def check_gradients(model: Model) -> Iterator[Diagnostic]:
    """A gradient is read only when there is one: at its level's updates."""
    for reader in _active(model):
        for name, gradient in sorted(first_by_component(reads_of(Gradient, step_expressions(reader))).items()):
            host = model.component(name)
            if speed(reader.every) < speed(host.every):
                span = _or_else(gradient.span, reader.span)
                yield codes.off_schedule(reader.name, span, name, _told(reader), _told(host))


def check_slow_reads(model: Model) -> Iterator[Diagnostic]:
    """The update of a slow level reads no fast state, which exists once per sequence."""
    for reader in _active(model):
        for name, read in sorted(first_by_component(reads_of(State, (*step_expressions(reader), *reader.init))).items()):
            source = model.component(name)
            if source.every.is_fast and not reader.every.is_fast:
                span = with_argument(_or_else(read.span, reader.span))
                yield codes.slow_reads_fast(reader.name, name, span, reader.every_span, source.every_span)


def check_starts(model: Model) -> Iterator[Diagnostic]:
    """No level starts, through others, from itself."""
    reported: set[str] = set()
    for component in sorted(model.components, key=lambda item: item.name):
        ring = _ring(model, (component.name,))
        if ring and reported.isdisjoint(ring):
            reported.update(ring)
            yield codes.starts_in_a_ring(
                [(name, model.component(name).place("init"), source) for name, source in pairwise((*ring, ring[0]))]
            )


def _ring(model: Model, path: tuple[str, ...]) -> tuple[str, ...]:
    """The levels from the first of the path back to it, each starting from the next; none when it does not get there."""
    for source in started_from(model.component(path[-1])):
        if source == path[0]:
            return path
        if source not in path and (ring := _ring(model, (*path, source))):
            return ring
    return ()


CHECKS: tuple[Callable[[Model], Iterator[Diagnostic]], ...] = (
    check_chunks,
    check_resets,
    check_always,
    check_gradients,
    check_slow_reads,
    check_starts,
)


def _active(model: Model) -> Iterator[Component]:
    by_name = sorted(model.components, key=lambda component: component.name)
    return (component for component in by_name if component.every.family is not Family.NEVER)


def _divides(small: Clock, large: Clock) -> bool:
    return small.family is not large.family or chunk(large) % chunk(small) == 0


def _told(component: Component) -> tuple[Span, str]:
    return component.every_span, schedule_text(component.every)


def _or_else(span: Span, other: Span) -> Span:
    return other if span == NOWHERE else span
