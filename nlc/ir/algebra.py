"""nlc's own small algebra: typed expressions over the streams, rates and states of a system.

Every node knows its shape (names of sizes; batch, axes and time are never part of it). Nodes are built by the functions of
nlc/ir/build.py, which fold numbers and flatten sums but otherwise keep the order in which the user wrote things.
Exact numbers, no floats: a spec's 0.1 is one tenth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from nlc.ir.calculus import Derivative, Embedding, Inverse, LastUnit
from nlc.ir.dims import Shape
from nlc.ir.leaves import (
    Age as Age,
    Constant as Constant,
    Due as Due,
    Expr as Expr,
    Eye as Eye,
    Full as Full,
    Gradient as Gradient,
    Hyperparameter as Hyperparameter,
    Index as Index,
    Input as Input,
    Named as Named,
    Parameter as Parameter,
    Position as Position,
    Size as Size,
    State as State,
    Task as Task,
    Tick as Tick,
    When as When,
    Window as Window,
)
from nlc.ir.means import WindowMean as WindowMean
from nlc.ir.recents import Convolve, Delay, Recent, Shift


@dataclass(frozen=True, slots=True)
class Add(Expr):
    """A sum of two or more terms of one shape."""

    terms: tuple[Expr, ...]
    shape: Shape


@dataclass(frozen=True, slots=True)
class Scale(Expr):
    """A scalar times anything (also a scalar)."""

    by: Expr
    x: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Times(Expr):
    """The elementwise product of two vectors or matrices of one shape."""

    left: Expr
    right: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Divide(Expr):
    """x over a scalar, or over something of its own shape, elementwise."""

    x: Expr
    by: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Power(Expr):
    """x ** exponent, elementwise; the exponent is a scalar."""

    x: Expr
    exponent: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Map(Expr):
    """An elementwise function from `nlc.ir.maps.MAPS`."""

    function: str
    x: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Extremum(Expr):
    """`maximum(left, right)` or `minimum(left, right)`, elementwise."""

    function: str
    left: Expr
    right: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Compare(Expr):
    """left < right (or <=, >, >=), elementwise: true or false; only `Where` may hold it."""

    operator: str
    left: Expr
    right: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Where(Expr):
    """`then` where the condition is true, else `otherwise`, elementwise; the condition may be a scalar."""

    condition: Expr
    then: Expr
    otherwise: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Spread(Expr):
    """A scalar or vector repeated over a larger shape; `axis` is the place of the vector's dim (None for a scalar)."""

    x: Expr
    axis: int | None
    shape: Shape


@dataclass(frozen=True, slots=True)
class MatMul(Expr):
    """A matrix times a vector or a matrix."""

    left: Expr
    right: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Transpose(Expr):
    """A matrix, transposed."""

    x: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Outer(Expr):
    """left right^T, of two vectors."""

    left: Expr
    right: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Dot(Expr):
    """The sum of the products of the entries of two tensors of one shape (`dot`, `inner`)."""

    left: Expr
    right: Expr
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Sum(Expr):
    """The sum over all entries, or over one axis."""

    x: Expr
    axis: int | None
    shape: Shape


@dataclass(frozen=True, slots=True)
class Norm(Expr):
    """The Euclidean (Frobenius) norm; its gradient at zero is taken to be zero."""

    x: Expr
    shape: Shape = ()


@dataclass(frozen=True, slots=True)
class Softmax(Expr):
    """exp(x) over its sum along one axis."""

    x: Expr
    axis: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class LayerNorm(Expr):
    """A vector less its mean, over the root of its mean square then, which has `nlc.ir.build.EPSILON` added under the root."""

    x: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Split(Expr):
    """A vector of (axis * size) cut in one piece for each place along an axis of the system: `split(x, heads)`.

    The value, (size,), differs along the axis; x must not. Of an (axis,) vector each place gets one entry, a scalar.
    """

    x: Expr
    axis: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Join(Expr):
    """The vectors (size,) of all places along an axis of the system, one after another: `join(x, heads)`, (axis * size,)."""

    x: Expr
    axis: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Rotary(Expr):
    """A vector whose entries j and j + half are turned as a pair, by place / base ** (j / half); the last of an odd number stays."""

    x: Expr
    place: Expr
    base: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class StopGradient(Expr):
    """The same value, a constant for the gradient of the level's own objective."""

    x: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class Now(Expr):
    """The value at the update's own token, in an expression over the data of a window: `now(q)`."""

    x: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class WindowSum(Expr):
    """The sum of an expression over the data of a window: `sum(x, over = window)`."""

    x: Expr
    shape: Shape


@dataclass(frozen=True, slots=True)
class WindowSoftmax(Expr):
    """exp(x) over its sum, of a scalar for each datum of a window: `softmax(x, over = window)`, again a scalar for each."""

    x: Expr
    shape: Shape = ()


LEAVES = (
    Constant,
    Size,
    Index,
    Input,
    Hyperparameter,
    State,
    Parameter,
    Task,
    Gradient,
    Tick,
    Due,
    Position,
    Age,
    Window,
    Named,
    Eye,
    Full,
    Embedding,
    LastUnit,
)

ZERO, ONE, MINUS_ONE, HALF = (Constant(Fraction(text)) for text in ("0", "1", "-1", "1/2"))


# --- walking -----------------------------------------------------------------------------------------------------


def children(node: Expr) -> tuple[Expr, ...]:
    """The operands of a node, in order."""
    match node:
        case Add(terms):
            return terms
        case Scale(by, x):
            return (by, x)
        case Times(left, right) | MatMul(left, right) | Outer(left, right) | Dot(left, right):
            return (left, right)
        case Extremum(_, left, right) | Compare(_, left, right):
            return (left, right)
        case Divide(x, by):
            return (x, by)
        case Power(x, exponent):
            return (x, exponent)
        case Rotary(x, place):
            return (x, place)
        case Derivative(of, by):
            return (of, by)
        case Where(condition, then, otherwise):
            return (condition, then, otherwise)
        case Map(_, x) | Spread(x) | Transpose(x) | Sum(x) | Norm(x) | Softmax(x) | LayerNorm(x) | Split(x) | Join(x) | StopGradient(x):
            return (x,)
        case Now(x) | WindowSum(x) | WindowSoftmax(x) | Inverse(x) | Recent(x) | Delay(x):
            return (x,)
        case Shift(recent, x):
            return (recent, x)
        case WindowMean(scores, values):
            return (*scores, *values)
        case Convolve(x, kernel, recent):
            return (x, kernel, recent)
    return ()


def walk(node: Expr) -> Iterator[Expr]:
    """The node and everything below it, operands after the node, left to right."""
    yield node
    for child in children(node):
        yield from walk(child)


def contains(node: Expr, wanted: Callable[[Expr], bool]) -> bool:
    """Whether the node, or anything below it, is wanted."""
    return any(wanted(part) for part in walk(node))


def is_number(node: Expr, value: int) -> bool:
    """Whether the node is this number, as a scalar or in every entry."""
    return isinstance(node, Constant | Full) and node.value == value
