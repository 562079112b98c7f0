"""Two systems side by side -> the steps of a proof that they show the same, or of a run after which they do not, for the second checker.

Everything of the other system has its name before its own: `DeltaRule.memory`. A run defines the same leaves anew at every tick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from nlc.ir.algebra import Expr, Hyperparameter, Input, Named, State, Tick, walk
from nlc.ir.build import constant, full, replace as replace_parts, scale
from nlc.ir.law import Equation, Law, Laws
from nlc.ir.show import expression_text
from nlc.verify.held_values import held_leaves
from nlc.verify.proofs import Step, law_steps
from nlc.verify.relations import Relation
from nlc.verify.spelling import spelled
from nlc.verify.twins import Source, Twins, after, at_tick, leaves_read, states

BOUND = "what the claim says that it is"
START = "before the first tick"

Reading = Callable[[Expr], Expr]
"""What an expression of this system is, in terms of the leaves that are drawn."""


def induction_steps(twins: Twins, relations: tuple[Relation, ...]) -> Iterator[Step]:
    """That related states stay related over any tick, from the start on, and show the same."""
    own = _of_other(twins)
    inverted = {item.this: item for item in reversed(relations) if item.is_inverted}
    for item in relations:
        start, other_start = (leaf if leaf in twins.weights else full(0, leaf.shape) for leaf in (item.this, item.other))
        if (related := scale(spelled(item.ratio), start)) != other_start:
            yield _equation(other_start, related, "the relation at the start")
    for item in inverted.values():
        yield _definition(item.this, scale(spelled(item.inverse), own(item.other)), "the relation before a tick")
    for item in relations:
        if inverted.get(item.this) != item:
            yield _definition(own(item.other), scale(spelled(item.ratio), item.this), "the relation before a tick")
    yield from _tick(twins, _read_now(twins), _read_earlier(twins), Tick(""))
    for item in relations:
        this, other = after(item.this), own(after(item.other))
        sides = (this, scale(spelled(item.inverse), other)) if item.is_inverted else (other, scale(spelled(item.ratio), this))
        yield _equation(*sides, "the relation after it")
    yield from (_shown(twins, name) for name in twins.observed)


def run_steps(twins: Twins, ticks: int, name: str) -> Iterator[Step]:
    """What both systems are after so many ticks from their starts; the last step says that they then show the same under a name."""
    both = [(laws, own) for laws, own in ((twins.this, _unchanged), (twins.other, _of_other(twins)))]
    for laws, own in both:
        for leaf in (*states(laws), *held_leaves(laws)):
            if leaf not in twins.weights:
                yield _definition(own(leaf), full(0, leaf.shape), START)
            elif own is not _unchanged:
                yield _definition(own(leaf), leaf, START)
    for tick in range(1, ticks + 1):
        yield from _tick(twins, _at(twins, tick), _at(twins, tick - 1) if tick > 1 else None, constant(tick))
        if tick == ticks:
            break
        for laws, own in both:
            for leaf in states(laws):
                yield _definition(own(leaf), own(after(leaf)), "the next tick begins")
            yield from (
                _definition(own(leaf), own(now), "held at the last tick of its period") for leaf, now in held_leaves(laws, tick).items()
            )
    yield _shown(twins, name)


# --- one tick ----------------------------------------------------------------------------------------------------


def _tick(twins: Twins, now: Reading, earlier: Reading | None, tick: Expr) -> Iterator[Step]:
    """The definitions of a tick: what both read, their laws, their outputs."""
    own = _of_other(twins)
    for leaf in twins.read_leaves:
        value = _read(leaf, leaf, now, earlier)
        if value != leaf:
            yield _definition(leaf, value, BOUND)
    for leaf in leaves_read(twins.other_expressions):
        bound = twins.read_as(leaf)
        assert bound is not None, leaf
        yield _definition(own(leaf), _read(leaf, bound, now, earlier), BOUND)
    for laws, names in ((twins.this, _unchanged), (twins.other, own)):
        for component in laws.order.model.components:
            if names(Tick(component.name)) != tick:
                yield _definition(names(Tick(component.name)), tick, "the number of the tick")
        named = _renamed(laws, names)
        yield from law_steps(named)
        for equation in named.outputs:
            yield _definition(Named(equation.name, equation.value.shape), equation.value, "output")


def _read(leaf: Source, value: Expr, now: Reading, earlier: Reading | None) -> Expr:
    """What a source is at a tick, in terms of drawn leaves; zero when it is a past one and there is no past."""
    if not isinstance(leaf, Input) or not leaf.delayed:
        return now(value)
    present = replace(value, delayed=False) if isinstance(value, Input) else value
    return earlier(present) if earlier is not None else full(0, leaf.shape)


def _read_now(twins: Twins) -> Reading:
    return _reading(twins, lambda leaf: leaf)


def _read_earlier(twins: Twins) -> Reading:
    return _reading(twins, lambda leaf: replace(leaf, delayed=True) if isinstance(leaf, Input) else leaf)


def _at(twins: Twins, tick: int) -> Reading:
    return _reading(twins, lambda leaf: at_tick(leaf, tick, twins.claim.varying))


def _reading(twins: Twins, name: Callable[[Source], Expr]) -> Reading:
    given = dict(twins.claim.given)

    def change(leaf: Expr) -> Expr | None:
        if leaf in given:
            return read(given[leaf])
        return name(leaf) if isinstance(leaf, Input | Hyperparameter) else None

    def read(value: Expr) -> Expr:
        return replace_parts(value, change)

    return read


# --- the names of the other system -------------------------------------------------------------------------------


def _unchanged(node: Expr) -> Expr:
    return node


def _of_other(twins: Twins) -> Reading:
    """Expressions of the other system under names of their own; slow parameters are those of this one."""
    prefix = f"{twins.other_model.name}."
    shared = set(twins.parameters)

    def change(leaf: Expr) -> Expr | None:
        match leaf:
            case State(component) if leaf not in shared:
                return replace(leaf, component=prefix + component)
            case Input(name) | Hyperparameter(name) | Named(name):
                return replace(leaf, name=prefix + name)
            case Tick(component):
                return replace(leaf, component=prefix + component)
        return None

    return lambda node: replace_parts(node, change)


def _renamed(laws: Laws, names: Reading) -> Laws:
    def component(name: str) -> str:
        (changed,) = (part for part in walk(names(Tick(name))) if isinstance(part, Tick))
        return changed.component

    def equation(item: Equation) -> Equation:
        value = names(item.value)
        (named,) = (part for part in walk(names(Named(item.name, value.shape))) if isinstance(part, Named))
        return replace(item, name=named.name, value=value, owner=component(item.owner) if item.owner else None)

    def law(item: Law) -> Law:
        return replace(item, component=component(item.component), equations=tuple(map(equation, item.equations)))

    return replace(laws, laws=tuple(map(law, laws.laws)), outputs=tuple(map(equation, laws.outputs)))


# --- steps -------------------------------------------------------------------------------------------------------


def _definition(left: Expr, right: Expr, rule: str) -> Step:
    return Step(expression_text(left), expression_text(right), rule, (), "definition", (left, right))


def _equation(left: Expr, right: Expr, rule: str) -> Step:
    return Step(expression_text(left), expression_text(right), rule, (), "equality", (left, right))


def _shown(twins: Twins, name: str) -> Step:
    """That both show the same under a name."""
    own = _of_other(twins)
    if twins.model.kind == "optimizer":
        leaf = next(leaf for leaf in twins.weights if f"{leaf.component}.{leaf.part}".rstrip(".") == name)
        left: Expr = after(leaf)
    else:
        left = next(Named(item.name, item.value.shape) for item in twins.this.outputs if item.name == name)
    right = own(left)
    return Step(expression_text(left), expression_text(right), "what was to be shown", (), "conclusion", (left, right))
