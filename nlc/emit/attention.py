"""Levels that are solved over a window -> the lines that compute all tokens of a sequence at once, and the functions they call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nlc.emit.layout import Lines, assignment, call
from nlc.emit.names import LocalNames
from nlc.emit.render import render
from nlc.emit.scope import Sequence, printer_of
from nlc.emit.torch_printer import TorchPrinter
from nlc.emit.views import AttentionView
from nlc.emit.windows import equation_lines, lengthened, over_data, subscript, window_slots
from nlc.ir.algebra import Age, Expr, Position, Window
from nlc.ir.attention import WindowLaw
from nlc.ir.law import POSITION
from nlc.ir.program import Form, MemoryProgram


def attention_helpers(sequence: Sequence) -> tuple[str, ...]:
    """The functions that such levels need beside the class."""
    found = [memory for memory in sequence.program.memories if memory.window is not None] if sequence.program.is_parallel else []
    if not found:
        return ()
    kernels = [memory.window for memory in found if memory.form is Form.ATTENTION and memory.window is not None]
    to_heads, from_heads = HEADS.get(len(sequence.model.axes), MANY_AXES)
    view = AttentionView(
        has_attention=any(law.window == "all" for law in kernels),
        has_sliding=any(law.window != "all" for law in kernels),
        many_axes=len(sequence.model.axes) > 1,
        to_heads=to_heads,
        from_heads=from_heads,
    )
    return (render(view),)


HEADS: Mapping[int, tuple[str, str]] = {
    0: ("x.unsqueeze(1)", "read.squeeze(1)"),
    1: ("x.transpose(1, 2)", "read.transpose(1, 2)"),
}
"""By the number of axes: (batch, time, *axes, size) to (batch, heads, time, size), as torch's kernel wants it, and back."""

MANY_AXES = ("x.movedim(1, -2).flatten(1, -3)", "read.unflatten(1, axes).movedim(-2, 1)")


def in_forward(
    sequence: Sequence, memory: MemoryProgram, names: LocalNames, values: dict[Expr, str], start: str, leading: str, target: str
) -> Iterator[Lines]:
    """The value at every token, in the variable `target`; `values` learns the variables of all data."""
    law = memory.window
    assert law is not None, memory
    printer = printer_of(sequence, values)
    new = {name: _whole(sequence, printer, value, leading) for name, value in law.data}
    yield from lengthened(sequence, law.component, new, names, start, values)
    if memory.form is Form.ATTENTION:
        yield from _kernel(sequence, law, values, start, leading, target)
    else:
        yield from _table(sequence, law, names, values, start, target)


def places(sequence: Sequence, names: LocalNames, values: dict[Expr, str], start: str) -> Iterator[Lines]:
    """The place of every token in the sequence, where the laws ask for it."""
    if not sequence.has_places:
        return
    first, like = sequence.carried(start, POSITION, ""), sequence.like.name
    place = values[Position()] = names.new("place")
    axes = f"[:, {', '.join('None' for _ in sequence.model.axes)}]" if sequence.model.axes else ""
    yield (f"{place} = ({first} + torch.arange({like}.shape[1], device={like}.device)).to({like}.dtype){axes}",)


def kept_after(sequence: Sequence, component: str, values: Mapping[Expr, str]) -> dict[str, str]:
    """What is kept of a window after a sequence, by slot name."""
    tokens = f"{sequence.like.name}.shape[1]"
    found = {}
    for slot in window_slots(sequence, component):
        data = values[Window(component, slot.part, slot.shape)]
        found[slot.name] = data if slot.window == "all" else f"{data}[:, {tokens} :]"
    return found


def _kernel(sequence: Sequence, law: WindowLaw, values: dict[Expr, str], start: str, leading: str, target: str) -> Iterator[Lines]:
    attention = law.attention
    assert attention is not None, law
    printer = printer_of(sequence, values)
    data = {node.part: variable for node, variable in values.items() if isinstance(node, Window) and node.component == law.component}
    scale = printer.number(attention.scale)
    arguments = [_whole(sequence, printer, attention.query, leading), data[attention.key], data[attention.value], f"scale={scale}"]
    function = "_attention"
    if law.window != "all":
        function = "_sliding_attention"
        arguments += [f"window={law.window}", "chunk=self.chunk", f"position={sequence.carried(start, POSITION, '')}"]
    yield call(f"{target} = {function}", arguments, "", 12)


def _table(sequence: Sequence, law: WindowLaw, names: LocalNames, values: dict[Expr, str], start: str, target: str) -> Iterator[Lines]:
    slot = window_slots(sequence, law.component)[0]
    data, tokens = values[Window(law.component, slot.part, slot.shape)], f"{sequence.like.name}.shape[1]"
    age, there = names.new("age", law.component), names.new("there", law.component)
    yield assignment(age, [f"_ages({tokens}, {data}.shape[1], {data}){subscript(sequence, 'None, :, :')}"], 12)
    seen = f"{age} >= 0"
    if law.window != "all":
        seen = f"({age} >= 0) & ({age} < {law.window}) & ({age}[:, :1] <= {sequence.carried(start, POSITION, '')})"
    yield assignment(there, [seen], 12)
    values[Age()] = age
    yield from equation_lines(law.equations, law.component, over_data(printer_of(sequence, values), 2, there), names, values, target)


def _whole(sequence: Sequence, printer: TorchPrinter, value: Expr, leading: str) -> str:
    """A stream at every token and place."""
    if sequence.spans_axes(value):
        return printer.text(value)
    return f"{printer.atom(value)}.expand({leading}{', -1' * len(value.shape)})"
