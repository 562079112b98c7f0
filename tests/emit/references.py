"""What the systems under test do, token by token, written by hand from their objectives: apart from every line of nlc.

Each takes one token's inputs and the old states, all without batch or axes, and gives outputs and new states by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, outer

Tensors = dict[str, Tensor]
Step = Callable[[Tensors, Tensors], tuple[Tensors, Tensors]]


def linear_attention(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    memory = old["memory"] + outer(x["v"], x["k"])
    return {"y": memory @ x["q"]}, {"memory": memory}


def delta_rule(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    memory = old["memory"] - x["beta"] * outer(old["memory"] @ x["k"] - x["v"], x["k"])
    return {"y": memory @ x["q"]}, {"memory": memory}


def gated_delta_rule(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    return delta_rule(x, {"memory": x["alpha"] * old["memory"]})


def gated_linear_memory(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    return linear_attention(x, {"memory": x["alpha"] * old["memory"]})


def delta_rule_with_momentum(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    momentum = 0.9 * old["memory.momentum"] - x["beta"] * outer(old["memory"] @ x["k"] - x["v"], x["k"])
    memory = old["memory"] + momentum
    return {"y": memory @ x["q"]}, {"memory.momentum": momentum, "memory": memory}


def normalised(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    key = x["batch"] / (x["batch"].norm() + 0.1)
    error = old["memory"] @ key - x["dtype"]
    memory = torch.sigmoid(2 * x["heads_gate"] + x["x"]) * old["memory"] - 0.9 * torch.sigmoid(x["x"]) * outer(error, key)
    norms = 0.9 * old["norms"] + key
    y = memory @ x["time"] / ((norms @ x["time"]) ** 2 + 1)
    return {"y": y, "before": old["memory"] @ (x["time"] + x["batch"]), "plain": 2 * x["x"]}, {"memory": memory, "norms": norms}


def chained(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    first = 0.95 * old["first"] - outer(x["a"] * (old["first"] @ x["p"] - x["v"]), x["k"])
    second = old["second"] + 0.5 * outer(x["v"], old["first"] @ x["q"])
    third = old["third"] + x["a"] * (outer(x["v"], x["k"]) + outer(old["second"] @ x["v"], x["p"]))
    return {"y": second @ (first @ x["q"]) + third @ x["q"]}, {"first": first, "second": second, "third": third}


def coupled(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    error = (old["left"] + old["right"]) @ x["k"] + old["right"] @ x["p"] - x["v"]
    left = torch.sigmoid(x["a"]) * old["left"] - x["query_1"] * outer(error, x["k"])
    right = 0.5 * x["a"] * old["right"] + outer(x["v"] - left @ x["q"], x["p"])
    twice = 0.9 * old["twice"] - 0.5 * (outer(old["twice"] @ x["k"] - x["v"], x["k"]) - outer(x["v"], x["p"]))
    mean = old["average"] - x["a"] / 2 * (old["average"] - x["v"] - old["trace"])
    trace = old["trace"] - 0.25 * (old["trace"] - mean)
    before = (old["left"] + old["twice"]) @ x["q"] + old["trace"] + twice @ x["k"]
    new = {"left": left, "right": right, "twice": twice, "average": mean, "trace": trace}
    return {"y": left @ x["q"] + right @ x["p"] + twice @ x["q"] + mean, "before": before}, new


def channels(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    retained = torch.sigmoid(x["alpha"]) * old["corrected"]
    corrected = retained - x["a"] * outer(retained @ x["k"] - x["v"], x["k"])
    trace = torch.sigmoid(x["gate"]) * old["trace"] + x["v"]
    written = outer(x["v"], x["k"]) + outer(old["trace"], x["p"])
    twice = 0.9 * torch.sigmoid(x["a"] * x["alpha"]) * old["twice"] + x["a"] * written
    y = corrected @ x["q"] + twice @ x["q"] + trace
    return {"y": y, "before": (old["corrected"] + old["twice"]) @ x["p"]}, {"corrected": corrected, "trace": trace, "twice": twice}


def nonlinear(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    memory = (1 - 0.1 * x["a"]) * old["memory"] - x["a"] * outer(torch.tanh(old["memory"] @ x["k"] - x["v"]), x["k"])
    read = memory @ x["q"]
    bias = old["bias"] - 0.1 * (old["bias"] + read - x["v"])
    z = x["a"] if read.norm() < 1 else torch.clamp(x["a"], min=0.5)
    return {"y": torch.softmax(read + bias, 0), "z": z}, {"memory": memory, "bias": bias}


def networked(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    def read(weights: list[Tensor], at: Tensor) -> Tensor:
        return weights[2] @ torch.sigmoid(weights[1] @ torch.sigmoid(weights[0] @ at))

    before = [old[f"deep.W{number}"] for number in (1, 2, 3)]
    kept = [((1 - 0.5 * x["a"]) * weight).detach().requires_grad_() for weight in before]
    gradients = torch.autograd.grad((read(kept, x["k"]) - x["v"]).square().sum() / 2, kept)
    moves = [0.5 * old[f"deep.momentum.W{number}"] - 0.1 * x["a"] * gradient for number, gradient in enumerate(gradients, start=1)]
    after = [weight.detach() + move for weight, move in zip(kept, moves, strict=True)]
    new = {f"deep.W{number}": weight for number, weight in enumerate(after, start=1)}
    new |= {f"deep.momentum.W{number}": move for number, move in enumerate(moves, start=1)}
    return {"y": read(after, x["q"]), "z": read(before, x["k"]) + read(after, x["k"])}, new


def numbers(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    length = torch.sigmoid(x["a"]) * old["length"] + x["k"].square().sum()
    error = old["memory"] @ x["k"] - x["v"]
    memory = old["memory"] - x["a"] / (1 + length) * outer(error, x["k"])
    momentum = 0.5 * old["error.momentum"] - 0.1 * (old["error"] - error.square().sum())
    new = {"length": length, "memory": memory, "error.momentum": momentum, "error": old["error"] + momentum}
    return {"y": memory @ x["q"] / (1 + length), "told": new["error"] - 2 * old["length"]}, new


def erased(x: Tensors, old: Tensors) -> tuple[Tensors, Tensors]:
    before = old["memory"]
    gradient = outer(before @ x["k"] - x["v"], x["k"]) + outer(before @ x["p"] + x["v"], x["p"])
    gradient = gradient - outer(x["v"], x["q"]) - x["a"] * outer(x["v"], x["r"])
    memory = torch.sigmoid(x["alpha"]) * before - x["a"] * gradient
    return {"y": memory @ x["q"] + before @ x["p"], "z": memory @ x["r"]}, {"memory": memory}


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "LinearAttention": linear_attention,
        "DeltaRule": delta_rule,
        "GatedDeltaRule": gated_delta_rule,
        "GatedLinearMemory": gated_linear_memory,
        "DeltaRuleWithMomentum": delta_rule_with_momentum,
        "Normalised": normalised,
        "Chained": chained,
        "Channels": channels,
        "Nonlinear": nonlinear,
        "Networked": networked,
        "Coupled": coupled,
        "Numbers": numbers,
        "Erased": erased,
    }
)


def run(step: Step, inputs: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
    """One sequence: inputs (time, *shape); outputs (time, *shape), one entry a token, and the last states."""
    tokens = len(next(iter(inputs.values())))
    columns: list[Tensors] = []
    for t in range(tokens):
        outputs, state = step({name: value[t] for name, value in inputs.items()}, state)
        columns.append(outputs)
    return {name: torch.stack([column[name] for column in columns]) for name in (columns[0] if columns else ())}, state
