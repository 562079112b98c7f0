"""What an optimizer of matrices is given beside gradients: the data that the layers of its weights saw since the last step, one a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from nlc.ir.dims import COLUMNS, LIKE_WEIGHTS, ROWS, Dim
from nlc.ir.model import DimDeclaration, InputStream, Model

Value = TypeVar("Value")

CONTEXTS: Mapping[str, Dim] = MappingProxyType({"layer_input": COLUMNS, "output_gradient": ROWS})
"""The streams of data, and how long a datum is: what the weights were applied to, and the gradient of what came out."""


def gradient_of(model: Model) -> InputStream:
    """The stream of gradients of an optimizer."""
    return next(stream for stream in model.inputs if stream.name not in CONTEXTS)


def contexts_of(model: Model) -> tuple[InputStream, ...]:
    """The streams of an optimizer that come from layers."""
    return tuple(stream for stream in model.inputs if stream.name in CONTEXTS) if model.kind == "optimizer" else ()


def data_of(
    model: Model, gradients: Sequence[Sequence[Value]], contexts: Sequence[Sequence[Mapping[str, Value]]]
) -> list[list[dict[str, Value]]]:
    """What every tensor is given at every step, by the names of the streams."""
    name = gradient_of(model).name
    nothing: list[list[Mapping[str, Value]]] = [[{}] * len(step) for step in gradients]
    steps = zip(gradients, contexts or nothing, strict=True)
    return [[{name: gradient, **own} for gradient, own in zip(*step, strict=True)] for step in steps]


def number_of_data(model: Model) -> str:
    """The dim that counts the data of a step; nothing when there are none."""
    return next((str(stream.shape[0]) for stream in contexts_of(model)), "")


def free_dims(model: Model) -> tuple[DimDeclaration, ...]:
    """The dims of an optimizer that are chosen where it is made: neither derived from others nor the number of data."""
    return tuple(item for item in model.dims if item.definition is None and item.name != number_of_data(model))


def is_context(stream: InputStream) -> bool:
    """Whether a stream has the shape that its name promises: (n, columns(weights)) or (n, rows(weights)), n being a dim."""
    match stream.shape:
        case (number, size):
            return number.name is not None and number not in (ROWS, COLUMNS, LIKE_WEIGHTS) and CONTEXTS.get(stream.name) == size
    return False
