"""Random typed expressions, and their values modulo a large prime: an opinion about identities that shares nothing with the normal form."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

from hypothesis import strategies as st

from nlc.ir.algebra import Compare, Constant, Expr, Extremum, Eye, Full, Hyperparameter, Input, Norm, Softmax, Where, walk
from nlc.ir.build import add, apply_map, constant, divide, dot, matmul, outer, power, scale, spread, times, total, transpose
from nlc.ir.dims import Dim, Shape
from nlc.verify.arithmetic import Arithmetic
from nlc.verify.rational import Tensor, evaluate, shape_of

PRIME = 2**61 - 1
N, M = Dim.named("n"), Dim.named("m")
SIZES = {"n": 4, "m": 3}

LEAVES_OF: dict[Shape, list[Expr]] = {
    (): [Hyperparameter("a"), Input("b", ()), Constant(Fraction(2)), Constant(Fraction(-1, 3))],
    (N,): [Input("x", (N,)), Input("y", (N,))],
    (M,): [Input("u", (M,)), Full(Fraction(1), (M,))],
    (N, N): [Input("S", (N, N)), Eye((N, N))],
    (M, N): [Input("A", (M, N)), Input("B", (M, N))],
    (N, M): [Input("C", (N, M))],
    (M, M): [Input("R", (M, M))],
}


@dataclass(frozen=True, slots=True)
class Residue:
    """A number modulo PRIME."""

    value: int

    def __add__(self, other: Residue) -> Residue:
        return Residue((self.value + other.value) % PRIME)

    def __mul__(self, other: Residue) -> Residue:
        return Residue(self.value * other.value % PRIME)

    def __truediv__(self, other: Residue) -> Residue:
        return self * Residue(pow(other.value, -1, PRIME))


def residue(value: Fraction) -> Residue:
    return Residue(value.numerator * pow(value.denominator, -1, PRIME) % PRIME)


def residue_power(base: Any, exponent: Any) -> Any:
    small = exponent.value if exponent.value < PRIME // 2 else exponent.value - PRIME
    return Residue(pow(base.value, small, PRIME))


RESIDUES: Any = Arithmetic(number=residue, functions={}, power=residue_power)  # type: ignore[arg-type]


def values_at_random(*nodes: Expr, seed: int = 0, sizes: Mapping[str, int] = SIZES) -> dict[Expr, Tensor]:
    """Random residues for every input and hyperparameter."""
    generator = random.Random(seed)
    leaves = dict.fromkeys(part for node in nodes for part in walk(node) if isinstance(part, Input | Hyperparameter))
    drawn: dict[Expr, Any] = {}
    for leaf in leaves:
        shape = shape_of(leaf.shape, sizes)
        drawn[leaf] = Tensor(shape, tuple(Residue(generator.randrange(1, PRIME)) for _ in range(prod(shape))))  # type: ignore[misc]
    return drawn


def floats_at_random(*nodes: Expr, seed: int = 0) -> dict[Expr, Tensor]:
    """Random floats between -1 and 1 for every input and hyperparameter."""
    generator = random.Random(seed)
    drawn = values_at_random(*nodes, seed=seed)
    return {leaf: Tensor(value.shape, tuple(generator.uniform(-1, 1) for _ in value.entries)) for leaf, value in drawn.items()}


def residues(node: Expr, values: Mapping[Expr, Tensor], sizes: Mapping[str, int] = SIZES) -> Tensor:
    return evaluate(node, values, sizes, RESIDUES)


@st.composite
def expressions(
    draw: Any, shape: Shape, depth: int = 3, elementwise: bool = True, quotients: bool = False, functions: bool = False
) -> Expr:
    """A random expression of that shape, over dims n and m."""

    def smaller(of: Shape) -> Expr:
        result: Expr = draw(expressions(of, depth - 1, elementwise, quotients, functions))
        return result

    if depth == 0 or draw(st.integers(0, 4)) == 0:
        leaf: Expr = draw(st.sampled_from(LEAVES_OF[shape]))
        return leaf if elementwise or not isinstance(leaf, Full) else LEAVES_OF[shape][0]
    kinds = ["add", "scale", *_kinds(shape), *(["elementwise", "power"] if elementwise else []), *(["divide"] if quotients else [])]
    kinds += ["function", "extremum", "where", "norm", "softmax"] if functions else []
    inner: Dim = draw(st.sampled_from([N, M]))
    match draw(st.sampled_from(kinds)):
        case "add":
            return add(smaller(shape), smaller(shape))
        case "scale":
            return scale(smaller(()), smaller(shape))
        case "elementwise":
            return times(smaller(shape), smaller(shape))
        case "power":
            return power(smaller(shape), constant(2))
        case "divide":
            return divide(smaller(shape), smaller(()))
        case "dot":
            operand: Shape = draw(st.sampled_from([(N,), (M, N)]))
            return dot(smaller(operand), smaller(operand))
        case "total":
            return total(smaller((M, N)))
        case "apply":
            return matmul(smaller((shape[0], inner)), smaller((inner, *shape[1:])))
        case "outer":
            return outer(smaller((shape[0],)), smaller((shape[1],)))
        case "function":
            function: str = draw(st.sampled_from(["tanh", "sin", "abs", "sigmoid"]))
            return apply_map(function, smaller(shape))
        case "extremum":
            extremum: str = draw(st.sampled_from(["maximum", "minimum"]))
            return Extremum(extremum, smaller(shape), smaller(shape), shape)
        case "where":
            operator: str = draw(st.sampled_from(["<", ">="]))
            condition = Compare(operator, smaller(shape), smaller(shape), shape)
            return Where(condition, smaller(shape), smaller(shape), shape)
        case "norm":
            return scale(Norm(smaller((M, N))), smaller(shape))
        case "softmax":
            return Softmax(smaller(shape), len(shape) - 1, shape) if shape else Norm(smaller((N,)))
        case "spread":
            axis: int = draw(st.integers(0, 1))
            return spread(smaller((shape[axis],)), axis, shape)
        case "sum over an axis":
            return total(smaller((inner, *shape)), 0)
    return transpose(smaller((shape[1], shape[0])))


def _kinds(shape: Shape) -> list[str]:
    match len(shape):
        case 0:
            return ["dot", "total"]
        case 1:
            return ["apply", "sum over an axis"]
    return ["apply", "outer", "spread", "transpose"]


SHAPES: list[Shape] = [(), (N,), (M, N), (N, N)]
