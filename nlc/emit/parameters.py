"""The slow levels of a program -> parameters of its module: how they are made, and under which variables a tick reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from nlc.emit.layout import WIDTH, Lines, call
from nlc.emit.names import LocalNames
from nlc.emit.scope import Sequence, leaf
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Expr, Eye, Parameter, walk
from nlc.ir.model import Family
from nlc.ir.program import StateSlot

INDENT = 12
"""Of what a method reads."""


def parameter_attribute(slot: StateSlot) -> str:
    """`project.W` is kept as `project_W`."""
    return slot.name.replace(".", "_")


def made_parameters(sequence: Sequence) -> list[Lines]:
    """The lines of the constructor that make the parameters; what never moves asks for no gradient."""
    lines: list[Lines] = []
    for slot in sequence.program.parameters:
        sizes = ", ".join(_size(sequence, slot, place) for place in range(len(slot.shape)))
        frozen = ", requires_grad=False" if sequence.model.component(slot.component).every.family is Family.NEVER else ""
        lines.append((f"self.{parameter_attribute(slot)} = nn.Parameter(torch.empty({sizes or '()'}){frozen})",))
    return [*lines, ("self.reset_parameters()",)] if lines else []


def _size(sequence: Sequence, slot: StateSlot, place: int) -> str:
    return sequence.size(slot.shape[place])


def reset_parameters(sequence: Sequence) -> Lines:
    """The body of `reset_parameters`: given starts, vectors of zeros, matrices as `nn.Linear` draws them, and kernels as `nn.Conv1d`."""
    return reset_slots(sequence, sequence.program.parameters)


def reset_slots(sequence: Sequence, slots: tuple[StateSlot, ...]) -> Lines:
    """The lines that give some slow levels their start."""
    groups = [list(group) for _, group in groupby(_by_start(slots), lambda slot: _reset(sequence, slot, "weight"))]
    return tuple(line for group in groups for line in _reset_group(sequence, group))


def _reset_group(sequence: Sequence, group: list[StateSlot]) -> Lines:
    """One after the other, or in a loop where several start alike."""
    names = [f"self.{parameter_attribute(slot)}" for slot in group]
    if len(names) < 3 or len(lines := _reset(sequence, group[0], "weight")) > 1:
        return tuple(line for slot, name in zip(group, names, strict=True) for line in _reset(sequence, slot, name))
    return (*call("for weight in ", names, ":", 8), f"    {lines[0]}")


def _reset(sequence: Sequence, slot: StateSlot, name: str) -> Lines:
    if slot.start is not None:
        values = parameter_values(slot.start)
        printer = TorchPrinter(lambda node: leaf(node, values), name, dim=sequence.size)
        if (number := printer.number(slot.start)) is not None:
            return (f"nn.init.constant_({name}, {number})",)
        if isinstance(slot.start, Eye):
            return (f"nn.init.eye_({name})",)
        return ("with torch.no_grad():", f"    {name}.copy_({printer.text(slot.start)})")
    if len(slot.shape) < 2:
        return (f"nn.init.zeros_({name})",)
    size = _size(sequence, slot, 0 if sequence.program.is_kernel(slot) else 1)
    bound = f"({size}) ** -0.5" if " " in size else f"{size}**-0.5"
    return (f"nn.init.uniform_({name}, -({bound}), {bound})",)


def _by_start(slots: tuple[StateSlot, ...]) -> list[StateSlot]:
    """The slow levels in order, but each after those that it starts from."""
    found: list[StateSlot] = []
    waiting = list(slots)
    while waiting:
        names = {(slot.component, slot.part) for slot in waiting}
        ready = next(slot for slot in waiting if slot.start is None or names.isdisjoint(_read(slot.start)))
        waiting.remove(ready)
        found.append(ready)
    return found


def _read(start: Expr) -> set[tuple[str, str]]:
    return {(node.component, node.part) for node in walk(start) if isinstance(node, Parameter)}


def parameter_values(value: Expr) -> dict[Expr, str]:
    """The attributes of the parameters in an expression."""
    parameters = (node for node in walk(value) if isinstance(node, Parameter))
    return {node: "self." + (f"{node.component}.{node.part}" if node.part else node.component).replace(".", "_") for node in parameters}


def read_parameters(sequence: Sequence, dtype: str, names: LocalNames, values: dict[Expr, str]) -> list[Lines]:
    """The parameters that a tick reads, in the dtype of its arithmetic; `values` learns their variables."""
    return read_used(sequence, sequence.program.laws.values, dtype, names, values)


def read_used(sequence: Sequence, expressions: Iterable[Expr], dtype: str, names: LocalNames, values: dict[Expr, str]) -> list[Lines]:
    """The parameters that some expressions read."""
    used = {(node.component, node.part) for value in expressions for node in walk(value) if isinstance(node, Parameter)}
    slots = [slot for slot in sequence.program.parameters if (slot.component, slot.part) in used]
    variables: dict[str, str] = {}
    for slot in slots:
        attribute = f"self.{parameter_attribute(slot)}"
        variables[attribute] = values[Parameter(slot.component, slot.part, slot.shape)] = names.new(parameter_attribute(slot))
    lines: list[Lines] = []
    if len(variables) > 2 and not dtype.isidentifier():
        wide = names.new("wide")
        lines.append((f"{wide} = {dtype}",))
        dtype = wide
    return [*lines, *((line,) for line in _converted(variables, dtype))]


def _converted(variables: Mapping[str, str], dtype: str) -> Iterator[str]:
    """Each variable as its attribute in a dtype, as many on a line as there is room for."""
    line, together = "", dict[str, str]()
    for attribute, variable in variables.items():
        together[attribute] = variable
        longer = _conversion(together, dtype)
        if len(together) > 1 and len(longer) > WIDTH - INDENT:
            yield line
            together = {attribute: variable}
            longer = _conversion(together, dtype)
        line = longer
    if line:
        yield line


def _conversion(variables: Mapping[str, str], dtype: str) -> str:
    targets, attributes = ", ".join(variables.values()), ", ".join(variables)
    converted = f"{attributes}.to({dtype})" if len(variables) == 1 else f"(weight.to({dtype}) for weight in ({attributes}))"
    return f"{targets} = {converted}"
