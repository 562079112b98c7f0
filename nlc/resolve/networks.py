"""`mlp(d_in, hidden, d_out, activation = gelu)` -> a memory of as many matrices as there are layers, and its read.

The library's memories have a fixed number of states; this one has as many as it is given sizes for. Layers have no biases: a memory that
wants some, or a residual, is an entry of `define`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.dims import Dim
from nlc.ir.maps import MAPS
from nlc.ir.model import StateDeclaration
from nlc.ir.spec import Binary, Call, Function, Name, Syntax
from nlc.resolve.scope import MemoryType
from nlc.resolve.sizes import dim_of
from nlc.source import Span

MLP = "mlp"
SAYS = (
    "A network without biases, of as many layers as there are sizes but one: matrices `W1`, `W2`, ... with an activation between each two. "
    "Between zeros nothing is learned: it wants a state to start from."
)
USAGE = "mlp(d_in, hidden, d_out, activation = gelu), with a size for each layer's input and for the last one's output"
DEFAULT_ACTIVATION = "gelu"
MOST_LAYERS = 16


def mlp_type(call: Call, dims: Mapping[str, Dim]) -> MemoryType:
    """The memory `W2 @ activation(W1 @ x)`, of whatever depth; raises CompileError."""
    if not 2 <= len(call.arguments) <= MOST_LAYERS + 1:
        raise CompileError(codes.wrong_arguments(call.span, MLP, USAGE))
    activation = _activation(call)
    sizes = [dim_of(argument, dims) for argument in call.arguments]
    names = tuple(f"W{number}" for number in range(1, len(sizes)))
    shapes = [(rows, columns) for columns, rows in pairwise(sizes)]
    parts = names if len(names) > 1 else ("",)
    states = tuple(StateDeclaration(part=part, shape=shape) for part, shape in zip(parts, shapes, strict=True))
    text = f"{MLP}({', '.join(map(str, sizes))}{f', activation = {activation}' if len(names) > 1 else ''})"
    return MemoryType(text, states, names, _read(names, activation, call.span))


def _activation(call: Call) -> str:
    """The map between two layers, as the call names it."""
    chosen = DEFAULT_ACTIVATION
    for number, (keyword, value) in enumerate(call.keywords):
        if keyword.text != "activation":
            raise CompileError(codes.unknown_binding(keyword.span, MLP, keyword.text, ["activation"]))
        if number:
            raise CompileError(codes.repeated_binding(keyword.span, keyword.text))
        if not isinstance(value, Name) or value.text not in MAPS:
            raise CompileError(codes.unknown_option(value.span, keyword.text, ", ".join(MAPS)))
        chosen = value.text
    return chosen


def _read(names: tuple[str, ...], activation: str, span: Span) -> Function:
    """`(x) -> W2 @ activation(W1 @ x)`, as if it stood where the memory is named."""
    x = Name("x", span)
    body: Syntax = x
    for number, name in enumerate(names):
        given = body if number == 0 else Call(Name(activation, span), (body,), (), span)
        body = Binary("@", Name(name, span), given, span)
    return Function((x,), body, span)
