"""The program of a model -> the text of its `nn.Module`, of what it repeats, of its layers and optimizers, and their helpers once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nlc.emit.dims import dim_text
from nlc.emit.layers import layer_parts
from nlc.emit.layout import Lines, block, call, comprehension, indented
from nlc.emit.names import LocalNames
from nlc.emit.network_context import (
    LOSS_SAYS,
    Ways,
    blocks_text,
    learned_lines,
    learning_parts,
    learns,
    levels_lines,
    open_block_lines,
    ways_in_blocks,
)
from nlc.emit.network_levels import levels_of
from nlc.emit.network_views import NetworkView, RepeatedView
from nlc.emit.parameters import reset_slots
from nlc.emit.pieces import Piece
from nlc.emit.prose import class_docstring
from nlc.emit.render import render
from nlc.emit.scope import Sequence
from nlc.emit.sequence import constructor, given_attributes
from nlc.emit.torch_printer import TorchPrinter
from nlc.emit.training import training_parts
from nlc.ir.algebra import Expr, Hyperparameter, Size, walk
from nlc.ir.network import Embed, Head, Layer, Normalise, Part, Repeat, Residual
from nlc.ir.program import Program

EPSILON = "1e-6"
"""What `rms_norm` adds under the root: the language's."""


def network_parts(program: Program) -> tuple[str, ...]:
    """The class of the model, those of what it repeats, its layers', its optimizers', then helpers."""
    assert program.model.network is not None
    layers = layer_parts(program)
    stack = Stack(program, program.model.name, layers.classes, program.model.network.parts)
    texts = [_model(stack), *(text for inner in stack.inner for text in _repeated(inner))]
    training = training_parts(program, lambda item: levels_of(program, item))
    return (*texts, *layers.texts, *training, *layers.helpers)


@dataclass(frozen=True, slots=True)
class Stack:
    """Parts that one class holds; `classes` name those of the layers, in the order of the network's models."""

    program: Program
    name: str
    classes: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def own(self) -> tuple[Part, ...]:
        """The parts but for those that are inside repeats, branches opened."""
        return tuple(_opened(self.parts))

    @property
    def repeats(self) -> tuple[Repeat, ...]:
        return tuple(part for part in self.own if isinstance(part, Repeat))

    @property
    def inner(self) -> tuple[Stack, ...]:
        """The classes of what is repeated."""
        return tuple(Stack(self.program, self.class_of(item), self.classes, item.parts) for item in self.repeats)

    def class_of(self, repeat: Repeat) -> str:
        """`TransformerBlock`, and with a number when the model repeats several things."""
        return f"{self.program.model.name}Block{''.join(part for part in repeat.name.split('_')[1:])}"

    @property
    def levels(self) -> tuple[str, ...]:
        """The matrices and scales that the class holds."""
        holds = (part for part in self.own if isinstance(part, Embed | Normalise | Head))
        return tuple(part.level for part in holds if not isinstance(part, Head) or not part.is_tied)

    @property
    def stateful(self) -> tuple[Layer | Repeat, ...]:
        """The parts that carry something from token to token."""
        return tuple(
            part for part in self.own if isinstance(part, Repeat) or (isinstance(part, Layer) and self.program.layers[part.place].slots)
        )

    @property
    def numbers(self) -> tuple[str, ...]:
        """The dims and hyperparameters of the model that the class needs to be made, in the order of the model's."""
        used = {name for part in _all(self.parts) for name in _names(part)}
        model = self.program.model
        declared = [item.name for item in model.dims if item.definition is None] + [item.name for item in self.program.hyperparameters]
        return tuple(name for name in declared if name in used)


def _opened(parts: tuple[Part, ...]) -> Iterator[Part]:
    for part in parts:
        if isinstance(part, Residual):
            for branch in part.branches:
                yield from _opened(branch)
        else:
            yield part


def _all(parts: tuple[Part, ...]) -> Iterator[Part]:
    for part in _opened(parts):
        yield part
        if isinstance(part, Repeat):
            yield from _all(part.parts)


def _names(part: Part) -> Iterator[str]:
    """The dims and hyperparameters that making a part takes."""
    match part:
        case Embed(_, rows, width) | Head(_, False, rows, width):
            yield from (*rows.names, *width.names)
        case Normalise(_, width):
            yield from width.names
        case Repeat(_, count):
            yield from count.names
        case Layer():
            for _, value in part.arguments:
                for node in walk(value):
                    yield from node.dim.names if isinstance(node, Size) else (node.name,) if isinstance(node, Hyperparameter) else ()


# --- making ------------------------------------------------------------------------------------------------------


def _made(stack: Stack) -> Lines:
    """The lines of a constructor that make the parts."""
    slots = {slot.name: slot for slot in stack.program.parameters}
    lines: list[Lines] = []
    for part in stack.own:
        match part:
            case Embed(level) | Normalise(level) | Head(level, False):
                sizes = ", ".join(dim_text(dim, str) for dim in slots[level].shape)
                lines.append((f"self.{level} = nn.Parameter(torch.empty({sizes}))",))
            case Layer():
                arguments = [f"{name}={number_text(value)}" for name, value in part.arguments]
                lines.append(call(f"self.{part.name} = {stack.classes[part.place]}", arguments, "", 8))
            case Repeat(name, count):
                inner = Stack(stack.program, stack.class_of(part), stack.classes, part.parts)
                made = f"{inner.name}({', '.join(f'{item}={item}' for item in inner.numbers)})"
                clauses = [made, f"for _ in range({dim_text(count, str)})"]
                lines.append(comprehension(f"self.{name}: Any = nn.ModuleList", clauses, 8, "()"))
    return block([*lines, ("self.reset_parameters()",)] if stack.levels else lines)


def number_text(value: Expr) -> str:
    """A number of the spec where dims and hyperparameters are arguments."""

    def leaf(node: Expr) -> Piece:
        assert isinstance(node, Hyperparameter), node
        return Piece(node.name, rank=None)

    if isinstance(value, Size):
        return dim_text(value.dim, str)
    text = TorchPrinter(leaf, "").number(value)
    assert text is not None, value
    return text


def _reset(stack: Stack) -> Lines:
    slots = tuple(slot for slot in stack.program.parameters if slot.name in stack.levels)
    return reset_slots(Sequence(stack.program), slots)


def _initial(stack: Stack, like: str) -> Lines:
    """The state that every part starts from, by name."""
    items = [f'"{part.name}": {_begun(stack, part, like)},' for part in stack.stateful]
    if learns(stack.program) and stack.name == stack.program.model.name:
        items.extend(open_block_lines(stack.program.model.inputs[0].name, like))
    return ("return {", *indented(items), "}") if items else ("return {}",)


def _begun(stack: Stack, part: Layer | Repeat, like: str) -> str:
    if isinstance(part, Repeat):
        return f"[block.initial_state(batch, like={like}) for block in self.{part.name}]"
    axes = [f"self.{part.name}.{axis}" for axis in stack.program.layers[part.place].model.axes]
    return f"self.{part.name}.initial_state({', '.join(['batch', *axes])}, like={like})"


# --- running -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """The lines that run the parts of a class over a whole sequence, or over one token with `step`."""

    stack: Stack
    names: LocalNames
    is_step: bool
    carried: dict[str, str] = field(default_factory=dict)

    def lines(self, parts: tuple[Part, ...], x: str) -> Iterator[str]:
        """The parts, one after another, over the variable `x`."""
        for part in parts:
            match part:
                case Normalise(level):
                    yield self.normalised(x, x, level)
                case Layer():
                    yield self.layer(part, x, x)
                case Residual(branches):
                    for branch in branches:
                        yield from self.branch(branch, x)
                case Repeat():
                    yield from self.repeat(part, x)

    def branch(self, parts: tuple[Part, ...], x: str) -> Iterator[str]:
        """A branch over a variable of its own, added to `x`."""
        y = self.names.new("y")
        first, *rest = parts
        match first:
            case Normalise(level):
                yield self.normalised(y, x, level)
            case Layer():
                yield self.layer(first, y, x)
            case _:
                yield f"{y} = {x}"
                rest = [first, *rest]
        yield from self.lines(tuple(rest), y)
        yield f"{x} = {x} + {y}"
        self.names.forget(y)

    def normalised(self, target: str, x: str, level: str) -> str:
        return f"{target} = nn.functional.rms_norm({x}, {x}.shape[-1:], self.{level}, eps={EPSILON})"

    def layer(self, part: Layer, target: str, x: str) -> str:
        """A call of a layer; what carries nothing has no state."""
        has_state = bool(self.stack.program.layers[part.place].slots)
        called = f"self.{part.name}{'.step' if self.is_step else ''}"
        state = f', state=state["{part.name}"]' if has_state else ", state={}" if self.is_step else ""
        carried = "_"
        if has_state:
            carried = self.carried[part.name] = self.names.new(part.name)
        return f"{target}, {carried} = {called}({part.stream}={x}{state})"

    def repeat(self, part: Repeat, x: str) -> Iterator[str]:
        made = self.carried[part.name] = self.names.new(part.name)
        called = "block.step" if self.is_step else "block"
        yield f"{made} = []"
        yield f'for block, carried in zip(self.{part.name}, state["{part.name}"], strict=True):'
        yield f"    {x}, carried = {called}({x}, carried)"
        yield f"    {made}.append(carried)"

    @property
    def state(self) -> str:
        """The state after what was run."""
        return "{" + ", ".join(f'"{part.name}": {self.carried[part.name]}' for part in self.stack.stateful) + "}"


def _run_model(stack: Stack, stream: str, *, is_step: bool) -> Lines:
    embed, *middle, head = stack.parts
    assert isinstance(embed, Embed) and isinstance(head, Head)
    run = Run(stack, LocalNames((stream, "state", "x", "block", "carried", "logits")), is_step)
    lines = [f"x = self.{embed.level}[{stream}]", *run.lines(tuple(middle), "x"), f"logits = x @ self.{head.level}.mT"]
    return (*lines, f"return logits, {run.state}")


def _run_repeated(stack: Stack, *, is_step: bool) -> Lines:
    run = Run(stack, LocalNames(("state", "x", "block", "carried")), is_step)
    lines = tuple(run.lines(stack.parts, "x"))
    return (*lines, f"return x, {run.state}")


# --- the classes -------------------------------------------------------------------------------------------------


def _model(stack: Stack) -> str:
    program, model = stack.program, stack.program.model
    sequence, stream = Sequence(program), program.model.inputs[0].name
    network = model.network
    assert network is not None
    embedding = f"self.{network.embed.level}"
    head = network.parts[-1]
    assert isinstance(head, Head)
    empty = f"{embedding}.new_empty({stream}.shape[0], 0, len(self.{head.level}))"
    whole = _run_model(stack, stream, is_step=False)
    ways = ways_in_blocks(program, stream) if learns(program) else _ways_at_once(stack, stream, whole)
    view = NetworkView(
        name=model.name,
        docstring=_docstring(stack),
        constructor=constructor(sequence),
        attributes=(*given_attributes(sequence), *_made(stack)),
        reset_parameters=_reset(stack),
        initial_state=_initial(stack, embedding),
        stream=stream,
        forward_says=ways.forward_says,
        forward_body=ways.forward,
        loss_says=ways.loss_says,
        logits_of_loss=ways.logits_of_loss,
        step_body=ways.step,
        empty=empty,
        blocks=blocks_text(program, stream, empty, whole) if learns(program) else "",
    )
    return render(view)


def _ways_at_once(stack: Stack, stream: str, whole: Lines) -> Ways:
    begun = f"state = self.initial_state({stream}.shape[0]) if state is None else state"
    return Ways(
        forward_says="The whole sequence at once: equal to `forward_by_token`.",
        forward=(begun, *whole),
        loss_says=f"{LOSS_SAYS}.",
        logits_of_loss=f"logits, state = self({stream}={stream}, state=state)",
        step=_run_model(stack, stream, is_step=True),
    )


def _docstring(stack: Stack) -> Lines:
    model = stack.program.model
    stream = model.inputs[0].name
    lines = (
        "Inputs, by keyword:",
        f"    {stream}  (batch, time), whole numbers below {model.inputs[0].integers}",
        "State (nested, by what carries it; None starts from the initial state): what its layers carry.",
        "Returns the logits of the token that follows each, (batch, time, " + f"{model.inputs[0].integers}), and the state after the last.",
    )
    return class_docstring(model, "a model of sequences of tokens", lines)


def _repeated(stack: Stack) -> tuple[str, ...]:
    arguments = [f"{name}: {_kind(stack, name)}" for name in stack.numbers]
    in_blocks, parts = learns(stack.program), learning_parts(stack.program, stack.parts)
    view = RepeatedView(
        name=stack.name,
        says=f"What {stack.program.model.name} repeats: (batch, time, size) in and out{'' if in_blocks else ', `step` without the time'}.",
        constructor=call("def __init__", ["self", *arguments], " -> None:", 4),
        attributes=_made(stack),
        reset_parameters=_reset(stack),
        initial_state=_initial(stack, "like"),
        forward_body=_run_repeated(stack, is_step=False),
        step_body=() if in_blocks else _run_repeated(stack, is_step=True),
        levels=levels_lines(parts),
        learned=learned_lines(parts),
    )
    return (render(view), *(text for inner in stack.inner for text in _repeated(inner)))


def _kind(stack: Stack, name: str) -> str:
    return "int" if name in {item.name for item in stack.program.model.dims} else "float"
