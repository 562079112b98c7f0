"""The judge of models whose layers learn from their loss inside the context: block by block, by autograd on the loss of each token.

As apart as the oracle: it imports torch, `nlc.ir.model` and the oracles only. A block is read with all levels as they were
before it, and the loss of each of its tokens is differentiated by them; then it is run again with the slopes as what the levels are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor

from nlc.ir.model import Family, Layer, Model
from nlc.verify.oracle import begun_states
from nlc.verify.oracle_context import leaf, learning_slots, slopes_of_losses
from nlc.verify.oracle_network import Carried, Tensors, layer_numbers, layer_parameters, layer_sizes, run_oracle_network

OPEN, TOKENS, TARGETS = "open block", "tokens", "targets"
"""Under which names the tokens of a block that has not ended are carried, with what is to follow each."""

BEGIN = torch.tensor(0)
"""A position before which nothing has moved, so that all that starts again inside the next block has started."""

UNTOLD = -100
"""The target of a token that has none."""


def learns_from_loss(model: Model) -> bool:
    """Whether some layer of a model learns from its loss inside the context."""
    return model.network is not None and any(layer.slopes for layer in model.network.models)


def periods_of(model: Model) -> frozenset[int]:
    """The periods, in tokens, of all that learns."""
    assert model.network is not None
    slopes = ((layer, item.slope) for layer in model.network.models for item in layer.slopes)
    return frozenset(int(layer.component(slope.component).every.period) for layer, slope in slopes if slope is not None)


def resets_of(model: Model) -> frozenset[int]:
    """The periods, in tokens, after which some of what learns starts again."""
    assert model.network is not None
    resets = (item.reset for layer in model.network.models if layer.slopes for item in layer.fast)
    return frozenset(int(reset.period) for reset in resets if reset is not None and reset.family is Family.TOKEN)


def block_of(model: Model) -> int:
    """The tokens of a block: the greatest number that divides all periods."""
    return gcd(*periods_of(model), *resets_of(model))


def learning_layers(model: Model, sizes: Mapping[str, int]) -> Iterator[tuple[str, Layer, Model]]:
    """The layers that learn, by path."""
    assert model.network is not None
    for part, repeats in model.network.placed:
        if isinstance(part, Layer) and (inner := model.network.models[part.place]).slopes:
            places = [""]
            for repeat in repeats:
                copies = range(repeat.count.size(sizes))
                places = [f"{place}{repeat.name}.{number}." for place in places for number in copies]
            yield from ((f"{place}{part.name}", part, inner) for place in places)


def run_oracle_learning(
    model: Model,
    tokens: Tensor,
    targets: Tensor | None,
    sizes: Mapping[str, int],
    hyperparameters: Mapping[str, float],
    parameters: Tensors,
    state: Carried | None = None,
) -> tuple[Tensor, Carried]:
    """The logits and what is carried after tokens (batch, time), each with the target that is learned from; None: nothing learns."""
    run = _Run(model, sizes, hyperparameters, parameters)
    empty = tokens[:, :0]
    now = dict(run.network(empty, {})[1] if state is None else state)
    before = now.pop(OPEN, {TOKENS: empty, TARGETS: empty})
    tokens = torch.cat((before[TOKENS], tokens), 1)
    targets = torch.cat((before[TARGETS], torch.full_like(tokens[:, before[TOKENS].shape[1] :], UNTOLD) if targets is None else targets), 1)
    block = block_of(model)
    end = tokens.shape[1] - tokens.shape[1] % block
    logits = [run.network(empty, now)[0]]
    for start in range(0, tokens.shape[1], block):
        given, wanted = tokens[:, start : start + block], targets[:, start : start + block]
        read, levels = run.read(given, now)
        logits.append(read)
        if start < end:
            now = dict(run.network(given, now, run.slopes(read, wanted, levels))[1])
    return torch.cat(logits, 1)[:, before[TOKENS].shape[1] :], {**now, OPEN: {TOKENS: tokens[:, end:], TARGETS: targets[:, end:]}}


@dataclass(frozen=True, slots=True)
class _Run:
    model: Model
    sizes: Mapping[str, int]
    numbers: Mapping[str, float]
    parameters: Tensors

    def network(self, tokens: Tensor, state: Carried, told: Carried | None = None) -> tuple[Tensor, Carried]:
        return run_oracle_network(self.model, tokens, self.sizes, self.numbers, self.parameters, state, told)

    def read(self, tokens: Tensor, state: Carried) -> tuple[Tensor, Carried]:
        """The logits of a block, and the levels, apart from all others, that every token of it has read: nothing starts again inside."""
        levels, begun_at = {}, {}
        for path, part, inner in learning_layers(self.model, self.sizes):
            sizes, numbers = layer_sizes(self.model, part, self.sizes), layer_numbers(self.model, part, self.sizes, self.numbers)
            begun = begun_states(inner, sizes, numbers, state[path], layer_parameters(inner, path, self.parameters))
            levels[path] = {name: leaf(x) for name, x in begun.items() if name in learning_slots(inner)}
            begun_at[path] = {**state[path], **begun, **levels[path], "position": BEGIN}
        return self.network(tokens, {**state, **begun_at})[0], levels

    def slopes(self, logits: Tensor, targets: Tensor, levels: Carried) -> Carried:
        """What every level is told: the slope, by it, of the loss of each token of a block; nothing where there is no target."""
        told: dict[str, list[Tensors]] = {path: [] for path in levels}
        for t in range(logits.shape[1]):
            has_target = targets[:, t] != UNTOLD
            chosen = logits[:, t].gather(-1, targets[:, t : t + 1].clamp(min=0))[:, 0]
            losses = torch.where(has_target, logits[:, t].logsumexp(-1) - chosen, 0)
            for path, _, inner in learning_layers(self.model, self.sizes):
                told[path].append(slopes_of_losses(inner, losses, levels[path]))
        return {path: {name: torch.cat([one[name] for one in found], 1) for name in found[0]} for path, found in told.items()}
