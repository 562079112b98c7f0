"""Laws -> exact numbers: the derived equations in whole numbers over powers of two, one sequence and one place along the axes at a time.

An opinion apart from torch: Python's own numbers, which know whether float64 computes them without rounding (`dyadic`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from nlc.ir import algebra
from nlc.ir.algebra import (
    Due,
    Expr,
    Hyperparameter,
    Index,
    Input,
    Join,
    Named,
    Parameter,
    Split,
    State,
    StopGradient,
    When,
    children,
)
from nlc.ir.law import POSITION, PREVIOUS, RECENT, Kept, Law, Laws, recent_names, with_parameters
from nlc.ir.model import Family, Model
from nlc.ir.recents import Recent, Shift
from nlc.verify.arithmetic import NotRational
from nlc.verify.dyadic import DYADIC, Dyadic
from nlc.verify.rational import Tensor, evaluate, shape_of

Place = tuple[int, ...]
"""A place along every axis of the system."""

Slot = tuple[str, str]
Values = Mapping[Place, Tensor]
"""One tensor of a system at every place."""

Seen = tuple[Mapping[str, Values], Mapping[Slot, Values]]
"""Outputs, and the states after them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one sequence is computed from: every stream at every token (and part of it), and what it starts from."""

    streams: Mapping[str, Sequence[Values]]
    hyperparameters: Sequence[Mapping[str, Tensor]]
    parameters: Mapping[Slot, Tensor]
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Moment:
    """What one tick sees; `new` fills up as the laws run."""

    model: Model
    sizes: Mapping[str, int]
    parameters: Mapping[Slot, Tensor]
    hyperparameters: Mapping[str, Tensor]
    inputs: Mapping[str, Values]
    previous: Mapping[Slot, Values]
    new: dict[Slot, Values]
    recent: Mapping[Expr, str]
    part: int = 0

    @property
    def places(self) -> tuple[Place, ...]:
        return places_of(self.model, self.sizes)

    def run(self, law: Law) -> None:
        """The equations of a law, in order."""
        named: dict[str, Values] = {}
        for equation in law.equations:
            named[equation.name] = self.everywhere(equation.value, named)
            if equation.part is not None:
                self.new[equation.owner or law.component, equation.part] = named[equation.name]

    def everywhere(self, node: Expr, named: Mapping[str, Values]) -> Values:
        """An expression at every place."""
        return {place: self.value(node, place, named) for place in self.places}

    def value(self, node: Expr, place: Place, named: Mapping[str, Values]) -> Tensor:
        """An expression at one place."""
        known = {part: self._source(part, place, named) for part in _sources(node)}
        return evaluate(node, known, self.sizes, DYADIC)

    def _source(self, node: Expr, place: Place, named: Mapping[str, Values]) -> Tensor:
        match node:
            case Split(x, axis):
                whole, count = self.value(x, place, named), self.sizes[axis]
                size, first = len(whole.entries) // count, place[self.model.axes.index(axis)]
                return Tensor(shape_of(node.shape, self.sizes), whole.entries[first * size : (first + 1) * size])
            case Join(x, axis):
                along = self.model.axes.index(axis)
                there = [(*place[:along], number, *place[along + 1 :]) for number in range(self.sizes[axis])]
                entries = tuple(entry for other in there for entry in self.value(x, other, named).entries)
                return Tensor(shape_of(node.shape, self.sizes), entries)
            case Named(name):
                return named[name][place]
            case Input(name, _, delayed):
                return (self.previous[PREVIOUS, name] if delayed else self.inputs[name])[place]
            case Recent(x):
                parts = self.model.values_per_tick(x)
                return _rows(self.previous[RECENT, self.recent[node]][place], slice(min(self.part, parts - 1), None, parts))
            case Hyperparameter(name):
                return self.hyperparameters[name]
            case Parameter(component, part):
                return self.parameters[component, part]
            case Index(axis):
                return scalar(place[self.model.axes.index(axis)])
            case State(component, part, when=when):
                return (self.new if when is When.CURRENT else self.previous)[component, part][place]
            case Due(period):
                return scalar(int((self.seen + 1) % period == 0))
            case algebra.Tick(component):
                return scalar(self._count(component))
            case algebra.Position():
                return scalar(self.seen)
        raise ValueError(f"a law cannot hold {node}")

    @property
    def seen(self) -> int:
        """The tokens before this one."""
        return int(next(iter(self.previous[POSITION, ""].values())).entries[0])

    def _count(self, component: str) -> int:
        declared, seen = self.model.component(component), self.seen
        if declared.reset is not None and declared.reset.family is Family.TOKEN:
            seen %= int(declared.reset.period)
        return seen // int(declared.every.period) + 1


def _sources(node: Expr) -> Iterator[Expr]:
    """What an expression is made of: leaves whose values are given, and what looks at other places."""
    match node:
        case Split() | Join():
            yield node
        case (
            Named() | Input() | Hyperparameter() | Parameter() | Index() | State() | Due() | algebra.Tick() | algebra.Position() | Recent()
        ):
            yield node
        case _:
            for child in children(node):
                yield from _sources(child)


def places_of(model: Model, sizes: Mapping[str, int]) -> tuple[Place, ...]:
    """Every place along the axes of a system."""
    return tuple(product(*(range(sizes[axis]) for axis in model.axes)))


def scalar(value: int) -> Tensor:
    """A whole number."""
    return Tensor((), (Dyadic.of(value),))


# --- a whole sequence --------------------------------------------------------------------------------------------


def run_exactly(laws: Laws, evidence: Evidence, state: Mapping[Slot, Values]) -> Iterator[Seen]:
    """What is seen after every tick, from a state that may leave out what starts as the spec says.

    Raises NotRational when a law is no polynomial.
    """
    model = laws.order.model
    if laws.in_rounds:
        raise NotRational(f"{' and '.join(sorted(laws.in_rounds))} starts again at every update")
    nothing = Moment(model, evidence.sizes, evidence.parameters, evidence.hyperparameters[0], {}, {}, {}, recent_names(laws.kept))
    begun = _starts(laws, nothing)
    states: Mapping[Slot, Values] = {**begun, **state}
    parts = model.updates_per_tick
    for t, numbers in enumerate(evidence.hyperparameters):
        states = _reset(laws, replace(nothing, previous=states), begun)
        between = states
        passed: list[Moment] = []
        for part in range(parts):
            inputs = {name: stream[t * parts + part] for name, stream in evidence.streams.items()}
            moment = replace(nothing, hyperparameters=numbers, inputs=inputs, previous=states, new={}, part=part)
            passed.append(moment)
            between = _moved(laws, passed, between)
        states = between
        yield _emitted(laws, replace(moment, new=dict(states))), states


def _moved(laws: Laws, passed: Sequence[Moment], between: Mapping[Slot, Values]) -> Mapping[Slot, Values]:
    """The states after the newest part of a tick: only levels that move at every part see those between, and only the last moves all."""
    moment, is_last = passed[-1], len(passed) == passed[-1].model.updates_per_tick
    for law in laws.laws:
        is_parted = moment.model.is_parted(law.component)
        if is_last or is_parted:
            replace(moment, previous=between if is_parted else moment.previous).run(law)
    if not is_last:
        parted = (stream.name for stream in moment.model.inputs if stream.is_parted)
        passed_by = {(PREVIOUS, name): moment.inputs[name] for name in parted if (PREVIOUS, name) in moment.previous}
        return {**between, **moment.new, **passed_by}
    kept = {(item.component, item.part): _kept(passed, item) for item in laws.kept}
    return {**moment.previous, **moment.new, **kept}


def _kept(passed: Sequence[Moment], item: Kept) -> Values:
    """What is kept to the next tick; of a stream of several values a token, that of each part."""
    if not isinstance(item.value, Shift):
        return passed[-1].everywhere(item.value, {})
    x, before = item.value.x, passed[-1].previous[item.component, item.part]
    newest = [moment.everywhere(x, {}) for moment in passed[-passed[-1].model.values_per_tick(x) :]]
    return {place: _lengthened(old, [values[place] for values in newest]) for place, old in before.items()}


def _lengthened(old: Tensor, newest: Sequence[Tensor]) -> Tensor:
    """Rows without the oldest, with the newest."""
    entries = (*old.entries, *(entry for value in newest for entry in value.entries))
    return Tensor(old.shape, entries[len(entries) - len(old.entries) :])


def _rows(x: Tensor, chosen: slice) -> Tensor:
    """Some rows of a tensor."""
    size = prod(x.shape[1:])
    rows = range(x.shape[0])[chosen]
    return Tensor((len(rows), *x.shape[1:]), tuple(entry for row in rows for entry in x.entries[row * size : (row + 1) * size]))


def _emitted(laws: Laws, moment: Moment) -> Mapping[str, Values]:
    named: dict[str, Values] = {}
    for equation in laws.outputs:
        named[equation.name] = moment.everywhere(equation.value, named)
    return {output.name: named[output.name] for output in moment.model.outputs}


def _starts(laws: Laws, moment: Moment) -> Mapping[Slot, Values]:
    """Zeros, or what the spec says, for every state and for what is kept beside them."""
    model = moment.model
    shapes = {(item.name, declared.part): declared.shape for item in model.fast for declared in item.states}
    shapes |= {(item.component, item.part): item.value.shape for item in laws.kept}
    given = {(item.name, declared.part): value for item in model.fast for declared, value in zip(item.states, item.init, strict=False)}
    given |= {(item.component, item.part): item.start for item in laws.kept if item.start is not None}
    zeros = {slot: _zeros(shape_of(shape, moment.sizes)) for slot, shape in shapes.items()}
    begun: dict[Slot, Values] = {slot: dict.fromkeys(moment.places, value) for slot, value in zeros.items()}
    return begun | {slot: _filled(moment.everywhere(with_parameters(model, value), {}), zeros[slot].shape) for slot, value in given.items()}


def _zeros(shape: tuple[int, ...]) -> Tensor:
    return Tensor(shape, (Dyadic.of(0),) * prod(shape))


def _filled(values: Values, shape: tuple[int, ...]) -> Values:
    """A scalar in every entry of a shape."""
    return {place: x if x.shape == shape else Tensor(shape, x.entries * prod(shape)) for place, x in values.items()}


def _reset(laws: Laws, moment: Moment, begun: Mapping[Slot, Values]) -> Mapping[Slot, Values]:
    """The states as the next tick finds them: those of a new period as they begun; a cut of their past changes no value."""
    again = {
        (item.state.component, item.state.part)
        for item in laws.resets
        if not isinstance(item.value, StopGradient) and moment.seen and moment.seen % item.period == 0
    }
    return {slot: begun[slot] if slot in again else value for slot, value in moment.previous.items()}
