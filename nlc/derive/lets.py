"""The `let` entries that read states: equations of their own, wherever the law of a level holds their value written out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as with_changes
from functools import partial

from nlc.derive.settle import settle
from nlc.derive.simplify import simplify
from nlc.ir.algebra import LEAVES, Expr, Gradient, Input, Named, State, Tick, contains, walk
from nlc.ir.build import replace
from nlc.ir.law import WORD, Equation
from nlc.ir.order import LevelOrder


def abbreviated(order: LevelOrder, level: str | None, equations: tuple[Equation, ...]) -> tuple[Equation, ...]:
    """The equations of a level's law, or the outputs, with the spec's own words in them, each defined before the first that uses it.

    A word that an equation has already stays with that equation. An equation that then says a word alone goes, and the word stays.
    """
    taken = {equation.name for equation in equations}
    for name, value in _words(order, level):
        if name not in taken:
            for form in dict.fromkeys((value, simplify(value))):
                equations = _with_word(name, form, equations)
    return without_synonyms(equations)


def _with_word(name: str, value: Expr, equations: tuple[Equation, ...]) -> tuple[Equation, ...]:
    """The equations with a word wherever they hold its value, and one that defines it before the first of them."""
    words = {item.value: Named(item.name, item.value.shape) for item in equations if item.rule == WORD and item.name != name}
    said, word = replace(value, words.get), Named(name, value.shape)
    users = [item if item.name == name else replace_in(item, said, word) for item in equations]
    moved = [place for place, (old, new) in enumerate(zip(equations, users, strict=True)) if old != new]
    if not moved:
        return equations
    known = [place for place, item in enumerate(users) if item.name == name]
    defining = users.pop(known[0]) if known else Equation(name, said, WORD)
    first = min([*moved, *known])
    return (*users[:first], defining, *users[first:])


def _words(order: LevelOrder, level: str | None) -> Iterator[tuple[str, Expr]]:
    """The entries that read states, as this level or the outputs see them, shorter ones first: each may stand in those after it."""
    found = []
    own = (State, Tick, Input) if order.model.kind == "optimizer" else (State, Tick)
    for item in order.model.abbreviations:
        counted = item.value if level is None else replace(item.value, partial(_counted_by, level))
        value = settle(order, level, counted)
        reads_states = contains(value, lambda node: isinstance(node, own))
        if reads_states and not isinstance(value, LEAVES) and not contains(value, lambda node: isinstance(node, Gradient)):
            found.append((item.name, value))
    yield from sorted(found, key=lambda item: sum(1 for _ in walk(item[1])))


def _counted_by(level: str, node: Expr) -> Expr | None:
    return with_changes(node, component=level) if isinstance(node, Tick) else None


def replace_in(equation: Equation, old: Expr, new: Expr) -> Equation:
    """The equation with `new` wherever it had `old`."""
    return with_changes(equation, value=replace(equation.value, lambda node: new if node == old else None))


def without_synonyms(equations: tuple[Equation, ...]) -> tuple[Equation, ...]:
    """The equations without those that only give another name to a word: who used that name uses the word."""
    kept: list[Equation] = []
    synonyms: dict[Expr, Expr] = {}
    words = {item.name for item in equations if item.rule == WORD}
    for item in equations:
        value = replace(item.value, synonyms.get)
        if item.part is None and isinstance(value, Named) and value.name in words:
            synonyms[Named(item.name, value.shape)] = value
        else:
            kept.append(with_changes(item, value=value))
    return tuple(kept)
