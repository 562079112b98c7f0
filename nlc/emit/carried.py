"""What the state of a module has to carry of the windows of its levels -> the check that it does, where there are windows.

A state of a module with another window would otherwise be read as though it were of this one, or fail far from its cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nlc.emit.layout import Lines, call
from nlc.emit.scope import Sequence
from nlc.ir.law import RECENT
from nlc.ir.windows import older_data

CHECK: Lines = ("_check_windows(state)",)


@dataclass(frozen=True, slots=True)
class Carried:
    """Data of a level's window under their key in the state: along which dim they lie, and how many of them there are."""

    level: str
    name: str
    dim: int
    tokens: int


def carried_data(sequence: Sequence) -> Iterator[Carried]:
    """What is carried of windows that do not grow."""
    model = sequence.model
    for slot in sequence.program.slots:
        if isinstance(slot.window, int):
            yield Carried(slot.component, slot.name, 1, slot.window - 1)
        if slot.component == RECENT:
            recent = next(item.recent for item in model.recents if item.name == slot.part)
            levels = [level.name for level in model.fast if recent in older_data(level)]
            axes = 0 if slot.is_whole else len(model.axes)
            yield from (Carried(level, slot.name, 1 + axes, slot.shape[0].size({})) for level in levels[:1])


def check_lines(sequence: Sequence) -> Lines:
    """The line that checks a state, if there is something to check."""
    return CHECK if any(carried_data(sequence)) else ()


def check_helper(sequence: Sequence) -> tuple[str, ...]:
    """The function that the line calls."""
    found = list(carried_data(sequence))
    if not found:
        return ()
    rows = [f'("{item.level}", "{item.name}", {item.dim}, {item.tokens})' for item in found]
    lines = (
        "def _check_windows(state: dict[str, Tensor]) -> None:",
        '    """Raises ValueError where the state does not carry the tokens that the windows of this module look back to."""',
        *(f"    {line}" for line in call("for level, name, dim, tokens in ", rows if len(rows) > 1 else [f"{rows[0]},"], ":", 4)),
        "        carried = state[name].shape[dim] if name in state else 0",
        "        if carried != tokens:",
        '            here = f"{level} looks back {tokens} tokens from the first one here"',
        '            raise ValueError(f"{here}, but the state carries {carried} in {name}")',
    )
    return ("\n".join(lines),)
