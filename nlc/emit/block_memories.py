"""A memory that moves at every token -> the lines of a block that run it: in chunks, in the dual form, or solved over a window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from nlc.emit.apart import solving_method
from nlc.emit.attention import in_block
from nlc.emit.chunked import Chunked, Stream
from nlc.emit.dual import Dual
from nlc.emit.forward import ChunkedForm, form_slots, run_form
from nlc.emit.layout import Lines, assignment
from nlc.ir.algebra import Expr, Named, State, When, walk
from nlc.ir.attention import WindowLaw
from nlc.ir.dual import DualLaw
from nlc.ir.program import MemoryProgram, StateSlot

if TYPE_CHECKING:
    from nlc.emit.blocks import Block


def moved_memory(block: Block, memory: MemoryProgram, as_they_are: Mapping[Expr, str]) -> Iterator[Lines]:
    """The lines; the block learns what is read of the memory, and its states after the last token."""
    dual, window = block.parts.dual(memory.component), block.parts.window(memory.component)
    form, streams = next(((form, streams) for form, streams in block.parts.forms if form.memory == memory), (None, ()))
    if dual is not None and dual.dual is not None:
        yield from _in_dual_form(block, dual, dual.dual, as_they_are)
    elif window is not None:
        yield from _solved(block, memory, window, as_they_are)
    elif form is not None:
        yield from _in_chunks(block, form, streams, as_they_are)


def _in_dual_form(block: Block, memory: MemoryProgram, law: DualLaw, as_they_are: Mapping[Expr, str]) -> Iterator[Lines]:
    """In the dual form, the names of whose law are its own; beside a level that stands apart it does so too."""
    own, slots = replace(block, values=dict(block.values)), block.sequence.program.slots
    lines = list(Dual(own.as_tokens(), law, block.sequence.program.mixes_pasts).lines(memory, slots, as_they_are))
    block.values.update((known, own.values[known]) for read in memory.reads for known in [Named(read.name, read.shape)])
    moved = {slot: own.values[_new(slot)] for slot in slots if slot.component in law.components and _new(slot) in own.values}
    if not block.apart.methods:
        block.at_end.update((_new(slot), local) for slot, local in moved.items())
        yield from lines
        return
    asked = {node for _, value in (*block.parts.results, *block.parts.kept) for node in walk(value)}
    reads = [block.values[known] for read in memory.reads for known in [Named(read.name, read.shape)] if known in asked]
    says = f"What is read of {memory.component} at every token of a block, and what it becomes."
    kept = {slot.name: local for slot, local in moved.items()}
    method, after = solving_method(memory.component, "in_a_block", says, lines, reads, kept), block.names.new("moved")
    block.at_end.update((_new(slot), f'{after}["{slot.name}"]') for slot in moved)
    yield block.apart.call(method, reads, after, kept, 8)


def _solved(block: Block, memory: MemoryProgram, law: WindowLaw, as_they_are: Mapping[Expr, str]) -> Iterator[Lines]:
    """Over a window, to which the block adds."""
    answer = Named(memory.reads[0].name, memory.reads[0].shape)
    target = block.values[answer] = as_they_are.get(answer) or block.names.new(answer.name)
    yield from in_block(block.sequence, law, block.printer(), block.names, block.values, block.over_tokens, target, block.apart)


def _in_chunks(block: Block, form: ChunkedForm, streams: tuple[Stream, ...], as_they_are: Mapping[Expr, str]) -> Iterator[Lines]:
    """In chunks, by the method of its form."""
    slots = form_slots(block.sequence, form)
    after: dict[Expr, str] = {_new(slot): block.names.new(slot.name) for slot in slots}
    block.at_end.update(after)
    carried = [block.values[replace(_new(slot), when=When.PREVIOUS)] for slot in slots]
    in_one = isinstance(form, Chunked) and bool(form.above)
    moved = [block.names.new("rows")] if in_one else list(after.values())
    yield from run_form(block.as_tokens(), form, streams, carried, moved, as_they_are)
    if in_one:
        rows = ", ".join(block.sequence.size(slot.shape[0]) for slot in slots)
        yield assignment(", ".join(after.values()), [f"torch.split({moved[0]}, [{rows}], 1)"], 8)


def _new(slot: StateSlot) -> State:
    """The state that a slot has after the block."""
    return State(slot.component, slot.part, slot.shape, When.CURRENT)
