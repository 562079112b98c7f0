"""`gap by period in [2, 4, 8]` -> what a claim measures, and at which numbers."""

from __future__ import annotations

import re
from fractions import Fraction

from nlc.codes import claims as codes
from nlc.diagnostics import CompileError
from nlc.ir.spec import Binary, Comparison, Listing, MeasureField, Name, Negate, Number, Syntax, Text
from nlc.parse.expressions import parse_after
from nlc.parse.nodes import Scalar

WORDS = ("gap", "by")
FEWEST, MOST = 2, 16
TREND = re.compile(r"rising|falling|order [1-9]")


def measure_field(scalar: Scalar) -> MeasureField:
    """The parsed measure; raises CompileError when it is written in another way, or its numbers are too few, too many or repeated."""
    tree = parse_after(scalar, WORDS)
    match tree:
        case Comparison((Name(name) as written, Listing(items)), ("in",)):
            values = tuple(_number(item) for item in items)
        case _:
            raise CompileError(codes.not_a_measure(scalar.span))
    if len(set(values)) != len(values) or not FEWEST <= len(values) <= MOST:
        raise CompileError(codes.measured_numbers(tree.operands[1].span, FEWEST, MOST))
    return MeasureField(name=Text(name, written.span), values=values, span=scalar.span)


def _number(syntax: Syntax) -> Fraction:
    match syntax:
        case Number(value):
            return value
        case Negate(operand):
            return -_number(operand)
        case Binary("/", Number(top), Number(bottom)) if bottom:
            return top / bottom
    raise CompileError(codes.not_a_measure(syntax.span))


def check_trends(expect: Text) -> None:
    """Raise CompileError when `measured` goes on with anything but trends."""
    _, _, rest = expect.text.partition(" ")
    for trend in (part.strip() for part in rest.split(" and ") if rest):
        if not TREND.fullmatch(trend):
            raise CompileError(codes.unknown_trend(trend, expect.span))
