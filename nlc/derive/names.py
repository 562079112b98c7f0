"""Names for the equations of a law: the paper's words, unless the spec uses the word for something else."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count

from nlc.ir.algebra import Expr, Named
from nlc.ir.build import replace
from nlc.ir.model import Model
from nlc.ir.show import expression_text, uncounted


def said(model: Model, node: Expr) -> str:
    """The text of an expression of a spec, in which its abbreviations stand as their names."""
    names: dict[Expr, Expr] = {item.value: Named(item.name, item.value.shape) for item in model.abbreviations}
    return expression_text(replace(uncounted(node), names.get))


def last_segment(component: str) -> str:
    """`momentum` for `memory.momentum`: what the new state is called inside its law."""
    return component.rpartition(".")[2]


def words_of(model: Model) -> frozenset[str]:
    """Every name that an expression of the model may print: no abbreviation may take one of them."""
    dims, inputs = (dim.name for dim in model.dims), (stream.name for stream in model.inputs)
    numbers, states = (item.name for item in model.hyperparameters), (last_segment(component.name) for component in model.components)
    abbreviations = (item.name for item in model.abbreviations)
    return frozenset((*abbreviations, *dims, *inputs, *numbers, *states))


def worded(word: str, part: str) -> str:
    """`gradient` for a state of one tensor; `gradient_W1` for one tensor of several."""
    return f"{word}_{part}" if part else word


def fresh_name(word: str, level: str, taken: Collection[str]) -> str:
    """The word; `level_word` when that is taken; then `level_word_2`, and so on."""
    if word not in taken:
        return word
    longer = f"{last_segment(level)}_{word}"
    if longer not in taken:
        return longer
    return next(name for number in count(2) if (name := f"{longer}_{number}") not in taken)
