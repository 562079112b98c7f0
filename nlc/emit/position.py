"""The position in a sequence -> the lines that say which periods end, what starts again, and which update this is."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.emit.layout import WIDTH, Lines, assignment, indented
from nlc.emit.names import LocalNames
from nlc.emit.parameters import parameter_values
from nlc.emit.scope import Sequence, leaf, state_dtype
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Due, Expr, Eye, Index, Input, Parameter, Position, State, StopGradient, Tick, contains
from nlc.ir.law import POSITION, Reset
from nlc.ir.model import Component, Family


def position_lines(sequence: Sequence, names: LocalNames, values: dict[Expr, str]) -> Iterator[Lines]:
    """The position after this token, which periods end there, and which update this is; `values` learns the variables."""
    if not any(item.component == POSITION for item in sequence.program.laws.kept):
        return
    position = values[State(POSITION, "", ())] = names.new(POSITION)
    yield (f"{position} = {sequence.carried('state', POSITION, '')} + 1",)
    yield from _due(sequence, names, values, position)
    if sequence.has_places:
        place = values[Position()] = names.new("place")
        yield (f"{place} = ({position} - 1).to({state_dtype(sequence)})",)
    for component, tick in _ticks(sequence, names, values):
        count = _count(sequence.model.component(component), f"({position} - 1)", position)
        yield (f"{tick} = {count if count == position else f'({count})'}.to({state_dtype(sequence)})",)


def before_name(sequence: Sequence) -> str:
    """The argument of a block that is how many tokens came before it."""
    return LocalNames(sequence.inputs).new("before")


def block_position_lines(sequence: Sequence, names: LocalNames, values: dict[Expr, str], tokens: str) -> Iterator[Lines]:
    """The same after all `tokens` of a block, as Python numbers."""
    before = before_name(sequence)
    if sequence.periods:
        position = names.new(POSITION)
        yield (f"{position} = {before} + {tokens}",)
        yield from _due(sequence, names, values, position)
    for component, tick in _ticks(sequence, names, values):
        count = _count(sequence.model.component(component), before, f"{before} + 1")
        yield (f"{tick} = {count}",)


def block_start(sequence: Sequence, names: LocalNames, item: Reset, carried: str, values: dict[Expr, str]) -> tuple[str, Lines]:
    """The variable of what the first token of a block finds, and its lines; `values` are the variables of what is known at that token."""
    start, before = names.new(f"{item.name}.{'detached' if item.is_cut_off else 'start'}"), before_name(sequence)
    seen = f"{before} % {item.within}" if item.within else before
    first = f"{seen} % {item.period} == 0" if item.period else f"{before} == 0"
    when = first if item.at_start else f"{before} > 0 and {first}"
    printer = TorchPrinter(lambda node: leaf(node, values), carried, dim=sequence.size)
    terms = printer.terms(item.value) if needs_a_token(item.value) else (_begin(item.value, carried),)
    line = f"{start} = {' '.join(terms)} if {when} else {carried}"
    if len(line) <= WIDTH - 8:
        return start, (line,)
    return start, (f"{start} = {carried}", f"if {when}:", *indented(assignment(start, terms, 12)))


def _due(sequence: Sequence, names: LocalNames, values: dict[Expr, str], position: str) -> Iterator[Lines]:
    for period in sequence.periods:
        due = values[Due(period)] = names.new("due" if len(sequence.periods) == 1 else f"due_{period}")
        yield (f"{due} = {position} % {period} == 0",)


def _ticks(sequence: Sequence, names: LocalNames, values: dict[Expr, str]) -> Iterator[tuple[str, str]]:
    """The components whose updates are counted, with the variables of their counts."""
    for component in (name for name in sequence.counted if not sequence.model.is_parted(name)):
        values[Tick(component)] = names.new("tick" if len(sequence.counted) == 1 else f"{component}_tick")
        yield component, values[Tick(component)]


def _begin(value: Expr, carried: str) -> str:
    """What a carried tensor starts again from, as large as it is and in its dtype."""
    if isinstance(value, StopGradient):
        return f"{carried}.detach()"
    text = initial_text(value)
    if is_number_known(value):
        return f"torch.zeros_like({carried})" if text == "0" else f"torch.full_like({carried}, {text})"
    return f"{text if ' ' not in text else f'({text})'}.to({carried}.dtype).expand_as({carried})"


def begun_text(value: Expr, carried: str, values: dict[Expr, str]) -> str:
    """The same of a value that may read other states, whose variables are in `values`."""
    if not contains(value, lambda node: isinstance(node, State)):
        return _begin(value, carried)
    return TorchPrinter(lambda node: leaf(node, values), carried).text(value)


def needs_a_token(value: Expr) -> bool:
    """Whether a start reads what is known at a token alone: not numbers and parameters."""
    return contains(value, lambda node: isinstance(node, State | Input | Index))


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
