"""The program of an optimizer -> the text of its `torch.optim.Optimizer`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from nlc.codes import emit as codes
from nlc.diagnostics import CompileError
from nlc.emit.dims import dim_text
from nlc.emit.foreach import Update
from nlc.emit.layout import WIDTH, Lines, block, call
from nlc.emit.names import MODULE_WORDS, LocalNames
from nlc.emit.pieces import PRODUCT, WEIGHTS, Piece, wrapped as in_brackets
from nlc.emit.prose import class_docstring, prose
from nlc.emit.render import render
from nlc.emit.torch_printer import TorchPrinter, unwritable
from nlc.emit.views import ContextView, OptimizerContextsView, OptimizerHelpersView, OptimizerUpdateView, OptimizerView, SlotView
from nlc.ir.algebra import ZERO, Add, Expr, Eye, Hyperparameter, Input, Scale, State, When, is_number, walk
from nlc.ir.contexts import contexts_of, free_dims, gradient_of
from nlc.ir.dims import COLUMNS, ENTRIES, MATRIX, ROWS
from nlc.ir.law import PREVIOUS
from nlc.ir.model import Model
from nlc.ir.program import Program, StateSlot
from nlc.ir.ranges import below_one, never_negative

RESERVED = frozenset({*MODULE_WORDS, "params", "lr", "closure", "group", "nonfinite", "matmul_dtype"})
"""Words that an optimizer's hyperparameters cannot have."""

WIDENED = ".to(torch.promote_types(x.dtype, torch.float32))"
"""What gives a gradient the dtype of the state."""

TAKES_TWO = re.compile(r"\s*(torch\._foreach_(add|addcmul|addcdiv|copy)_\(|\w+ = _stacked(_wide)?\()")
"""What torch computes in the wider one of two dtypes, so that a narrow gradient need not be widened before."""

SIZE = "must be a whole number from 1 on"

RATE = "learning_rate"
"""Kept in parameter groups as `lr`, the key on which torch's schedulers act."""


def optimizer_parts(program: Program) -> tuple[str, ...]:
    """The class, then its helper."""
    text = optimizer_class(program)
    return text, optimizer_helpers(program.model.name, text)


def optimizer_helpers(name: str, text: str) -> str:
    """The functions beside the class, or beside several."""
    return render(OptimizerHelpersView(name, *(f"{word}(" in text for word in ("_number", "_filled", "_stacked", "_stacked_wide"))))


def optimizer_class(program: Program) -> str:
    """The class."""
    model = program.model
    arguments = [("a hyperparameter", item.name, item.span) for item in program.hyperparameters]
    arguments += [("a dim", item.name, item.span) for item in free_dims(model)]
    for what, name, span in arguments:
        if name in RESERVED:
            raise CompileError(codes.reserved_in_emitted_code(span, what, name))
    names = LocalNames(("group", "x", "dtype"))
    weights, stream = names.new("weights"), gradient_of(model)
    gradient = names.new(stream.name)
    contexts = {item: names.new(item.name) for item in contexts_of(model)}
    is_counted = any(slot.counts for slot in program.slots)
    carried = [slot for slot in program.slots if not slot.counts]
    slots = tuple(SlotView(slot.name, names.new(slot.name), _start(slot, model)) for slot in carried)
    step = names.new("step") if is_counted else ""
    numbers = {item.name: names.new(item.name) for item in program.hyperparameters}
    sizes = {item.name: names.new(item.name) for item in free_dims(model)}
    used = _used(program)
    lists: dict[Expr, str] = {Input(stream.name, WEIGHTS): gradient, State("weights", "", WEIGHTS, When.PREVIOUS): weights}
    lists |= {Input(item.name, item.shape): local for item, local in contexts.items()}
    lists |= {_read_as(item): slot.local for item, slot in zip(carried, slots, strict=True)}
    scalars: dict[Expr, Piece] = {Hyperparameter(name): Piece(local, rank=None) for name, local in numbers.items()}
    laws = block(list(Update(program, names, weights, lists, scalars, step, sides=dict(sizes)).lines()))
    settings = {local: _key(name) for name, local in numbers.items() if name in used}
    settings |= {local: name for name, local in sizes.items() if any(re.search(rf"\b{local}\b", line) for line in laws)}
    lines = (*block(_settings(settings)), *laws)
    has_matmul_dtype = any("self.matmul_dtype" in line for line in lines)
    kinds = _kinds(model, is_counted)
    update = OptimizerUpdateView(
        weights=weights,
        gradient=gradient,
        reads_gradients=any(re.search(rf"\b{gradient}\b", line) for line in lines),
        gradients=f"_checked(x.grad){WIDENED if _wants_width(gradient, lines) else ''}",
        slots=slots,
        step=step,
        contexts=tuple(ContextView(item.name, local) for item, local in contexts.items()),
        keeps_state=bool(slots) or is_counted,
        kind=", ".join(kinds) if len(kinds) < 2 else f"({', '.join(kinds)})",
        alike=", ".join(kinds.values()),
        body=lines,
    )
    view = OptimizerView(
        name=model.name,
        docstring=_docstring(program, has_matmul_dtype),
        constructor=_constructor(program, has_matmul_dtype),
        defaults=_defaults(program),
        refused=_refused(model),
        has_learning_rate=any(item.name == RATE for item in program.hyperparameters),
        moves_matrices=model.moves_matrices,
        has_matmul_dtype=has_matmul_dtype,
        contexts=_contexts(model),
        update=render(update).rstrip(),
    )
    return render(view)


def _wants_width(gradient: str, lines: Lines) -> bool:
    """Whether something made of gradients alone, or of two dtypes that torch does not take, would be as narrow as they are."""
    return any(re.search(rf"\b{gradient}\b", line) and not line.lstrip().startswith("#") and not TAKES_TWO.match(line) for line in lines)


def _kinds(model: Model, is_counted: bool) -> dict[str, str]:
    """What tensors of one update have in common: the code, of a parameter `x`, and in words. None, when all move together."""
    shapes = {"x.shape": "of one shape"} if model.moves_matrices else {}
    if contexts_of(model):
        shapes |= {f'len(self.contexts[x]["{contexts_of(model)[0].name}"])': "with equally many data"}
    return {**shapes, 'self.state[x]["step"]': "after equally many steps"} if is_counted else shapes


def _contexts(model: Model) -> str:
    """The methods that record the data of layers, if there are any to record."""
    streams = contexts_of(model)
    if not streams:
        return ""
    view = OptimizerContextsView(
        name=model.name,
        parameters=", ".join(f"{item.name}: Tensor" for item in streams),
        recorded="{" + ", ".join(f'"{item.name}": {item.name}' for item in streams) + "}",
        given=", ".join("given" if item.name == "layer_input" else "slope" for item in streams),
    )
    return render(view).rstrip()


def _read_as(slot: StateSlot) -> Expr:
    """The node that reads what a slot held when the step began."""
    if slot.component == PREVIOUS:
        return Input(slot.part, WEIGHTS, delayed=True)
    return State(slot.component, slot.part, WEIGHTS if slot.shape in (ENTRIES, MATRIX) else slot.shape, When.PREVIOUS)


def _start(slot: StateSlot, model: Model) -> str:
    """The code that makes what a state starts from: numbers, and multiples of the identity."""
    sides = {str(ROWS): "x.shape[0]", str(COLUMNS): "x.shape[1]"} | {item.name: f'group["{item.name}"]' for item in free_dims(model)}
    sizes = [dim_text(dim, sides.__getitem__) for dim in slot.shape] if slot.shape not in (ENTRIES, MATRIX) else []
    extent = f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"

    def setting(node: Expr) -> Piece:
        assert isinstance(node, Hyperparameter), node
        return Piece(f'group["{_key(node.name)}"]', rank=None)

    def made(node: Expr) -> str:
        match node:
            case Eye():
                return f"torch.eye({', '.join(sizes) or '*x.shape'}, dtype=dtype, device=x.device)"
            case Scale(by, Eye() as eye):
                return f"{in_brackets(printer.piece(by), PRODUCT)} * {made(eye)}"
            case Add(terms):
                return " + ".join(map(made, terms))
        if is_number(node, 0):
            return f"x.new_zeros({extent}, dtype=dtype)" if sizes else "torch.zeros_like(x, dtype=dtype)"
        number = printer.number(node)
        if number is None:
            raise unwritable(node)
        return f"x.new_full({extent}, {number}, dtype=dtype)" if sizes else f"torch.full_like(x, {number}, dtype=dtype)"

    printer = TorchPrinter(setting, "x", dim=lambda dim: dim_text(dim, sides.__getitem__))
    return made(ZERO if slot.start is None else slot.start)


def _key(name: str) -> str:
    return "lr" if name == RATE else name


def _used(program: Program) -> frozenset[str]:
    values = program.laws.values
    return frozenset(part.name for value in values for part in walk(value) if isinstance(part, Hyperparameter))


def _settings(settings: Mapping[str, str]) -> list[Lines]:
    """What takes the hyperparameters of a group, by the variables that hold them."""
    if not settings:
        return []
    found = ", ".join(f'group["{key}"]' for key in settings.values())
    quoted = ", ".join(f'"{key}"' for key in settings.values())
    line = f"{', '.join(settings)} = {found}"
    if len(line) + 8 <= WIDTH:
        return [(line,)]
    return [call(f"{', '.join(settings)} = ", [f"group[name] for name in ({quoted})"], "", 8)]


def _constructor(program: Program, has_matmul_dtype: bool) -> Lines:
    numbers = [f"{item.name}: float = {float(item.default)!r}" for item in program.hyperparameters]
    products = ["matmul_dtype: torch.dtype | None = None"] if has_matmul_dtype else []
    sizes = [f"{item.name}: int = {item.default}" for item in free_dims(program.model)]
    return call("def __init__", ["self", "params: ParamsT", *numbers, *sizes, *products, "nonfinite: str | None = None"], " -> None:", 4)


def _defaults(program: Program) -> Lines:
    names = [*(item.name for item in program.hyperparameters), *(item.name for item in free_dims(program.model))]
    items = [f'"{_key(name)}": {name}' for name in names]
    return call("super().__init__", ["params", f"{{{', '.join(items)}}}"], "", 8)


def _refused(model: Model) -> Lines:
    """What refuses a `value` by its `name` in a group: rates below 0, and means from 1 on that would not move."""
    low, high = never_negative(model), below_one(model)
    others = [name for name in low if name != RATE]
    sizes = [item.name for item in free_dims(model)]
    return (
        *(('if name == "lr" and value < 0:', _raised("learning_rate", "must not be negative")) if RATE in low else ()),
        *((f"if {_is_one_of(others)} and value < 0:", _raised("{name}", "must not be negative")) if others else ()),
        *((f"if {_is_one_of(high)} and value >= 1:", _raised("{name}", "must be below 1")) if high else ()),
        *((f"if {_is_one_of(sizes)} and (not isinstance(value, int) or value < 1):", _raised("{name}", SIZE)) if sizes else ()),
    )


def _is_one_of(names: Sequence[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"name in ({quoted})" if len(names) > 1 else f"name == {quoted}"


def _raised(name: str, what: str) -> str:
    return f'    raise ValueError(f"{name} {what}, but it is {{value}}")'


def _docstring(program: Program, has_matmul_dtype: bool) -> Lines:
    model = program.model
    lines = ["Takes the parameters first (tensors or groups of them), then by keyword, also for each group apart:"]
    lines += [f"    {item.name} = {float(item.default)!r}" for item in program.hyperparameters]
    lines += [f"    {item.name} = {item.default}" for item in free_dims(model)]
    if model.moves_matrices:
        products = " Their products are in `matmul_dtype`, by default in the dtype of the state." if has_matmul_dtype else ""
        lines += [f"Takes matrices alone.{products}"]
    if any(item.name == RATE for item in program.hyperparameters):
        lines += ["Groups keep the learning rate as `lr`, which is what torch's schedulers change."]
    lines += ['A gradient that is not finite stops a step with `nonfinite="raise"`, passes it over with "skip"; both wait for the device.']
    if contexts_of(model):
        lines += ["Needs the data of the layers of its weights: `attach(module)` before the forward pass, or `record(...)` after it."]
    carried = [slot.name for slot in program.slots if not slot.counts]
    if carried:
        lines += [f"State of each parameter, in its dtype or float32, whichever is wider: {prose(', '.join(carried))}."]
    if len(carried) < len(program.slots):
        lines += ["Each parameter counts the steps at which it had a gradient."]
    return class_docstring(model, "a torch optimizer", lines)
