"""Laws -> Program: every memory's transition is classified, and a table of form rules gives it an exact form over a sequence.

`explain` shows for each rule tried why it was taken or not (`choose`). An approximation is never chosen: all forms compute the law.
"""

from __future__ import annotations

from nlc.codes import schedule as codes
from nlc.diagnostics import CompileError
from nlc.ir.law import POSITION, Laws, with_parameters
from nlc.ir.model import Component, Family, StateDeclaration
from nlc.ir.program import Program, StateSlot
from nlc.schedule.describe import program_text
from nlc.schedule.memories import schedule_memories

__all__ = ["DEFAULT_CHUNK", "program_text", "schedule_program"]

DEFAULT_CHUNK = 64
"""The cost model: a chunk of C tokens costs about C * (rows + columns) numbers a token inside the chunk, and rows * columns / C a token
for the state that is carried between chunks. They balance near C = the size of the state's sides, for which 64 is typical."""


def schedule_program(laws: Laws, chunk: int | None = None) -> Program:
    """The program of a system; `chunk`, in tokens, overrides the default (NLC501 when it is below 1)."""
    if chunk is not None and chunk < 1:
        raise CompileError(codes.chunk_length(chunk))
    is_optimizer = laws.order.model.kind == "optimizer"
    memories, outputs, decisions = ((), (), ()) if is_optimizer else schedule_memories(laws)
    return Program(
        laws=laws,
        slots=_slots(laws),
        timetable=_timetable(laws),
        memories=memories,
        outputs=outputs,
        decisions=decisions,
        chunk=chunk or DEFAULT_CHUNK,
        parameters=_parameters(laws),
        training=tuple(schedule_program(item) for item in laws.training),
    )


def _slots(laws: Laws) -> tuple[StateSlot, ...]:
    """What is carried from tick to tick; an optimizer's `weights` are the parameters themselves, and no state of its own."""
    model = laws.order.model
    carried = [component for component in model.fast if not (model.kind == "optimizer" and component.name == "weights")]
    states = tuple(
        StateSlot(
            _slot_name(item, state),
            item.name,
            state.part,
            state.shape,
            start=with_parameters(model, item.init[place]) if item.init else None,
        )
        for item in carried
        for place, state in enumerate(item.states)
    )
    kept = (
        StateSlot(item.name, item.component, item.part, item.value.shape, item.component == POSITION, item.start, item.is_whole)
        for item in laws.kept
    )
    return (*states, *kept)


def _parameters(laws: Laws) -> tuple[StateSlot, ...]:
    """The tensors of slow levels."""
    return tuple(
        StateSlot(_slot_name(item, state), item.name, state.part, state.shape, start=item.init[place] if item.init else None)
        for item in laws.order.model.parameters
        for place, state in enumerate(item.states)
    )


def _slot_name(component: Component, state: StateDeclaration) -> str:
    return f"{component.name}.{state.part}" if len(component.states) > 1 else component.name


def _timetable(laws: Laws) -> tuple[tuple[str, tuple[str, ...]], ...]:
    rows: dict[str, list[str]] = {}
    for law in laws.laws:
        rows.setdefault(f"every {law.clock}", []).append(law.component)
    slow = [laws.order.model.component(name) for name in laws.order.run_order if laws.order.model.is_parameter(name)]
    for component in sorted(slow, key=lambda item: item.every.speed):
        rows.setdefault("never" if component.every.family is Family.NEVER else f"every {component.every}", []).append(component.name)
    return tuple((clock, tuple(names)) for clock, names in rows.items())
