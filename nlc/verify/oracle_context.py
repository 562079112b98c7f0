"""The judge of levels that learn from the task loss inside the context: token by token, by autograd on the loss that is handed in.

As apart as the oracle: it imports torch, `nlc.ir.model` and the oracle only. Each token is read with all levels as they were before it,
differentiated, and then run again with the slopes as what the levels are told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from nlc.ir.model import Model
from nlc.verify.oracle import begun_states, run_oracle
from nlc.verify.oracle_slots import slot_name

Tensors = Mapping[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
"""An output and its targets, (batch, time, ...), to the loss of each token, (batch, time)."""

MIDDLE = torch.tensor(1)
"""A position at which nothing starts again: that has happened by the time a token is read."""


def run_oracle_context(
    model: Model,
    inputs: Tensors,
    loss: Loss | None,
    sizes: Mapping[str, int],
    hyperparameters: Mapping[str, float],
    state: Tensors | None,
    parameters: Tensors,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The output and the state after the last token; `inputs` are the streams of the spec and `targets`, (batch, time, ...)."""
    (output,) = model.outputs
    streams = {stream.name: inputs[stream.name] for stream in model.given}
    first = next(iter(streams.values()))
    nothing = {stream.name: first.new_zeros(first.shape[0], 1, *(dim.size(sizes) for dim in stream.shape)) for stream in model.slopes}

    def run(token: Tensors, state: Tensors | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return run_oracle(model, token, sizes, hyperparameters, state, parameters)

    read, now = run({name: x[:, :0] for name, x in (streams | nothing).items()}, state)
    outputs = [read[output.name]]
    for t in range(first.shape[1]):
        token = {name: x[:, t : t + 1] for name, x in streams.items()}
        begun = {**now, **begun_states(model, sizes, hyperparameters, now, parameters), "position": MIDDLE}
        leaves = {name: leaf(x) for name, x in begun.items() if name in learning_slots(model)}
        read, _ = run(token | nothing, begun | leaves)
        outputs.append(read[output.name])
        slopes = {} if loss is None else slopes_of_losses(model, loss(read[output.name], inputs["targets"][:, t : t + 1]), leaves)
        _, now = run(token | nothing | slopes, now)
    return {output.name: torch.cat(outputs, 1)}, now


def leaf(x: Tensor) -> Tensor:
    """A state to differentiate by: apart from all others, even from one as which it starts."""
    return x.clone() if x.requires_grad else x.clone().requires_grad_()


def learning_slots(model: Model) -> dict[str, str]:
    """The streams of slopes, by the slot of which each is the slope."""
    found = ((stream.slope, stream.name) for stream in model.slopes)
    return {slot_name(model.component(slope.component), slope.part): name for slope, name in found if slope is not None}


def slopes_of_losses(model: Model, losses: Tensor, leaves: Tensors) -> dict[str, Tensor]:
    """What each level is told of a token: the slope of its loss; a constant unless slower levels learn through it."""
    found = torch.autograd.grad(losses.sum(), tuple(leaves.values()), create_graph=True, allow_unused=True, materialize_grads=True)
    through = {stream.name for stream in model.slopes if stream.slope is not None and stream.slope.is_learned_through}
    names = learning_slots(model)
    told = {names[slot]: slope for slot, slope in zip(leaves, found, strict=True)}
    return {name: (slope if name in through else slope.detach()).unsqueeze(1) for name, slope in told.items()}
