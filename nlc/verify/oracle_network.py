"""The judge of models: embedding, norms, residual branches and a head written out plainly, around the oracle of each layer.

As apart as the oracle: it imports torch, `nlc.ir.model` and the oracle only. Parameters go by their path, `blocks.0.norm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nlc.ir.model import Embed, Head, Layer, Model, Normalise, Part, Repeat, Residual
from nlc.verify.oracle import number_of, run_oracle
from nlc.verify.oracle_slots import parameters as parameters_of

Tensors = Mapping[str, Tensor]
Carried = Mapping[str, Tensors]
"""The state of each layer by slot name, by the path of the layer."""

EPSILON = 1e-6


def run_oracle_network(
    model: Model,
    tokens: Tensor,
    sizes: Mapping[str, int],
    hyperparameters: Mapping[str, float],
    parameters: Tensors,
    state: Carried | None = None,
    told: Carried | None = None,
) -> tuple[Tensor, Carried]:
    """A model over tokens (batch, time): the logits (batch, time, vocabulary), and what every layer carries after the last token.

    `told` are the slopes that layers are told, (batch, time, ...), by the path of the layer; zeros where they are missing.
    """
    assert model.network is not None
    run = _Run(model, sizes, hyperparameters, parameters, state or {}, told or {})
    x = run.parts(model.network.parts, tokens, "")
    return x, run.final


def layer_numbers(model: Model, layer: Layer, sizes: Mapping[str, int], hyperparameters: Mapping[str, float]) -> dict[str, float]:
    """The hyperparameters of a layer where the model has the given sizes and numbers."""
    assert model.network is not None
    inner, bound = model.network.models[layer.place], dict(layer.arguments)
    numbers = {item.name: float(item.default) for item in inner.hyperparameters}
    return numbers | {name: number_of(model, bound[name], sizes, hyperparameters) for name in numbers if name in bound}


def layer_parameters(inner: Model, place: str, parameters: Tensors) -> dict[str, Tensor]:
    """The slow levels of the layer at a path, by slot name."""
    return {slot: parameters[f"{place}.{slot.replace('.', '_')}"] for slot in parameters_of(inner)}


def layer_sizes(model: Model, layer: Layer, sizes: Mapping[str, int]) -> dict[str, int]:
    """The dims of a layer where the model has the given sizes."""
    assert model.network is not None
    inner, bound = model.network.models[layer.place], dict(layer.arguments)
    defaults = {item.name: float(item.default) for item in model.hyperparameters}
    free = {item.name: item.default for item in inner.dims if item.definition is None}
    found = {name: round(number_of(model, bound[name], sizes, defaults)) if name in bound else size for name, size in free.items()}
    return found | {item.name: item.definition.size(found) for item in inner.dims if item.definition is not None}


@dataclass(slots=True)
class _Run:
    model: Model
    sizes: Mapping[str, int]
    hyperparameters: Mapping[str, float]
    parameters: Tensors
    start: Carried
    told: Carried
    final: dict[str, Tensors] = field(default_factory=dict)

    def parts(self, parts: tuple[Part, ...], x: Tensor, path: str) -> Tensor:
        for part in parts:
            x = self.part(part, x, path)
        return x

    def part(self, part: Part, x: Tensor, path: str) -> Tensor:
        match part:
            case Embed(level):
                return self.parameters[level][x]
            case Normalise(level):
                return x / (x.square().mean(-1, keepdim=True) + EPSILON).sqrt() * self.parameters[path + level]
            case Head(level):
                return torch.einsum("btc,vc->btv", x, self.parameters[level])
            case Layer():
                return self.layer(part, x, path)
            case Residual(branches):
                for branch in branches:
                    x = x + self.parts(branch, x, path)
                return x
            case Repeat(name, count, inner):
                for number in range(count.size(self.sizes)):
                    x = self.parts(inner, x, f"{path}{name}.{number}.")
                return x

    def layer(self, part: Layer, x: Tensor, path: str) -> Tensor:
        assert self.model.network is not None
        inner, place = self.model.network.models[part.place], path + part.name
        numbers = layer_numbers(self.model, part, self.sizes, self.hyperparameters)
        own = layer_parameters(inner, place, self.parameters)
        sizes = layer_sizes(self.model, part, self.sizes)
        slopes = {item.name: x.new_zeros(*x.shape[:2], *(dim.size(sizes) for dim in item.shape)) for item in inner.slopes}
        streams = {part.stream: x, **slopes, **self.told.get(place, {})}
        outputs, self.final[place] = run_oracle(inner, streams, sizes, numbers, self.start.get(place), own)
        (y,) = outputs.values()
        return y
