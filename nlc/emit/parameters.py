"""The slow levels of a program -> parameters of its module: how they are made, and under which variables a tick reads them."""

from __future__ import annotations

from nlc.emit.dims import dim_text
from nlc.emit.layout import Lines
from nlc.emit.names import LocalNames
from nlc.emit.scope import Sequence, leaf
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Convolve, Expr, Parameter, walk
from nlc.ir.model import Family
from nlc.ir.program import StateSlot


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
    return dim_text(slot.shape[place])


def reset_parameters(sequence: Sequence) -> Lines:
    """The body of `reset_parameters`: given starts, vectors of zeros, and matrices as `nn.Linear` draws them, kernels as `nn.Conv1d`."""
    lines = []
    nodes = {node for value in sequence.program.laws.values for node in walk(value) if isinstance(node, Convolve)}
    kernels = {node.kernel.component for node in nodes if isinstance(node.kernel, Parameter)}
    for slot in sequence.program.parameters:
        name = f"self.{parameter_attribute(slot)}"
        if slot.start is not None:
            start = TorchPrinter(lambda node: leaf(node, {}), "like").number(slot.start)
            assert start is not None, slot
            lines.append(f"nn.init.constant_({name}, {start})")
        elif len(slot.shape) < 2:
            lines.append(f"nn.init.zeros_({name})")
        else:
            added = _size(sequence, slot, 0 if slot.component in kernels else 1)
            bound = f"{added} ** -0.5" if " " in added else f"{added}**-0.5"
            lines.append(f"nn.init.uniform_({name}, -({bound}), {bound})")
    return tuple(lines)


def parameter_values(value: Expr) -> dict[Expr, str]:
    """The attributes of the parameters in an expression."""
    parameters = (node for node in walk(value) if isinstance(node, Parameter))
    return {node: "self." + (f"{node.component}.{node.part}" if node.part else node.component).replace(".", "_") for node in parameters}


def read_parameters(sequence: Sequence, dtype: str, names: LocalNames, values: dict[Expr, str]) -> list[Lines]:
    """The parameters that a tick reads, in the dtype of its arithmetic; `values` learns their variables."""
    laws = sequence.program.laws
    used = {(node.component, node.part) for value in laws.values for node in walk(value) if isinstance(node, Parameter)}
    slots = [slot for slot in sequence.program.parameters if (slot.component, slot.part) in used]
    lines: list[Lines] = []
    for slot in slots:
        name = parameter_attribute(slot)
        variable = values[Parameter(slot.component, slot.part, slot.shape)] = names.new(name)
        lines.append((f"{variable} = self.{name}.to({dtype})",))
    return lines
