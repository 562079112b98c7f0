"""The laws of a system -> the body of `step`: one assignment for each equation, in the paper's words."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace as replace_with
from types import MappingProxyType

from nlc.emit.apart import Apart, Method, solving_method, stands_apart
from nlc.emit.carried import check_lines
from nlc.emit.held import held_alike, result_text, returned, returned_held
from nlc.emit.layout import WIDTH, Lines, assignment, block, indented
from nlc.emit.names import LocalNames
from nlc.emit.once import ONCE, computed_once
from nlc.emit.parameters import read_parameters
from nlc.emit.position import position_lines
from nlc.emit.recents import laid_out_at_a_token, read_at_a_part
from nlc.emit.resets import Resets
from nlc.emit.rounds import round_variable, rounds
from nlc.emit.scope import Sequence, converted, define, indices, input_values, output_printer, previous, printer_of, state_dtype
from nlc.emit.torch_printer import TorchPrinter
from nlc.emit.windows import at_step, kept_window
from nlc.ir.algebra import Divide, Due, Expr, Input, LayerNorm, Map, MatMul, Named, State, Tick, When, Window, children, contains, walk
from nlc.ir.build import replace
from nlc.ir.calculus import Inverse
from nlc.ir.law import POSITION, WORD, Kept, Law, written_out
from nlc.ir.model import Family
from nlc.ir.program import StateSlot
from nlc.ir.recents import Shift

WIDEST_OUTPUT = 120
"""An output whose expression is longer has a line for each of its reads; one that fits no line then, for each of its norms."""

NO_TARGETS: Mapping[State, str] = MappingProxyType({})


def step_body(sequence: Sequence) -> tuple[Lines, tuple[Method, ...]]:
    """One token: the laws as they stand, then the outputs; and the methods of levels that stand apart."""
    names = LocalNames((*sequence.inputs, "state"))
    dtype, like = names.new("dtype"), sequence.like.name
    values = {**input_values(sequence, part="-1"), **previous(sequence, "state")}
    first = sequence.program.slots[0]
    carried = sequence.carried("state", first.component, first.part)
    shared, apart = _shared(sequence), Apart()
    lines = [
        (f"{dtype} = {like}.dtype",),
        *converted(sequence, state_dtype(sequence), time=False),
        *read_parameters(sequence, state_dtype(sequence), names, values),
        *indices(sequence, names, carried, values),
        *position_lines(sequence, names, values),
        *laid_out_at_a_token(sequence, names, values),
        *define(sequence, names, values, parted=False),
        *_laws(sequence, names, values, shared, apart),
        *_outputs(sequence, names, values, shared, apart, dtype),
    ]
    return (*check_lines(sequence), f"with _full_precision({like}):", *indented(block(lines))), tuple(apart.methods)


def _laws(sequence: Sequence, names: LocalNames, values: dict[Expr, str], shared: frozenset[Expr], apart: Apart) -> Iterator[Lines]:
    """The laws as they run, those of levels that move several times a token together; a state starts again when what it reads is known."""
    laws = sequence.program.laws
    resets = Resets(sequence, values.get(State(POSITION, "", ()), ""), list(laws.resets))
    yield from resets.ready(names, values)
    parts = [law for law in laws.laws if sequence.is_parted(law)]
    for law in laws.laws:
        if not sequence.is_parted(law):
            yield from _whole(sequence, law, names, values, shared, apart)
        elif law == parts[0]:
            yield from _parts(sequence, parts, names, values)
        yield from resets.ready(names, values)


def _shared(sequence: Sequence) -> frozenset[Expr]:
    """What several laws call by a name, or one that is an output, written out: it is computed once."""
    laws = [law for law in sequence.program.laws.laws if not sequence.is_parted(law)]
    said = [{written_out(item.value, law) for item in law.equations if item.part is None} for law in laws]
    said.append({item.value for item in sequence.program.laws.outputs})
    return frozenset(value for values in said for value in values if sum(value in others for others in said) > 1)


def _whole(
    sequence: Sequence, law: Law, names: LocalNames, values: dict[Expr, str], shared: frozenset[Expr], apart: Apart
) -> Iterator[Lines]:
    """A law that runs once a token."""
    if stands_apart(sequence.model, law.equations):
        yield from _solved_apart(sequence, law, names, values, apart)
    elif sequence.model.component(law.component).is_solved:
        yield from _words(sequence, law, names, values, 12)
        yield from at_step(sequence, law, names, values)
    elif law.rounds > 1:
        yield from _rounds(sequence, law, names, values, shared)
    else:
        yield from law_lines(sequence, law, names, values, shared=shared)


def _solved_apart(sequence: Sequence, law: Law, names: LocalNames, values: dict[Expr, str], apart: Apart) -> Iterator[Lines]:
    """The call of the method that solves a level; of what is inside, `values` learns the level's value alone."""
    inside, component = dict(values), law.component
    lines = [*_words(sequence, law, names, inside, 8), *at_step(sequence, law, names, inside, 8)]
    known = next(node for node in inside if isinstance(node, State) and node.component == component and node.when is When.CURRENT)
    kept = {item.name: kept_text(sequence, item, inside) for item in sequence.program.laws.kept if item.component == component}
    says = f"What {component} finds at one token, and what it keeps."
    values[known] = inside[known]
    method = solving_method(component, "at_a_token", says, lines, [inside[known]], kept)
    yield apart.call(method, [inside[known]], names.new("windows"), kept, 12)


def _words(sequence: Sequence, law: Law, names: LocalNames, values: dict[Expr, str], indent: int) -> Iterator[Lines]:
    """The words of the spec for what several data of a window read, which `values` learns."""
    for item in (item for item in law.equations if item.rule == WORD):
        whole = written_out(item.value, law)
        if whole not in values:
            over = yield from hidden_layers(names, values, printer_of(sequence, values), item.name, whole, indent)
            values[whole] = names.new(item.name, law.component)
            yield assignment(values[whole], printer_of(sequence, values).terms(over), indent)


def _rounds(sequence: Sequence, law: Law, names: LocalNames, values: dict[Expr, str], shared: frozenset[Expr]) -> Iterator[Lines]:
    """A law that runs several times a token, from a start; afterwards `values` has the variables of its last states."""
    opening = replace_with(law, equations=law.opening, rounds=1)
    targets = {item.name: round_variable(law, item, names) for item in law.opening if item.starts is not None}
    inside = dict(values)
    yield from law_lines(sequence, opening, names, inside, {state: local for state, local in targets.values()}, shared)
    values.update((value, local) for value, local in inside.items() if value in shared)
    yield from rounds(law, str(law.rounds), names, inside, lambda own: printer_of(sequence, own), 12)
    values.update((node, local) for node, local in inside.items() if isinstance(node, State) and node.when is When.CURRENT)


def _parts(sequence: Sequence, laws: list[Law], names: LocalNames, values: dict[Expr, str]) -> Iterator[Lines]:
    """The levels that move several times a token, in a loop; afterwards `values` has the variables of their last states."""
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
    counts = list(_counts(sequence, index, names, inside))
    older = list(read_at_a_part(sequence, names, inside, index, [item.value for law in laws for item in law.equations]))
    earlier = list(_earlier(laws, sequence, names, inside))
    yield from ((f"{variable} = {values[stream]}",) for stream, variable in earlier)
    body = [
        *counts,
        *older,
        *define(sequence, names, inside, parted=True),
        *(line for law in laws for line in law_lines(sequence, law, names, inside, targets)),
    ]
    if len(variables) > 1:
        body.append(assignment(", ".join(variables.values()), [", ".join(targets.values())], 16))
    body += [(f"{variable} = {inside[Input(stream.name, stream.shape)]}",) for stream, variable in earlier]
    yield (f"for {index} in range({sequence.model.updates_per_tick}):", *indented(block(body)))
    values.update({replace_with(state, when=When.CURRENT): variable for state, variable in variables.items()})


def _counts(sequence: Sequence, index: str, names: LocalNames, values: dict[Expr, str]) -> Iterator[Lines]:
    """The numbers of the updates that a part of a token belongs to."""
    counted = [name for name in sequence.counted if sequence.model.is_parted(name)]
    for component in counted:
        tick = values[Tick(component)] = names.new("tick" if len(sequence.counted) == 1 else f"{component}_tick")
        reset, position = sequence.model.component(component).reset, values[State(POSITION, "", ())]
        seen = f"({position} - 1)"
        if reset is not None and reset.family is Family.TOKEN:
            seen = f"({position} - 1) % {reset.period}"
        yield (f"{tick} = ({seen} * {sequence.model.updates_per_tick} + {index} + 1).to({state_dtype(sequence)})",)


def _earlier(laws: list[Law], sequence: Sequence, names: LocalNames, values: dict[Expr, str]) -> Iterator[tuple[Input, str]]:
    """The streams of several values a token whose previous values some law reads at each part, with the variables of these."""
    parted = {stream.name for stream in sequence.model.inputs if stream.is_parted}
    nodes = (node for law in laws for equation in law.equations for node in walk(equation.value))
    for node in dict.fromkeys(node for node in nodes if isinstance(node, Input) and node.delayed and node.name in parted):
        values[node] = names.new(f"earlier_{node.name}")
        yield node, values[node]


def law_lines(
    sequence: Sequence,
    law: Law,
    names: LocalNames,
    values: dict[Expr, str],
    targets: Mapping[State, str] = NO_TARGETS,
    shared: frozenset[Expr] = frozenset(),
) -> Iterator[Lines]:
    """The equations of one component; its new states, the words of the spec and what is `shared` join `values` for those that run later.

    The new value of a state goes to its target, if it has one, else to a variable of its own.
    """
    own = dict(values)
    wholes = {item.name: written_out(item.value, law) for item in law.equations}
    known = [item for item in law.equations if (item.rule == WORD or wholes[item.name] in shared) and wholes[item.name] in values]
    own |= {Named(item.name, item.value.shape): values[wholes[item.name]] for item in known}
    for equation in computed_once(tuple(item for item in law.equations if item not in known)):
        shape, whole = equation.value.shape, wholes.get(equation.name, equation.value)
        part = equation.part if equation.starts is None else equation.starts
        target = targets.get(State(equation.owner or law.component, part or "", shape, When.PREVIOUS))
        terms = printer_of(sequence, own).terms(equation.value)
        if part is None and len(terms) == 1 and terms[0].isidentifier():  # it has a name
            own[Named(equation.name, shape)] = values[whole] = terms[0]
            continue
        local = target if target and part is not None else names.new(equation.name, law.component)
        if equation.starts is not None:
            values[State(law.component, equation.starts, shape, When.PREVIOUS)] = local
            terms = terms if sequence.spans_axes(equation.value) else expanded(sequence, law, terms, len(shape))
        if equation.part is not None:
            owner = equation.owner or law.component
            carried = sequence.carried("state", owner, equation.part)
            if not sequence.spans_axes(equation.value):
                terms = (f"({' '.join(terms)}).expand_as({carried})",)
            values[State(owner, equation.part, shape, When.CURRENT)] = local
            own[State(owner, equation.part, shape, When.CURRENT)] = local
        own[Named(equation.name, shape)] = local
        if equation.rule == WORD or (equation.part is None and whole in shared):
            values[whole] = local
        yield assignment(local, terms, 12)


def expanded(sequence: Sequence, law: Law, terms: tuple[str, ...], rank: int) -> tuple[str, ...]:
    """The terms of a start that may lack the dims of batch and axes, with those of the level that its level serves."""
    host = sequence.model.component(sequence.model.component(law.component).host or law.component)
    carried, last = sequence.carried("state", host.name, host.states[0].part), len(host.states[0].shape)
    leading = f"*{carried}.shape[:-{last}]" if last else f"*{carried}.shape"
    return (f"({' '.join(terms)}).expand({leading}{', -1' * rank})",)


def _outputs(
    sequence: Sequence, names: LocalNames, values: dict[Expr, str], shared: frozenset[Expr], apart: Apart, dtype: str
) -> Iterator[Lines]:
    own = dict(values)
    results: dict[str, str] = {}
    for item in sequence.program.laws.outputs:
        if item.value in shared and item.value in values:
            results[item.name] = own[Named(item.name, item.value.shape)] = values[item.value]
    for equation in computed_once(tuple(item for item in sequence.program.laws.outputs if item.name not in results)):
        if isinstance(equation.value, Named):
            results[equation.name] = own[equation.value]
            continue
        printer = output_printer(sequence, printer_of(sequence, own), equation.name)
        local = own[Named(equation.name, equation.value.shape)] = names.new(equation.name)
        value = yield from hidden_layers(names, own, printer, equation.name, equation.value)
        yield assignment(local, broadcast(sequence, printer, value), 12)
        results |= {equation.name: local} if equation.rule != ONCE else {}
    results = {item.name: results[item.name] for item in sequence.program.laws.outputs}
    kept = {item.name: kept_text(sequence, item, values) for item in sequence.program.laws.kept if not apart.carries(item.name)}
    states = [slot for slot in sequence.program.slots if slot.name not in kept and not apart.carries(slot.name)]
    new = {slot.name: _newest(slot, values) for slot in states} | kept
    alike = held_alike(sequence)
    if alike is None:
        yield from returned(sequence, results, new, dtype, apart.more)
        return
    due = values[Due(alike.period, sequence.model.unit)]
    held = f'torch.where({due}, new, state[f"{{name}}.{alike.part}"])'
    yield from returned_held(sequence, names, f"{result_text(results, dtype)}, ", new, alike.part, held, WIDTH - 12, apart.more)


def hidden_layers(
    names: LocalNames, values: dict[Expr, str], printer: TorchPrinter, output: str, value: Expr, indent: int = 12
) -> Generator[Lines, None, Expr]:
    """The layers of a network that an output reads, a line each, and of a long output its reads; gives it over their names.

    `values` learns them. A state differs along every axis, so what reads one stands before any join.
    """
    apart = replace_with(printer, is_bare=False)
    layers = set(_layers(value))
    for number in range(1, len(layers) + 1):
        layer = next(_layers(value))
        inner = Named(names.new(f"{output}_hidden{f'_{number}' if len(layers) > 1 else ''}"), layer.shape)
        yield assignment(inner.name, apart.terms(layer), indent)
        values[inner] = inner.name
        value = replace(value, {layer: inner}.get)
    reads = dict.fromkeys(node for node in walk(value) if isinstance(node, MatMul) and isinstance(node.left, State))
    for read in reads if len(printer.text(value)) > WIDEST_OUTPUT else ():
        assert isinstance(read, MatMul)
        assert isinstance(read.left, State)
        inner = Named(names.new(f"{read.left.component}_read"), read.shape)
        yield assignment(inner.name, [apart.text(read)], 12)
        values[inner] = inner.name
        named: dict[Expr, Expr] = {read: inner}
        value = replace(value, named.get)
    quotients = dict.fromkeys(_quotients(value)) if len(printer.text(value)) > WIDTH else {}
    for number, quotient in enumerate(quotients if len(quotients) > 1 else (), start=1):
        inner = Named(names.new(f"{output}_normed_{number}"), quotient.shape)
        yield assignment(inner.name, [apart.text(quotient)], indent)
        values[inner] = inner.name
        value = replace(value, {quotient: inner}.get)
    return value


def _quotients(node: Expr) -> Iterator[Expr]:
    """What is divided, as by its norm, entry by entry; not what is divided inside of it."""
    if isinstance(node, Divide) and node.shape:
        yield node
        return
    for child in children(node):
        yield from _quotients(child)


def _newest(slot: StateSlot, values: dict[Expr, str]) -> str:
    """The variable of a state after the token: the old one of a level that moves when the sequence ends."""
    state = State(slot.component, slot.part, slot.shape, When.CURRENT)
    return values.get(state) or values[replace_with(state, when=When.PREVIOUS)]


def _layers(node: Expr) -> Iterator[Expr]:
    """The maps and solutions of states that a matrix multiplies, and what is normed again, innermost first: each gets a line of its own."""
    for child in children(node):
        yield from _layers(child)
    match node:
        case LayerNorm(layer) if contains(layer, lambda part: isinstance(part, LayerNorm)):
            yield layer
        case MatMul(_, (Map() | MatMul(Inverse())) as layer) if contains(layer, lambda part: isinstance(part, State)):
            yield layer


def kept_text(sequence: Sequence, item: Kept, values: dict[Expr, str]) -> str:
    """What is carried to the next token beside the states."""
    if item.window is not None:
        slot = next(slot for slot in sequence.program.slots if slot.name == item.name)
        return kept_window(slot, values[Window(item.component, item.part, item.value.shape)])
    if item.component == POSITION:
        return values[State(POSITION, "", ())]
    if isinstance(item.value, Shift):
        return values[item.value]
    printer = printer_of(sequence, values, is_bare=item.is_whole)
    if item.is_whole or sequence.spans_axes(item.value):
        return printer.text(item.value)
    return f"{printer.atom(item.value)}.expand_as({sequence.carried('state', item.component, item.part)})"


def broadcast(sequence: Sequence, printer: TorchPrinter, value: Expr) -> tuple[str, ...]:
    """The terms of an output; one that may lack the dims of batch and axes gets them from the state."""
    if printer.is_bare or sequence.spans_axes(value):
        return printer.terms(value)
    slot = sequence.program.slots[0]
    carried = sequence.carried("state", slot.component, slot.part)
    own = ", -1" * len(value.shape)
    axes, first = len(sequence.model.axes), sequence.first_axis
    leading = f"*{carried}.shape[:{1 + axes}]" if first == 1 else f"{carried}.shape[0], *{carried}.shape[2:{2 + axes}]"
    return (f"({printer.text(value)}).expand({leading}{own})",)
