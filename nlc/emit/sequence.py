"""The program of an architecture -> the text of its `nn.Module` and of the functions beside it."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.emit.chunks import Chunked, Stream, chunk_method, chunked, method_name
from nlc.emit.dims import fraction_text
from nlc.emit.halves import halves_helpers, halves_method
from nlc.emit.layout import Lines, assignment, block, call, indented
from nlc.emit.names import LocalNames, attribute
from nlc.emit.parameters import made_parameters, read_parameters, reset_parameters
from nlc.emit.prose import sentence, wrapped
from nlc.emit.recents import convolves, laid_out
from nlc.emit.render import render
from nlc.emit.scope import Sequence, Sizes, converted, define_streams, indices, input_values, output_printer, printer_of, size_text, sizes
from nlc.emit.steps import initial_text, is_number_known, returned, step_body
from nlc.emit.torch_printer import TorchPrinter
from nlc.emit.training import training_parts
from nlc.emit.views import HelpersView, SequenceView
from nlc.ir.algebra import Expr, Named
from nlc.ir.dims import Dim
from nlc.ir.model import DimDeclaration, HyperparameterDeclaration, InputStream, Output
from nlc.ir.program import Program, StateSlot

WIDEST_ARGUMENT = 60
"""A stream whose expression is longer gets a variable of its own."""


def sequence_parts(program: Program) -> tuple[str, ...]:
    """The class, then its helpers."""
    sequence = Sequence(program)
    sequence.check_names()
    forms = tuple(chunked(memory) for memory in program.memories) if program.is_parallel else ()
    whole = tuple(form for form in forms if not form.is_halved)
    decays = any(form.has_decay for form in whole)
    solves = decays or any(form.is_triangular for form in forms)
    helpers = HelpersView(bool(forms), bool(whole), decays, solves, bool(forms) and convolves(program))
    return render(_view(sequence, forms)), *training_parts(sequence), render(helpers), *halves_helpers(forms)


def _view(sequence: Sequence, forms: tuple[Chunked, ...]) -> SequenceView:
    model = sequence.model
    optional = f"state: {sequence.state_type} | None = None"
    result = f"tuple[{sequence.output_type}, {sequence.state_type}]"
    axes = LocalNames(("batch", "like"))
    axis_arguments = [axes.new(axis) for axis in model.axes]
    initial = ["self", "batch: int", *(f"{axis}: int" for axis in axis_arguments), "*", "like: Tensor"]
    start = ["self", f"state: {sequence.state_type} | None", "batch: int", *(f"{axis}: int" for axis in axis_arguments), "like: Tensor"]
    leading = ", ".join(["batch", *axis_arguments])
    return SequenceView(
        name=model.name,
        docstring=_docstring(sequence),
        constructor=_constructor(sequence),
        attributes=(*_attributes(sequence), *block(made_parameters(sequence))),
        reset_parameters=reset_parameters(sequence),
        initial_state=call("def initial_state", initial, f" -> {sequence.state_type}:", 4),
        initial_says="The start" if _has_start(sequence) else "Zeros",
        zeros=_zeros(sequence, leading),
        forward=sequence.signature("forward", state=optional, result=result),
        forward_says=_forward_says(sequence),
        forward_body=_chunked_body(sequence, forms) if forms else _delegated_body(sequence),
        chunk_methods=tuple(_method(form, _slot_local(form)) for form in forms),
        forward_by_token=sequence.signature("forward_by_token", state=optional, result=result),
        by_token_body=_by_token_body(sequence),
        step=sequence.signature("step", state=f"state: {sequence.state_type}", result=result),
        step_says="One token, for decoding: the laws as they stand; inputs without their time dim.",
        step_body=step_body(sequence),
        start=call("def _start", start, f" -> {sequence.state_type}:", 4),
        started=_started(sequence, leading),
    )


# --- what the class says and is made with ------------------------------------------------------------------------


def _docstring(sequence: Sequence) -> Lines:
    model = sequence.model
    width = max(len(stream.name) for stream in model.inputs)
    inputs = [f"    {item.name:<{width}}  {_dims('batch', 'time', *_parts(item), *item.axes, *item.shape)}" for item in model.inputs]
    states = [f"    {slot.name}  {_slot_text(sequence, slot)}" for slot in sequence.program.slots]
    outputs = [f"    {item.name}  {_dims('batch', 'time', *model.axes_of(item), *item.value.shape)}" for item in model.outputs]
    unit = "tokens" if model.updates_per_tick == 1 else f"updates ({model.updates_per_tick} a token)"
    speed = f"`chunk`, in {unit}, is about speed alone; under torch.compile every new length compiles anew."
    slow = "Under torch.compile the loop over tokens is unrolled: compile `step` instead."
    kind = "the tensor itself" if sequence.is_bare else "a dict by name"
    begun = "the initial state" if _has_start(sequence) else "zeros"
    lines = (
        "Inputs, by keyword, in any float dtype:",
        *inputs,
        f"State, kept in float32 or wider ({kind}; None starts from {begun}):",
        *states,
        f"Returns the outputs ({'the tensor itself' if len(outputs) == 1 else 'a dict by name'}) and the state after the last token:",
        *outputs,
        speed if sequence.program.is_parallel else slow,
    )
    says = wrapped(sentence(model.says or model.name), 128)
    first = says if len(says) == 1 else (f"{model.name}, a memory over a sequence.", "", *says)
    return (first[0], *indented(first[1:]), "", *indented(lines))


def _parts(stream: InputStream) -> tuple[str, ...]:
    """The dim of a stream's values inside a token, if it has several."""
    return (str(stream.every.updates_per_tick),) if stream.is_parted else ()


def _slot_text(sequence: Sequence, slot: StateSlot) -> str:
    if slot.counts:
        return "(), int64: how many tokens came before"
    return _dims("batch", *(() if slot.is_whole else sequence.model.axes), *slot.shape)


def _dims(*dims: str | Dim) -> str:
    return f"({', '.join(str(dim) for dim in dims)})"


def _constructor(sequence: Sequence) -> Lines:
    free = [f"{item.name}: int = {item.default}" for item in sequence.model.dims if item.definition is None]
    numbers = [f"{item.name}: float = {_default(item)}" for item in sequence.program.hyperparameters]
    chunk = [f"chunk: int = {sequence.program.chunk}"] if sequence.program.is_parallel else []
    return call("def __init__", ["self", *free, *numbers, *chunk], " -> None:", 4)


def _default(item: HyperparameterDeclaration) -> str:
    return repr(float(item.default))


def _attributes(sequence: Sequence) -> Lines:
    model = sequence.model
    lines: list[Lines] = []
    if sequence.program.is_parallel:
        lines.append(("if chunk < 1:", '    raise ValueError(f"chunk must be 1 or more, not {chunk}")', "self.chunk = chunk"))
    given = [item.name for item in model.dims if item.definition is None] + [item.name for item in sequence.program.hyperparameters]
    lines.extend((f"{attribute(name)} = {name}",) for name in given)
    lines.extend(_derived(item) for item in model.dims if item.definition is not None)
    return block(lines)


def _derived(item: DimDeclaration) -> Lines:
    """A dim that follows from those that the constructor is given; it has to come out whole."""
    assert item.definition is not None
    over, under = fraction_text(item.definition, str)
    if under is None:
        return (f"{attribute(item.name)} = {over}",)
    over, under = (f"({text})" if " " in text else text for text in (over, under))
    message = f'f"{item.name} = {item.definition} must be a whole number, not {_shown(over)} / {_shown(under)}"'
    return (f"if {over} % {under}:", *indented(call("raise ValueError", [message], "", 12)), f"{attribute(item.name)} = {over} // {under}")


def _shown(text: str) -> str:
    """An expression as a part of an f-string that shows its value; a number stands for itself."""
    return text if text.isdigit() else f"{{{text}}}"


# --- state -------------------------------------------------------------------------------------------------------


def _zeros(sequence: Sequence, leading: str) -> Lines:
    slots = sequence.program.slots
    if sequence.is_bare and is_number_known(slots[0].start):
        made, arguments = _filled(slots[0], leading)
        return call(f"return {made}", [*arguments, "dtype=torch.promote_types(like.dtype, torch.float32)"], "", 8)
    dtype = "dtype = torch.promote_types(like.dtype, torch.float32)"
    if sequence.is_bare:
        return (dtype, f"return {_begun(slots[0], leading)}")
    return (dtype, "return {", *(f'    "{slot.name}": {_begun(slot, "batch" if slot.is_whole else leading)},' for slot in slots), "}")


def _begun(slot: StateSlot, leading: str) -> str:
    """What a slot starts from, in `dtype`."""
    if slot.counts:
        return "like.new_zeros((), dtype=torch.int64)"
    if slot.start is not None and not is_number_known(slot.start):
        text = initial_text(slot.start)
        return f"{text if ' ' not in text else f'({text})'}.to(dtype).expand({leading}{size_text(slot.shape)})"
    made, arguments = _filled(slot, leading)
    return f"{made}({', '.join(arguments)}, dtype=dtype)"


def _has_start(sequence: Sequence) -> bool:
    return any(slot.start is not None for slot in sequence.program.slots)


def _filled(slot: StateSlot, leading: str) -> tuple[str, list[str]]:
    """The call that makes what a slot starts from when that is a number, and its arguments but the dtype."""
    size = f"{leading}{size_text(slot.shape)}"
    start = initial_text(slot.start) if slot.start is not None else "0"
    return ("like.new_zeros", [size]) if start == "0" else ("like.new_full", [f"({size})" if ", " in size else f"({size},)", start])


def _started(sequence: Sequence, leading: str) -> Lines:
    zeros = f"zeros = self.initial_state({leading}, like=like)"
    if sequence.is_bare:
        return (zeros, "return zeros if state is None else state.to(torch.promote_types(state.dtype, zeros.dtype))")
    item = "name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()"
    return (zeros, "if state is None:", "    return zeros", f"return {{{item}}}")


# --- forward -----------------------------------------------------------------------------------------------------


def _forward_says(sequence: Sequence) -> str:
    if sequence.program.is_parallel:
        return "The whole sequence in chunks: equal to `forward_by_token`."
    return "The whole sequence, token by token: no parallel form is known for these laws."


def _delegated_body(sequence: Sequence) -> Lines:
    arguments = [f"{name}={name}" for name in (*sequence.inputs, "state")]
    return call("return self.forward_by_token", arguments, "", 8)


def _chunked_body(sequence: Sequence, forms: tuple[Chunked, ...]) -> Lines:
    names = LocalNames((*sequence.inputs, "state"))
    like, variables = sequence.like.name, sizes(sequence, names)
    dtype = names.new("dtype")
    start = names.new(_slot_local(forms[0]) if sequence.is_bare else "start")
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
    sequence: Sequence, forms: tuple[Chunked, ...], names: LocalNames, variables: Sizes, values: dict[Expr, str], start: str, dtype: str
) -> Iterator[Lines]:
    """Memory after memory, then the outputs, then what is returned; `values` holds the variables of what is known before them."""
    outputs = {name: names.new(name) for name, _ in sequence.program.outputs}
    as_they_are = {value: outputs[name] for name, value in sequence.program.outputs if isinstance(value, Named)}
    leading = ", ".join((variables.batch, f"{sequence.like.name}.shape[1]", *variables.axes))
    state: dict[str, str] = {}
    yield from laid_out(sequence, names, values, start, leading, state)
    yield from define_streams(sequence, names, values)
    printer = printer_of(sequence, values)
    for form in forms:
        slot = next(item for item in sequence.program.slots if item.component == form.memory.component)
        state[slot.name] = start if sequence.is_bare else names.new(_slot_local(form))
        arguments = []
        for stream in form.streams:
            text, lines = _stream(sequence, printer, stream, names, leading)
            yield from lines
            arguments.append(f"{stream.role}={text}")
        arguments.append(f"memory={sequence.carried(start, slot.component, slot.part)}")
        for read in form.memory.reads:
            known = Named(read.name, read.shape)
            values[known] = as_they_are.get(known) or names.new(read.name)
        targets = [*(values[Named(read.name, read.shape)] for read in form.memory.reads), state[slot.name]]
        yield call(f"{', '.join(targets)} = self.{method_name(_slot_local(form))}", arguments, "", 12)
    for name, value in sequence.program.outputs:
        if values.get(value) != outputs[name]:
            yield assignment(outputs[name], _output(sequence, output_printer(sequence, values, name), value, leading), 12)
    updates = sequence.model.updates_per_tick
    last = f"[:, {updates - 1}::{updates}]" if updates > 1 else ""
    emitted = {name: f"{variable}{last}" for name, variable in outputs.items()}
    yield from returned(sequence, emitted, {slot.name: state[slot.name] for slot in sequence.program.slots}, dtype)


def _by_update(sequence: Sequence) -> Iterator[Lines]:
    """In a system of several updates a token: every stream with a value for each update, along time."""
    updates = sequence.model.updates_per_tick
    for stream in sequence.model.inputs if updates > 1 else ():
        yield (f"{stream.name} = {stream.name}.{'flatten(1, 2)' if stream.is_parted else f'repeat_interleave({updates}, 1)'}",)


def _method(form: Chunked, local: str) -> str:
    return halves_method(form, local) if form.is_halved else chunk_method(form, local)


def _slot_local(form: Chunked) -> str:
    return form.memory.component.replace(".", "_")


def _stream(sequence: Sequence, printer: TorchPrinter, stream: Stream, names: LocalNames, leading: str) -> tuple[str, list[Lines]]:
    """The value at every token, (batch, time, *axes, size), a scalar with the size 1; and the lines that make it, if it is long."""
    value = stream.value
    atom = printer.atom(value) if value.shape else f"{printer.atom(value)}[..., None]"
    text = printer.text(value) if value.shape else atom
    lines: list[Lines] = []
    if len(text) > WIDEST_ARGUMENT:
        local = names.new(stream.role)
        lines.append(assignment(local, printer.terms(value) if value.shape else [text], 12))
        text = atom = local
    if stream.is_steady:
        places = ", ".join(part for place, part in enumerate(leading.split(", ")) if place != 1)
        return f"{atom}.expand({places}, -1)", lines
    return (text if sequence.spans_axes(value) else f"{atom}.expand({leading}, -1)"), lines


def _output(sequence: Sequence, printer: TorchPrinter, value: Expr, leading: str) -> tuple[str, ...]:
    if printer.is_bare or sequence.spans_axes(value):
        return printer.terms(value)
    return (f"({printer.text(value)}).expand({leading}{', -1' * len(value.shape)})",)


def _empty(sequence: Sequence, output: Output, variables: Sizes) -> str:
    """The sizes of an output over no tokens."""
    axes = (variable for axis, variable in zip(sequence.model.axes, variables.axes, strict=True) if axis not in output.joined)
    return ", ".join((variables.batch, "0", *axes)) + size_text(output.value.shape)


def _by_token_body(sequence: Sequence) -> Lines:
    names = LocalNames((*sequence.inputs, "state"))
    like, model, variables = sequence.like.name, sequence.model, sizes(sequence, names)
    outputs, t = names.new("outputs"), names.new("t")
    arguments = [*(f"{name}={name}[:, {t}]" for name in sequence.inputs), "state=state"]
    shapes = {item.name: _empty(sequence, item, variables) for item in model.outputs}
    if len(model.outputs) == 1:
        (output,) = model.outputs
        empty: Lines = (f"{outputs} = [{like}.new_empty({shapes[output.name]})]",)
        value = names.new(output.name)
        body: Lines = (*call(f"{value}, state = self.step", arguments, "", 12), f"{outputs}.append({value}.unsqueeze(1))")
        result = f"return torch.cat({outputs}, 1), state"
    else:
        items = [f'    "{name}": [{like}.new_empty({shape})],' for name, shape in shapes.items()]
        empty = (f"{outputs} = {{", *items, "}")
        now, name, value = names.new("now"), names.new("name"), names.new("value")
        appended = (f"for {name}, {value} in {now}.items():", f"    {outputs}[{name}].append({value}.unsqueeze(1))")
        body = (*call(f"{now}, state = self.step", arguments, "", 12), *appended)
        result = f"return {{{name}: torch.cat({value}, 1) for {name}, {value} in {outputs}.items()}}, state"
    start = f"state = self._start(state, {variables.leading}, {like})"
    return (*block(variables.lines), start, *empty, f"for {t} in range({like}.shape[1]):", *indented(body), result)
