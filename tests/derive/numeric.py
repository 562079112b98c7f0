"""The algebra evaluated with torch, for tests: an opinion on values and, by autograd, on derivatives, apart from nlc's own rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from nlc.ir.algebra import (
    Add,
    Compare,
    Constant,
    Divide,
    Dot,
    Expr,
    Extremum,
    Eye,
    Full,
    LayerNorm,
    Map,
    MatMul,
    Named,
    Norm,
    Outer,
    Power,
    Rotary,
    Scale,
    Size,
    Softmax,
    Spread,
    StopGradient,
    Sum,
    Times,
    Transpose,
    Where,
    children,
)
from nlc.ir.calculus import Inverse
from nlc.ir.dims import Shape
from nlc.ir.law import Law

SIZES: Mapping[str, int] = {"d_k": 3, "d_v": 2, "like(weights)": 4}
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    **{name: getattr(torch, name) for name in ("exp", "log", "sqrt", "abs", "sign", "sin", "cos", "sinh", "cosh", "tanh")},
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "softplus": torch.nn.functional.softplus,
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "normal_cdf": torch.special.ndtr,
    "normal_density": lambda x: torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi),
}
COMPARISONS = {"<": torch.lt, "<=": torch.le, ">": torch.gt, ">=": torch.ge}


def sizes(shape: Shape) -> tuple[int, ...]:
    return tuple(dim.size(SIZES) for dim in shape)


def random_tensor(shape: Shape, generator: torch.Generator) -> Tensor:
    return torch.randn(sizes(shape), dtype=torch.float64, generator=generator)


def evaluate(node: Expr, leaves: Mapping[Expr, Tensor]) -> Tensor:
    """The value of an expression; `leaves` gives every leaf that is not a number."""
    if node in leaves:
        return leaves[node]
    return _operation(node, tuple(evaluate(child, leaves) for child in children(node)))


def _operation(node: Expr, parts: tuple[Tensor, ...]) -> Tensor:
    match node:
        case Constant(value) | Full(value):
            return torch.full(sizes(node.shape), float(value), dtype=torch.float64)
        case Size(dim):
            return torch.tensor(float(dim.value(SIZES)), dtype=torch.float64)
        case Eye():
            return torch.eye(*sizes(node.shape), dtype=torch.float64)
        case Add():
            return torch.stack(parts).sum(0)
        case Scale() | Times():
            return parts[0] * parts[1]
        case Divide():
            return parts[0] / parts[1]
        case Power():
            return torch.pow(*parts)
        case Map(function):
            return FUNCTIONS[function](parts[0])
        case Extremum(function):
            return torch.maximum(*parts) if function == "maximum" else torch.minimum(*parts)
        case Compare(operator):
            return COMPARISONS[operator](*parts)
        case Where():
            condition, then, otherwise = parts
            return torch.where(condition, then, otherwise)
        case Spread(_, axis):
            return (parts[0].unsqueeze(1 - axis) if axis is not None and len(node.shape) == 2 else parts[0]).expand(sizes(node.shape))
        case MatMul():
            return parts[0] @ parts[1]
        case Transpose():
            return parts[0].mT
        case Inverse():
            return torch.linalg.inv(parts[0])
        case Outer():
            return torch.outer(parts[0], parts[1])
        case Dot():
            return (parts[0] * parts[1]).sum()
        case Sum(_, axis):
            return parts[0].sum() if axis is None else parts[0].sum(axis)
        case Norm():
            length: Tensor = torch.linalg.vector_norm(parts[0])
            return length
        case Softmax(_, axis):
            return torch.softmax(parts[0], axis)
        case Inverse():
            return torch.linalg.inv(parts[0])
        case Rotary(base=base):
            half = len(parts[0]) // 2
            left, right, last = parts[0].split((half, half, len(parts[0]) - 2 * half))
            angle = parts[1] * torch.tensor([base ** (-place / len(left)) for place in range(len(left))], dtype=torch.float64)
            return torch.cat((left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos(), last))
        case LayerNorm():
            return torch.nn.functional.layer_norm(parts[0], parts[0].shape)
        case StopGradient():
            return parts[0].detach()
    raise AssertionError(f"no value for {node}")


def run_law(law: Law, leaves: Mapping[Expr, Tensor]) -> Tensor:
    """The new state of a law, equation by equation."""
    known = dict(leaves)
    value = torch.zeros(())
    for equation in law.equations:
        value = evaluate(equation.value, known)
        known[Named(equation.name, equation.value.shape)] = value
    return value
