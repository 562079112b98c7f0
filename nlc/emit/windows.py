"""Levels that are solved over a window -> code: new data behind those kept, their ages, and equations with a dim for data.

At one token a value at every datum is (batch, datum, *axes, *shape). Over a sequence it is (batch, query, datum, *axes, *shape), where
products of a query and a datum, and means of data, are einsums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from nlc.emit.layout import WIDTH, Lines, assignment, packed
from nlc.emit.names import LocalNames
from nlc.emit.pieces import ATOM, Piece, wrapped
from nlc.emit.scope import Sequence, printer_of
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Age, Dot, Expr, Named, Now, Scale, State, Window, WindowMean, WindowSoftmax, WindowSum, contains
from nlc.ir.build import scale, window_sum
from nlc.ir.law import POSITION, Equation, Law
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
    sequence: Sequence, component: str, new: dict[str, str], names: LocalNames, start: str, values: dict[Expr, str], indent: int = 12
) -> Iterator[Lines]:
    """A line for each stream of a window: the data kept in the state `start`, then those that are `new`; `values` learns the variables."""
    for slot in window_slots(sequence, component):
        variable = names.new(f"{slot.part}_window", component)
        values[Window(component, slot.part, slot.shape)] = variable
        kept = sequence.carried(start, component, slot.part)
        yield assignment(variable, [f"torch.cat(({kept}, {new[slot.part]}), 1)"], indent)


@dataclass(frozen=True, slots=True)
class Solving:
    """The equations of such a level in the making; `values` has the variables of its data, and learns those of equations."""

    sequence: Sequence
    component: str
    names: LocalNames
    values: dict[Expr, str]
    indent: int = 12

    def lines(self, equations: Equations, printer: WindowPrinter, last: str) -> Iterator[Lines]:
        """A line for each equation; the last value goes to the variable `last`.

        Data that a query does not see weigh nothing: a softmax leaves them out itself, other weights are set to zero.
        """
        has_softmax = any(contains(equation.value, lambda node: isinstance(node, WindowSoftmax | WindowMean)) for equation in equations)
        for equation in equations:
            if isinstance(equation.value, WindowMean):
                yield from self._mean(equation.value, {item.name: item.value for item in equations}, printer, last)
                continue
            terms = printer.terms(equation.value)
            if equation is equations[0] and not has_softmax:
                number = printer.number(equation.value)
                weight = " ".join(terms) if number is None else f"torch.full_like({self.values[Age()]}, {number})"
                terms = (f"torch.where({printer.there}, {weight}, 0)" if printer.there else weight,)
            local = last if equation is equations[-1] else self.names.new(equation.name, self.component)
            yield assignment(local, terms, self.indent)
            self.values[Named(equation.name, equation.value.shape)] = local

    def _mean(self, mean: WindowMean, told: Mapping[str, Expr], printer: WindowPrinter, target: str) -> Iterator[Lines]:
        """The mean over several pairs: one softmax of all scores, of which every pair has its part; `told` says what scores are."""
        along, scores = printer.along, self.names.new("scores", self.component)
        weights = [self.names.new(_word(score, "weight"), self.component) for score in mean.scores]
        yield packed(scores, [self._of_all(score, told, printer) for score in mean.scores], self.indent)
        parts = f"torch.split(torch.cat({scores}, {along}).softmax({along}), [x.shape[{along}] for x in {scores}], {along})"
        yield assignment(", ".join(weights), [parts], self.indent)
        terms: list[str] = []
        for weight, (score, value) in zip(weights, mean.pairs, strict=True):
            share = Named(weight, ())
            self.values[share] = weight
            lasting = f"{weight}.movedim({along}, -1) @ {printer.atom(value)}" if score.shape else ""
            text = lasting or printer.text(window_sum(scale(share, value)))
            terms.append(f"+ {text}" if terms else text)
        yield assignment(target, terms, self.indent)

    def _of_all(self, score: Expr, told: Mapping[str, Expr], printer: WindowPrinter) -> str:
        """A score with a dim for data in its place, and no weight where a query does not see the datum."""
        if not score.shape:
            return f"{printer.atom(score)}{f'.masked_fill(~{printer.there}, -torch.inf)' if printer.there else ''}"
        text = f"{printer.atom(score)}.transpose({printer.along}, -1).squeeze(-1)"
        if self.sequence.spans_axes(told.get(_word(score), score)):
            return text
        data = next(local for node, local in self.values.items() if isinstance(node, Window) and node.component == self.component)
        return f"{text}.expand({'-1, ' * (printer.along + 1)}*{data}.shape[2:-1])"


def _word(score: Expr, instead: str = "score") -> str:
    """What a score is called, or what comes of it."""
    return score.name.replace("score", instead) if isinstance(score, Named) else instead


def needs_age(sequence: Sequence, component: str, equations: Equations) -> bool:
    """Whether the ages of data are asked for: by an equation, by a window that is not full yet, or by data that all weigh the same."""
    is_asked = any(contains(equation.value, lambda node: isinstance(node, Age)) for equation in equations)
    is_even = not contains(equations[0].value, lambda node: isinstance(node, Window | Now))
    return is_asked or is_even or window_slots(sequence, component)[0].window != "all"


def at_step(sequence: Sequence, law: Law, names: LocalNames, values: dict[Expr, str], indent: int = 12) -> Iterator[Lines]:
    """A level that is solved over a window, at one token; `values` learns its value and what is kept."""
    component, equations, new = law.component, law.without_words, {}
    for item in sequence.program.laws.kept:
        if item.component == component and item.window is not None:
            kept, text = sequence.carried("state", component, item.part), printer_of(sequence, values).atom(item.value)
            if not sequence.spans_axes(item.value):
                text = f"{text}.expand({kept}.shape[0], *{kept}.shape[2:])"
            new[item.part] = f"{text}.unsqueeze(1)"
    yield from lengthened(sequence, component, new, names, "state", values, indent)
    slots, there = window_slots(sequence, component), ""
    data = values[Window(component, slots[0].part, slots[0].shape)]
    if needs_age(sequence, component, equations):
        age = values[Age()] = names.new("age", component)
        ages, shaped = (
            f"torch.arange({data}.shape[1] - 1, -1, -1, dtype={data}.dtype, device={data}.device)",
            subscript(sequence, "None, :"),
        )
        line = f"{age} = {ages}{shaped}"
        yield (line,) if len(line) <= WIDTH - indent else (f"{age} = {ages}", f"{age} = {age}{shaped}")
    if slots[0].window != "all":
        there, segment = names.new("there", component), sequence.model.component(component).segment
        position = values[State(POSITION, "", ())]
        yield (f"{there} = {values[Age()]} < {f'({position} - 1) % {segment} + 1' if segment else position}",)
    last = names.new(equations[-1].name, component)
    printer = over_data(printer_of(sequence, values), 1, there)
    yield from Solving(sequence, component, names, values, indent).lines(equations, printer, last)
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
