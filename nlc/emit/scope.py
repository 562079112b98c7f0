"""What the functions of a sequence module share: the words for inputs, sizes, states and their types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from nlc.codes import emit as codes
from nlc.diagnostics import CompileError
from nlc.emit.dims import dim_text, folded
from nlc.emit.layout import Lines, assignment, call
from nlc.emit.names import MODULE_WORDS, LocalNames, attribute
from nlc.emit.pieces import Piece
from nlc.emit.torch_printer import TorchPrinter, unwritable
from nlc.ir.algebra import (
    Due,
    Expr,
    Hyperparameter,
    Index,
    Input,
    Join,
    Named,
    Position,
    Split,
    State,
    Tick,
    When,
    Window,
    children,
    contains,
    walk,
)
from nlc.ir.dims import Dim, Shape
from nlc.ir.law import PREVIOUS, Equation, Law, used_definitions
from nlc.ir.model import InputStream, Model
from nlc.ir.program import Program

WORDS = MODULE_WORDS | {"state", "chunk", "nonfinite", "checkpoint"}
"""What inputs, dims and hyperparameters of a module cannot be called."""

BLOCK_LENGTH = Named("tokens of the block", ())
"""How many tokens a block has: a Python number."""


@dataclass(frozen=True)
class Sequence:
    """A program that becomes an `nn.Module`, and the questions that its functions ask of it.

    `like_text` is a tensor of the dtype and device of new ones where there is no input; `is_alone` unless it is a layer of a model.
    """

    program: Program
    like_text: str = ""
    is_alone: bool = True

    @property
    def model(self) -> Model:
        return self.program.model

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(stream.name for stream in self.model.inputs)

    @property
    def like(self) -> InputStream:
        """The input whose dtype outputs have, and that tells the sizes that it knows: the first of those with the most axes.

        Those with one value a token go before those with several.
        """
        return max(
            (stream for stream in self.model.inputs if not stream.is_of_sequence),
            key=lambda stream: (len(stream.axes), not stream.is_parted),
        )

    def size(self, dim: Dim) -> str:
        """A size over the attributes of the module, which has those that follow from others too."""
        return dim_text(folded(dim, {item.name: item.definition for item in self.model.dims if item.definition is not None}))

    @property
    def state_type(self) -> str:
        return "Tensor" if self.is_bare else "dict[str, Tensor]"

    @property
    def is_bare(self) -> bool:
        """A single state is a bare tensor, several are a dict by name."""
        return len(self.program.slots) == 1

    @property
    def output_type(self) -> str:
        return "Tensor" if len(self.model.outputs) == 1 else "dict[str, Tensor]"

    @property
    def periods(self) -> tuple[int, ...]:
        """The periods, in tokens, at whose ends something happens."""
        values = self.program.laws.values
        return tuple(sorted({node.period for value in values for node in walk(value) if isinstance(node, Due)}))

    @property
    def counted(self) -> tuple[str, ...]:
        """The components whose updates are counted."""
        nodes = (node for value in self.program.laws.values for node in walk(value))
        return tuple(sorted({node.component for node in nodes if isinstance(node, Tick)}))

    @property
    def has_places(self) -> bool:
        """Whether the laws ask for the place of a token in the sequence."""
        return any(isinstance(node, Position) for value in self.program.laws.values for node in walk(value))

    @property
    def first_axis(self) -> int:
        """The place of the first axis in what the first slot carries: behind the batch, and the tokens of a window."""
        return 1 if self.program.slots[0].window is None else 2

    def carried(self, variable: str, component: str, part: str) -> str:
        """The carried value of a slot, where `variable` is the whole state."""
        slot = next(slot for slot in self.program.slots if (slot.component, slot.part) == (component, part))
        return variable if self.is_bare else f'{variable}["{slot.name}"]'

    def signature(self, name: str, *, state: str, result: str) -> Lines:
        """`def name(self, *, inputs, state) -> result:`."""
        arguments = ["self", "*", *(f"{item}: Tensor" for item in self.inputs), state]
        return call(f"def {name}", arguments, f" -> {result}:", 4)

    def spans_axes(self, node: Expr) -> bool:
        """Whether a value surely has the dims of all axes (and of time): not a constant, nor of a stream without an axis alone."""
        own = {stream.name: stream.axes for stream in self.model.inputs if not stream.is_of_sequence}
        match node:
            case Join():
                return False
            case Split(x):
                return contains(x, lambda part: isinstance(part, Named | State | Input))
            case Input(name):
                return own.get(name) == self.model.axes
            case Named() | State() | Window():
                return True
        return any(self.spans_axes(child) for child in children(node))

    def is_whole(self, node: Expr) -> bool:
        """Whether a value has no dim for the axis, in a system that splits or joins it: one value for all places along it."""
        return bool(self.bare) and not self._varies(node)

    def _varies(self, node: Expr) -> bool:
        match node:
            case Join():
                return False
            case Split() | Named() | State() | Index() | Window():
                return True
            case Input(name):
                return name not in self.bare
        return any(self._varies(child) for child in children(node))

    @cached_property
    def bare(self) -> frozenset[str]:
        """The streams that are read where there is one value for all places along the axis: before a split, after a join, of the past."""
        found = {name for equation in self._equations for name in _bare_streams(equation.value, is_bare=False)}
        joined = {item.name for item in self.model.outputs if item.joined}
        outputs = (equation for equation in self.program.laws.outputs if equation.name in joined)
        older = (item.value for item in self.program.laws.kept if item.is_whole)
        return frozenset(found.union(*(_bare_streams(value, is_bare=True) for value in (*(item.value for item in outputs), *older))))

    @property
    def _equations(self) -> Iterator[Equation]:
        joined = {item.name for item in self.model.outputs if item.joined}
        yield from (equation for law in self.program.laws.laws for equation in law.equations)
        yield from (Equation(item.name, item.value, item.rule) for item in self.program.laws.kept if item.window is not None)
        yield from (equation for equation in self.program.laws.outputs if equation.name not in joined)

    def is_parted(self, law: Law) -> bool:
        """Whether a law runs several times a token."""
        return law.clock.updates_per_tick > 1

    def check_names(self) -> None:
        """Raises CompileError for names that the module needs itself."""
        model = self.model
        given = [("an input", item.name, item.span) for item in model.inputs]
        given += [("a dim", item.name, item.span) for item in model.dims]
        given += [("a hyperparameter", item.name, item.span) for item in model.hyperparameters]
        problems = [codes.reserved_in_emitted_code(span, what, name) for what, name, span in given if name in WORDS]
        if problems:
            raise CompileError(*problems)


def _bare_streams(node: Expr, *, is_bare: bool) -> set[str]:
    """The streams read in an expression where there is one value for all places along the axis."""
    match node:
        case Input(name):
            return {name} if is_bare else set()
        case Split(x):
            return _bare_streams(x, is_bare=True)
        case Join(x):
            return _bare_streams(x, is_bare=False)
    return {name for child in children(node) for name in _bare_streams(child, is_bare=is_bare)}


def leaf(node: Expr, values: dict[Expr, str]) -> Piece:
    """Streams, states and named values by their variables, hyperparameters by the module's attributes."""
    if node in values:
        return Piece(values[node], rank=None if node == BLOCK_LENGTH else len(node.shape))
    match node:
        case Hyperparameter(name):
            return Piece(attribute(name), rank=None)
    raise unwritable(node)


def printer_of(sequence: Sequence, values: dict[Expr, str], *, is_bare: bool = False) -> TorchPrinter:
    """What prints the expressions of a function whose variables are `values`."""
    known = {node: variable for node, variable in values.items() if children(node)}
    streams = [stream for stream in sequence.model.inputs if stream.name in sequence.bare]
    inputs = (Input(stream.name, stream.shape, delayed) for stream in streams for delayed in (False, True))
    bare = frozenset((*inputs, *(node for node in known if sequence.is_whole(node))))
    return TorchPrinter(lambda node: leaf(node, values), sequence.like_text or sequence.like.name, bare, known, is_bare, dim=sequence.size)


def define(
    sequence: Sequence, names: LocalNames, values: dict[Expr, str], *, parted: bool | None = None, within: Expr | None = None
) -> Iterator[Lines]:
    """The spec's abbreviations that its laws use, a line each; `values` learns their variables.

    With `parted` only those that change inside a token, or only those that do not; with `within` only those that are part of it.
    """
    parts = None if within is None else frozenset(walk(within))
    changing = {Input(stream.name, stream.shape) for stream in sequence.model.inputs if stream.is_parted}
    for equation in used_definitions(sequence.program.laws):
        if parted is not None and parted is not any(part in changing for part in walk(equation.value)):
            continue
        if equation.value in values or (parts is not None and equation.value not in parts):
            continue
        printer = printer_of(sequence, values, is_bare=sequence.is_whole(equation.value))
        number = printer.number(equation.value)
        terms = printer.terms(equation.value) if number is None else (number,)
        values[equation.value] = names.new(equation.name)
        yield assignment(values[equation.value], terms, 12)


def output_printer(sequence: Sequence, printer: TorchPrinter, name: str) -> TorchPrinter:
    """What prints an output: one that has joined the axis has one value for all places along it."""
    return replace(printer, is_bare=name in {item.name for item in sequence.model.outputs if item.joined})


def input_values(sequence: Sequence, part: str = "") -> dict[Expr, str]:
    """The variable of every input stream: its own name, which is subscripted where one part of a token is meant."""
    return {
        Input(stream.name, stream.shape): f"{stream.name}[:, {part}]" if part and stream.is_parted else stream.name
        for stream in sequence.model.inputs
    }


def used_axes(sequence: Sequence, expressions: Iterable[Expr] | None = None) -> tuple[str, ...]:
    """The axes along which some expressions (else all laws) use a copy's index."""
    used = {part for value in expressions or sequence.program.laws.values for part in walk(value)}
    return tuple(axis for axis in sequence.model.axes if Index(axis) in used)


def indices(
    sequence: Sequence, names: LocalNames, carried: str, values: dict[Expr, str], expressions: Iterable[Expr] | None = None
) -> list[Lines]:
    """The lines that number the copies along axes whose index some expressions (else all laws) use; `values` learns their variables."""
    axes = sequence.model.axes
    lines: list[Lines] = []
    for axis in used_axes(sequence, expressions):
        place = axes.index(axis)
        values[Index(axis)] = names.new(f"{axis}_index")
        later = f"[:{', None' * (len(axes) - 1 - place)}]" if place + 1 < len(axes) else ""
        places = f"torch.arange({carried}.shape[{sequence.first_axis + place}], dtype={carried}.dtype, device={carried}.device){later}"
        lines.append(assignment(values[Index(axis)], [places], 12))
    return lines


def previous(sequence: Sequence, variable: str) -> dict[Expr, str]:
    """The states, and previous inputs, as the tick finds them, in the whole state `variable`."""
    kept = {item.name for item in sequence.program.laws.kept if item.component == PREVIOUS}
    return {
        Input(slot.part, slot.shape, delayed=True)
        if slot.name in kept
        else State(slot.component, slot.part, slot.shape, When.PREVIOUS): sequence.carried(variable, slot.component, slot.part)
        for slot in sequence.program.slots
        if slot.window is None
    }


def state_dtype(sequence: Sequence) -> str:
    """The dtype of the arithmetic where the whole state is `state`."""
    first = sequence.program.slots[0]
    return f"{sequence.carried('state', first.component, first.part)}.dtype"


def size_text(sequence: Sequence, shape: Shape) -> str:
    """The sizes of a shape, each after a comma: `, self.d_v, self.d_k`."""
    return "".join(f", {sequence.size(dim)}" for dim in shape)


def converted(sequence: Sequence, dtype: str, time: bool) -> list[Lines]:
    """Inputs in the dtype of the state, with a dim of size 1 for each axis that they do not have."""
    names = sequence.inputs
    one = assignment(names[0], [f"{names[0]}.to({dtype})"], 12)
    lines = [one] if len(names) == 1 else [_all(names, dtype)]
    bare = sequence.bare
    for stream in (stream for stream in sequence.model.inputs if stream.name not in bare):
        index = [":" if axis in stream.axes else "None" for axis in sequence.model.axes]
        while index and index[-1] == ":":
            index.pop()
        is_timeless = time and stream.is_of_sequence
        if index or is_timeless:
            leading = [":", "None"] if is_timeless else [":"] * (1 + (time and not stream.is_of_sequence) + stream.is_parted)
            lines.append((f"{stream.name} = {stream.name}[{', '.join([*leading, *index])}]",))
    return lines


def _all(names: tuple[str, ...], dtype: str) -> Lines:
    together = ", ".join(names)
    return call(f"{together} = ", [f"x.to({dtype}) for x in ({together})"], "", 12)


@dataclass(frozen=True, slots=True)
class Sizes:
    """The variables for batch and axes in one function, and the lines that set them."""

    batch: str
    axes: tuple[str, ...]
    lines: tuple[Lines, ...]

    @property
    def leading(self) -> str:
        return ", ".join((self.batch, *self.axes))


def sizes(sequence: Sequence, names: LocalNames) -> Sizes:
    """Batch and axes, from the inputs that have them; an axis that no input has is told by the state, else 1."""
    like, model = sequence.like, sequence.model
    batch, axes = names.new("batch"), tuple(names.new(axis) for axis in model.axes)
    if like.axes == model.axes and axes:
        skipped = ["_"] * (2 if like.is_parted else 1)
        return Sizes(batch, axes, ((f"{', '.join((batch, *skipped, *axes))} = {like.name}.shape[:{1 + len(skipped) + len(axes)}]",),))
    lines: list[Lines] = [(f"{batch} = {like.name}.shape[0]",)]
    for place, (axis, variable) in enumerate(zip(model.axes, axes, strict=True), start=1):
        stream = next((stream for stream in model.inputs if axis in stream.axes), None)
        if axis in {item.name for item in model.dims}:
            lines.append((f"{variable} = {attribute(axis)}",))
        elif stream is not None:
            first = 1 if stream.is_of_sequence else 3 if stream.is_parted else 2
            lines.append((f"{variable} = {stream.name}.shape[{first + stream.axes.index(axis)}]",))
        elif not sequence.program.slots:
            lines.append((f"{variable} = 1",))
        else:
            slot = sequence.program.slots[0]
            carried = sequence.carried("state", slot.component, slot.part)
            lines.append((f"{variable} = 1 if state is None else {carried}.shape[{sequence.first_axis + place - 1}]",))
    return Sizes(batch, axes, tuple(lines))
