"""The program of an architecture -> the text of its `nn.Module` and of the functions beside it."""

from __future__ import annotations

from collections.abc import Iterator

from nlc.emit.blocks import block_helpers, block_method
from nlc.emit.chunks import Chunked, chunked
from nlc.emit.dims import fraction_text
from nlc.emit.dual import dual_helpers
from nlc.emit.forward import chunked_body, form_method
from nlc.emit.halves import halves_helpers
from nlc.emit.layout import Lines, block, call, indented
from nlc.emit.loops import by_block_body, by_token_body
from nlc.emit.names import LocalNames, attribute
from nlc.emit.parameters import made_parameters, reset_parameters
from nlc.emit.position import initial_text, is_number_known
from nlc.emit.prose import sentence, wrapped
from nlc.emit.render import render
from nlc.emit.scope import Sequence, size_text
from nlc.emit.steps import step_body
from nlc.emit.training import training_parts
from nlc.emit.views import HelpersView, SequenceView
from nlc.ir.dims import Dim
from nlc.ir.model import DimDeclaration, HyperparameterDeclaration, InputStream
from nlc.ir.program import Program, StateSlot


def sequence_parts(program: Program) -> tuple[str, ...]:
    """The class, then its helpers."""
    sequence = Sequence(program)
    sequence.check_names()
    forms = tuple(chunked(memory) for memory in program.chunked)
    blocks = block_method(sequence, forms) if program.is_in_blocks else ""
    whole = tuple(form for form in forms if not form.is_halved)
    decays = any(form.has_decay for form in whole)
    helpers = HelpersView(bool(forms), bool(whole), decays, decays or any(form.is_triangular for form in forms))
    further = (block_helpers(blocks),) if blocks else ()
    if any(memory.dual for memory in program.memories):
        further = (*further, dual_helpers(blocks))
    return render(_view(sequence, forms, blocks)), *training_parts(sequence), render(helpers), *halves_helpers(forms), *further


def _view(sequence: Sequence, forms: tuple[Chunked, ...], blocks: str) -> SequenceView:
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
        forward_body=by_block_body(sequence) if blocks else chunked_body(sequence, forms) if forms else _delegated_body(sequence),
        parallel_methods=(*([blocks] if blocks else []), *(form_method(form) for form in forms)),
        forward_by_token=sequence.signature("forward_by_token", state=optional, result=result),
        by_token_body=by_token_body(sequence),
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
    kind = "the tensor itself" if sequence.is_bare else "a dict by name"
    begun = "the initial state" if _has_start(sequence) else "zeros"
    lines = (
        "Inputs, by keyword, in any float dtype:",
        *inputs,
        f"State, kept in float32 or wider ({kind}; None starts from {begun}):",
        *states,
        f"Returns the outputs ({'the tensor itself' if len(outputs) == 1 else 'a dict by name'}) and the state after the last token:",
        *outputs,
        *_speed(sequence),
    )
    says = wrapped(sentence(model.says or model.name), 128)
    first = says if len(says) == 1 else (f"{model.name}, a memory over a sequence.", "", *says)
    return (first[0], *indented(first[1:]), "", *indented(lines))


def _speed(sequence: Sequence) -> Iterator[str]:
    """What is to be known about chunks, blocks and torch.compile."""
    program, updates = sequence.program, sequence.model.updates_per_tick
    if not program.is_parallel:
        yield "Under torch.compile the loop over tokens is unrolled: compile `step` instead."
        return
    unit = "tokens" if updates == 1 else f"updates ({updates} a token)"
    anew = "under torch.compile every new length compiles anew"
    yield f"`chunk`, in {unit}, is about speed alone; {anew}." if program.chunked else f"{anew[:1].upper()}{anew[1:]}."
    if program.is_in_blocks:
        yield f"The sequence runs in blocks of {program.blocks.tokens} tokens, counted from the position of the state that is handed in."


def _parts(stream: InputStream) -> tuple[str, ...]:
    """The dim of a stream's values inside a token, if it has several."""
    return (str(stream.every.updates_per_tick),) if stream.is_parted else ()


def _slot_text(sequence: Sequence, slot: StateSlot) -> str:
    if slot.counts:
        return "(), int64: how many tokens came before"
    return _dims("batch", *sequence.model.axes, *slot.shape)


def _dims(*dims: str | Dim) -> str:
    return f"({', '.join(str(dim) for dim in dims)})"


def _constructor(sequence: Sequence) -> Lines:
    free = [f"{item.name}: int = {item.default}" for item in sequence.model.dims if item.definition is None]
    numbers = [f"{item.name}: float = {_default(item)}" for item in sequence.program.hyperparameters]
    chunk = [f"chunk: int = {sequence.program.chunk}"] if sequence.program.chunked else []
    return call("def __init__", ["self", *free, *numbers, *chunk], " -> None:", 4)


def _default(item: HyperparameterDeclaration) -> str:
    return repr(float(item.default))


def _attributes(sequence: Sequence) -> Lines:
    model = sequence.model
    lines: list[Lines] = []
    if sequence.program.chunked:
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
    return (dtype, "return {", *(f'    "{slot.name}": {_begun(slot, leading)},' for slot in slots), "}")


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
    if sequence.program.is_in_blocks:
        return "The whole sequence in blocks, which end where a period may: equal to `forward_by_token`."
    if sequence.program.is_parallel:
        return "The whole sequence in chunks: equal to `forward_by_token`."
    return "The whole sequence, token by token: no parallel form is known for these laws."


def _delegated_body(sequence: Sequence) -> Lines:
    arguments = [f"{name}={name}" for name in (*sequence.inputs, "state")]
    return call("return self.forward_by_token", arguments, "", 8)
