"""The program of an architecture -> the text of its `nn.Module` and of the functions beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nlc.emit.attention import attention_helpers
from nlc.emit.block_loop import block_helpers, block_loop_body
from nlc.emit.blocks import block_methods
from nlc.emit.carried import check_helper
from nlc.emit.chunked import Chunked
from nlc.emit.coupled import Coupled
from nlc.emit.coupled_methods import coupled_helpers
from nlc.emit.dims import fraction_text
from nlc.emit.dual import dual_helpers
from nlc.emit.feed_forward import feed_forward_body, is_feed_forward
from nlc.emit.forward import ChunkedForm, chunked_body, chunked_form, form_method
from nlc.emit.halves import halves_helpers
from nlc.emit.hoisting import hoisted
from nlc.emit.initial import has_start, initial_says, started, zeros
from nlc.emit.layout import Lines, block, call, indented
from nlc.emit.loops import by_token_body
from nlc.emit.managed import managed_arguments, managed_attributes, managed_forward, managed_helpers, managed_says
from nlc.emit.names import LocalNames, attribute
from nlc.emit.parameters import made_parameters, parameter_attribute, reset_parameters
from nlc.emit.prose import class_docstring, wrapped
from nlc.emit.recents import convolves
from nlc.emit.render import render
from nlc.emit.rows import stacked_rows
from nlc.emit.scope import Sequence
from nlc.emit.sequences import next_sequence_method
from nlc.emit.steps import step_body
from nlc.emit.training import training_parts
from nlc.emit.views import HelpersView, SequenceView
from nlc.ir.dims import Dim
from nlc.ir.model import DimDeclaration, HyperparameterDeclaration, InputStream, Training
from nlc.ir.program import Program, StateSlot


def sequence_parts(program: Program, *, is_alone: bool = True) -> tuple[str, ...]:
    """The class, then its helpers; `is_alone` unless it is a layer of a model."""
    sequence = Sequence(program, is_alone=is_alone)
    sequence.check_names()
    forms = tuple(chunked_form(memory, in_blocks=program.is_in_blocks) for memory in program.chunked)
    plain = tuple(form for form in forms if isinstance(form, Chunked))
    if program.is_in_blocks and len(plain) == len(forms):
        flat = tuple(replace(form, in_blocks=True) for form in plain)
        forms = flat if program.blocks.alone else stacked_rows(flat, sequence.size)
    parts = hoisted(sequence, forms) if program.is_in_blocks else None
    blocks = block_methods(sequence, parts) if parts else ()
    block_text = "\n".join(blocks)
    further = (*((block_helpers(block_text, is_first_alone=program.blocks.alone > 0),) if blocks else ()), *attention_helpers(sequence))
    if any(memory.dual for memory in program.memories):
        further = (*further, dual_helpers(block_text, are_mixed=program.mixes_pasts))
    forward = block_loop_body(sequence, parts) if parts else _forward_body(sequence, forms)
    training = training_parts(program, lambda item: moved_parameters(sequence, item))
    further = (*further, *check_helper(sequence), *managed_helpers(sequence))
    return render(_view(sequence, forms, blocks, forward)), *training, *_helpers(sequence, forms), *further


def _helpers(sequence: Sequence, forms: tuple[ChunkedForm, ...]) -> tuple[str, ...]:
    """The functions that the methods call."""
    plain = tuple(form for form in forms if isinstance(form, Chunked))
    others = tuple(form for form in forms if isinstance(form, Coupled))
    decays = any(form.has_decay for form in plain if not form.is_halved)
    splits = bool(others) or any(not form.is_halved for form in plain)
    are_flat = any(form.in_blocks for form in plain)
    solves = decays or any(form.is_triangular for form in forms)
    is_convolved = sequence.program.is_parallel and convolves(sequence.program)
    helpers = HelpersView(bool(forms), splits, are_flat, decays, solves, sequence.has_places, is_convolved)
    return render(helpers), *halves_helpers(plain), *coupled_helpers(others)


def _view(sequence: Sequence, forms: tuple[ChunkedForm, ...], blocks: tuple[str, ...], forward: Lines) -> SequenceView:
    model = sequence.model
    optional = f"state: {sequence.state_type} | None = None"
    result = f"tuple[{sequence.output_type}, {sequence.state_type}]"
    axes = LocalNames(("batch", "like"))
    axis_arguments = [axes.new(axis) for axis in model.axes]
    initial = ["self", "batch: int", *(f"{axis}: int" for axis in axis_arguments), "*", "like: Tensor"]
    start = ["self", f"state: {sequence.state_type} | None", "batch: int", *(f"{axis}: int" for axis in axis_arguments), "like: Tensor"]
    leading = ", ".join(["batch", *axis_arguments])
    body, apart = (feed_forward_body(sequence, time=False), ()) if is_feed_forward(sequence) else step_body(sequence)
    return SequenceView(
        name=model.name,
        docstring=_docstring(sequence),
        constructor=constructor(sequence),
        attributes=(*given_attributes(sequence), *block(made_parameters(sequence))),
        reset_parameters=reset_parameters(sequence),
        initial_state=call("def initial_state", initial, f" -> {sequence.state_type}:", 4),
        initial_says=initial_says(sequence),
        zeros=zeros(sequence, leading),
        forward=sequence.signature("forward", state=optional, result=result),
        forward_says=_forward_says(sequence),
        forward_body=(*managed_forward(sequence), *forward),
        parallel_methods=(*blocks, *(form_method(form) for form in forms)),
        forward_by_token=sequence.signature("forward_by_token", state=optional, result=result),
        by_token_body=by_token_body(sequence),
        step=sequence.signature("step", state=f"state: {sequence.state_type}", result=result),
        step_says="One token, for decoding: the laws as they stand; inputs without their time dim.",
        step_body=body,
        step_methods=tuple(item.text for item in apart),
        next_sequence=next_sequence_method(sequence),
        start=() if is_feed_forward(sequence) else call("def _start", start, f" -> {sequence.state_type}:", 4),
        started=started(sequence, leading),
    )


def moved_parameters(sequence: Sequence, training: Training) -> str:
    """A list of the parameters that an optimizer moves."""
    slots = [slot for name in training.levels for slot in sequence.program.parameters if slot.component == name]
    return f"[{', '.join(f'module.{parameter_attribute(slot)}' for slot in slots)}]"


def _forward_body(sequence: Sequence, forms: tuple[ChunkedForm, ...]) -> Lines:
    if is_feed_forward(sequence):
        return feed_forward_body(sequence, time=True)
    return chunked_body(sequence, forms) if sequence.program.is_parallel else _delegated_body(sequence)


# --- what the class says and is made with ------------------------------------------------------------------------


def _docstring(sequence: Sequence) -> Lines:
    model = sequence.model
    states = state_lines(sequence) or ("    nothing: an empty dict",)
    outputs = [f"    {item.name}  {_dims('batch', 'time', *model.axes_of(item), *item.value.shape)}" for item in model.outputs]
    kind = "the tensor itself" if sequence.is_bare else "a dict by name"
    begun = "the initial state" if has_start(sequence) else "zeros"
    lines = (
        "Inputs, by keyword, in any float dtype:",
        *stream_lines(sequence),
        f"State, kept in float32 or wider ({kind}; None starts from {begun}):",
        *states,
        f"Returns the outputs ({'the tensor itself' if len(outputs) == 1 else 'a dict by name'}) and the state after the last token:",
        *outputs,
        *_speed(sequence),
        *managed_says(sequence),
    )
    return class_docstring(model, "a memory over a sequence", lines)


def stream_lines(sequence: Sequence) -> Lines:
    """What each stream is called that a caller has, and its dims."""
    width = max(len(stream.name) for stream in sequence.model.given)
    return tuple(f"    {item.name:<{width}}  {_dims('batch', *_time(item), *item.axes, *item.shape)}" for item in sequence.model.given)


def state_lines(sequence: Sequence) -> Lines:
    """What is carried, and its dims."""
    return tuple(f"    {line}" for line in _state_lines(sequence))


def _speed(sequence: Sequence) -> Iterator[str]:
    """What is to be known about chunks, blocks and torch.compile."""
    program, updates = sequence.program, sequence.model.updates_per_tick
    if is_feed_forward(sequence):
        yield "No token depends on another: all are computed at once."
        return
    if not program.is_parallel:
        yield "Under torch.compile the loop over tokens is unrolled: compile `step` instead."
        return
    unit = "tokens" if updates == 1 else f"updates ({updates} a token)"
    anew = "under torch.compile every new length compiles anew"
    yield f"`chunk`, in {unit}, is about speed alone; {anew}." if program.has_chunk else f"{anew[:1].upper()}{anew[1:]}."
    if program.is_in_blocks:
        yield f"The sequence runs in blocks of {program.blocks.tokens} tokens, counted from the position of the state that is handed in."
        if program.blocks.alone:
            yield f"The first of every {program.blocks.alone} tokens is a block of its own: a level starts there from what others become."


def _time(stream: InputStream) -> tuple[str, ...]:
    """The dims of a stream's values in time: none for one value a sequence, two when there are several inside a token."""
    parts = (str(stream.every.updates_per_tick),) if stream.is_parted else ()
    return () if stream.is_of_sequence else ("time", *parts)


def _state_lines(sequence: Sequence) -> Iterator[str]:
    """The names of what is carried, those of one size together, and their dims."""
    names: dict[str, list[str]] = {}
    for slot in sequence.program.slots:
        names.setdefault(_slot_text(sequence, slot), []).append(slot.name)
    for text, group in names.items():
        *lines, last = wrapped(", ".join(group), 128)
        yield from lines
        yield from (f"{last}  {text}",) if len(last) + len(text) <= 126 else (last, f"    {text}")


def _slot_text(sequence: Sequence, slot: StateSlot) -> str:
    if slot.counts:
        return "(), int64: how many tokens came before"
    if slot.window is not None:
        tokens = "tokens" if slot.window == "all" else str(slot.window - 1)
        of = "all tokens so far" if slot.window == "all" else f"the last {slot.window - 1}, those that there were"
        return f"{_dims('batch', tokens, *sequence.model.axes, *slot.shape)}, of {of}"
    return _dims("batch", *(() if slot.is_whole else sequence.model.axes), *slot.shape)


def _dims(*dims: str | Dim) -> str:
    return f"({', '.join(str(dim) for dim in dims)})"


def constructor(sequence: Sequence) -> Lines:
    """`def __init__`, with the dims and hyperparameters of the spec."""
    free = [f"{item.name}: int = {item.default}" for item in sequence.model.dims if item.definition is None]
    numbers = [f"{item.name}: float = {_default(item)}" for item in sequence.program.hyperparameters]
    chunk = [f"chunk: int = {sequence.program.chunk}"] if sequence.program.has_chunk else []
    return call("def __init__", ["self", *free, *numbers, *chunk, *managed_arguments(sequence)], " -> None:", 4)


def _default(item: HyperparameterDeclaration) -> str:
    return repr(float(item.default))


def given_attributes(sequence: Sequence) -> Lines:
    """The lines of the constructor that keep what it is given."""
    model = sequence.model
    lines: list[Lines] = []
    if sequence.program.has_chunk:
        lines.append(("if chunk < 1:", '    raise ValueError(f"chunk must be 1 or more, not {chunk}")', "self.chunk = chunk"))
    lines.append(managed_attributes(sequence))
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


# --- forward -----------------------------------------------------------------------------------------------------


def _forward_says(sequence: Sequence) -> str:
    if sequence.program.is_in_blocks:
        return "The whole sequence in blocks, which end where a period may: equal to `forward_by_token`."
    if is_feed_forward(sequence) or (sequence.program.is_parallel and not sequence.program.memories):
        return "All tokens at once: equal to `forward_by_token`."
    if sequence.program.is_parallel:
        how = "in chunks" if sequence.program.has_chunk else "at once"
        return f"The whole sequence {how}: equal to `forward_by_token`."
    return "The whole sequence, token by token: no parallel form is known for these laws."


def _delegated_body(sequence: Sequence) -> Lines:
    arguments = [f"{name}={name}" for name in (*sequence.inputs, "state")]
    return call("return self.forward_by_token", arguments, "", 8)
