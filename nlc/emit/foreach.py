"""An optimizer's equations -> statements over lists of tensors, one entry for each parameter of a group.

A new state that is `number * old state + number * x + ...` is written in place, by torch's multi-tensor functions. Anything else is
a comprehension over the tensors. Sums over all weights (`inner`) are taken over the whole group first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nlc.emit.layout import STEP, WIDTH, Lines
from nlc.emit.names import LocalNames
from nlc.emit.pieces import WEIGHTS, Piece
from nlc.emit.prose import wrapped
from nlc.emit.torch_printer import TorchPrinter, unwritable
from nlc.ir.algebra import ONE, Add, Dot, Expr, Named, Scale, State, Sum, Times, When, contains, walk
from nlc.ir.build import replace, scale
from nlc.ir.law import Equation
from nlc.ir.program import Program
from nlc.ir.show import expression_text

INDENT = 8


@dataclass(slots=True)
class Update:
    """The body of an optimizer's update. `lists` and `scalars` say by which variable a value is known; they grow line by line."""

    program: Program
    names: LocalNames
    weights: str
    lists: dict[Expr, str]
    scalars: dict[Expr, Piece] = field(default_factory=dict)

    def lines(self) -> Iterator[Lines]:
        """The equations of every law, in order."""
        equations = [(law.component, equation) for law in self.program.laws.laws for equation in law.equations]
        for place, (component, equation) in enumerate(equations):
            value = equation.value
            for part in dict.fromkeys(part for part in reversed(list(walk(value))) if _is_total(part)):
                yield self._total(part)
            value = replace(value, lambda node: _placeholder(node) if _is_total(node) else None)
            if equation.part is None:
                yield self._abbreviation(equation.name, value)
            else:
                later = [item.value for _, item in equations[place + 1 :]]
                yield from self._new_state(component, equation, value, later)

    # --- one equation ------------------------------------------------------------------------------------------------

    def _total(self, node: Expr) -> Lines:
        """A sum over the group: a tensor of one number."""
        local = self.names.new("total")
        inside = replace(node, lambda part: _placeholder(part) if part != node and _is_total(part) else None)
        self.scalars[_placeholder(node)] = Piece(local)
        return (f"{local} = torch.stack({self._each(inside)}).sum()",)

    def _abbreviation(self, name: str, value: Expr) -> Lines:
        node, local = Named(name, value.shape), self.names.new(name)
        if value.shape == WEIGHTS:
            lines = _comprehension(local, self._each(value))
            self.lists[node] = local
            return lines
        number = self._printer().number(value)
        text = self._printer().text(value) if number is None else number
        self.scalars[node] = Piece(local, rank=0 if number is None else None)
        return (f"{local} = {text}",)

    def _new_state(self, component: str, equation: Equation, value: Expr, later: list[Expr]) -> Iterator[Lines]:
        assert equation.part is not None, equation
        old = State(component, equation.part, WEIGHTS, When.PREVIOUS)
        variable = self.lists[old]
        yield tuple(f"# {line}" for line in wrapped(f"{equation.name} = {expression_text(equation.value)}", 128))
        if any(contains(item, lambda part: part == old) for item in later):
            self.lists[old] = self.names.new(f"previous_{variable}")
            yield (f"{self.lists[old]} = [x.clone() for x in {variable}]",)
        in_place = self._in_place(variable, value, old)
        if in_place is not None:
            yield in_place
        else:
            new = self.names.new(f"new_{variable}")
            yield _comprehension(new, self._each(value))
            yield (f"torch._foreach_copy_({variable}, {new})",)
        self.lists[State(component, equation.part, WEIGHTS, When.CURRENT)] = variable
        self.lists[Named(equation.name, WEIGHTS)] = variable

    def _in_place(self, variable: str, value: Expr, old: Expr) -> Lines | None:
        """The statements for `number * old + number * x + ...`; None when the value has another form."""
        terms = [_factored(term) for term in (value.terms if isinstance(value, Add) else (value,))]
        kept = [coefficient for coefficient, core in terms if core == old]
        added = [self._added(variable, coefficient, core) for coefficient, core in terms if core != old]
        if len(kept) != 1 or any(line is None for line in added):
            return None
        number = self._printer().number(kept[0])
        if number is None:
            return None
        scaled = () if kept[0] == ONE else (f"torch._foreach_mul_({variable}, {number})",)
        return (*scaled, *(line for line in added if line is not None))

    def _added(self, variable: str, coefficient: Expr, core: Expr) -> str | None:
        number = self._printer().number(coefficient)
        match core:
            case _ if number is None:
                return None
            case Times(left, right) if left in self.lists and right in self.lists:
                weight = "" if coefficient == ONE else f", value={number}"
                return f"torch._foreach_addcmul_({variable}, {self.lists[left]}, {self.lists[right]}{weight})"
            case _ if core in self.lists:
                weight = "" if coefficient == ONE else f", alpha={number}"
                return f"torch._foreach_add_({variable}, {self.lists[core]}{weight})"
        return None

    # --- printing ----------------------------------------------------------------------------------------------------

    def _printer(self) -> TorchPrinter:
        return TorchPrinter(self._leaf, self.weights)

    def _leaf(self, node: Expr) -> Piece:
        """Inside a comprehension an entry is called as its list; `_each` binds the lists that a text needs."""
        if node in self.scalars:
            return self.scalars[node]
        if node in self.lists:
            return Piece(self.lists[node])
        raise unwritable(node)

    def _each(self, value: Expr) -> str:
        """The list of a value's entries."""
        used = list(dict.fromkeys(self.lists[part] for part in walk(value) if part in self.lists))
        text = self._printer().text(value)
        if (self.weights not in used and f"{self.weights}." in text) or not used:
            used.append(self.weights)
        entries = used[0] if len(used) == 1 else f"zip({', '.join(used)}, strict=True)"
        return f"[{text} for {', '.join(used)} in {entries}]"


def _is_total(node: Expr) -> bool:
    """Whether a node sums over all weights."""
    return (isinstance(node, Dot) and node.left.shape == WEIGHTS) or (isinstance(node, Sum) and node.x.shape == WEIGHTS)


def _placeholder(node: Expr) -> Named:
    return Named(f"total of {expression_text(node)}", ())


def _factored(term: Expr) -> tuple[Expr, Expr]:
    """All scalar factors of a term, multiplied, and what is left."""
    match term:
        case Scale(by, x):
            coefficient, core = _factored(x)
            return scale(by, coefficient), core
    return ONE, term


def _comprehension(local: str, text: str) -> Lines:
    """`local = [element for ... in ...]` on one line, or its two parts on a line each."""
    line = f"{local} = {text}"
    if len(line) + INDENT <= WIDTH:
        return (line,)
    element, _, clause = text[1:-1].rpartition(" for ")
    return (f"{local} = [", f"{STEP}{element}", f"{STEP}for {clause}", "]")
