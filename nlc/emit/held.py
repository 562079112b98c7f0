"""Systems whose states are all held over the same period -> the lines that say so once, not state by state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nlc.emit.layout import WIDTH, Lines, call, comprehension
from nlc.emit.names import LocalNames
from nlc.emit.scope import Sequence
from nlc.ir.law import Held


def held_alike(sequence: Sequence) -> Held | None:
    """How the one tensor of every state is held, if that is the same for all of several states: its `part` is added to their names."""
    program = sequence.program
    kept = {item.name for item in program.laws.kept}
    states = {slot.name for slot in program.slots if slot.name not in kept}
    held = {item.name: item.held for item in program.laws.kept if item.held is not None}
    periods = {item.period for item in held.values()}
    if len(states) < 2 or len(periods) != 1 or program.laws.resets or program.laws.beginnings:
        return None
    alike = Held("", periods.pop())
    return alike if alike.period > 1 and {f"{name}.{alike.part}" for name in states} == set(held) else None


def items_text(state: Mapping[str, str]) -> str:
    """A dict of variables by name, on one line."""
    return "{" + ", ".join(f'"{name}": {value}' for name, value in state.items()) + "}"


def dict_lines(target: str, state: Mapping[str, str], room: int) -> Lines:
    """`target = {...}`, on one line if there is room for it."""
    line = f"{target} = {items_text(state)}"
    return (line,) if len(line) <= room else (f"{target} = {{", *(f'    "{name}": {value},' for name, value in state.items()), "}")


def started_held(sequence: Sequence, begun: Mapping[str, str], ending: str, room: int) -> Iterator[Lines]:
    """`return` what all states begin with, where those that are held begin with the same."""
    starts, others = _apart(sequence, begun, ending)
    yield dict_lines("starts", starts, room)
    yield (f'held = {{f"{{name}}.{ending}": start for name, start in starts.items()}}',)
    if others:
        yield dict_lines("others", others, room)
    yield (f"return starts | held{' | others' if others else ''}",)


def _apart(sequence: Sequence, state: Mapping[str, str], ending: str) -> tuple[dict[str, str], dict[str, str]]:
    """The states of levels, and what is carried beside them but for what is held."""
    kept = {item.name for item in sequence.program.laws.kept}
    levels = {name: text for name, text in state.items() if name not in kept}
    return levels, {name: text for name, text in state.items() if name in kept and not name.endswith(f".{ending}")}


def returned_held(
    sequence: Sequence, names: LocalNames, result: str, state: Mapping[str, str], ending: str, held: str, room: int, more: str = ""
) -> Iterator[Lines]:
    """`return result, state` where all states are held alike: `held` is what one is held as, of the `new` and the state called `name`."""
    new, others = _apart(sequence, state, ending)
    parts = moved, holding, *_ = [names.new("moved"), names.new("held"), *([names.new("last")] if others else [])]
    yield dict_lines(moved, new, room)
    yield comprehension(f"{holding} = ", [f'f"{{name}}.{ending}": {held}', f"for name, new in {moved}.items()"], WIDTH - room)
    if others:
        yield dict_lines(parts[-1], others, room)
    yield (f"return {result}{' | '.join(parts)}{more}",)


def returned_in_full(result: str, state: Mapping[str, str], room: int, more: str = "") -> Iterator[Lines]:
    """`return result, state`, state by state and `more` as its code has it; `result` ends with a comma, if it is not empty."""
    line = f"return {result}{items_text(state)}{more}"
    if len(line) <= room:
        yield (line,)
        return
    yield dict_lines("state", state, 0)
    yield (f"return {result}state{more}",)


def returned(sequence: Sequence, outputs: dict[str, str], state: dict[str, str], dtype: str, more: str = "") -> Iterator[Lines]:
    """`return outputs, state`: each bare when there is one, else a dict by name, with `more` as its code has it."""
    state_text = next(iter(state.values())) if sequence.is_bare else f"{items_text(state)}{more}"
    result = result_text(outputs, dtype)
    line = f"return {result}, {state_text}"
    if len(line) > 128 and sequence.program.laws.kept:
        yield dict_lines("state", state, 0)
        line = f"return {result}, state{more}"
    if len(line) <= 128:
        yield (line,)
    elif len(state_text) <= 123:
        yield call("return ", [result, state_text], "", 12)
    else:
        items = (f'        "{name}": {value},' for name, value in state.items())
        yield ("return (", f"    {result},", "    {", *items, "    },", ")")


def result_text(outputs: dict[str, str], dtype: str) -> str:
    """The output, or all of them by name."""
    texts = {name: f"{value}.to({dtype})" for name, value in outputs.items()}
    return items_text(texts) if len(texts) > 1 else next(iter(texts.values()))
