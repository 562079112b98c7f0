"""Two systems side by side, one tick at a time, over whatever numbers: fractions, floats or normal forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from nlc.ir.algebra import Expr, Hyperparameter, Input, State, Tick, When, walk
from nlc.ir.build import constant, full
from nlc.ir.law import Laws
from nlc.ir.model import Model, SameAsClaim
from nlc.verify.proofs import Evaluate, Value, one_tick, outputs

WEIGHTS = "weights"

Source = Input | Hyperparameter
"""What comes in from outside."""

States = dict[Expr, Value]


@dataclass(frozen=True, slots=True)
class Twins:
    """This system and the other, and how the claim reads the other's inputs and hyperparameters."""

    claim: SameAsClaim
    this: Laws
    other: Laws

    @property
    def model(self) -> Model:
        return self.this.order.model

    @property
    def other_model(self) -> Model:
        return self.other.order.model

    @property
    def observed(self) -> tuple[str, ...]:
        """The outputs that both have in one shape; of optimizers the parts of the weights."""
        mine, others = (_observable(laws) for laws in (self.this, self.other))
        return tuple(name for name, shape in mine.items() if others.get(name) == shape)

    @property
    def expressions(self) -> tuple[Expr, ...]:
        """Everything that either system evaluates."""
        return (*_expressions(self.this), *self.other_expressions)

    @property
    def this_expressions(self) -> tuple[Expr, ...]:
        return _expressions(self.this)

    @property
    def other_expressions(self) -> tuple[Expr, ...]:
        return _expressions(self.other)

    @property
    def weights(self) -> tuple[State, ...]:
        """The weights before the first step, which both optimizers share."""
        return tuple(leaf for leaf in states(self.this) if self.model.kind == "optimizer" and leaf.component == WEIGHTS)

    @property
    def sources(self) -> tuple[Source, ...]:
        """This model's inputs and hyperparameters on which either system depends, those that are given aside."""
        read = (expression for leaf in leaves_read(self.other_expressions) if (expression := self.read_as(leaf)) is not None)
        given = (value for _, value in self.claim.given)
        leaves = leaves_read((*_expressions(self.this), *read, *given))
        found = dict.fromkeys(replace(leaf, delayed=False) if isinstance(leaf, Input) else leaf for leaf in leaves)
        fixed = dict(self.claim.given)
        return tuple(leaf for leaf in found if leaf not in fixed)

    @property
    def read_leaves(self) -> tuple[Source, ...]:
        """What this system's own expressions read from outside, now and before."""
        return leaves_read(self.this_expressions)

    @property
    def parameters(self) -> tuple[State, ...]:
        """States that no law moves: slow parameters, the same for both systems where they have one name."""
        return tuple(dict.fromkeys((*_parameters(self.this), *_parameters(self.other))))

    def read_as(self, leaf: Source) -> Expr | None:
        """What the other's input or hyperparameter is, now, in terms of this model; None when nothing says so."""
        own: dict[str, Expr] = {stream.name: Input(stream.name, stream.shape) for stream in self.model.inputs}
        own |= {item.name: Hyperparameter(item.name) for item in self.model.hyperparameters}
        fixed: dict[str, Expr] = {name: constant(value) for name, value in self.claim.options}
        default: dict[str, Expr] = {item.name: constant(item.default) for item in self.other_model.hyperparameters}
        return {**default, **own, **fixed, **dict(self.claim.bindings)}.get(leaf.name)

    def carried(self, this: Mapping[Expr, Value], other: Mapping[Expr, Value]) -> tuple[States[Value], States[Value]]:
        """The states after a tick as those before the next."""
        return _carried(self.this, this), _carried(self.other, other)


def states(laws: Laws) -> tuple[State, ...]:
    """The states of a system, read before the tick."""
    return tuple(
        State(equation.owner or law.component, equation.part, equation.value.shape, When.PREVIOUS)
        for law in laws.laws
        for equation in law.equations
        if equation.part is not None
    )


def after(leaf: State) -> State:
    """The same state after the tick."""
    return replace(leaf, when=When.CURRENT)


def _expressions(laws: Laws) -> tuple[Expr, ...]:
    return tuple(equation.value for law in laws.laws for equation in law.equations) + tuple(output.value for output in laws.outputs)


def leaves_read(expressions: tuple[Expr, ...]) -> tuple[Source, ...]:
    """The sources that expressions read, in order of appearance."""
    return tuple(dict.fromkeys(leaf for node in expressions for leaf in walk(node) if isinstance(leaf, Input | Hyperparameter)))


def _parameters(laws: Laws) -> Iterator[State]:
    moved = {leaf.component for leaf in states(laws)}
    for node in _expressions(laws):
        yield from (leaf for leaf in walk(node) if isinstance(leaf, State) and leaf.component not in moved)


def _observable(laws: Laws) -> dict[str, object]:
    if laws.order.model.kind == "optimizer":
        return {f"{WEIGHTS}.{leaf.part}".rstrip("."): leaf.shape for leaf in states(laws) if leaf.component == WEIGHTS}
    return {output.name: output.value.shape for output in laws.order.model.outputs}


def _carried(laws: Laws, values: Mapping[Expr, Value]) -> dict[Expr, Value]:
    return {leaf: values[after(leaf)] for leaf in states(laws)}


# --- one tick ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """A tick: how this system's sources are called at it and at the one before (None: there was none), and its number."""

    now: Callable[[Source], Expr]
    earlier: Callable[[Source], Expr] | None
    tick: Expr


def at_tick(leaf: Source, tick: int, varying: tuple[str, ...]) -> Source:
    """The name of a source's value at one tick: inputs have another at every tick, hyperparameters only when they vary."""
    if isinstance(leaf, Input) or leaf.name in varying:
        return replace(leaf, name=f"{leaf.name}[{tick}]")
    return leaf


def moment(tick: int, varying: tuple[str, ...]) -> Moment:
    """The tick of that number, counted from 1."""
    earlier = (lambda leaf: at_tick(leaf, tick - 1, varying)) if tick > 1 else None
    return Moment(lambda leaf: at_tick(leaf, tick, varying), earlier, constant(tick))


def step(
    twins: Twins,
    at: Moment,
    this: Mapping[Expr, Value],
    other: Mapping[Expr, Value],
    evaluate: Evaluate[Value],
    known: Mapping[Expr, Value],
) -> tuple[dict[Expr, Value], dict[Expr, Value]]:
    """Both systems one tick further, from states before it; `known` are the values of sources by the names of the moment."""
    shared: dict[Expr, Value] = {leaf: evaluate(leaf, known) for leaf in twins.parameters}
    mine, others = _reads(twins, at, evaluate, known), _other_reads(twins, at, evaluate, known)
    return one_tick(twins.this, {**shared, **this, **mine}, evaluate), one_tick(twins.other, {**shared, **other, **others}, evaluate)


def initial(twins: Twins, evaluate: Evaluate[Value], known: Mapping[Expr, Value]) -> tuple[States[Value], States[Value]]:
    """The states before the first tick: zeros, but for the weights, which are the same for both."""

    def start(leaf: State) -> Value:
        return evaluate(leaf if leaf in twins.weights else full(0, leaf.shape), known)

    return {leaf: start(leaf) for leaf in states(twins.this)}, {leaf: start(leaf) for leaf in states(twins.other)}


def observed(
    twins: Twins, this: Mapping[Expr, Value], other: Mapping[Expr, Value], evaluate: Evaluate[Value]
) -> tuple[dict[str, Value], dict[str, Value]]:
    """What both systems show after a tick, by name."""
    left, right = _shown(twins.this, this, evaluate), _shown(twins.other, other, evaluate)
    return {name: left[name] for name in twins.observed}, {name: right[name] for name in twins.observed}


def _shown(laws: Laws, values: Mapping[Expr, Value], evaluate: Evaluate[Value]) -> dict[str, Value]:
    if laws.order.model.kind == "optimizer":
        return {f"{WEIGHTS}.{leaf.part}".rstrip("."): values[after(leaf)] for leaf in states(laws) if leaf.component == WEIGHTS}
    return outputs(laws, values, evaluate)


def _reads(twins: Twins, at: Moment, evaluate: Evaluate[Value], known: Mapping[Expr, Value]) -> dict[Expr, Value]:
    """What this system reads at a tick from outside."""
    now = _sources(twins, at.now, evaluate, known)
    past = _sources(twins, at.earlier, evaluate, known) if at.earlier is not None else None
    delayed = {leaf: replace(leaf, delayed=True) for leaf in now if isinstance(leaf, Input)}
    before = {late: past[leaf] if past is not None else evaluate(full(0, leaf.shape), known) for leaf, late in delayed.items()}
    return now | before | _ticks(twins.this, at, evaluate, known)


def _other_reads(twins: Twins, at: Moment, evaluate: Evaluate[Value], known: Mapping[Expr, Value]) -> dict[Expr, Value]:
    """What the other system reads, in terms of this system's sources; past inputs are zero before the first tick."""
    found = _ticks(twins.other, at, evaluate, known)
    now = _sources(twins, at.now, evaluate, known)
    past = _sources(twins, at.earlier, evaluate, known) if at.earlier is not None else None
    for leaf in leaves_read(twins.other_expressions):
        expression = twins.read_as(leaf)
        assert expression is not None, leaf
        if not isinstance(leaf, Input) or not leaf.delayed:
            found[leaf] = evaluate(expression, now)
        else:
            found[leaf] = evaluate(expression, past) if past is not None else evaluate(full(0, leaf.shape), known)
    return found


def _sources(twins: Twins, name: Callable[[Source], Expr], evaluate: Evaluate[Value], known: Mapping[Expr, Value]) -> dict[Expr, Value]:
    """The values of this system's inputs and hyperparameters at the tick of those names, the given ones too."""
    found: dict[Expr, Value] = {leaf: evaluate(name(leaf), known) for leaf in twins.sources}
    for leaf, value in twins.claim.given:
        found[leaf] = evaluate(value, found)
    return found


def _ticks(laws: Laws, at: Moment, evaluate: Evaluate[Value], known: Mapping[Expr, Value]) -> dict[Expr, Value]:
    return {Tick(component.name): evaluate(at.tick, known) for component in laws.order.model.components}
