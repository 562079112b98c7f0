"""Dims: declarations with their definitions inlined, sizes and shapes in expressions, numbers for counts."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.dims import Dim
from nlc.ir.model import DimDeclaration
from nlc.ir.spec import Binary, DimField, Name, Negate, Number, Syntax

LARGEST_DIM = 2**20


def declare_dims(fields: tuple[DimField, ...]) -> tuple[DimDeclaration, ...]:
    """The spec's dims in order; a derived one comes with its definition over free names and its size at the defaults."""
    by_name = {item.name.text: item for item in fields}
    free = {name: int(item.value.value) for name, item in by_name.items() if isinstance(item.value, Number)}
    meanings: dict[str, Dim] = {}

    def meaning(name: str, path: tuple[str, ...]) -> Dim:
        item = by_name[name]
        if name in path:
            raise CompileError(codes.dims_in_circle(item.value.span, (*path[path.index(name) :], name)))
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
    if value.denominator != 1 or not 1 <= value <= LARGEST_DIM:
        raise CompileError(codes.dim_not_whole(item.value.span, name, str(value)))
    return DimDeclaration(name=name, default=int(value), definition=None if name in free else definition, span=item.name.span)


def dim_of(syntax: Syntax, dims: Mapping[str, Dim]) -> Dim:
    """The size that an expression of dims and whole numbers means; raises CompileError for anything else."""
    match syntax:
        case Name(text):
            if text not in dims:
                raise CompileError(codes.unknown_name(text, syntax.span, dims))
            return dims[text]
        case Number(value):
            if value.denominator != 1 or value < 1:
                raise CompileError(codes.not_a_size(syntax.span, f"{value} is not a whole number of 1 or more"))
            return Dim.number(value)
        case Binary(("+" | "-" | "*" | "/") as operator, left, right):
            first, second = dim_of(left, dims), dim_of(right, dims)
            if operator == "/" and len(second.terms) != 1:
                raise CompileError(codes.not_a_size(right.span, "a size is divided by a product, not by a sum"))
            return {"+": Dim.__add__, "-": Dim.__sub__, "*": Dim.__mul__, "/": Dim.__truediv__}[operator](first, second)
    raise CompileError(codes.not_a_size(syntax.span, "this is not a size"))


def number_of(syntax: Syntax, numbers: Mapping[str, Fraction], what: str) -> Fraction:
    """The exact number that an expression of numbers means (names from `numbers`); raises CompileError for anything else."""
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
