"""The position in a sequence -> the lines that say which periods end, what starts again, and which update this is."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.emit.layout import Lines, assignment
from nlc.emit.names import LocalNames
from nlc.emit.parameters import parameter_values
from nlc.emit.scope import Sequence, leaf, state_dtype
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Due, Expr, Eye, Parameter, Position, State, StopGradient, Tick, contains
from nlc.ir.law import POSITION
from nlc.ir.model import Component, Family


def position_lines(sequence: Sequence, names: LocalNames, values: dict[Expr, str], tokens: str = "") -> Iterator[Lines]:
    """The position after this token, or after all `tokens` of a block, and which periods end there; `values` learns the variables."""
    if not any(item.component == POSITION for item in sequence.program.laws.kept):
        return
    periods, carried = sequence.periods, sequence.carried("state", POSITION, "")
    before = names.new("before") if tokens and (sequence.counted or sequence.program.laws.resets) else ""
    position = names.new(POSITION)
    values[State(POSITION, "", ())] = position
    if before:
        yield (f"{before} = {carried}",)
    yield (f"{position} = {before or carried} + {tokens or 1}",)
    for period in periods:
        due = values[Due(period)] = names.new("due" if len(periods) == 1 else f"due_{period}")
        yield (f"{due} = {position} % {period} == 0",)
    if sequence.has_places and not tokens:
        place = values[Position()] = names.new("place")
        yield (f"{place} = ({position} - 1).to({state_dtype(sequence)})",)
    if before:
        yield from _resets(sequence, names, values, before)
    for component in (name for name in sequence.counted if not sequence.model.is_parted(name)):
        tick = values[Tick(component)] = names.new("tick" if len(sequence.counted) == 1 else f"{component}_tick")
        count = _count(sequence.model.component(component), before or f"({position} - 1)", position)
        yield (f"{tick} = {count if count == position else f'({count})'}.to({state_dtype(sequence)})",)


def _resets(sequence: Sequence, names: LocalNames, values: dict[Expr, str], seen: str) -> Iterator[Lines]:
    """The states that start again with a block, before which `seen` tokens came."""
    for item in sequence.program.laws.resets:
        start = names.new(".".join(filter(None, (item.state.component, item.state.part, "start"))))
        carried = sequence.carried("state", item.state.component, item.state.part)
        values[item.state] = start
        is_first = f"({seen} > 0) & ({seen} % {item.period} == 0)"
        yield assignment(start, [f"torch.where({is_first}, {_begin(item.value, carried)}, {carried})"], 12)


def _begin(value: Expr, carried: str) -> str:
    """What a carried tensor starts again from, in its dtype."""
    if isinstance(value, StopGradient):
        return f"{carried}.detach()"
    text = initial_text(value)
    return text if is_number_known(value) else f"{text if ' ' not in text else f'({text})'}.to({carried}.dtype)"


def initial_text(value: Expr) -> str:
    """What a state starts from: a Python number, or a tensor of parameters without the dims of batch and axes."""
    printer = TorchPrinter(lambda node: leaf(node, parameter_values(value)), "like")
    return printer.number(value) or printer.text(value)


def is_number_known(value: Expr | None) -> bool:
    """Whether a start is a number that the constructor is given, not a parameter or a matrix; None stands for zero."""
    return value is None or not contains(value, lambda node: isinstance(node, Eye | Parameter))


def _count(component: Component, seen: str, position: str) -> str:
    """The number of the update that this token belongs to, since the last reset; `seen` tokens came before, `position` with this one."""
    is_reset = component.reset is not None and component.reset.family is Family.TOKEN
    since = f"{seen} % {component.reset.period}" if component.reset is not None and is_reset else seen
    return f"{since} // {component.every.period} + 1" if component.every.period > 1 else f"{since} + 1" if is_reset else position
