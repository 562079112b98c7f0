"""Dims: declarations with their definitions inlined, sizes and shapes in expressions, numbers for counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from types import MappingProxyType

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError, Diagnostic
from nlc.ir.dims import Dim, Shape
from nlc.ir.model import DimDeclaration
from nlc.ir.spec import Binary, Call, DimField, Name, Negate, Number, Syntax
from nlc.source import Span

LARGEST_DIM = 2**20
MOST_TERMS, LARGEST_DEGREE = 64, 16
"""A size, multiplied out, has so many terms, each a product of so many dims."""

LONGEST_CHAIN = 16
"""Dims that may be built on one another."""

MOST_DIGITS, MOST_BITS = 300, 1000
"""Of the two sides of a fraction: within the range of floating point."""

LONGEST_NUMBER = 30
"""Characters of a number that a message quotes."""


OPERATIONS: Mapping[str, Callable[[Dim, Dim], Dim]] = MappingProxyType(
    {"+": Dim.__add__, "-": Dim.__sub__, "*": Dim.__mul__, "/": Dim.__truediv__}
)


def declare_dims(fields: tuple[DimField, ...]) -> tuple[DimDeclaration, ...]:
    """The spec's dims in order; a derived one comes with its definition over free names and its size at the defaults."""
    by_name = {item.name.text: item for item in fields}
    free = {name: int(item.value.value) for name, item in by_name.items() if isinstance(item.value, Number)}
    meanings: dict[str, Dim] = {}

    def meaning(name: str, path: tuple[str, ...]) -> Dim:
        item = by_name[name]
        if name in path:
            raise CompileError(codes.dims_in_circle([(other, by_name[other].value.span) for other in path[path.index(name) :]]))
        if len(path) > LONGEST_CHAIN:
            raise CompileError(codes.not_a_size(item.value.span, f"more than {LONGEST_CHAIN} dims are built on one another"))
        if name not in meanings:
            known = {other: Dim.named(other) for other in free}
            for part in _names(item.value):
                if part in by_name and part not in free:
                    known[part] = meaning(part, (*path, name))
            meanings[name] = Dim.named(name) if name in free else dim_of(item.value, known)
        return meanings[name]

    return tuple(_declaration(item, meaning(name, ()), free) for name, item in by_name.items())


def _declaration(item: DimField, definition: Dim, free: Mapping[str, int]) -> DimDeclaration:
    name = item.name.text
    value = Fraction(free[name]) if name in free else definition.value(free)
    if not _is_size(value):
        raise CompileError(codes.dim_not_whole(item.value.span, name, number_text(value)))
    return DimDeclaration(name=name, default=int(value), definition=None if name in free else definition, span=item.name.span)


def dim_of(syntax: Syntax, dims: Mapping[str, Dim]) -> Dim:
    """The size that an expression of dims and whole numbers means; raises CompileError for anything else."""
    match syntax:
        case Name(text):
            if text not in dims:
                raise CompileError(codes.unknown_name(text, syntax.span, dims))
            return dims[text]
        case Call(Name("rows" | "columns" as side), (Name("weights"),), ()) if f"{side}(weights)" in dims:
            return dims[f"{side}(weights)"]
        case Number(value):
            if not _is_size(value):
                text = f"{number_text(value)} is not a whole number from 1 to {LARGEST_DIM:,}"
                raise CompileError(codes.not_a_size(syntax.span, text))
            return Dim.number(value)
        case Binary(("+" | "-" | "*" | "/") as operator, left, right):
            first, second = dim_of(left, dims), dim_of(right, dims)
            if operator == "/" and len(second.terms) != 1:
                raise CompileError(codes.not_a_size(right.span, "a size is divided by a product, not by a sum"))
            return _bounded(OPERATIONS[operator](first, second), syntax.span)
    raise CompileError(codes.not_a_size(syntax.span, "this is not a size"))


def _bounded(dim: Dim, span: Span) -> Dim:
    """The dim; raises CompileError when its polynomial is so large that computing with it would take long."""
    degree = max((sum(abs(exponent) for _, exponent in monomial) for monomial, _ in dim.terms), default=0)
    if len(dim.terms) > MOST_TERMS or degree > LARGEST_DEGREE or any(map(is_out_of_bounds, (number for _, number in dim.terms))):
        raise CompileError(codes.not_a_size(span, "multiplied out, this has too many parts"))
    return dim


def unfit_sizes(shape: Shape, sizes: Mapping[str, int], span: Span) -> Iterator[Diagnostic]:
    """A diagnostic for each size of a shape that is not a whole number within bounds at the default sizes."""
    for dim in shape:
        if dim.names <= sizes.keys() and not _is_size(value := dim.value(sizes)):
            yield codes.dim_not_whole(span, str(dim), number_text(value))


def _is_size(value: Fraction) -> bool:
    return value.denominator == 1 and 1 <= value <= LARGEST_DIM


def number_text(value: Fraction) -> str:
    """A number as a message quotes it."""
    text = str(value)
    return text if len(text) <= LONGEST_NUMBER else f"a number of {len(text)} digits"


def is_out_of_bounds(value: Fraction) -> bool:
    """Whether an exact number is too long to compute with, or beyond the range of floating point."""
    return max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS


def number_of(syntax: Syntax, numbers: Mapping[str, Fraction], what: str) -> Fraction:
    """The exact number that an expression of numbers means (names from `numbers`); raises CompileError for anything else."""
    value = _number_of(syntax, numbers, what)
    if is_out_of_bounds(value):
        raise CompileError(codes.number_out_of_bounds(syntax.span, MOST_DIGITS))
    return value


def _number_of(syntax: Syntax, numbers: Mapping[str, Fraction], what: str) -> Fraction:
    match syntax:
        case Number(value):
            return value
        case Name(text) if text in numbers:
            return numbers[text]
        case Negate(operand):
            return -number_of(operand, numbers, what)
        case Binary(("+" | "-" | "*" | "/") as operator, left, right):
            first, second = number_of(left, numbers, what), number_of(right, numbers, what)
            if operator == "/" and not second:
                raise CompileError(codes.not_constant(right.span, what))
            return {"+": Fraction.__add__, "-": Fraction.__sub__, "*": Fraction.__mul__, "/": Fraction.__truediv__}[operator](first, second)
        case Binary("**", left, right):
            base, exponent = number_of(left, numbers, what), number_of(right, numbers, what)
            if exponent.denominator == 1 and abs(exponent) <= 64 and (base or exponent > 0):
                return base ** int(exponent)
    raise CompileError(codes.not_constant(syntax.span, what))


def _names(syntax: Syntax) -> tuple[str, ...]:
    match syntax:
        case Name(text):
            return (text,)
        case Binary(_, left, right):
            return (*_names(left), *_names(right))
    return ()
