"""A program whose levels learn from the task loss inside the context -> the text of its `nn.Module`.

A block of tokens is read with the levels as they stand; the slopes of the loss there, found by autograd through whatever the loss holds,
are what the levels learn from at its end. So the module is handed the loss, and no stream of slopes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from math import gcd

from nlc.codes import emit as codes
from nlc.diagnostics import CompileError
from nlc.emit.block_printer import as_before
from nlc.emit.blocks import Block
from nlc.emit.hoisting import Given, Hoisted
from nlc.emit.initial import initial_says, started, zeros
from nlc.emit.layout import Lines, block, call
from nlc.emit.names import LocalNames
from nlc.emit.network_views import LearningBlocksView, LearningLawsView, LearningView
from nlc.emit.parameters import made_parameters, parameter_values, reset_parameters
from nlc.emit.position import before_name, begun_text
from nlc.emit.prose import class_docstring
from nlc.emit.render import render
from nlc.emit.scope import Sequence, previous, size_text, state_dtype
from nlc.emit.sequence import constructor, given_attributes, moved_parameters, state_lines, stream_lines
from nlc.emit.training import training_parts
from nlc.emit.views import BlockHelpersView, HelpersView
from nlc.ir.algebra import Expr, Input, Named, children, walk
from nlc.ir.build import replace
from nlc.ir.law import POSITION, with_parameters
from nlc.ir.model import InputStream
from nlc.ir.program import Program

STATE, RESULT, LOSS = "dict[str, Tensor]", " -> tuple[Tensor, dict[str, Tensor]]:", "Callable[[Tensor, Any], Tensor] | None"

WORDS = ("targets", "loss")
"""What a module of such levels calls what it is handed beside its streams."""


def is_told(program: Program) -> bool:
    """Whether some level learns from the task loss inside the context."""
    return bool(program.model.slopes)


def context_parts(program: Program) -> tuple[str, ...]:
    """The class, then its helpers; raises CompileError for a stream that is called like what the module is handed."""
    sequence = Sequence(program)
    sequence.check_names()
    for stream in program.model.given:
        if stream.name in WORDS:
            raise CompileError(codes.reserved_in_emitted_code(stream.span, "an input", stream.name))
    training = training_parts(program, lambda item: moved_parameters(sequence, item))
    helpers = render(HelpersView())
    return render(_view(sequence)), *training, helpers, render(BlockHelpersView(False))


def _view(sequence: Sequence) -> LearningView:
    model = sequence.model
    streams = [stream.name for stream in model.given]
    handed = ["targets: Tensor | None = None", f"loss: {LOSS} = None"]
    arguments = ["self", "*", *(f"{name}: Tensor" for name in streams), *handed]
    return LearningView(
        name=model.name,
        docstring=_docstring(sequence),
        constructor=constructor(sequence),
        attributes=(*given_attributes(sequence), *block(made_parameters(sequence))),
        reset_parameters=reset_parameters(sequence),
        initial_says=initial_says(sequence),
        zeros=zeros(sequence, "batch"),
        forward=call("def forward", [*arguments, f"state: {STATE} | None = None"], RESULT, 4),
        forward_by_token=call("def forward_by_token", [*arguments, f"state: {STATE} | None = None"], RESULT, 4),
        step=call("def step", [*arguments, f"state: {STATE}"], RESULT, 4),
        streams=_tuple(streams),
        of_token=_tuple([f"{name}.unsqueeze(1)" for name in streams]),
        tokens=block_tokens(sequence),
        blocks=render(_blocks_view(sequence)),
        started=started(sequence, "batch"),
    )


def _blocks_view(sequence: Sequence) -> LearningBlocksView:
    (output,) = sequence.model.outputs
    handed = ["targets: Tensor | None", f"loss: {LOSS}", f"state: {STATE} | None", "tokens: int"]
    block_of = ["given: tuple[Tensor, ...]", "target: Tensor | None", f"loss: {LOSS}", f"state: {STATE}"]
    return LearningBlocksView(
        in_blocks=call("def _in_blocks", ["self", "streams: tuple[Tensor, ...]", *handed], RESULT, 4),
        dtype=state_dtype(sequence),
        empty=f"0{size_text(sequence, output.value.shape)}",
        slopes_of=call("def _slopes", ["self", *block_of], " -> tuple[Tensor, Iterable[Tensor]]:", 4),
        names=names_lines(sequence),
        slopes=tuple(_slopes(sequence)),
        begins=bool(sequence.program.laws.resets),
        laws=laws_text(sequence),
    )


def laws_text(sequence: Sequence) -> str:
    """The methods that are the laws: what a block gives, what is carried after it, and what starts again with it."""
    given = [f"{stream.name}: Tensor" for stream in sequence.model.given]
    slopes = [f"{stream.name}: Tensor" for stream in sequence.model.slopes]
    learned = ["self", *given, *slopes, "*", f"state: {STATE}", f"{before_name(sequence)}: int"]
    view = LearningLawsView(
        read=call("def _read", ["self", *given, "*", f"state: {STATE}"], " -> Tensor:", 4),
        read_body=block(list(_read(sequence))),
        learned=call("def _learned", learned, f" -> {STATE}:", 4),
        learned_body=block(list(_learned(sequence))),
        begins=tuple(_begun(sequence)),
    )
    return render(view)


def names_lines(sequence: Sequence) -> Lines:
    """The names of the slots by which the loss is differentiated."""
    return call("names = ", [f'"{name}"' for name in learning(sequence)], "", 8)


def _tuple(items: list[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def _docstring(sequence: Sequence) -> Lines:
    model = sequence.model
    (output,) = model.outputs
    dims = ", ".join(("batch", "time", *map(str, output.value.shape)))
    lines = (
        "Inputs, by keyword, in any float dtype:",
        *stream_lines(sequence),
        "    loss     a function of outputs and their targets, (batch, time, ...), that gives the loss of each token, (batch, time)",
        "    targets  (batch, time, ...), what it is given of the same tokens",
        "State, kept in float32 or wider (a dict by name; None starts from the initial state):",
        *state_lines(sequence),
        "Returns the outputs (the tensor itself) and the state after the last token:",
        f"    {output.name}  ({dims})",
        "Levels learn from the loss of the tokens since they last moved, and from nothing without one; later tokens see what they learned.",
        f"The sequence runs in blocks of {block_tokens(sequence)} tokens, counted from the position of the state that is handed in.",
    )
    return class_docstring(model, "levels that learn inside the context", lines)


def block_tokens(sequence: Sequence) -> int:
    """The tokens of a block: as many as divide every period."""
    return gcd(*sequence.periods, *(item.period for item in sequence.program.laws.resets))


def learning(sequence: Sequence) -> dict[str, bool]:
    """The slots by which the loss is differentiated, and whether slower levels learn through that."""
    slots = {(slot.component, slot.part): slot.name for slot in sequence.program.slots}
    slopes = (stream.slope for stream in sequence.model.slopes if stream.slope is not None)
    return {slots[slope.component, slope.part]: slope.is_learned_through for slope in slopes}


def _slopes(sequence: Sequence) -> Iterator[str]:
    """How slopes are taken: to be differentiated again where slower levels learn through them."""
    learned = learning(sequence)
    if not any(learned.values()):
        yield "slopes = torch.autograd.grad(losses.sum(), levels, retain_graph=learns)"
        return
    yield "slopes = torch.autograd.grad(losses.sum(), levels, create_graph=learns)"
    if constant := [name for name, through in learned.items() if not through]:
        yield f"constant = {_tuple([f'{name!r}' for name in constant])}".replace("'", '"')
        yield "slopes = tuple(x.detach() if name in constant else x for name, x in zip(names, slopes, strict=True))"


def _words(sequence: Sequence) -> tuple[tuple[str, Expr], ...]:
    """The spec's words that the output uses, shorter ones first, then the output."""
    model = sequence.model
    (output,) = sequence.program.laws.outputs
    read = set(walk(output.value))
    meant = ((item.name, as_before(with_parameters(model, item.value))) for item in model.abbreviations)
    used = sorted((item for item in meant if item[1] in read and children(item[1])), key=lambda item: sum(1 for _ in walk(item[1])))
    return (*used, (output.name, output.value))


def _block(sequence: Sequence, parts: Hoisted) -> Block:
    names = LocalNames((*(item.name for item in parts.given), "state", before_name(sequence)))
    totals = frozenset(stream.name for stream in sequence.model.slopes)
    return Block(sequence, parts, names, sequence.like.name, totals=totals)


def _given(streams: tuple[InputStream, ...]) -> tuple[Given, ...]:
    return tuple(Given(stream.name, Input(stream.name, stream.shape), True) for stream in streams)


def _read(sequence: Sequence) -> Iterator[Lines]:
    """The body of `_read`: the output at every token of a block, over the spec's words."""
    words = _words(sequence)
    block_ = _block(sequence, Hoisted(_given(sequence.model.given), (), (), (), (), words, ()))
    yield from block_.known()
    named: dict[Expr, Expr] = {}
    local = ""
    for name, value in words:
        local = block_.names.new(name)
        yield from block_.found([(local, replace(value, named.get))])
        named[value] = Named(f"word {name}", value.shape)
        block_.values[named[value]] = local
    yield (f"return {local}",)


def _learned(sequence: Sequence) -> Iterator[Lines]:
    """The body of `_learned`: the state after a block."""
    laws = sequence.program.laws
    kept = tuple((item, item.value) for item in laws.kept if item.component != POSITION)
    block_ = _block(sequence, Hoisted(_given(sequence.model.inputs), (), (), laws.laws, kept, (), ()))
    yield from block_.known()
    yield from block_.moved()


def _begun(sequence: Sequence) -> Iterator[str]:
    """The body of `_begun`: each state that starts again, after those that it starts from."""
    resets = sequence.program.laws.resets
    if late := next((item for item in resets if item.at_start), None):
        span = sequence.model.component(late.state.component).place("init")
        raise CompileError(codes.not_emitted(span, "a start from streams, of what learns from the task loss inside the context"))
    names = {(slot.component, slot.part): slot.name for slot in sequence.program.slots}
    for period, group in groupby(resets, key=lambda item: item.period):
        yield f"if before > 0 and before % {period} == 0:"
        for item in group:
            carried = sequence.carried("state", item.state.component, item.state.part)
            values = previous(sequence, "state") | parameter_values(item.value)
            yield f'    state = state | {{"{names[item.state.component, item.state.part]}": {begun_text(item.value, carried, values)}}}'
    if resets:
        yield "return state"
