"""The program of a parallel system -> the body of `forward`: memory after memory over all tokens at once, then the outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from nlc.emit.attention import in_forward, kept_after, places
from nlc.emit.chunked import Chunked, Stream
from nlc.emit.chunks import chunk_method, chunked, method_name
from nlc.emit.coupled import Coupled, coupled, is_coupled
from nlc.emit.coupled_methods import coupled_method
from nlc.emit.halves import halves_method
from nlc.emit.held import returned
from nlc.emit.layout import Lines, assignment, block, call, indented, packed
from nlc.emit.names import LocalNames
from nlc.emit.parameters import read_parameters
from nlc.emit.recents import laid_out
from nlc.emit.scope import Sequence, Sizes, converted, define, indices, input_values, output_printer, printer_of, sizes
from nlc.emit.steps import hidden_layers
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Expr, Named, walk
from nlc.ir.law import written_out
from nlc.ir.program import MemoryProgram, StateSlot

WIDEST_ARGUMENT = 60
"""A stream whose expression is longer gets a variable of its own."""

ChunkedForm = Chunked | Coupled


def chunked_form(memory: MemoryProgram, *, in_blocks: bool) -> ChunkedForm:
    """The streams of a memory that runs in chunks, or of several that move as one."""
    return coupled(memory) if is_coupled(memory) else chunked(memory, in_blocks=in_blocks)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that are computed at once: `values` are the variables of what is known of them.

    `leading` are the sizes of (batch, time, *axes); `printer` prints what changes from token to token, `shared` what all of them share;
    `spans` tells whether a value surely has all leading dims. There are so many `updates` a token.
    """

    names: LocalNames
    values: dict[Expr, str]
    leading: str
    printer: TorchPrinter
    shared: TorchPrinter
    spans: Callable[[Expr], bool]
    indent: int = 12
    updates: int = 1


def chunked_body(sequence: Sequence, forms: tuple[ChunkedForm, ...]) -> Lines:
    """The whole sequence: every memory in chunks."""
    names = LocalNames((*sequence.inputs, "state"))
    like, variables = sequence.like.name, sizes(sequence, names)
    dtype = names.new("dtype")
    start = names.new(slot_local(forms[0]) if sequence.is_bare and forms else "start")
    first = sequence.program.slots[0]
    carried = sequence.carried(start, first.component, first.part)
    values = input_values(sequence)
    lines = [
        (f"{dtype} = {like}.dtype",),
        (f"{start} = self._start(state, {variables.leading}, {like})",),
        *converted(sequence, f"{carried}.dtype", time=True),
        *_by_update(sequence),
        *read_parameters(sequence, f"{carried}.dtype", names, values),
        *indices(sequence, names, carried, values),
        *_forms(sequence, forms, names, variables, values, start, dtype),
    ]
    return (*block(variables.lines), f"with _full_precision({like}):", *indented(block(lines)))


def _forms(
    sequence: Sequence, forms: tuple[ChunkedForm, ...], names: LocalNames, variables: Sizes, values: dict[Expr, str], start: str, dtype: str
) -> Iterator[Lines]:
    """Memory after memory, then the outputs, then what is returned; `values` holds the variables of what is known before them."""
    outputs = {name: names.new(name) for name, _ in sequence.program.outputs}
    leading = leading_text(sequence, variables)
    state: dict[str, str] = {}
    yield from places(sequence, names, values, start)
    yield from laid_out(sequence, names, values, start, leading, state)
    yield from _define_streams(sequence, names, values)
    printer = printer_of(sequence, values)
    tokens = Tokens(names, values, leading, printer, printer, sequence.spans_axes, updates=sequence.model.updates_per_tick)
    as_they_are = outputs_as_read(sequence, outputs)
    for memory in sequence.program.at_once:
        if memory.window is not None:
            answer = next((Named(read.name, read.shape) for read in memory.reads), Named(memory.component, ()))
            values[answer] = as_they_are.get(answer) or names.new(answer.name)
            yield from in_forward(sequence, memory, names, values, start, leading, values[answer])
            state |= kept_after(sequence, values, f"{sequence.like.name}.shape[1]")
            continue
        form = next(form for form in forms if form.memory is memory)
        slots = form_slots(sequence, form)
        state |= {slot.name: start if sequence.is_bare else names.new(slot.name) for slot in slots}
        carried = [sequence.carried(start, slot.component, slot.part) for slot in slots]
        yield from run_form(tokens, form, form.streams, carried, [state[slot.name] for slot in slots], as_they_are)
    yield from output_lines(sequence, tokens, sequence.program.outputs, outputs)
    updates = sequence.model.updates_per_tick
    last = f"[:, {updates - 1}::{updates}]" if updates > 1 else ""
    emitted = {name: f"{variable}{last}" for name, variable in outputs.items()}
    yield from returned(sequence, emitted, {slot.name: state[slot.name] for slot in sequence.program.slots}, dtype)


def _define_streams(sequence: Sequence, names: LocalNames, values: dict[Expr, str]) -> Iterator[Lines]:
    """The abbreviations, and the equations of laws over streams alone where normal forms of memories say their values more than once."""
    yield from define(sequence, names, values)
    said = [node for memory in sequence.program.memories for node in _streams_of(memory)]
    for law in sequence.program.laws.laws:
        for equation in law.equations:
            value = written_out(equation.value, law)
            if equation.part is None and value not in values and sum(part == value for node in said for part in walk(node)) > 1:
                terms = printer_of(sequence, values).terms(value)
                values[value] = names.new(equation.name)
                yield assignment(values[value], terms, 12)


def _streams_of(memory: MemoryProgram) -> Iterator[Expr]:
    """What a memory's normal form is over."""
    for law in (memory.classified.affine, memory.classified.coupled):
        for write in law.writes if law is not None else ():
            yield from (node for node in (write.along, write.given) if node is not None)
            yield from (node for read in write.reads for node in (read.coefficient, read.vector))


def leading_text(sequence: Sequence, variables: Sizes) -> str:
    """The sizes of batch, time and axes, as arguments."""
    return ", ".join((variables.batch, f"{sequence.like.name}.shape[1]", *variables.axes))


def outputs_as_read(sequence: Sequence, outputs: dict[str, str]) -> dict[Expr, str]:
    """The variables of outputs that are reads as they came."""
    older = {read.name for memory in sequence.program.memories for read in memory.reads if read.before_token}
    return {value: outputs[name] for name, value in sequence.program.outputs if isinstance(value, Named) and value.name not in older}


def form_slots(sequence: Sequence, form: ChunkedForm) -> list[StateSlot]:
    """What a form carries."""
    slots = {(slot.component, slot.part): slot for slot in sequence.program.slots}
    return [slots[state.component, state.part] for state in form.states]


def run_form(
    tokens: Tokens,
    form: ChunkedForm,
    streams: tuple[Stream, ...],
    carried: Iterable[str],
    after: Iterable[str],
    as_they_are: Mapping[Expr, str],
) -> Iterator[Lines]:
    """The call that runs a form from the states `carried` to those `after`; its reads join the values, as outputs where they are those."""
    names, values = tokens.names, tokens.values
    arguments, together = [], {role: list[str]() for role in (form.gathered if isinstance(form, Coupled) else ())}
    for stream in streams:
        text, lines = _stream(tokens, stream)
        yield from lines
        if (role := stream.role.rpartition("_")[0]) in together:
            together[role].append(text)
        else:
            arguments.append(f"{stream.role}={text}")
    for role, texts in together.items():
        local = names.new(f"{role}s")
        yield packed(local, texts, tokens.indent)
        arguments.append(f"{role}s={local}")
    if isinstance(form, Chunked) and form.above:
        arguments.append(f"memory=torch.cat(({', '.join(carried)}), 1)")
    else:
        arguments.extend(f"{state.role}={variable}" for state, variable in zip(form.states, carried, strict=True))
    for read in form.memory.reads:
        known = Named(read.name, read.shape)
        values[known] = as_they_are.get(known) or names.new(read.name)
    targets = [*(values[Named(read.name, read.shape)] for read in form.memory.reads), *after]
    yield call(f"{', '.join(targets)} = self.{method_name(slot_local(form))}", arguments, "", tokens.indent)
    for read in (read for read in form.memory.reads if read.before_token):
        known, updates = Named(read.name, read.shape), tokens.updates
        values[known] = f"{values[known]}[:, ::{updates}].repeat_interleave({updates}, 1)"


def output_lines(sequence: Sequence, tokens: Tokens, values: tuple[tuple[str, Expr], ...], outputs: Mapping[str, str]) -> Iterator[Lines]:
    """What the outputs are, unless they are known as they come."""
    for name, value in values:
        if tokens.values.get(value) != outputs[name]:
            over = yield from hidden_layers(tokens.names, tokens.values, tokens.printer, name, value)
            yield assignment(outputs[name], output_terms(sequence, tokens, name, over), 12)


def _by_update(sequence: Sequence) -> Iterator[Lines]:
    """In a system of several updates a token: every stream with a value for each update, along time."""
    updates = sequence.model.updates_per_tick
    for stream in (item for item in sequence.model.inputs if updates > 1 and not item.is_of_sequence):
        yield (f"{stream.name} = {stream.name}.{'flatten(1, 2)' if stream.is_parted else f'repeat_interleave({updates}, 1)'}",)


def form_method(form: ChunkedForm) -> str:
    """The method that runs a memory in chunks."""
    local = slot_local(form)
    if isinstance(form, Coupled):
        return coupled_method(form, local)
    return halves_method(form, local) if form.is_halved else chunk_method(form, local)


def slot_local(form: ChunkedForm) -> str:
    """The variable of a memory's state."""
    return form.memory.component.replace(".", "_")


def _stream(tokens: Tokens, stream: Stream) -> tuple[str, list[Lines]]:
    """The value at every token, (batch, time, *axes, size), a scalar with the size 1; and the lines that make it, if it is long."""
    if stream.above:
        return _stacked(tokens, stream)
    value, printer = stream.value, tokens.shared if stream.is_steady else tokens.printer
    atom = printer.atom(value) if value.shape else f"{printer.atom(value)}[..., None]"
    text = printer.text(value) if value.shape else atom
    lines: list[Lines] = []
    if len(text) > WIDEST_ARGUMENT:
        local = tokens.names.new(stream.role)
        lines.append(assignment(local, printer.terms(value) if value.shape else [text], tokens.indent))
        text = atom = local
    if stream.is_steady:
        places = ", ".join(part for place, part in enumerate(tokens.leading.split(", ")) if place != 1)
        return f"{atom}.expand({places}, -1)", lines
    return (text if tokens.spans(value) else f"{atom}.expand({tokens.leading}, -1)"), lines


def _stacked(tokens: Tokens, stream: Stream) -> tuple[str, list[Lines]]:
    """The values of memories whose rows stand above one another, a line each, in one dim."""
    values = [(tokens.names.new(f"{name}_{stream.role}"), value) for name, value in stream.above]
    values.append((tokens.names.new(stream.role), stream.value))
    lines = [assignment(local, tokens.printer.terms(value), tokens.indent) for local, value in values]
    return f"torch.cat(({', '.join(local for local, _ in values)}), -1)", lines


def output_terms(sequence: Sequence, tokens: Tokens, name: str, value: Expr) -> tuple[str, ...]:
    """The terms of an output, with all the dims that it has."""
    printer = output_printer(sequence, tokens.printer, name)
    if printer.is_bare or tokens.spans(value):
        return printer.terms(value)
    return (f"{printer.atom(value)}.expand({tokens.leading}{', -1' * len(value.shape)})",)
