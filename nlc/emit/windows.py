"""Levels that are solved over a window -> code: new data behind those kept, their ages, and equations with a dim for data.

At one token a value at every datum is (batch, datum, *axes, *shape). Over a sequence it is (batch, query, datum, *axes, *shape), where
products of a query and a datum, and means of data, are einsums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from nlc.emit.layout import Lines, assignment
from nlc.emit.names import LocalNames
from nlc.emit.pieces import ATOM, Piece, wrapped
from nlc.emit.scope import Sequence, printer_of
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Age, Dot, Expr, Named, Now, Scale, State, Window, WindowSoftmax, WindowSum, contains
from nlc.ir.law import POSITION, Equation
from nlc.ir.program import StateSlot

Equations = tuple[Equation, ...]


@dataclass(frozen=True, slots=True)
class WindowPrinter(TorchPrinter):
    """A printer of expressions over data, whose dim is `along`; `there` says, as code, which of them a query sees (empty for all)."""

    along: int = 1
    there: str = ""

    def piece(self, node: Expr) -> Piece:
        """The code of a node, as broadcasting leaves it."""
        is_table = self.along == 2
        match node:
            case Window() if is_table:
                return Piece(f"{self._datum(node)}.unsqueeze(1)", ATOM, len(node.shape))
            case Now(x):
                piece = TorchPrinter.piece(self, x)
                return (
                    piece if piece.rank is None else Piece(f"{wrapped(piece, ATOM)}.unsqueeze({self.along})", ATOM, piece.rank, piece.full)
                )
            case WindowSoftmax(x):
                seen = f".masked_fill(~{self.there}, -torch.inf)" if self.there else ""
                return Piece(f"{self.atom(x)}{seen}.softmax({self.along})")
            case WindowSum(Scale(Named() as weight, Window(shape=(_,)) as value)) if is_table:
                return Piece(f'torch.einsum("bts...,bs...d->bt...d", {self.text(weight)}, {self._datum(value)})', ATOM, 1)
            case WindowSum(x):
                return Piece(f"{self.atom(x)}.sum({self.along})", ATOM, len(node.shape))
            case Dot(Window(shape=(_,)) as datum, Now(query)) | Dot(Now(query), Window(shape=(_,)) as datum) if is_table:
                return Piece(f'torch.einsum("bt...d,bs...d->bts...", {self.text(query)}, {self._datum(datum)})')
        return TorchPrinter.piece(self, node)

    def _datum(self, node: Expr) -> str:
        return TorchPrinter.piece(self, node).text


def window_slots(sequence: Sequence, component: str) -> tuple[StateSlot, ...]:
    """What is kept of a level's window."""
    return tuple(slot for slot in sequence.program.slots if slot.component == component and slot.window is not None)


def lengthened(
    sequence: Sequence, component: str, new: dict[str, str], names: LocalNames, start: str, values: dict[Expr, str]
) -> Iterator[Lines]:
    """A line for each stream of a window: the data kept in the state `start`, then those that are `new`; `values` learns the variables."""
    for slot in window_slots(sequence, component):
        variable = names.new(f"{slot.part}_window", component)
        values[Window(component, slot.part, slot.shape)] = variable
        kept = sequence.carried(start, component, slot.part)
        yield assignment(variable, [f"torch.cat(({kept}, {new[slot.part]}), 1)"], 12)


def equation_lines(
    equations: Equations, component: str, printer: WindowPrinter, names: LocalNames, values: dict[Expr, str], last: str
) -> Iterator[Lines]:
    """The equations of such a level, a line each; the last value goes to the variable `last`.

    Data that a query does not see weigh nothing: a softmax leaves them out itself, other weights are set to zero.
    """
    has_softmax = any(contains(equation.value, lambda node: isinstance(node, WindowSoftmax)) for equation in equations)
    for equation in equations:
        terms = printer.terms(equation.value)
        if equation is equations[0] and not has_softmax:
            number = printer.number(equation.value)
            weight = " ".join(terms) if number is None else f"torch.full_like({values[Age()]}, {number})"
            terms = (f"torch.where({printer.there}, {weight}, 0)" if printer.there else weight,)
        local = last if equation is equations[-1] else names.new(equation.name, component)
        yield assignment(local, terms, 12)
        values[Named(equation.name, equation.value.shape)] = local


def needs_age(sequence: Sequence, component: str, equations: Equations) -> bool:
    """Whether the ages of data are asked for: by an equation, by a window that is not full yet, or by data that all weigh the same."""
    is_asked = any(contains(equation.value, lambda node: isinstance(node, Age)) for equation in equations)
    is_even = not contains(equations[0].value, lambda node: isinstance(node, Window | Now))
    return is_asked or is_even or window_slots(sequence, component)[0].window != "all"


def at_step(sequence: Sequence, component: str, equations: Equations, names: LocalNames, values: dict[Expr, str]) -> Iterator[Lines]:
    """A level that is solved over a window, at one token; `values` learns its value and what is kept."""
    new = {}
    for item in sequence.program.laws.kept:
        if item.component == component and item.window is not None:
            kept, text = sequence.carried("state", component, item.part), printer_of(sequence, values).atom(item.value)
            if not sequence.spans_axes(item.value):
                text = f"{text}.expand({kept}.shape[0], *{kept}.shape[2:])"
            new[item.part] = f"{text}.unsqueeze(1)"
    yield from lengthened(sequence, component, new, names, "state", values)
    slots, there = window_slots(sequence, component), ""
    data = values[Window(component, slots[0].part, slots[0].shape)]
    if needs_age(sequence, component, equations):
        values[Age()] = names.new("age", component)
        ages = f"torch.arange({data}.shape[1] - 1, -1, -1, dtype={data}.dtype, device={data}.device)"
        yield assignment(values[Age()], [f"{ages}{subscript(sequence, 'None, :')}"], 12)
    if slots[0].window != "all":
        there = names.new("there", component)
        yield (f"{there} = {values[Age()]} < {values[State(POSITION, '', ())]}",)
    last = names.new(equations[-1].name, component)
    yield from equation_lines(equations, component, over_data(printer_of(sequence, values), 1, there), names, values, last)
    values[State(component, equations[-1].part or "", equations[-1].value.shape)] = last


def over_data(printer: TorchPrinter, along: int, there: str) -> WindowPrinter:
    """The same printer, for expressions over data."""
    given = {item.name: getattr(printer, item.name) for item in fields(TorchPrinter)}
    return WindowPrinter(**given, along=along, there=there)


def kept_window(slot: StateSlot, variable: str) -> str:
    """What the next token still sees of a window, after one token."""
    return variable if slot.window == "all" else f"{variable}[:, 1:]"


def subscript(sequence: Sequence, first: str) -> str:
    """A subscript that adds a dim of size 1 for each axis."""
    return f"[{', '.join((first, *('None' for _ in sequence.model.axes)))}]" if sequence.model.axes else "[None]"
