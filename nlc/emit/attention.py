"""Levels that are solved over a window -> the lines that compute all tokens of a sequence at once, and the functions they call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from nlc.emit.apart import Apart, solving_method, stands_apart
from nlc.emit.form_views import AttentionView
from nlc.emit.layout import Lines, assignment, call
from nlc.emit.names import LocalNames
from nlc.emit.position import before_name
from nlc.emit.render import render
from nlc.emit.scope import Sequence, printer_of
from nlc.emit.torch_printer import TorchPrinter
from nlc.emit.windows import Solving, lengthened, over_data, subscript, window_slots
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
    in_blocks = sequence.program.is_in_blocks
    axes = 0 if in_blocks else len(sequence.model.axes)  # a block has one dim for all copies
    to_heads, from_heads = HEADS.get(axes, MANY_AXES)
    plain = [law for law in kernels if law.attention is not None and law.attention.is_plain]
    view = AttentionView(
        has_attention=any(not law.slides for law in plain),
        has_sliding=any(law.slides for law in plain),
        has_joint=len(plain) < len(kernels),
        has_segments=not in_blocks and any(law.segment for law in kernels),
        many_axes=axes > 1,
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
        yield from _kernel(sequence, law, names, values, start, leading, target)
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


def in_block(
    sequence: Sequence,
    law: WindowLaw,
    printer: TorchPrinter,
    names: LocalNames,
    values: dict[Expr, str],
    over_tokens: Callable[[Expr], tuple[str, ...]],
    target: str,
    apart: Apart,
) -> Iterator[Lines]:
    """The value at every token of a block, which adds to the data of its segment; `over_tokens` writes values at every token."""
    assert law.attention is not None, law
    given, inside = {name: " ".join(over_tokens(value)) for name, value in law.data}, dict(values)
    query = " ".join(over_tokens(law.attention.query))
    lines = list(lengthened(sequence, law.component, given, names, "state", inside, 8))
    near = ""
    if law.segment:
        here, near = names.new("here"), "[:, here]"
        lines.append((f"{here} = slice({law.segment - 1} - {before_name(sequence)} % {law.segment}, None)",))
    data = {node: f"{window}{near}" for node, window in inside.items() if _is_data(law, node)}
    lines.append(attention_call(law, printer, {**inside, **data}, target, query, [], 8))
    if not stands_apart(sequence.model, law.equations):
        values.update(inside)
        yield from lines
        return
    kept = {name: text for name, text in kept_after(sequence, inside, f"{query}.shape[1]").items() if name.startswith(f"{law.component}.")}
    says = f"What {law.component} finds at every token of a block, and what it keeps."
    method = solving_method(law.component, "in_a_block", says, lines, [target], kept)
    yield apart.call(method, [target], names.new("windows"), kept, 8)


def kept_after(sequence: Sequence, values: Mapping[Expr, str], tokens: str) -> dict[str, str]:
    """What is kept of windows after so many tokens, by slot name."""
    slots = [slot for slot in sequence.program.slots if slot.window is not None]
    data = {slot: values.get(Window(slot.component, slot.part, slot.shape)) for slot in slots}
    return {slot.name: text if slot.window == "all" else f"{text}[:, {tokens} :]" for slot, text in data.items() if text is not None}


def _kernel(
    sequence: Sequence, law: WindowLaw, names: LocalNames, values: dict[Expr, str], start: str, leading: str, target: str
) -> Iterator[Lines]:
    printer = printer_of(sequence, values)
    assert law.attention is not None, law
    query, segment = _whole(sequence, printer, law.attention.query, leading), law.segment
    position = "" if law.window == "all" else sequence.carried(start, POSITION, "")
    if not segment:
        sliding = [f"window={law.window}", "chunk=self.chunk", f"position={position}"] if law.slides else []
        yield attention_call(law, printer, values, target, query, sliding, 12)
        return
    before, inside = names.new("before"), names.new(f"{target}_in_segments")
    yield (f"{before} = 0 if {position}.is_meta else int({position}) % {segment}",)
    near = {node: f"{window}[:, {segment - 1} - {before} :]" for node, window in values.items() if _is_data(law, node)}
    cut = {node: f"_in_segments({window}, {segment})" for node, window in near.items()}
    yield attention_call(law, printer, {**values, **cut}, inside, f"_in_segments({query}, {segment}, {before})", [], 12)
    batch, like = leading.partition(",")[0], sequence.like.name
    yield (f"{target} = _out_of_segments({inside}, {batch}, {before}, {like}.shape[1])",)


def attention_call(
    law: WindowLaw, printer: TorchPrinter, values: Mapping[Expr, str], target: str, query: str, more: list[str], indent: int
) -> Lines:
    """The call of the function for attention, where `values` has what stands for the data of the window."""
    attention = law.attention
    assert attention is not None, law
    data = {node.part: variable for node, variable in values.items() if isinstance(node, Window) and node.component == law.component}
    keys, means = ([data[name] for name in column] for column in zip(*attention.pairs, strict=True))
    scale = f"scale={printer.number(attention.scale)}"
    if attention.is_plain:
        return call(f"{target} = {'_sliding' if law.slides else ''}_attention", [query, *keys, *means, scale, *more], "", indent)
    lists = [f"[{', '.join(column)}]" for column in (keys, means)]
    shared = [f"[{', '.join(printer.text(pair[side]) for pair in attention.lasting)}]" for side in (0, 1)]
    return call(f"{target} = _joint_attention", [query, *lists, *shared, scale], "", indent)


def _is_data(law: WindowLaw, node: Expr) -> bool:
    return isinstance(node, Window) and node.component == law.component


def _table(sequence: Sequence, law: WindowLaw, names: LocalNames, values: dict[Expr, str], start: str, target: str) -> Iterator[Lines]:
    slot = window_slots(sequence, law.component)[0]
    data, tokens = values[Window(law.component, slot.part, slot.shape)], f"{sequence.like.name}.shape[1]"
    age, there = names.new("age", law.component), names.new("there", law.component)
    yield assignment(age, [f"_ages({tokens}, {data}.shape[1], {data}){subscript(sequence, 'None, :, :')}"], 12)
    seen = f"{age} >= 0"
    if law.window != "all":
        position = sequence.carried(start, POSITION, "")
        seen = f"({age} >= 0) & ({age} < {law.window}) & ({age}[:, :1] <= {position})"
        if segment := law.segment:
            since = names.new("since", law.component)
            places = f"torch.arange({tokens}, device={data}.device)"
            yield (f"{since} = (({position} + {places}) % {segment}){subscript(sequence, 'None, :, None')}",)
            seen = f"({age} >= 0) & ({age} < {law.window}) & ({age} <= {since})"
    yield assignment(there, [seen], 12)
    values[Age()] = age
    printer = over_data(printer_of(sequence, values), 2, there)
    yield from Solving(sequence, law.component, names, values).lines(law.equations, printer, target)


def _whole(sequence: Sequence, printer: TorchPrinter, value: Expr, leading: str) -> str:
    """A stream at every token and place."""
    if sequence.spans_axes(value):
        return printer.text(value)
    return f"{printer.atom(value)}.expand({leading}{', -1' * len(value.shape)})"
