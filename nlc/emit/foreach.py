"""An optimizer's equations -> statements over lists of tensors, one entry for each parameter that moves with the others.

What torch's multi-tensor functions can do is done by them, in place wherever a list is the update's own (`multi_tensor`). Anything else
is a comprehension over the tensors. Sums over all weights (`inner`) are taken over the whole list first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace as with_changes
from types import MappingProxyType

from nlc.emit.dims import dim_text
from nlc.emit.layout import STEP, WIDTH, Lines, assignment, indented, operands
from nlc.emit.list_printer import ListPrinter
from nlc.emit.multi_tensor import MultiTensor
from nlc.emit.names import LocalNames
from nlc.emit.pieces import WEIGHTS, Piece
from nlc.emit.prose import wrapped
from nlc.emit.stacked import SIDES, Stacked, as_entries, groups_of, has_products, is_gathered, needs_stack
from nlc.emit.torch_printer import TorchPrinter, unwritable
from nlc.emit.written_out import when_due, written_out
from nlc.ir.algebra import Dot, Due, Expr, Eye, Full, Input, Named, Size, State, Sum, Tick, When, Where, children, walk
from nlc.ir.build import rebuild, replace, shaped
from nlc.ir.contexts import contexts_of, number_of_data
from nlc.ir.dims import MATRIX, ROWS
from nlc.ir.law import POSITION, PREVIOUS, Equation, Kept, Law, Reset
from nlc.ir.model import Component
from nlc.ir.program import Program
from nlc.ir.show import expression_text

INDENT = 8


@dataclass(slots=True)
class Update:
    """The body of an optimizer's update. `lists` and `scalars` say by which variable a value is known; they grow line by line.

    `step` is the variable with the number of this step, if steps are counted. `told` are the equations that stand above the lines of one,
    `moving` the lists that become new states whose old ones are remembered. `part` numbers the updates inside a step, `sides` are the
    variables of rows and columns, and of dims.
    """

    program: Program
    names: LocalNames
    weights: str
    lists: dict[Expr, str]
    scalars: dict[Expr, Piece] = field(default_factory=dict)
    step: str = ""
    told: dict[str, tuple[str, ...]] = field(default_factory=dict)
    moving: dict[Expr, str] = field(default_factory=dict)
    part: str = ""
    sides: dict[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[Lines]:
        """The equations of every law, in order; then what is kept for the next step."""
        if self.program.model.updates_per_tick > 1:
            self.part = self.names.new("part")
        self.scalars |= {Tick(item.name): self._count(item) for item in self.program.model.components}
        yield from self._sizes()
        groups = groups_of(self.program.laws.laws)
        waiting = list(self.program.laws.resets)
        kept = [item.value for item in self.program.laws.kept if item.component == PREVIOUS]
        yield from self._begin_again(waiting, groups)
        for place, group in enumerate(groups):
            later = [equation.value for rest in groups[place + 1 :] for law in rest for equation in law.equations]
            yield from self._group(group, [*later, *(item.value for item in waiting), *kept], waiting)
            yield from self._begin_again(waiting, groups)
        for item in self.program.laws.kept:
            yield from self._kept(item)

    def _group(self, laws: Sequence[Law], later: list[Expr], waiting: list[Reset]) -> Iterator[Lines]:
        """Levels that move one after another, or together several times a step."""
        if any(needs_stack(law) for law in laws):
            own = [item for item in waiting if item.is_always and any(item.state.component == law.component for law in laws)]
            for law in laws:
                yield from self._remembered(law, (), later)
            due = f"{self.step} % {laws[0].clock.period} == 0" if laws[0].clock.period > 1 else ""
            sums = [variable for law in laws for variable in self._sums(law)]
            yield from Stacked(self.names, self.lists, self.scalars, self.sides, self.moving, due, sums).lines(laws, own, later)
            waiting[:] = [item for item in waiting if item not in own]
            return
        body = [line for law in laws for line in self._law(_law_of_entries(law), later)]
        updates = laws[0].clock.updates_per_tick
        if updates == 1:
            yield from body
        else:
            is_counted = any(isinstance(node, Tick) for law in laws for value in _values(law.equations) for node in walk(value))
            yield (f"for {self.part if is_counted else '_'} in range({updates}):", *indented([line for lines in body for line in lines]))

    def _sizes(self) -> Iterator[Lines]:
        """Rows and columns, which all matrices of one update share, as far as the laws ask for them."""
        number = number_of_data(self.program.model)
        nodes = [node for value in self.program.laws.values for node in walk(value)]
        dims = [node.dim if isinstance(node, Size) else node.shape[0] for node in nodes if isinstance(node, Size | Eye)]
        if number and any(number in dim.names for dim in dims):
            self.sides[number] = self.names.new(number)
            data = next(self.lists[Input(stream.name, stream.shape)] for stream in contexts_of(self.program.model))
            yield (f"{self.sides[number]} = len({data}[0])",)
        found = {side: self.names.new(word) for side, word in SIDES if any(side in dim.names for dim in dims)}
        self.sides |= found
        if len(found) == 2:
            yield (f"{', '.join(found.values())} = {self.weights}[0].shape",)
        for side, variable in found.items() if len(found) == 1 else ():
            yield (f"{variable} = {self.weights}[0].shape[{0 if side == str(ROWS) else 1}]",)

    # --- time --------------------------------------------------------------------------------------------------------

    def _count(self, component: Component) -> Piece:
        """`tick`: the number of the update of a level that this step belongs to, since its last reset."""
        reset, period = component.reset, component.every.period
        is_reset = reset is not None and reset.is_counted
        seen = f"({self.step} - 1) % {reset.period}" if reset is not None and is_reset else f"({self.step} - 1)"
        if period > 1:
            return Piece(f"({seen} // {period} + 1)", rank=None)
        if period < 1:
            return Piece(f"({seen} * {component.every.updates_per_tick} + {self.part} + 1)", rank=None)
        return Piece(f"({seen} + 1)" if is_reset else self.step, rank=None)

    def _begin_again(self, waiting: list[Reset], groups: Sequence[Sequence[Law]]) -> Iterator[Lines]:
        """The states that start again with this step, as soon as what they start from is known; those of stacks start there."""
        stacked = {law.component for laws in groups if any(map(needs_stack, laws)) for law in laws}
        for item in list(waiting):
            starts_here = not (item.is_always and item.state.component in stacked)
            if starts_here and all(as_entries(source) in self.lists for source in item.sources):
                waiting.remove(item)
                yield from self._reset(item)

    def _reset(self, reset: Reset) -> Iterator[Lines]:
        if has_products(reset.value):
            raise unwritable(reset.value)
        item = with_changes(reset, value=entries_of(reset.value))
        state = State(item.state.component, item.state.part, WEIGHTS, When.PREVIOUS)
        yield from _comment(f"{item.state.component} starts from {expression_text(item.value)}")
        if item.is_always:
            variable = self.names.new(item.state.component)
            yield from self._value(variable, item.value)
            self.lists[state] = variable
            return
        variable = self.lists[state]
        known = self.lists.get(item.value)
        first = f"({self.step} - 1) % {item.period} == 0" if item.period else f"{self.step} == 1"
        new = known or self.names.new(f"{variable}_start")
        lines = (*(() if known else self._value(new, item.value)), (f"torch._foreach_copy_({variable}, {new})",))
        condition = first if item.at_start or not item.period else f"{self.step} > 1 and {first}"
        yield (f"if {condition}:", *indented([line for group in lines for line in group]))

    def _value(self, variable: str, value: Expr) -> Iterator[Lines]:
        """`variable` as a list of its own with this value."""
        made = self._multi().list_of(value, variable)
        if made is None:
            yield _comprehension(variable, self._each(value))
            return
        lines, result, is_own = made
        yield from ((line,) for line in lines)
        if not is_own:
            yield (f"{variable} = [x.clone() for x in {result}]",)
        elif result != variable:
            yield (f"{variable} = {result}",)

    def _kept(self, kept: Kept) -> Iterator[Lines]:
        """What is kept beside the states, but for sums of gradients, which are emptied where they are used."""
        item = with_changes(kept, value=entries_of(kept.value))
        if item.component == PREVIOUS:
            yield from _comment(f"{item.rule} at the next step")
            old, new = self.lists[Input(item.part, WEIGHTS, delayed=True)], self.lists[Input(item.part, WEIGHTS)]
            yield (f"torch._foreach_copy_({old}, {new})",)
        elif item.component != POSITION and not _is_emptied(item):
            raise unwritable(item.value)

    # --- laws --------------------------------------------------------------------------------------------------------

    def _law(self, law: Law, later: list[Expr]) -> Iterator[Lines]:
        """The equations of one level: what it gathers at every step, and what it does when it is due."""
        yield from self._remembered(law, law.equations, later)
        told = written_out(law.equations, of_matrices=self.program.model.moves_matrices)
        equations = tuple(item for item, _ in told)
        self.told |= {item.name: texts for item, texts in told}
        gathered = max((place + 1 for place, item in enumerate(equations) if is_gathered(item)), default=0)
        yield from self._equations(law, equations, range(gathered), later)
        after = list(self._equations(law, equations, range(gathered, len(equations)), later))
        period = int(law.clock.period) if law.clock.period > 1 else 0
        if not period:
            yield from after
            return
        body = [line for lines in after for line in lines] + [f"torch._foreach_zero_({variable})" for variable in self._sums(law)]
        yield (f"if {self.step} % {period} == 0:", *indented(body))

    def _sums(self, law: Law) -> Iterator[str]:
        """The lists of what a level gathers between its updates, which are emptied after one."""
        for item in self.program.laws.kept:
            if item.component == law.component and _is_emptied(item):
                yield self.lists[as_entries(State(item.component, item.part, item.value.shape, When.PREVIOUS))]

    def _remembered(self, law: Law, within: Sequence[Equation], later: Sequence[Expr]) -> Iterator[Lines]:
        """The states of a level that are read as they were, after it has moved: by equations after the one that moves them, and later."""
        for place, equation in enumerate(law.equations):
            if equation.part is None:
                continue
            old = as_entries(State(equation.owner or law.component, equation.part, equation.value.shape, When.PREVIOUS))
            if any(as_entries(node) == old for value in (*_values(within[place + 1 :]), *later) for node in walk(value)):
                self.moving[old] = self.lists[old]
                self.lists[old] = self.names.new(f"previous_{self.lists[old]}")
                yield (f"{self.lists[old]} = [x.clone() for x in {self.moving[old]}]",)

    def _equations(self, law: Law, equations: Sequence[Equation], places: range, later: list[Expr]) -> Iterator[Lines]:
        is_over_all = not self.program.model.moves_matrices  # an optimizer of matrices takes each by itself
        for place in places:
            equation = equations[place]
            value = when_due(equation.value)
            for part in dict.fromkeys(part for part in reversed(list(walk(value))) if is_over_all and _is_total(part)):
                yield self._total(part)
            value = replace(value, lambda node: _placeholder(node) if is_over_all and _is_total(node) else None)
            if equation.part is None:
                yield from self._abbreviation(equation.name, value)
            else:
                needed = [*(item.value for item in equations[place + 1 :]), *later]
                yield from self._new_state(law, equation, value, needed)

    def _total(self, node: Expr) -> Lines:
        """A sum over the group: a tensor of one number."""
        local = self.names.new("total")
        inside = replace(node, lambda part: _placeholder(part) if part != node and _is_total(part) else None)
        self.scalars[_placeholder(node)] = Piece(local)
        return (f"{local} = torch.stack({self._each(inside)}).sum()",)

    def _abbreviation(self, name: str, value: Expr) -> Iterator[Lines]:
        node, local = Named(name, value.shape), self.names.new(name)
        if value.shape == WEIGHTS:
            yield from self._comments(name)
            made = self._multi().list_of(value, local)
            if made is None:
                yield _comprehension(local, self._each(value))
            else:
                lines, local, _ = made
                yield from ((line,) for line in lines)
            self.lists[node] = local
            return
        if any(part in self.lists for part in walk(value)):  # a number for each tensor
            self.lists[node] = local
            yield from self._comments(name)
            yield _comprehension(local, self._each(value))
            return
        number = self._printer().number(value)
        self.scalars[node] = Piece(local, rank=0 if number is None else None)
        yield assignment(local, self._printer().terms(value) if number is None else [number], INDENT)

    def _new_state(self, law: Law, equation: Equation, value: Expr, later: list[Expr]) -> Iterator[Lines]:
        assert equation.part is not None, equation
        component = equation.owner or law.component
        old = State(component, equation.part, WEIGHTS, When.PREVIOUS)
        variable = self.moving.pop(old, self.lists[old])
        yield from self._comments(equation.name)
        in_place = self._multi().moved(variable, value, old)
        if in_place is not None:
            yield in_place
        else:
            new = self.names.new(f"new_{variable}")
            yield _comprehension(new, self._each(value))
            yield (f"torch._foreach_copy_({variable}, {new})",)
        self.lists[State(component, equation.part, WEIGHTS, When.CURRENT)] = variable
        self.lists[Named(equation.name, WEIGHTS)] = variable

    def _comments(self, name: str) -> Iterator[Lines]:
        for text in self.told[name]:
            yield from _comment(text)

    # --- printing ----------------------------------------------------------------------------------------------------

    def _multi(self) -> MultiTensor:
        return MultiTensor(self.names, self.lists, self._printer())

    def _printer(self, elements: Mapping[str, str] = MappingProxyType({})) -> TorchPrinter:
        """Writes expressions over lists, or, where `elements` says how those of a list are called, over their elements."""

        def leaf(node: Expr) -> Piece:
            if node in self.scalars:
                return self.scalars[node]
            if node in self.lists:
                return Piece(elements.get(self.lists[node], self.lists[node]))
            raise unwritable(node)

        return ListPrinter(
            leaf, elements.get(self.weights, self.weights), clamps=True, dim=lambda dim: dim_text(dim, self.sides.__getitem__)
        )

    def _each(self, value: Expr) -> str:
        """The list of a value's entries."""
        used = list(dict.fromkeys(self.lists[part] for part in walk(value) if part in self.lists))
        if (self.weights not in used and re.search(rf"\b{self.weights}\b", self._printer().text(value))) or not used:
            used.append(self.weights)
        elements = self.names.letters(used) if len(used) > 1 else {used[0]: "x"}
        entries = used[0] if len(used) == 1 else f"zip({', '.join(used)}, strict=True)"
        return f"[{self._printer(elements).text(value)} for {', '.join(elements.values())} in {entries}]"


def entries_of(node: Expr) -> Expr:
    """An expression without products of matrices over the entries of the weights, whatever their rank."""
    parts = tuple(entries_of(part) for part in children(node))
    flat = shaped(node, WEIGHTS) if node.shape == MATRIX else node
    return rebuild(flat, parts) if parts else flat


def _values(equations: Sequence[Equation]) -> Iterator[Expr]:
    yield from (item.value for item in equations)


def _law_of_entries(law: Law) -> Law:
    return with_changes(law, equations=tuple(with_changes(item, value=entries_of(item.value)) for item in law.equations))


def _comment(text: str) -> Iterator[Lines]:
    yield tuple(f"# {line}" for line in wrapped(text, 120))


def _is_emptied(item: Kept) -> bool:
    """Whether this is a sum of gradients, which starts anew after an update."""
    match item.value:
        case Where(Due(), Full(value)):
            return value == 0
    return False


def _is_total(node: Expr) -> bool:
    """Whether a node sums over all weights."""
    return (isinstance(node, Dot) and node.left.shape == WEIGHTS) or (isinstance(node, Sum) and node.x.shape == WEIGHTS)


def _placeholder(node: Expr) -> Named:
    return Named(f"total of {expression_text(node)}", ())


def _comprehension(local: str, text: str) -> Lines:
    """`local = [element for ... in ...]` on one line, or its two parts on a line each."""
    line = f"{local} = {text}"
    if len(line) + INDENT <= WIDTH:
        return (line,)
    if len(text) + INDENT + len(STEP) - 2 <= WIDTH:
        return (f"{local} = [", f"{STEP}{text[1:-1]}", "]")
    element, _, clause = text[1:-1].rpartition(" for ")
    room = WIDTH - INDENT - len(STEP)
    parts = [element] if len(element) <= room else operands(element, room)
    return (f"{local} = [", *(f"{STEP}{part}" for part in parts), f"{STEP}for {clause}", "]")
