"""Names for the equations of a law: the paper's words, unless the spec uses the word for something else."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count

from nlc.ir.model import Model


def last_segment(component: str) -> str:
    """`momentum` for `memory.momentum`: what the new state is called inside its law."""
    return component.rpartition(".")[2]


def words_of(model: Model) -> frozenset[str]:
    """Every name that an expression of the model may print: no abbreviation may take one of them."""
    dims, inputs = (dim.name for dim in model.dims), (stream.name for stream in model.inputs)
    numbers, states = (item.name for item in model.hyperparameters), (last_segment(component.name) for component in model.components)
    return frozenset((*dims, *inputs, *numbers, *states))


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
