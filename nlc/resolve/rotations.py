"""`rotary(x)` -> a vector turned, pair by pair, by angles that grow with the place in the sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.algebra import Constant, Expr, Position, Rotary
from nlc.ir.dims import shape_text
from nlc.ir.show import ROTARY_BASE
from nlc.ir.spec import Call, Name

if TYPE_CHECKING:
    from nlc.resolve.typing import Typing


def type_rotary(typing: Typing, call: Call) -> Expr:
    """`rotary(x)`, or `rotary(x, base = 500000)`."""
    base = ROTARY_BASE
    match call:
        case Call(_, (argument,), ()):
            pass
        case Call(_, (argument,), ((Name("base"), value),)):
            number = typing.expression(value)
            if not isinstance(number, Constant) or number.value.denominator != 1 or number.value < 1:
                raise CompileError(codes.wrong_arguments(value.span, "rotary", "rotary(x, base = 10000), with a whole number"))
            base = int(number.value)
        case _:
            raise CompileError(codes.wrong_arguments(call.span, "rotary", "rotary(x) or rotary(x, base = 10000)"))
    x = typing.expression(argument)
    if len(x.shape) != 1:
        raise CompileError(codes.wrong_shape(argument.span, "what `rotary` is given", shape_text(x.shape), "a vector"))
    return Rotary(x, Position(), base, x.shape)
