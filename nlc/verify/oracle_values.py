"""What every operation of the algebra computes, for the oracle alone: torch on values with leading dims.

Like the oracle it imports torch and `nlc.ir.model` only. A value has leading dims before its shape: (batch, *axes), or none when it is the
same everywhere. For an optimizer every entry of the parameters is a row of its own: `like(weights)` is a leading dim, and only
sums and norms see more than one entry (a sum runs over the whole parameter group, a norm over one tensor).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nlc.ir.model import (
    Add,
    Compare,
    Constant,
    Divide,
    Dot,
    Expr,
    Extremum,
    Eye,
    Full,
    Inverse,
    Join,
    LayerNorm,
    Map,
    MatMul,
    Norm,
    Outer,
    Power,
    Rotary,
    Scale,
    Shape,
    Size,
    Softmax,
    Split,
    Spread,
    Sum,
    Times,
    Transpose,
    Where,
)

if TYPE_CHECKING:
    from nlc.verify.oracle_windows import Data

MAPS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "exp": torch.exp,
        "log": torch.log,
        "sqrt": torch.sqrt,
        "abs": torch.abs,
        "sign": torch.sign,
        "sin": torch.sin,
        "cos": torch.cos,
        "sinh": torch.sinh,
        "cosh": torch.cosh,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        "relu": torch.relu,
        "silu": lambda x: x * torch.sigmoid(x),
        "gelu": lambda x: x * torch.special.ndtr(x),
        "normal_cdf": torch.special.ndtr,
        "normal_density": lambda x: torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5,
    }
)

COMPARISONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"<": torch.lt, "<=": torch.le, ">": torch.gt, ">=": torch.ge}
)

LIKE_WEIGHTS = "like(weights)"

Operand = Callable[[Expr], Tensor]


class OracleError(ValueError):
    """The model uses something that the oracle does not run, or its reads have a cycle."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What FITTED reads give: aliases, which the inner gradient is taken of, and the very values, for `stop_gradient`.

    `data` are those of the window; `inside` a sum over it streams have their values at every datum.
    """

    component: str
    aliases: dict[str, Tensor]
    values: dict[str, Tensor]
    data: Data | None = None
    inside: bool = False

    def stopped(self) -> Fitted:
        return replace(self, aliases=self.values)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The operations at given sizes; `lengths` are the entries of each tensor of an optimizer's parameter group.

    `axes` are those of the system, whose dims end the leading ones.
    """

    sizes: Mapping[str, int]
    lengths: tuple[int, ...]
    like: Tensor
    axes: tuple[str, ...] = ()

    def value(self, node: Expr, operand: Operand) -> Tensor:
        """The value of a node, given the values of its operands."""
        match node:
            case Constant(number):
                return self.like.new_tensor(float(number))
            case Full(number, shape):
                return self.like.new_tensor(float(number)).expand(sizes_of(shape, self.sizes))
            case Eye(shape):
                return torch.eye(*sizes_of(shape, self.sizes)).to(self.like)
            case Size(dim):
                return self.like.new_tensor(float(dim.value(self.sizes)))
            case MatMul() | Transpose() | Inverse() | Outer() | Dot() | Sum() | Softmax() | LayerNorm() | Norm():
                return self._product(node, operand)
            case Rotary(x, place, base):
                return self._rotary(operand(x), operand(place), base)
            case Split(x, axis):
                return self._split(operand(x), axis, rank_of(node.shape))
            case Join(x, axis):
                return self._join(operand(x), axis, rank_of(x.shape))
        return self._elementwise(node, operand)

    def _elementwise(self, node: Expr, operand: Operand) -> Tensor:
        rank = rank_of(node.shape)
        match node:
            case Add(terms):
                return sum((operand(term) for term in terms[1:]), operand(terms[0]))
            case Scale(by, x):
                return lift(operand(by), rank) * operand(x)
            case Times(left, right):
                return operand(left) * operand(right)
            case Divide(x, by):
                return operand(x) / lift(operand(by), rank - rank_of(by.shape))
            case Power(x, exponent):
                return operand(x) ** lift(operand(exponent), rank)
            case Map(function, x):
                return MAPS[function](operand(x))
            case Extremum(function, left, right):
                return (torch.maximum if function == "maximum" else torch.minimum)(operand(left), operand(right))
            case Compare(operator, left, right):
                return COMPARISONS[operator](operand(left), operand(right))
            case Where(condition, then, otherwise):
                return torch.where(lift(operand(condition), rank - rank_of(condition.shape)), operand(then), operand(otherwise))
            case Spread(x, axis, shape):
                return _spread(operand(x), rank_of(x.shape), axis, sizes_of(shape, self.sizes))
        raise OracleError(f"the oracle does not run {type(node).__name__}")

    def _product(self, node: Expr, operand: Operand) -> Tensor:
        match node:
            case MatMul(left, right) if len(right.shape) == 1:
                return (operand(left) @ operand(right).unsqueeze(-1)).squeeze(-1)
            case MatMul(left, right):
                return operand(left) @ operand(right)
            case Transpose(x):
                return operand(x).transpose(-1, -2)
            case Inverse(x):
                inverse: Tensor
                inverse, fault = torch.linalg.inv_ex(operand(x))
                return inverse.masked_fill(fault[..., None, None] != 0, float("nan"))  # a singular matrix has none
            case Outer(left, right):
                return operand(left).unsqueeze(-1) * operand(right).unsqueeze(-2)
            case Dot(left, right):
                return self._sum(operand(left) * operand(right), left.shape)
            case Sum(x, None):
                return self._sum(operand(x), x.shape)
            case Sum(x, int() as axis):
                return operand(x).sum(axis - rank_of(x.shape))
            case Softmax(x, axis):
                return torch.softmax(operand(x), axis - rank_of(x.shape))
            case LayerNorm(x, shape):
                return torch.nn.functional.layer_norm(operand(x), sizes_of(shape, self.sizes), eps=1e-5)
            case Norm(x):
                return self._norm(operand(x), x.shape)
        raise OracleError(f"the oracle does not run {type(node).__name__}")

    def _rotary(self, x: Tensor, place: Tensor, base: int) -> Tensor:
        """Halves of a vector, a single last entry apart, as real and imaginary parts, times exp(i place / base ** (j / half))."""
        single = x.shape[-1] % 2
        real, imaginary = torch.tensor_split(x[..., : x.shape[-1] - single], 2, -1)
        size = torch.arange(real.shape[-1]).to(self.like) / real.shape[-1]
        angle = lift(place, 1) / base**size
        turned = torch.complex(real, imaginary) * torch.polar(torch.ones_like(angle), angle)
        whole = (turned.real, turned.imag, x[..., x.shape[-1] - single :].expand(*turned.shape[:-1], single))
        return torch.cat(whole, -1)

    def _split(self, x: Tensor, axis: str, rank: int) -> Tensor:
        """(..., 1, ..., n * size) -> (..., n, ..., size): the pieces one after another in the dim of the axis."""
        later = len(self.axes) - self.axes.index(axis)
        whole = x.reshape((1,) * (later + 1 - x.dim()) + x.shape)
        pieces = torch.chunk(whole, self.sizes[axis], -1)
        joined = torch.cat(pieces, -1 - later)
        return joined if rank else joined.squeeze(-1)

    def _join(self, x: Tensor, axis: str, rank: int) -> Tensor:
        """(..., n, ..., size) -> (..., 1, ..., n * size): the values of all places one after another in the last dim."""
        vectors = x if rank else x.unsqueeze(-1)
        return torch.cat(torch.split(vectors, 1, -1 - (len(self.axes) - self.axes.index(axis))), -1)

    def _sum(self, x: Tensor, shape: Shape) -> Tensor:
        if _is_like_weights(shape):
            return x.broadcast_to((sum(self.lengths),)).sum()
        return x.sum(tuple(range(-len(shape), 0))) if shape else x

    def _norm(self, x: Tensor, shape: Shape) -> Tensor:
        if not _is_like_weights(shape):
            return _root(self._sum(x * x, shape))
        parts = torch.split(x.broadcast_to((sum(self.lengths),)), list(self.lengths))
        return torch.cat([_root((part * part).sum()).expand(len(part)) for part in parts])


def rank_of(shape: Shape) -> int:
    """How many dims a value of this shape has after its leading ones."""
    return 0 if _is_like_weights(shape) else len(shape)


def sizes_of(shape: Shape, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The sizes of those dims."""
    return () if _is_like_weights(shape) else tuple(dim.size(sizes) for dim in shape)


def lift(x: Tensor, rank: int) -> Tensor:
    """A value with dims of size 1 behind, to broadcast over `rank` more dims."""
    return x.reshape(x.shape + (1,) * rank)


def _is_like_weights(shape: Shape) -> bool:
    return len(shape) == 1 and shape[0].name == LIKE_WEIGHTS


def _spread(x: Tensor, rank: int, axis: int | None, sizes: tuple[int, ...]) -> Tensor:
    leading = x.shape[: x.dim() - rank]
    inner = [1] * len(sizes)
    if axis is not None and inner:
        inner[axis] = x.shape[-1]
    return x.reshape((*leading, *inner)).expand((*leading, *sizes))


def _root(squares: Tensor) -> Tensor:
    """The square root, with slope 0 at 0."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0)
