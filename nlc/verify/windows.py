"""Sums over the data of a window, in claims: which streams are data, what is proved about sums of any length, and short sums written out.

A sum over a window is linear: what is the same at every datum stands before it. A softmax over a window is exp over its sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from nlc.ir.algebra import Age, Expr, Input, Map, Named, Now, Window, WindowMean, WindowSoftmax, WindowSum, children
from nlc.ir.build import add, constant, divide, matmul, replace as replace_parts, scale, total, transpose, window_sum
from nlc.ir.law import Law, Laws
from nlc.ir.model import Model
from nlc.verify.letters import Atom, Diagonal, Function, Inner, Inverse, Letter, Meaning, Product, Root, Trace
from nlc.verify.polynomial import Polynomial

WRITTEN_OUT = 2
"""Data of a window at which claims are tried out."""


def at_data(node: Expr, model: Model) -> Expr:
    """A claim's expression with the streams under its sums as data of the window that keeps them."""
    kept = {
        item.value: Window(component.name, item.name, item.value.shape)
        for component in reversed(model.components)
        for item in component.data
    }

    def inside(part: Expr) -> Expr | None:
        return part if isinstance(part, Now) else kept.get(part)

    def change(part: Expr) -> Expr | None:
        match part:
            case WindowSum(x):
                return window_sum(replace_parts(x, inside))
            case WindowSoftmax(x):
                return WindowSoftmax(replace_parts(x, inside))
        return None

    return replace_parts(node, change)


def without_softmax(node: Expr) -> Expr:
    """The expression with every softmax over a window as exp over its sum."""

    def change(part: Expr) -> Expr | None:
        if isinstance(part, WindowMean):
            return _mean_of_sums(part)
        if not isinstance(part, WindowSoftmax):
            return None
        exponential = Map("exp", without_softmax(part.x), ())
        return divide(exponential, WindowSum(exponential, ()))

    return replace_parts(node, change)


def _mean_of_sums(mean: WindowMean) -> Expr:
    """The mean over all pairs as a quotient of sums; the rows of a matrix are summed by a product."""
    above, below = [], []
    for score, value in mean.pairs:
        weight: Expr = Map("exp", without_softmax(score), score.shape)
        if score.shape:  # outside of a sum over the window, `now(x)` is x
            weight = replace_parts(weight, lambda part: part.x if isinstance(part, Now) else None)
        above.append(matmul(transpose(value), weight) if score.shape else window_sum(scale(weight, value)))
        below.append(total(weight) if score.shape else WindowSum(weight, ()))
    return divide(add(*above), add(*below))


def without_softmaxes(laws: Laws) -> Laws:
    """The laws with every softmax over a window as exp over its sum."""
    return _changed(laws, without_softmax)


def _changed(laws: Laws, change: Callable[[Expr], Expr]) -> Laws:
    def changed(law: Law) -> Law:
        return replace(law, equations=tuple(replace(item, value=change(item.value)) for item in law.equations))

    return replace(laws, laws=tuple(changed(law) for law in laws.laws))


def is_datum(letter: Letter) -> bool:
    """Whether a letter may differ from datum to datum."""
    return _varies(letter.meaning)


def _varies(meaning: Meaning) -> bool:
    match meaning:
        case Atom(node):
            return isinstance(node, Window | Age)
        case Function(WindowSum()):
            return False
        case Function(_, arguments):
            return any(varies(argument) for argument in arguments)
        case Root(inner) | Inverse(inner):
            return varies(inner)
        case Product(entries) | Diagonal(entries):
            return any(is_datum(letter) for word, _ in entries for letter in word)
        case Inner(word) | Trace(word):
            return any(is_datum(letter) for letter in word)
    return False


def varies(x: Polynomial) -> bool:
    """Whether a polynomial may differ from datum to datum."""
    return any(is_datum(letter) for factors, word in x.terms for letter in (*(item for item, _ in factors), *word))


# --- sums written out --------------------------------------------------------------------------------------------


def with_one_equation(law: Law) -> Law:
    """The law of a level that is solved over a window as one equation: what it abbreviates may be a value for each datum."""
    whole: dict[str, Expr] = {}
    for equation in law.equations:
        whole[equation.name] = replace_parts(equation.value, lambda node: whole.get(node.name) if isinstance(node, Named) else None)
    last = law.equations[-1]
    return replace(law, equations=(replace(last, value=whole[last.name]),))


def in_one_equation(laws: Laws) -> Laws:
    """The laws with those of solved levels in one equation each."""
    model = laws.order.model
    return replace(laws, laws=tuple(with_one_equation(law) if model.component(law.component).is_solved else law for law in laws.laws))


def written_out(node: Expr, count: int = WRITTEN_OUT) -> Expr:
    """The expression with sums over a window as sums over so many data."""

    def change(part: Expr) -> Expr | None:
        if isinstance(part, WindowMean):
            return written_out(_mean_of_sums(part), count)
        if isinstance(part, WindowSum):
            return add(*(_at(without_softmax(part.x), place, count) for place in range(count)))
        return None

    return replace_parts(node, change)


def _at(node: Expr, place: int, count: int) -> Expr:
    """The value at one datum, the oldest first."""

    def change(part: Expr) -> Expr | None:
        match part:
            case Window(component, name, shape):
                return Window(component, f"{name}_{place + 1}", shape)
            case Age():
                return constant(count - 1 - place)
            case WindowSum():
                return written_out(part, count)
            case Now(x):
                return x
        return None

    return replace_parts(node, change)


def laws_written_out(laws: Laws) -> Laws:
    """The laws over windows of so many data."""
    return _changed(laws, written_out)


def streams_in_sums(node: Expr) -> Iterator[Input]:
    """Streams under a sum over a window that no window keeps: a claim about them says nothing."""
    if isinstance(node, WindowSum | WindowSoftmax):
        yield from _inputs(node.x)
        return
    for child in children(node):
        yield from streams_in_sums(child)


def _inputs(node: Expr) -> Iterator[Input]:
    if isinstance(node, Now):
        return
    if isinstance(node, Input):
        yield node
    for child in children(node):
        yield from _inputs(child)
