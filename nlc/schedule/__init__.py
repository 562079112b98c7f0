"""Laws -> Program: every memory's transition is classified, and a table of form rules gives it an exact form over a sequence.

`explain` shows for each rule tried why it was taken or not (`choose`). An approximation is never chosen: all forms compute the law.
"""

from __future__ import annotations

from nlc.codes import schedule as codes
from nlc.diagnostics import CompileError
from nlc.ir.law import POSITION, Laws
from nlc.ir.model import Component, Family, StateDeclaration
from nlc.ir.program import Form, Program, StateSlot
from nlc.ir.starts import known_start
from nlc.schedule.cost import ChunkChoice, choose_chunk
from nlc.schedule.describe import program_text
from nlc.schedule.memories import Scheduled, schedule_memories

__all__ = ["DEFAULT_CHUNK", "program_text", "schedule_program"]

DEFAULT_CHUNK = 64
"""What a system has as its chunk that has no memory in chunks: evidence is drawn in lengths of it."""


def schedule_program(laws: Laws, chunk: int | None = None) -> Program:
    """The program of a system; `chunk`, in tokens, overrides the choice of the cost model (NLC501 when it is below 1)."""
    if chunk is not None and chunk < 1:
        raise CompileError(codes.chunk_length(chunk))
    if laws.order.model.network is not None:
        return _network_program(laws, chunk)
    is_optimizer = laws.order.model.kind == "optimizer"
    scheduled = Scheduled() if is_optimizer else schedule_memories(laws)
    chosen = _chunk(laws, scheduled, chunk)
    return Program(
        laws=laws,
        slots=_slots(laws),
        timetable=_timetable(laws),
        memories=scheduled.memories,
        outputs=scheduled.outputs,
        decisions=scheduled.decisions,
        chunk=chosen.tokens,
        chunk_because=chosen.because,
        blocks=scheduled.blocks,
        parameters=_parameters(laws),
        training=tuple(schedule_program(item) for item in laws.training),
    )


def _network_program(laws: Laws, chunk: int | None) -> Program:
    """The program of a model: its layers', and the parameters of its own, which belong to no layer."""
    rows: dict[str, list[str]] = {}
    for name in laws.order.run_order:
        rows.setdefault(f"every {laws.order.model.component(name).every}", []).append(name)
    return Program(
        laws=laws,
        slots=(),
        timetable=tuple((clock, tuple(names)) for clock, names in rows.items()),
        memories=(),
        outputs=(),
        decisions=(),
        chunk=DEFAULT_CHUNK,
        parameters=tuple(slot for slot in _parameters(laws) if not laws.order.model.component(slot.component).block),
        training=tuple(schedule_program(item) for item in laws.training),
        layers=tuple(schedule_program(item, chunk) for item in laws.layers),
    )


def _chunk(laws: Laws, scheduled: Scheduled, chunk: int | None) -> ChunkChoice:
    if chunk is not None:
        return ChunkChoice(chunk, "as it was asked for")
    forms = {memory.form for memory in scheduled.memories}
    if Form.RECURRENCE in forms or not any(memory.takes_chunk for memory in scheduled.memories):
        return ChunkChoice(DEFAULT_CHUNK, "")
    return choose_chunk(laws.order.model, scheduled.memories, scheduled.blocks)


def _slots(laws: Laws) -> tuple[StateSlot, ...]:
    """What is carried from tick to tick; an optimizer's `weights` are the parameters themselves, and no state of its own."""
    model = laws.order.model
    anew = {item.state.component for item in laws.resets if model.kind == "optimizer" and item.period == 1 and item.at_start}
    weights = {"weights"} if model.kind == "optimizer" else set()
    carried = [item for item in model.fast if item.name not in anew | weights and item.is_carried]
    states = tuple(
        StateSlot(
            _slot_name(item, state),
            item.name,
            state.part,
            state.shape,
            start=known_start(model, item, state) if item.init else None,
        )
        for item in carried
        for state in item.states
    )
    kept = (
        StateSlot(
            "step" if item.component == POSITION and model.kind == "optimizer" else item.name,
            item.component,
            item.part,
            item.value.shape,
            item.component == POSITION,
            item.start,
            item.window,
            item.is_whole,
        )
        for item in laws.kept
    )
    return (*states, *kept)


def _parameters(laws: Laws) -> tuple[StateSlot, ...]:
    """The tensors of slow levels."""
    model = laws.order.model
    return tuple(
        StateSlot(_slot_name(item, state), item.name, state.part, state.shape, start=known_start(model, item, state) if item.init else None)
        for item in model.parameters
        for state in item.states
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
