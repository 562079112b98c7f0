"""The functions of the language, as a table: arguments, the shapes they take, and the algebra they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from nlc.ir.algebra import Constant, Expr, Extremum, LayerNorm, Norm, Size, Softmax, StopGradient
from nlc.ir.build import add, apply_map, divide, dot, matmul, outer, power, spread, total, transpose
from nlc.ir.calculus import Inverse
from nlc.ir.dims import Dim, Shape
from nlc.ir.maps import MAPS

Builder = Callable[[tuple[Expr, ...], int | None], Expr]
Acceptor = Callable[[tuple[Shape, ...], int | None], bool]


@dataclass(frozen=True, slots=True)
class FunctionRule:
    """One function: how it is written, what it wants, and what it builds from typed arguments (and the place of `over`).

    `copies` is how often the first argument stands in what is built.
    """

    says: str
    usage: str
    build: Builder
    arguments: tuple[int, ...] = (1,)
    keywords: tuple[str, ...] = ()
    accepts: Acceptor = lambda shapes, axis: True
    wants: str = ""
    conforming: bool = False
    copies: int = 1


def _same(shapes: tuple[Shape, ...], axis: int | None) -> bool:
    return shapes[0] == shapes[1]


def _vectors(shapes: tuple[Shape, ...], axis: int | None) -> bool:
    return all(len(shape) == 1 for shape in shapes)


def _one_vector(shapes: tuple[Shape, ...], axis: int | None) -> bool:
    return _vectors(shapes, axis) and "like(weights)" not in str(shapes[0][0])


def _matrix(shapes: tuple[Shape, ...], axis: int | None) -> bool:
    return len(shapes[0]) == 2


def _square(shapes: tuple[Shape, ...], axis: int | None) -> bool:
    return _matrix(shapes, axis) and shapes[0][0] == shapes[0][1]


def _not_scalar(shapes: tuple[Shape, ...], axis: int | None) -> bool:
    return len(shapes[0]) > 0


def _vector_or_axis(shapes: tuple[Shape, ...], axis: int | None) -> bool:
    return len(shapes[0]) == 1 or axis is not None


def _mean(arguments: tuple[Expr, ...], axis: int | None) -> Expr:
    x = arguments[0]
    sizes = x.shape if axis is None else (x.shape[axis],)
    count = Dim.number(1)
    for dim in sizes:
        count = count * dim
    return divide(total(x, axis), Size(count))


def _elementwise(name: str) -> Builder:
    return lambda arguments, axis: apply_map(name, arguments[0])


SMALLEST_NORM = Constant(Fraction(1, 10**12))


def _l2_normalise(arguments: tuple[Expr, ...], axis: int | None) -> Expr:
    return divide(arguments[0], Extremum("maximum", Norm(arguments[0]), SMALLEST_NORM, ()))


SMALLEST_SQUARE = Constant(Fraction(1, 10**6))


def _rms_norm(arguments: tuple[Expr, ...], axis: int | None) -> Expr:
    x = arguments[0]
    return divide(x, apply_map("sqrt", add(_mean_of_squares(x), SMALLEST_SQUARE)))


def _mean_of_squares(x: Expr) -> Expr:
    count = Dim.number(1)
    for dim in x.shape:
        count = count * dim
    return divide(dot(x, x), Size(count))


def _clip(arguments: tuple[Expr, ...], axis: int | None) -> Expr:
    x, low, high = arguments
    above = Extremum("maximum", x, spread(low, None, x.shape), x.shape)
    return Extremum("minimum", above, spread(high, None, x.shape), x.shape)


def _scalar_bounds(shapes: tuple[Shape, ...], axis: int | None) -> bool:
    return shapes[1] == shapes[2] == ()


def _system(shapes: tuple[Shape, ...], axis: int | None) -> bool:
    matrix, right = shapes
    return len(matrix) == 2 and len(right) > 0 and matrix[0] == matrix[1] == right[0]


def _solve(arguments: tuple[Expr, ...], axis: int | None) -> Expr:
    matrix, right = arguments
    return matmul(Inverse(matrix, matrix.shape), right)


def _norm2(arguments: tuple[Expr, ...], axis: int | None) -> Expr:
    x = arguments[0]
    return dot(x, x) if axis is None else total(power(x, Constant(Fraction(2))), axis)


_TABLE: Mapping[str, FunctionRule] = {
    "dot": FunctionRule(
        "the sum of the products of the entries", "dot(a, b)", lambda x, _: dot(x[0], x[1]), (2,), (), _same, "two of one shape"
    ),
    "inner": FunctionRule(
        "the same as dot; the word for matrices", "inner(a, b)", lambda x, _: dot(x[0], x[1]), (2,), (), _same, "two of one shape"
    ),
    "outer": FunctionRule("a b^T of two vectors", "outer(a, b)", lambda x, _: outer(x[0], x[1]), (2,), (), _vectors, "two vectors"),
    "norm": FunctionRule("the Euclidean (Frobenius) norm", "norm(x)", lambda x, _: Norm(x[0]), (1,), (), _not_scalar, "a vector or matrix"),
    "norm2": FunctionRule(
        "the squared norm, or that of every vector along one dim", "norm2(x) or norm2(x, over = d_k)", _norm2, (1,), ("over",), copies=2
    ),
    "sum": FunctionRule(
        "the sum of all entries, or over one dim", "sum(x) or sum(x, over = d_k)", lambda x, axis: total(x[0], axis), (1,), ("over",)
    ),
    "mean": FunctionRule("the mean of all entries, or over one dim", "mean(x) or mean(x, over = d_k)", _mean, (1,), ("over",)),
    "softmax": FunctionRule(
        "exp(x) over its sum along a dim",
        "softmax(x) of a vector, or softmax(x, over = d_k)",
        lambda x, axis: Softmax(x[0], axis or 0, x[0].shape),
        (1,),
        ("over",),
        _vector_or_axis,
        "a vector, or a matrix with `over`",
    ),
    "transpose": FunctionRule("the transpose of a matrix", "transpose(x)", lambda x, _: transpose(x[0]), (1,), (), _matrix, "a matrix"),
    "inverse": FunctionRule(
        "the inverse of a square matrix, which has to have one",
        "inverse(x)",
        lambda x, _: Inverse(x[0], x[0].shape),
        (1,),
        (),
        _square,
        "a square matrix",
    ),
    "solve": FunctionRule(
        "the x with a @ x = b, of a matrix that is surely positive definite, such as a sum of squares and a multiple of eye",
        "solve(a, b)",
        _solve,
        (2,),
        (),
        _system,
        "a square matrix, and a vector or matrix with as many rows",
    ),
    "l2_normalise": FunctionRule(
        "x over its norm, which is taken as at least 1e-12",
        "l2_normalise(x)",
        _l2_normalise,
        (1,),
        (),
        _not_scalar,
        "a vector or matrix",
        copies=2,
    ),
    "rms_norm": FunctionRule(
        "x over the root of its mean square plus 1e-6",
        "rms_norm(x)",
        _rms_norm,
        (1,),
        (),
        _one_vector,
        "a vector, and not the weights that an optimizer serves",
        copies=3,
    ),
    "layer_norm": FunctionRule(
        "a vector less its mean, over the root of 1e-5 and its mean square then; scale and shift are products and sums",
        "layer_norm(x)",
        lambda x, _: LayerNorm(x[0], x[0].shape),
        (1,),
        (),
        _one_vector,
        "a vector, and not the weights that an optimizer serves",
    ),
    "stop_gradient": FunctionRule(
        "x, a constant for the gradient of the level's own objective",
        "stop_gradient(x)",
        lambda x, _: StopGradient(x[0], x[0].shape),
    ),
    "maximum": FunctionRule(
        "the larger one, entry by entry", "maximum(a, b)", lambda x, _: Extremum("maximum", x[0], x[1], x[0].shape), (2,), conforming=True
    ),
    "minimum": FunctionRule(
        "the smaller one, entry by entry", "minimum(a, b)", lambda x, _: Extremum("minimum", x[0], x[1], x[0].shape), (2,), conforming=True
    ),
    "clip": FunctionRule(
        "x kept between two scalars, entry by entry",
        "clip(x, low, high)",
        _clip,
        (3,),
        (),
        _scalar_bounds,
        "scalar bounds",
    ),
    **{name: FunctionRule(rule.says, f"{name}(x)", _elementwise(name)) for name, rule in MAPS.items()},
}

FUNCTIONS: Mapping[str, FunctionRule] = MappingProxyType(_TABLE)

FORMS: Mapping[str, str] = MappingProxyType(
    {
        "prev": "prev(memory): the state when the tick began; prev(x): a stream's previous value, zero before the first",
        "hold": "hold(memory, n tokens): the state after the last whole period of n tokens",
        "delay": "delay(x, n tokens): x so many tokens before, zero before the first",
        "convolve": "convolve(x, kernel): kernel[0] * x + kernel[1] * (x one token before) + ..., channel by channel",
        "split": "split(x, heads): a vector of heads * size cut into one of that size for each place along the axis",
        "join": "join(x, heads): the vectors of all places along an axis, one after another",
        "index": "index(heads): the place along an axis, 0, 1, 2, ...: a number for each head that follows from its place",
        "rows": "rows(weights): how many rows the matrices have that an optimizer moves; the spec is then about matrices",
        "columns": "columns(weights): how many columns they have",
        "now": "now(x): x at the update's own token, in the objective of a level with a window, where other streams are read at the datum",
        "age": "age: how many tokens ago the datum was, in such an objective, 0 for the update's own",
        "over": "sum(x, over = window), softmax(x, over = window): over the data of a window, in its objective and in claims",
        "rotary": "rotary(x): entries j and j + half of a vector turned, as a pair, by the place in the sequence over 10000 ** (j / half), "
        "half being half the size; the last of an odd number stays; rotary(x, base = 500000) for another base",
        "where": "where(a < b, x, y): x where the condition holds, else y, entry by entry",
    }
)
"""Words, most of them like functions, that are typed in their own way."""
