"""Programs as text, for `nlc show` and `nlc explain`: state, timetable, and for every memory its form and why."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from fractions import Fraction
from types import MappingProxyType

from nlc.ir.affine import Classified, OutputRead
from nlc.ir.algebra import Expr, Named, State, When
from nlc.ir.build import matmul
from nlc.ir.dims import shape_text
from nlc.ir.program import Form, MemoryProgram, Program, StateSlot
from nlc.ir.show import expression_text
from nlc.schedule.affine_form import affine_expression
from nlc.schedule.coupled_form import coupled_expressions, written_value
from nlc.schedule.rules import FORM_RULES
from nlc.schedule.rules.proofs import Proofs, proofs_text
from nlc.schedule.work import counts_of, work_by_token, work_in_chunks

PROOFS: Mapping[str, Proofs] = MappingProxyType({rule.name: rule.proofs for rule in FORM_RULES})


def program_text(program: Program) -> str:
    """The choices of the schedule with every decision and its reason, of a model those of each of its layers. Ends without a newline."""
    if program.layers:
        texts = (f"{layer.model.name}\n{textwrap.indent(program_text(layer), '    ')}" for layer in program.layers)
        return "\n".join((*_timetable(program), *texts))
    return "\n".join((*_state(program), *_timetable(program), *_forms(program), *_outputs(program)))


def _state(program: Program) -> Iterator[str]:
    yield "state" if program.slots else "state: none but the parameters"
    width = max((len(slot.name) for slot in program.slots), default=0)
    for slot in program.slots:
        yield f"    {slot.name:<{width}}  {_kind(slot)}"


def _kind(slot: StateSlot) -> str:
    if slot.counts:
        return "whole number"
    tokens = "" if slot.window is None else ", of all tokens" if slot.window == "all" else f", of the last {slot.window - 1} tokens"
    return shape_text(slot.shape) + tokens


def _timetable(program: Program) -> Iterator[str]:
    yield "timetable"
    width = max(len(clock) for clock, _ in program.timetable)
    for clock, names in program.timetable:
        yield f"    {clock:<{width}}  {', '.join(names)}"


def _forms(program: Program) -> Iterator[str]:
    if not program.memories:
        return
    yield _head(program)
    if program.has_chunk:
        yield f"    {program.chunk} tokens a chunk: {program.chunk_because}"
    for memory in program.memories:
        yield f"    {memory.title}: {memory.form.value}"
        yield from (f"        {line}" for line in _memory(program, memory))


def _head(program: Program) -> str:
    """What the forms have in common."""
    if not program.is_parallel:
        return "forms: one memory is a recurrence, so the whole system runs token by token"
    chunks = f", in chunks of {program.chunk} tokens" if program.has_chunk else ""
    alone = f" (the first of every {program.blocks.alone} is one of its own)" if program.blocks.alone else ""
    return f"forms{f', in blocks of {program.blocks.tokens} tokens{alone}' if program.is_in_blocks else ''}{chunks}"


def _memory(program: Program, memory: MemoryProgram) -> Iterator[str]:
    classified = memory.classified
    if memory.form is not Form.BLOCKS:  # whose laws run once a block, whatever they are
        yield f"{classified.transition.value}: {classified.because}"
        yield from (f"{name} = {expression_text(value)}" for name, value in normal_form(classified))
    if memory.form is not Form.RECURRENCE:
        yield from (f"{read.name} = {_read(program, read)}" for read in memory.reads)
    if memory in program.chunked and memory.window is None:
        yield from _work(program, memory)
    for decision in program.decisions:
        if decision.component == memory.component:
            sources = f" ({', '.join(decision.cites)})" if decision.cites else ""
            yield f"{decision.rule} {'taken' if decision.taken else 'not taken'}: {decision.because}{sources}"
            proofs = proofs_text(PROOFS[decision.rule])
            if decision.taken and proofs:
                yield f"proved for all sizes and lengths: {proofs}"


def _work(program: Program, memory: MemoryProgram) -> Iterator[str]:
    """What a token costs in chunks and by the law."""
    counts = counts_of(program.model, memory)
    chunks, law = work_in_chunks(counts, memory.form, program.chunk), work_by_token(counts)
    part = "a token" if program.model.updates_per_tick == 1 else "a part of a token"
    yield (
        f"{part} of a copy at {counts.rows} x {counts.columns} in float32: {_thousands(chunks.operations)} operations in products, "
        f"{_thousands(chunks.bytes_moved)} bytes moved (token by token {_thousands(law.operations)} and {_thousands(law.bytes_moved)}); "
        f"state {_thousands(Fraction(counts.state_bytes))} bytes"
    )


def _thousands(number: Fraction) -> str:
    """The nearest whole number, in groups of three digits."""
    return f"{round(number):,}"


def normal_form(classified: Classified) -> Iterator[tuple[str, Expr]]:
    """The normal form as equations: what is written, if states share it, and the new states."""
    if classified.affine is not None:
        state = State(classified.affine.component, classified.affine.part, classified.affine.shape, When.PREVIOUS)
        yield state_name(state), affine_expression(classified.affine, state)
    elif classified.coupled is not None:
        law = classified.coupled
        names = [f"write{'' if len(law.writes) == 1 else f'_{number}'}" for number in range(1, len(law.writes) + 1)]
        values = [Named(name, law.shape[:1]) for name in names]
        yield from zip((state_name(state) for state in law.states), coupled_expressions(law, law.states, values), strict=True)
        yield from zip(names, (written_value(write, law.states) for write in law.writes), strict=True)


def state_name(state: State) -> str:
    """The component, with the tensor's part if it has one."""
    return f"{state.component}.{state.part}" if state.part else state.component


def _outputs(program: Program) -> Iterator[str]:
    if not program.outputs:
        return
    yield "outputs"
    for name, value in program.outputs:
        yield f"    {name} = {expression_text(value)}"


def _read(program: Program, read: OutputRead) -> str:
    states = program.model.component(read.component).states
    shape = next(state.shape for state in states if state.part == read.part)
    state = State(read.component, read.part, shape, read.when)
    return expression_text(state if read.vector is None else matmul(state, read.vector))
