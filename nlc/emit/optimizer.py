"""The program of an optimizer -> the text of its `torch.optim.Optimizer`."""

from __future__ import annotations

from nlc.codes import emit as codes
from nlc.diagnostics import CompileError
from nlc.emit.foreach import Update
from nlc.emit.layout import WIDTH, Lines, block, call, indented
from nlc.emit.names import MODULE_WORDS, LocalNames
from nlc.emit.pieces import WEIGHTS, Piece
from nlc.emit.prose import prose, sentence, wrapped
from nlc.emit.render import render
from nlc.emit.torch_printer import TorchPrinter
from nlc.emit.views import OptimizerHelpersView, OptimizerView, SlotView
from nlc.ir.algebra import Expr, Hyperparameter, Input, State, When, is_number, walk
from nlc.ir.law import PREVIOUS
from nlc.ir.model import Model
from nlc.ir.program import Program, StateSlot

RESERVED = frozenset({*MODULE_WORDS, "params", "lr", "closure", "group"})
"""Words that an optimizer's hyperparameters cannot have."""

RATE = "learning_rate"
"""Kept in parameter groups as `lr`, the key on which torch's schedulers act."""


def optimizer_parts(program: Program) -> tuple[str, ...]:
    """The class, then its helper."""
    text = optimizer_class(program)
    return text, optimizer_helpers(program.model.name, "_stacked(" in text)


def optimizer_helpers(name: str, stacks: bool) -> str:
    """The functions beside the class, or beside several."""
    return render(OptimizerHelpersView(name, stacks))


def optimizer_class(program: Program) -> str:
    """The class."""
    model = program.model
    for item in program.hyperparameters:
        if item.name in RESERVED:
            raise CompileError(codes.reserved_in_emitted_code(item.span, "a hyperparameter", item.name))
    names = LocalNames(("group", "x", "dtype"))
    weights, (stream,) = names.new("weights"), model.inputs
    gradient = names.new(stream.name)
    is_counted = any(slot.counts for slot in program.slots)
    carried = [slot for slot in program.slots if not slot.counts]
    slots = tuple(SlotView(slot.name, names.new(slot.name), _start(slot, names)) for slot in carried)
    step = names.new("step") if is_counted else ""
    numbers = {item.name: names.new(item.name) for item in program.hyperparameters}
    used = _used(program)
    lists: dict[Expr, str] = {Input(stream.name, WEIGHTS): gradient, State("weights", "", WEIGHTS, When.PREVIOUS): weights}
    lists |= {_read_as(item): slot.local for item, slot in zip(carried, slots, strict=True)}
    scalars: dict[Expr, Piece] = {Hyperparameter(name): Piece(local, rank=None) for name, local in numbers.items()}
    settings = [(local, f'group["{_key(name)}"]') for name, local in numbers.items() if name in used]
    body = [*_settings(settings), *Update(program, names, weights, lists, scalars, step).lines()]
    needs_one_dtype = any("_foreach_lerp_" in line for lines in body for line in lines)
    view = OptimizerView(
        gradients="_checked(x.grad)" + (".to(torch.promote_types(x.dtype, torch.float32))" if needs_one_dtype else ""),
        name=model.name,
        docstring=_docstring(program),
        constructor=_constructor(program),
        defaults=_defaults(program),
        has_learning_rate=any(item.name == RATE for item in program.hyperparameters),
        weights=weights,
        gradient=gradient,
        slots=slots,
        step=step,
        kind=_kind(model, is_counted),
        moves_matrices=model.moves_matrices,
        body=block(body),
    )
    return render(view)


def _kind(model: Model, is_counted: bool) -> str:
    """The code of what tensors of one update have in common, of a parameter `x`; empty when all move together."""
    kinds = [*(['self.state[x]["step"]'] if is_counted else []), *(["x.shape"] if model.moves_matrices else [])]
    return kinds[0] if len(kinds) == 1 else f"({', '.join(kinds)})" if kinds else ""


def _read_as(slot: StateSlot) -> Expr:
    """The node that reads what a slot held when the step began."""
    if slot.component == PREVIOUS:
        return Input(slot.part, WEIGHTS, delayed=True)
    return State(slot.component, slot.part, WEIGHTS, When.PREVIOUS)


def _start(slot: StateSlot, names: LocalNames) -> str:
    """The code that makes what a state starts from."""
    if slot.start is None or is_number(slot.start, 0):
        return "torch.zeros_like(x, dtype=dtype)"

    def setting(node: Expr) -> Piece:
        assert isinstance(node, Hyperparameter), node
        return Piece(f'group["{_key(node.name)}"]', rank=None)

    return f"torch.full_like(x, {TorchPrinter(setting, 'x').number(slot.start)}, dtype=dtype)"


def _key(name: str) -> str:
    return "lr" if name == RATE else name


def _used(program: Program) -> frozenset[str]:
    values = program.laws.values
    return frozenset(part.name for value in values for part in walk(value) if isinstance(part, Hyperparameter))


def _settings(settings: list[tuple[str, str]]) -> list[Lines]:
    if not settings:
        return []
    line = f"{', '.join(local for local, _ in settings)} = {', '.join(value for _, value in settings)}"
    if len(line) + 8 <= WIDTH:
        return [(line,)]
    return [(f"{line.partition(' = ')[0]} = (", *(f"    {value}," for _, value in settings), ")")]


def _constructor(program: Program) -> Lines:
    numbers = [f"{item.name}: float = {float(item.default)!r}" for item in program.hyperparameters]
    products = ["matmul_dtype: torch.dtype | None = None"] if program.model.moves_matrices else []
    return call("def __init__", ["self", "params: ParamsT", *numbers, *products], " -> None:", 4)


def _defaults(program: Program) -> Lines:
    items = [f'"{_key(item.name)}": {item.name}' for item in program.hyperparameters]
    return (f"super().__init__(params, {{{', '.join(items)}}})",)


def _docstring(program: Program) -> Lines:
    model = program.model
    says = wrapped(sentence(model.says or model.name), 128)
    first = says if len(says) == 1 else (f"{model.name}, a torch optimizer.", "", *says)
    lines = ["Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:"]
    lines += [f"    {item.name} = {float(item.default)!r}" for item in program.hyperparameters]
    if model.moves_matrices:
        lines += ["Takes matrices alone. Their products are in `matmul_dtype`, by default in the dtype of the state."]
    if any(item.name == RATE for item in program.hyperparameters):
        lines += ["Groups keep the learning rate as `lr`, which is what torch's schedulers change."]
    carried = [slot.name for slot in program.slots if not slot.counts]
    if carried:
        lines += [f"State of each parameter, in its dtype or float32, whichever is wider: {prose(', '.join(carried))}."]
    if len(carried) < len(program.slots):
        lines += ["Each parameter counts the steps at which it had a gradient."]
    return (first[0], *indented(first[1:]), "", *indented(lines))
