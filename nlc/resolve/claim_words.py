"""The words that only claims know: derivatives, traces, diagonal matrices, whole numbers -> typed algebra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from nlc.codes import claims as codes, resolve as resolve_codes
from nlc.diagnostics import CompileError
from nlc.ir.algebra import Add, Expr, Eye, Hyperparameter, Input, Map, State
from nlc.ir.build import dot, matmul, outer, spread, times
from nlc.ir.calculus import Derivative, Embedding, LastUnit
from nlc.ir.dims import Dim, shape_text
from nlc.ir.spec import Call, Syntax
from nlc.resolve.alignment import ShapeClash

if TYPE_CHECKING:
    from nlc.resolve.typing import Typing

CLAIM = "claim"
"""What `Scope.where` says while a claim is typed."""


@dataclass(frozen=True, slots=True)
class ClaimWord:
    """A function that may stand in claims alone."""

    usage: str
    says: str
    build: Callable[[Typing, Call], Expr]
    arguments: int = 1


def type_claim_word(typing: Typing, name: str, call: Call) -> Expr:
    """A call of such a function."""
    word = CLAIM_WORDS[name]
    if len(call.arguments) != word.arguments or call.keywords:
        raise CompileError(resolve_codes.wrong_arguments(call.span, name, word.usage))
    return word.build(typing, call)


def variable(typing: Typing, syntax: Syntax, function: str) -> Expr:
    """The leaf that a syntax names; raises CompileError when it is anything else."""
    leaf = typing.expression(syntax)
    if not isinstance(leaf, Input | Hyperparameter | State):
        raise CompileError(codes.not_a_variable(syntax.span, function))
    return leaf


def _gradient(typing: Typing, call: Call) -> Expr:
    of, by = call.arguments
    value, leaf = typing.expression(of), variable(typing, by, "`gradient_of`")
    if value.shape != ():
        raise ShapeClash(
            resolve_codes.wrong_shape(of.span, "what `gradient_of` is given", shape_text(value.shape), "one number, such as norm2(...)")
        )
    return Derivative(value, leaf, leaf.shape)


def _trace(typing: Typing, call: Call) -> Expr:
    x = _square(typing, call, "trace")
    return dot(Eye(x.shape), x)


def _square(typing: Typing, call: Call, name: str) -> Expr:
    x = typing.expression(call.arguments[0])
    if len(x.shape) != 2 or x.shape[0] != x.shape[1]:
        pairs = ((x.shape[0], x.shape[1]),) if len(x.shape) == 2 else ()
        span = call.arguments[0].span
        raise ShapeClash(resolve_codes.wrong_shape(span, f"what `{name}` is given", shape_text(x.shape), "a square matrix"), pairs)
    return x


def _diagonal(typing: Typing, call: Call) -> Expr:
    x = typing.expression(call.arguments[0])
    if len(x.shape) != 1:
        span = call.arguments[0].span
        raise ShapeClash(resolve_codes.wrong_shape(span, "what `diagonal` is given", shape_text(x.shape), "a vector"))
    shape = (x.shape[0], x.shape[0])
    return times(spread(x, 0, shape), Eye(shape))


def _append(typing: Typing, call: Call) -> Expr:
    """A matrix with one more row: of shape (rows + 1, columns)."""
    (x_syntax, row_syntax), x, row = call.arguments, *(typing.expression(item) for item in call.arguments)
    if len(x.shape) != 2 or len(row.shape) != 1:
        span, value, wanted = (x_syntax.span, x, "a matrix") if len(x.shape) != 2 else (row_syntax.span, row, "a vector")
        raise ShapeClash(resolve_codes.wrong_shape(span, "what `append` is given", shape_text(value.shape), wanted))
    if x.shape[1] != row.shape[0]:
        places = (x_syntax.span, shape_text(x.shape)), (row_syntax.span, shape_text(row.shape))
        raise ShapeClash(resolve_codes.shapes_differ("append", *places), ((x.shape[1], row.shape[0]),))
    rows = x.shape[0] + Dim.number(1)
    return Add((matmul(Embedding((rows, x.shape[0])), x), outer(LastUnit((rows,)), row)), (rows, x.shape[1]))


def _rounded(function: str) -> Callable[[Typing, Call], Expr]:
    def build(typing: Typing, call: Call) -> Expr:
        x = typing.expression(call.arguments[0])
        return Map(function, x, x.shape)

    return build


CLAIM_WORDS: Mapping[str, ClaimWord] = MappingProxyType(
    {
        "gradient_of": ClaimWord(
            "gradient_of(f, x)", "the gradient of a number with respect to a stream, number or state, all else held", _gradient, 2
        ),
        "trace": ClaimWord("trace(x)", "the sum of the diagonal of a square matrix", _trace),
        "diagonal": ClaimWord("diagonal(x)", "the square matrix with a vector on its diagonal", _diagonal),
        "append": ClaimWord("append(x, row)", "a matrix with a vector as one more row, below the others", _append, 2),
        "floor": ClaimWord("floor(x)", "the largest whole number that is not above x", _rounded("floor")),
        "ceil": ClaimWord("ceil(x)", "the smallest whole number that is not below x", _rounded("ceil")),
    }
)
