"""Laws -> each new state as one expression of what was before: is it a plain sum over tokens, and which inputs leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import combinations, product
from types import MappingProxyType

from nlc.ir.algebra import Add, Due, Expr, Hyperparameter, Input, Named, State, Tick, When, contains
from nlc.ir.build import full, replace
from nlc.ir.law import Laws
from nlc.ir.model import Model

Slot = tuple[str, str]
MOST_CHANGED = 2
"""Inputs and hyperparameters that are set at once, at most, to leave the states as they are."""


def new_states(laws: Laws) -> dict[Slot, Expr]:
    """The new value of every tensor that a law moves, with names and new values of other tensors written out."""
    new: dict[Slot, Expr] = {}
    for law in laws.laws:
        named: dict[str, Expr] = {}

        def written_out(node: Expr, named: Mapping[str, Expr] = MappingProxyType(named)) -> Expr | None:
            if isinstance(node, State) and node.when is When.CURRENT:
                return new.get((node.component, node.part))
            return named.get(node.name) if isinstance(node, Named) else None

        for equation in law.equations:
            named[equation.name] = replace(equation.value, written_out)
            if equation.part is not None:
                new[equation.owner or law.component, equation.part] = named[equation.name]
    return new


def sum_obstacle(laws: Laws) -> str:
    """What keeps the states from being plain sums of what each token gives by itself, in any order; empty when nothing does."""
    if laws.in_rounds:
        return f"{' and '.join(sorted(laws.in_rounds))} starts again at every update"
    if laws.kept or laws.order.model.updates_per_tick > 1:
        return "the place of a token in the sequence matters"
    for (component, part), value in new_states(laws).items():
        terms = value.terms if isinstance(value, Add) else (value,)
        is_sum = sum(_is_old(term, component, part) for term in terms) == 1
        if not is_sum or any(contains(term, _is_state) for term in terms if not _is_old(term, component, part)):
            return f"the new {component} is not the old one plus something of the token alone"
    return "" if laws.laws else "nothing is learned"


def _is_old(node: Expr, component: str, part: str) -> bool:
    return isinstance(node, State) and (node.component, node.part, node.when) == (component, part, When.PREVIOUS)


def _is_state(node: Expr) -> bool:
    return isinstance(node, State | Due | Tick) or (isinstance(node, Input) and node.delayed)


def idle_settings(laws: Laws) -> Mapping[str, int] | None:
    """Inputs and hyperparameters with numbers, 0 or 1, that leave every state as it is, whatever the others are; None if none are found."""
    values = new_states(laws)
    if laws.kept or laws.in_rounds or not values:
        return None
    for setting in _settings(laws.order.model):
        if all(_is_old(_with(value, setting), *slot) for slot, value in values.items()):
            return setting
    return None


def _settings(model: Model) -> Iterator[Mapping[str, int]]:
    """Few before many, numbers before vectors, 0 before 1."""
    pools = {stream.name: _allowed(stream.low, stream.high) for stream in sorted(model.inputs, key=lambda item: len(item.shape))}
    pools |= {item.name: (0, 1) for item in model.hyperparameters}
    for count in range(1, MOST_CHANGED + 1):
        for names in combinations(pools, count):
            yield from (dict(zip(names, numbers, strict=True)) for numbers in product(*(pools[name] for name in names)))


def _allowed(low: Fraction | None, high: Fraction | None) -> tuple[int, ...]:
    return tuple(number for number in (0, 1) if (low is None or low <= number) and (high is None or number <= high))


def _with(value: Expr, setting: Mapping[str, int]) -> Expr:
    def known(node: Expr) -> Expr | None:
        return full(setting[node.name], node.shape) if isinstance(node, Input | Hyperparameter) and node.name in setting else None

    return replace(value, known)
