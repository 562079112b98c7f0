"""The laws of a system -> the body of `step`: one assignment for each equation, in the paper's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace as replace_with
from types import MappingProxyType

from nlc.emit.layout import Lines, assignment, block, call, indented
from nlc.emit.names import LocalNames
from nlc.emit.parameters import parameter_values, read_parameters
from nlc.emit.recents import laid_out_at_a_token
from nlc.emit.scope import Sequence, converted, define, indices, input_values, leaf, output_printer, previous, printer_of
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Due, Expr, Map, MatMul, Named, Parameter, State, StopGradient, Tick, When, children, contains
from nlc.ir.build import replace
from nlc.ir.law import POSITION, Kept, Law
from nlc.ir.model import Component, Family

NO_TARGETS: Mapping[State, str] = MappingProxyType({})


def step_body(sequence: Sequence) -> Lines:
    """One token: the laws as they stand, then the outputs."""
    names = LocalNames((*sequence.inputs, "state"))
    dtype, like = names.new("dtype"), sequence.like.name
    values = {**input_values(sequence, part="-1"), **previous(sequence, "state")}
    first = sequence.program.slots[0]
    carried = sequence.carried("state", first.component, first.part)
    lines = [
        (f"{dtype} = {like}.dtype",),
        *converted(sequence, _dtype(sequence), time=False),
        *read_parameters(sequence, _dtype(sequence), names, values),
        *indices(sequence, names, carried, values),
        *_position(sequence, names, values),
        *laid_out_at_a_token(sequence, names, values),
        *define(sequence, names, values, parted=False),
        *_parts(sequence, names, values),
        *(line for law in sequence.program.laws.laws if not sequence.is_parted(law) for line in _law(sequence, law, names, values)),
        *_outputs(sequence, names, values, dtype),
    ]
    return (f"with _full_precision({like}):", *indented(block(lines)))


def _position(sequence: Sequence, names: LocalNames, values: dict[Expr, str]) -> Iterator[Lines]:
    """The position of this token, and which periods end with it."""
    if not any(item.component == POSITION for item in sequence.program.laws.kept):
        return
    periods = sequence.periods
    position = names.new(POSITION)
    values[State(POSITION, "", ())] = position
    yield (f"{position} = {sequence.carried('state', POSITION, '')} + 1",)
    for period in periods:
        due = values[Due(period)] = names.new("due" if len(periods) == 1 else f"due_{period}")
        yield (f"{due} = {position} % {period} == 0",)
    for item in sequence.program.laws.resets:
        start = names.new(".".join(filter(None, (item.state.component, item.state.part, "start"))))
        carried = sequence.carried("state", item.state.component, item.state.part)
        is_first = f"({position} > 1) & (({position} - 1) % {item.period} == 0)"
        values[item.state] = start
        yield assignment(start, [f"torch.where({is_first}, {_begin(item.value, carried)}, {carried})"], 12)
    for component in sequence.counted:
        tick = values[Tick(component)] = names.new("tick" if len(sequence.counted) == 1 else f"{component}_tick")
        count = _count(sequence.model.component(component), position)
        yield (f"{tick} = {count if count == position else f'({count})'}.to({_dtype(sequence)})",)


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
    """Whether a start is a number that the constructor is given, not a parameter; None stands for zero."""
    return value is None or not contains(value, lambda node: isinstance(node, Parameter))


def _count(component: Component, position: str) -> str:
    """The number of the update that this token belongs to, since the last reset."""
    is_reset = component.reset is not None and component.reset.family is Family.TOKEN
    seen = f"({position} - 1) % {component.reset.period}" if component.reset is not None and is_reset else f"({position} - 1)"
    return f"{seen} // {component.every.period} + 1" if component.every.period > 1 else f"{seen} + 1" if is_reset else position


def _parts(sequence: Sequence, names: LocalNames, values: dict[Expr, str]) -> Iterator[Lines]:
    """The levels that move several times a token, in a loop; afterwards `values` has the variables of their last states."""
    laws = [law for law in sequence.program.laws.laws if sequence.is_parted(law)]
    if not laws:
        return
    moved = [(law.component, equation) for law in laws for equation in law.equations if equation.part is not None]
    variables = {
        State(item.owner or level, item.part or "", item.value.shape, When.PREVIOUS): names.new(item.name, item.owner or level)
        for level, item in moved
    }
    index = names.new("part")
    yield from ((f"{variable} = {values[state]}",) for state, variable in variables.items())
    inside = values | input_values(sequence, part=index)
    for state, variable in variables.items():
        inside[state] = variable
    targets = variables
    if len(variables) > 1:
        targets = {state: names.new(f"new_{variable}") for state, variable in variables.items()}
    body = [*define(sequence, names, inside, parted=True), *(line for law in laws for line in _law(sequence, law, names, inside, targets))]
    if len(variables) > 1:
        body.append(assignment(", ".join(variables.values()), [", ".join(targets.values())], 16))
    yield (f"for {index} in range({sequence.model.updates_per_tick}):", *indented(block(body)))
    values.update({replace_with(state, when=When.CURRENT): variable for state, variable in variables.items()})


def _dtype(sequence: Sequence) -> str:
    first = sequence.program.slots[0]
    return f"{sequence.carried('state', first.component, first.part)}.dtype"


def _law(
    sequence: Sequence, law: Law, names: LocalNames, values: dict[Expr, str], targets: Mapping[State, str] = NO_TARGETS
) -> Iterator[Lines]:
    """The equations of one component; its new states join `values` for those that run later.

    The new value of a state goes to its target, if it has one, else to a variable of its own.
    """
    own = dict(values)
    for equation in law.equations:
        shape = equation.value.shape
        target = targets.get(State(equation.owner or law.component, equation.part or "", shape, When.PREVIOUS))
        local = target if target and equation.part is not None else names.new(equation.name, law.component)
        terms = printer_of(sequence, own).terms(equation.value)
        if equation.part is not None:
            owner = equation.owner or law.component
            carried = sequence.carried("state", owner, equation.part)
            if not sequence.spans_axes(equation.value):
                terms = (f"({' '.join(terms)}).expand_as({carried})",)
            values[State(owner, equation.part, shape, When.CURRENT)] = local
            own[State(owner, equation.part, shape, When.CURRENT)] = local
        own[Named(equation.name, shape)] = local
        yield assignment(local, terms, 12)


def _outputs(sequence: Sequence, names: LocalNames, values: dict[Expr, str], dtype: str) -> Iterator[Lines]:
    own = dict(values)
    results: dict[str, str] = {}
    for equation in sequence.program.laws.outputs:
        printer = output_printer(sequence, own, equation.name)
        local = names.new(equation.name)
        results[equation.name] = own[Named(equation.name, equation.value.shape)] = local
        value, layers = equation.value, set(_layers(equation.value))
        for number in range(1, len(layers) + 1):
            layer = next(_layers(value))
            inner = Named(names.new(f"{equation.name}_hidden{f'_{number}' if len(layers) > 1 else ''}"), layer.shape)
            yield assignment(inner.name, [printer.text(layer)], 12)
            own[inner] = inner.name
            value = replace(value, {layer: inner}.get)
        yield assignment(local, broadcast(sequence, printer, value), 12)
    kept = {item.name: _kept(sequence, item, values) for item in sequence.program.laws.kept}
    states = [slot for slot in sequence.program.slots if slot.name not in kept]
    new = {slot.name: values[State(slot.component, slot.part, slot.shape, When.CURRENT)] for slot in states} | kept
    yield from returned(sequence, results, new, dtype)


def _layers(node: Expr) -> Iterator[Expr]:
    """The maps of states that a matrix multiplies, innermost first: layers of a network, each of which gets a line of its own."""
    for child in children(node):
        yield from _layers(child)
    match node:
        case MatMul(_, Map() as layer) if contains(layer, lambda part: isinstance(part, State)):
            yield layer


def _kept(sequence: Sequence, item: Kept, values: dict[Expr, str]) -> str:
    """What is carried to the next token beside the states."""
    if item.component == POSITION:
        return values[State(POSITION, "", ())]
    if item.value in values:
        return values[item.value]
    printer = printer_of(sequence, values)
    if sequence.spans_axes(item.value):
        return printer.text(item.value)
    return f"{printer.atom(item.value)}.expand_as({sequence.carried('state', item.component, item.part)})"


def broadcast(sequence: Sequence, printer: TorchPrinter, value: Expr) -> tuple[str, ...]:
    """The terms of an output; one that may lack the dims of batch and axes gets them from the state."""
    if printer.is_bare or sequence.spans_axes(value):
        return printer.terms(value)
    slot = sequence.program.slots[0]
    carried = sequence.carried("state", slot.component, slot.part)
    own = ", -1" * len(value.shape)
    return (f"({printer.text(value)}).expand(*{carried}.shape[:{1 + len(sequence.model.axes)}]{own})",)


def returned(sequence: Sequence, outputs: dict[str, str], state: dict[str, str], dtype: str) -> Iterator[Lines]:
    """`return outputs, state`: each bare when there is one, else a dict by name."""
    if sequence.is_bare:
        (state_text,) = state.values()
    else:
        state_text = "{" + ", ".join(f'"{name}": {value}' for name, value in state.items()) + "}"
    if len(outputs) == 1:
        (output,) = outputs.values()
        result = f"{output}.to({dtype})"
    else:
        result = "{" + ", ".join(f'"{name}": {value}.to({dtype})' for name, value in outputs.items()) + "}"
    line = f"return {result}, {state_text}"
    if len(line) > 128 and sequence.program.laws.kept:
        yield ("state = {", *(f'    "{name}": {value},' for name, value in state.items()), "}")
        line = f"return {result}, state"
    if len(line) <= 128:
        yield (line,)
    elif len(state_text) <= 123:
        yield call("return ", [result, state_text], "", 12)
    else:
        items = (f'        "{name}": {value},' for name, value in state.items())
        yield ("return (", f"    {result},", "    {", *items, "    },", ")")
