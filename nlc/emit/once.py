"""Equations -> the same with a name for each costly part that they hold more than once, which is then computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace as with_changes

from nlc.emit.norms import normed
from nlc.ir.algebra import (
    Add,
    Divide,
    Dot,
    Expr,
    Join,
    LayerNorm,
    Map,
    MatMul,
    Named,
    Norm,
    Scale,
    Softmax,
    Spread,
    State,
    Sum,
    Window,
    children,
    contains,
    is_number,
    walk,
)  # fmt: skip
from nlc.ir.build import replace
from nlc.ir.calculus import Inverse
from nlc.ir.law import Equation, held_of

COSTLY = (MatMul, Map, Dot, Sum, Norm, Softmax, LayerNorm)
"""What takes more than the arithmetic of entries."""

WORDS = ((MatMul, "read"), (Norm, "norm"), (Softmax, "softmax"), (LayerNorm, "normed"), (Divide, "ratio"), (Sum, "sum"))
"""What a part is called after the state or the value that it is made of."""

ONCE = "computed once"
"""The rule of the equations that are added."""


def computed_once(equations: tuple[Equation, ...]) -> tuple[Equation, ...]:
    """The equations, the largest repeated parts first; each new one stands before the first that needs it."""
    while (part := _repeated(equations)) is not None:
        named = next((item for item in equations if item.part is None and item.value == part), None)
        first = next(place for place, item in enumerate(equations) if contains(item.value, lambda node: node == part))
        if named is None or equations[first] != named:
            named = Equation(_name(part, {item.name for item in equations}), part, ONCE)
            equations = (*equations[:first], named, *equations[first:])
        word = {part: Named(named.name, part.shape)}
        equations = tuple(item if item is named else with_changes(item, value=replace(item.value, word.get)) for item in equations)
    return equations


def _repeated(equations: tuple[Equation, ...]) -> Expr | None:
    """The largest costly part that occurs more than once: of a state, which differs along every axis, or of what was made of one."""
    counts = Counter(part for item in equations for part in _parts(item.value))
    repeated = [part for part, count in counts.items() if count > 1]
    return max(repeated, key=lambda part: sum(1 for _ in walk(part)), default=None)


def _parts(value: Expr) -> Iterator[Expr]:
    """The parts that a name could stand for, each as often as it is written; a vector that one call norms is written once."""
    if _is_costly(value):
        yield value
    inside = normed(value)
    for child in children(value) if inside is None else (inside,):
        yield from _parts(child)


def _is_costly(part: Expr) -> bool:
    """Whether a value takes time and is of states; windows, inverses and what joins axes are laid out by where they stand."""
    nodes = tuple(walk(part))
    is_of_states = any(isinstance(node, State | Named) for node in nodes)
    is_laid_out = isinstance(part, Inverse) or any(isinstance(node, Window | Join) for node in nodes)
    return is_of_states and not is_laid_out and any(isinstance(node, COSTLY) for node in nodes)


def _name(part: Expr, taken: set[str]) -> str:
    """A name after the first state or value in a part, and what is done to it."""
    leaves = list(dict.fromkeys(node for node in walk(part) if isinstance(node, State | Named)))
    match leaves[0]:
        case State(component, tensor):
            held = held_of(tensor)
            words = [component.split(".")[-1], tensor if held is None else held.tensor]
        case Named(name):
            words = [name, ""]
    match part:
        case Map(function):
            words += [function]
        case Add((_, Scale(by, subtracted))) if is_number(by, -1):
            words += ["centred" if isinstance(subtracted, Spread) else "error"]
        case Add():
            words += ["total"]
        case _:
            words += [next((word for kind, word in WORDS if isinstance(part, kind)), "product")]
    name = "_".join(word for word in (words if len(leaves) == 1 else (words[0], words[-1])) if word)
    while name in taken:
        name += "_"
    return name
