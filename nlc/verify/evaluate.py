"""An expression of the algebra -> its value in torch: the evaluator of laws and programs, written apart from the oracle's.

Leading dims (batch, axes, and time where all tokens are computed at once) are einsum's `...`; a value that is the same everywhere has
none. `like(weights)` is no dim of a value but its rows, as in the emitted optimizers: one row per entry of the parameter group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from types import MappingProxyType

import torch
from torch import Tensor

from nlc.ir.algebra import (
    Add,
    Compare,
    Constant,
    Divide,
    Dot,
    Due,
    Expr,
    Extremum,
    Eye,
    Full,
    Join,
    LayerNorm,
    Map,
    MatMul,
    Norm,
    Now,
    Outer,
    Power,
    Rotary,
    Scale,
    Size,
    Softmax,
    Split,
    Spread,
    StopGradient,
    Sum,
    Times,
    Transpose,
    Where,
    WindowMean,
    WindowSoftmax,
    WindowSum,
)
from nlc.ir.calculus import Inverse
from nlc.ir.dims import LIKE_WEIGHTS, Shape
from nlc.ir.recents import Convolve, Delay, Shift

vector_norm: Callable[..., Tensor] = torch.linalg.vector_norm
"""Its gradient at zero is zero, as the algebra has it."""

ROOT_TWO_PI = math.sqrt(2 * math.pi)

FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        **{name: getattr(torch, name) for name in "exp log sqrt abs sign sin cos sinh cosh tanh sigmoid relu".split()},
        "softplus": lambda x: torch.nn.functional.softplus(x, threshold=40.0),
        "silu": torch.nn.functional.silu,
        "gelu": torch.nn.functional.gelu,
        "normal_cdf": lambda x: torch.erfc(-x / math.sqrt(2)) / 2,
        "normal_density": lambda x: torch.exp(-x.square() / 2) / ROOT_TWO_PI,
    }
)

PAIRS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"maximum": torch.maximum, "minimum": torch.minimum, "<": torch.lt, "<=": torch.le, ">": torch.gt, ">=": torch.ge}
)

Leaf = Callable[[Expr], Tensor]


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Evaluates expressions; `leaf` gives inputs, hyperparameters, states and named values, `group` the entries per parameter.

    `places` says which of the leading dims is an axis' own, counted from the last, which is -1. A value at every datum of a window has a
    dim for it in front of all others; `there`, with all leading dims, says which data there are.
    """

    sizes: Mapping[str, int]
    like: Tensor
    leaf: Leaf
    group: tuple[int, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)
    there: Tensor | None = None

    def __call__(self, node: Expr) -> Tensor:
        """The value: (leading dims or none, *shape)."""
        match node:
            case Constant(number):
                return self.like.new_tensor(float(number))
            case Full(number, shape):
                return self.like.new_full(self.shape(shape), float(number))
            case Eye(shape):
                return torch.eye(*self.shape(shape), dtype=self.like.dtype, device=self.like.device)
            case Size(dim):
                return self.like.new_tensor(float(dim.value(self.sizes)))
            case StopGradient(x):
                return self(x).detach()
            case Add(terms):
                return reduce(torch.add, (self(term) for term in terms))
            case Scale(by, x):
                return self._over(by, node.shape) * self(x)
            case Times(left, right):
                return self(left) * self(right)
            case Divide(x, by):
                return self(x) / self._over(by, node.shape)
            case Power(x, Constant(number)):
                return self(x).pow(float(number))
            case Power(x, exponent):
                return self(x).pow(self._over(exponent, node.shape))
            case Map(function, x):
                return FUNCTIONS[function](self(x))
            case Extremum(name, left, right) | Compare(name, left, right):
                return PAIRS[name](self(left), self(right))
            case Where(Due() as condition, then, otherwise):
                # What is never taken has no slope, not even one that is not a number.
                due = self._over(condition, node.shape)
                moved, kept = self(then), self(otherwise)
                return torch.where(due, moved if due.any() else moved.detach(), kept.detach() if due.all() else kept)
            case Where(condition, then, otherwise):
                return torch.where(self._over(condition, node.shape), self(then), self(otherwise))
            case Spread(x, axis, shape):
                return self._spread(x, axis, shape)
            case Rotary(x, place, base):
                return self._rotary(self(x), self(place), base)
            case Now(x):
                return self(x)
            case WindowSum(x):
                return self._at_data(x, 0.0).sum(0)
            case WindowSoftmax(x):
                return self._at_data(x, -math.inf).softmax(0)
            case WindowMean():
                return self._mean(node)
        return self._contraction(node)

    def _contraction(self, node: Expr) -> Tensor:
        match node:
            case MatMul(Inverse(x), right):
                is_vector = len(right.shape) == 1
                solution: Tensor = torch.linalg.solve(self(x), self(right)[..., None] if is_vector else self(right))
                return solution.squeeze(-1) if is_vector else solution
            case MatMul(left, right):
                return torch.einsum("...ij,...jk->...ik" if len(right.shape) == 2 else "...ij,...j->...i", self(left), self(right))
            case Outer(left, right):
                return torch.einsum("...i,...j->...ij", self(left), self(right))
            case Transpose(x):
                return self(x).mT
            case Inverse(x):
                return self(x).inverse()
            case Dot(left, right):
                return self._total(self(left) * self(right), left.shape)
            case Sum(x, None):
                return self._total(self(x), x.shape)
            case Sum(x, int() as axis):
                return self(x).sum(axis - len(x.shape))
            case Softmax(x, axis):
                return self(x).softmax(axis - len(x.shape))
            case LayerNorm(x):
                centred = self(x) - self(x).mean(-1, keepdim=True)
                return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
            case Norm(x):
                return self._norm(x)
            case Split(x, axis):
                return self._split(self(x), axis, len(node.shape))
            case Join(x, axis):
                return self._join(self(x), axis, len(x.shape))
            case Delay(recent, tokens):
                return self(recent).select(-1 - len(node.shape), -tokens)
            case Shift(recent, x):
                return self._lengthened(recent, x).narrow(-1 - len(x.shape), 1, recent.shape[0].size(self.sizes))
            case Convolve(x, kernel, recent):
                return torch.einsum("...wd,wd->...d", self._lengthened(recent, x), self(kernel).flip(0))
        return self.leaf(node)

    def _lengthened(self, recent: Expr, x: Expr) -> Tensor:
        """The recent values and the newest, along the dim before those of a value."""
        place, past = -1 - len(x.shape), self(recent)
        return torch.cat((past, self(x).unsqueeze(place).expand_as(past.narrow(place, 0, 1))), place)

    def _rotary(self, x: Tensor, place: Tensor, base: int) -> Tensor:
        """Pairs of entries, half the size apart, turned by place / base ** (j / half); the last of an odd number stays."""
        half = x.shape[-1] // 2
        angle = place[..., None] * torch.tensor([float(base) ** (-j / half) for j in range(half)], dtype=x.dtype, device=x.device)
        turn = torch.unflatten(torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), -1), -1, (2, 2))
        turned = torch.einsum("...jab,...jb->...aj", turn, torch.unflatten(x[..., : 2 * half], -1, (2, half)).mT).flatten(-2)
        return torch.cat((turned, x[..., 2 * half :].expand(*turned.shape[:-1], -1)), -1)

    def _at_data(self, x: Expr, otherwise: float) -> Tensor:
        """A value at every datum of the window, with another one where there is no datum."""
        assert self.there is not None
        return torch.where(self.there[(..., *(None for _ in x.shape))], self(x), otherwise)

    def _mean(self, node: WindowMean) -> Tensor:
        """The mean over all pairs of a score and a value, with a dim for what there is of them in front."""
        assert self.there is not None
        scores, values = [], []
        for score, value in node.pairs:
            if score.shape:
                scores.append(self(score).movedim(-1, 0))
                values.append(self(value).movedim(-2, 0))
            else:
                scores.append(self._at_data(score, -math.inf))
                values.append(self(value).expand(len(self.there), *self(value).shape[1:]))
        leading = reduce(torch.add, (score[:1] for score in scores)).shape[1:]
        shares = torch.cat([score.expand(-1, *leading) for score in scores]).softmax(0)
        whole = torch.cat([_behind(value, shares.dim() + 1).expand(-1, *leading, -1) for value in values])
        return (shares[..., None] * whole).sum(0)

    def shape(self, shape: Shape) -> tuple[int, ...]:
        """The sizes of a value's own dims."""
        return tuple(dim.size(self.sizes) for dim in shape if dim != LIKE_WEIGHTS)

    def _over(self, x: Expr, shape: Shape) -> Tensor:
        """A scalar made to broadcast over a shape (anything else already has it)."""
        return self(x)[(..., *(None for dim in shape if dim != LIKE_WEIGHTS))] if x.shape == () else self(x)

    def _spread(self, x: Expr, axis: int | None, shape: Shape) -> Tensor:
        ones = self.like.new_ones(self.shape(shape))
        if axis is None or shape == (LIKE_WEIGHTS,):
            return self._over(x, shape) * ones
        value = self(x)
        inner = [1] * len(shape)
        inner[axis] = value.shape[-1]
        return value.reshape(*value.shape[:-1], *inner) * ones

    def _split(self, x: Tensor, axis: str, rank: int) -> Tensor:
        """(..., 1, ..., n * size) -> (..., n, ..., size), or (..., n, ...) when each place gets a scalar."""
        place, count = self.places[axis], self.sizes[axis]
        whole = x[(None,) * (1 - place - x.dim())]
        pieces = torch.unflatten(whole, -1, (count, -1)).transpose(place - 2, -2).squeeze(-2)
        return pieces if rank else pieces[..., 0]

    def _join(self, x: Tensor, axis: str, rank: int) -> Tensor:
        """(..., n, ..., size) -> (..., 1, ..., n * size)."""
        vectors = x if rank else x[..., None]
        return vectors[..., None, :].transpose(self.places[axis] - 2, -2).flatten(-2)

    def _total(self, x: Tensor, shape: Shape) -> Tensor:
        if shape == (LIKE_WEIGHTS,):
            return x.expand(sum(self.group)).sum()
        return x.flatten(-len(shape)).sum(-1) if shape else x

    def _norm(self, x: Expr) -> Tensor:
        if x.shape != (LIKE_WEIGHTS,):
            return vector_norm(self(x), dim=tuple(range(-len(x.shape), 0)))
        pieces = torch.split(self(x).expand(sum(self.group)), list(self.group))
        return torch.cat([vector_norm(piece).expand(piece.shape) for piece in pieces])


def _behind(x: Tensor, dims: int) -> Tensor:
    """(n, ..., size) with so many dims: those that it lacks are of size 1, behind the first."""
    return x[(slice(None), *(None for _ in range(dims - x.dim())))]
