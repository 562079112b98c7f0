"""Laws with products of matrices -> statements over one tensor that stacks the matrices of all parameters of one shape.

(parameters, rows, columns): every product is one batched call. Levels that move several times a step run in a loop. Where a law says the
same of transposed matrices, tall ones are transposed, since the products of their columns are smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace as with_changes

from nlc.emit.dims import dim_text
from nlc.emit.layout import STEP, Lines, assignment, block, indented
from nlc.emit.multi_tensor import terms_of
from nlc.emit.names import LocalNames
from nlc.emit.pieces import ATOM, PRODUCT, UNARY, Piece, wrapped as in_brackets
from nlc.emit.prose import wrapped
from nlc.emit.torch_printer import TorchPrinter, unwritable
from nlc.emit.written_out import when_due, written_out
from nlc.ir.algebra import LEAVES, ONE, Expr, Eye, MatMul, Named, Softmax, State, Transpose, When, Where, walk
from nlc.ir.build import transpose
from nlc.ir.dims import COLUMNS, ENTRIES, MATRIX, ROWS
from nlc.ir.law import GRAM, Equation, Law, Reset
from nlc.ir.show import expression_text


@dataclass(slots=True)
class Stacked:
    """Writes the laws of some levels.

    `lists`, `scalars`, `sides` and `moving` are what the update around them knows, `values` the stacked tensors, `identities` the matrices
    that `eye` means, `before` lines that are needed by the one at hand, which stand at the depth `indent`. With `due` the levels move under
    that condition only, and what they gather until then (`sums`) is emptied.
    """

    names: LocalNames
    lists: dict[Expr, str]
    scalars: Mapping[Expr, Piece]
    sides: Mapping[str, str]
    moving: dict[Expr, str] = field(default_factory=dict)
    due: str = ""
    sums: Sequence[str] = ()
    values: dict[Expr, str] = field(default_factory=dict)
    before: list[Lines] = field(default_factory=list)
    identities: dict[Expr, str] = field(default_factory=dict)
    indent: int = 8

    def lines(self, laws: Sequence[Law], resets: Sequence[Reset], later: Sequence[Expr]) -> Iterator[Lines]:
        """The matrices stacked, the levels moved, and their new states as lists again, as far as they are kept or `later` values read them.

        `resets` are those of these levels at every step.
        """
        is_either_way = _is_the_same_transposed(laws)
        anew = {item.state: item for item in resets}
        keeps_state = any(state not in anew for state in _moved(laws))
        read = [*(item.value for item in resets), *_read_outside(laws, anew)]
        yield from self._stack(read, "" if keeps_state else ", self.matmul_dtype", is_either_way)
        yield from self._identities([*read, *(equation.value for law in laws for equation in law.equations)])
        for item in resets:
            yield from self._start(item)
        if self.due:
            (law,) = laws
            yield from self._when_due(law, is_either_way)
            return
        updates = laws[0].clock.updates_per_tick
        told = [(law, written_out(law.equations, of_matrices=True)) for law in laws]
        self.indent += len(STEP) if updates > 1 else 0
        body = block([line for place, (law, own) in enumerate(told) for line in self._law(law, own, _values(told[place + 1 :]))])
        yield (f"for _ in range({updates}):", *indented(body)) if updates > 1 else body
        for law in laws:
            for equation in (item for item in law.equations if item.part is not None):
                state = State(equation.owner or law.component, equation.part or "", equation.value.shape, When.CURRENT)
                if with_changes(state, when=When.PREVIOUS) not in anew or any(node == state for value in later for node in walk(value)):
                    yield self._as_list(law, equation, is_either_way, anew)

    def _when_due(self, law: Law, is_either_way: bool) -> Iterator[Lines]:
        """What a level gathers at every step, then what it does at the last one of each period."""
        told = written_out(law.equations, of_matrices=True)
        gathered = max((place + 1 for place, (item, _) in enumerate(told) if is_gathered(item)), default=0)
        own: dict[Expr, str] = {}
        yield from self._law(law, told[:gathered], [item.value for item, _ in told[gathered:]], own)
        for equation, _ in told[:gathered]:
            if equation.part is not None:
                yield self._as_list(law, equation, is_either_way, {})
        rest = [(with_changes(item, value=when_due(item.value)), texts) for item, texts in told[gathered:]]
        self.indent += len(STEP)
        body = block(list(self._law(law, rest, (), own)))
        moved = block([self._as_list(law, item, is_either_way, {}) for item, _ in rest if item.part is not None])
        yield (f"if {self.due}:", *indented([*body, *moved, *(f"torch._foreach_zero_({variable})" for variable in self.sums)]))

    def _start(self, reset: Reset) -> Iterator[Lines]:
        """What a level starts from, after the words in which that is said."""
        *words, start = reset.told
        own: dict[Expr, str] = {}
        for word in words:
            local = self.names.new(word.name)
            yield _comment(f"{word.name} = {expression_text(word.value)}")
            yield assignment(local, self._terms(word.value, own), 8)
            own[Named(word.name, word.value.shape)] = local
        self.values[reset.state] = self.names.new(reset.state.component)
        yield _comment(f"{reset.state.component} starts from {expression_text(start.value)}")
        yield assignment(self.values[reset.state], self._terms(start.value, own), 8)

    def _stack(self, values: Sequence[Expr], dtype: str, is_either_way: bool) -> Iterator[Lines]:
        """What the values read, as stacks; `dtype` is what a call adds to say theirs: what is kept for the next step stays in its own."""
        for leaf in dict.fromkeys(node for value in values for node in walk(value) if _entries(node) in self.lists):
            if leaf not in self.values:
                source = self.lists[_entries(leaf)]
                self.values[leaf] = self.names.new(f"stacked_{source}")
                made = f"{'_stacked_wide' if is_either_way else '_stacked'}({source}{dtype})"
                yield (f"{self.values[leaf]} = {made}",)

    def _identities(self, values: Sequence[Expr]) -> Iterator[Lines]:
        """The identities that the values need, each made once."""
        for node in dict.fromkeys(node for value in values for node in walk(value) if isinstance(node, Eye)):
            text = self._printer({}).text(node)
            word = next((f"identity_of_{word}" for side, word in SIDES if str(node.shape[0]) == side), "identity")
            self.identities[node] = self.names.new(word)
            yield assignment(self.identities[node], [text], 8)

    def _law(self, law: Law, told: Told, later: Sequence[Expr], own: dict[Expr, str] | None = None) -> Iterator[Lines]:
        """Equations of one level; `later` is what reads after them, `own` the names that equations before them made."""
        own = {} if own is None else own
        moved: dict[Expr, str] = {}
        for place, (equation, texts) in enumerate(told):
            yield from (_comment(text) for text in texts)
            state = State(equation.owner or law.component, equation.part or "", equation.value.shape, When.PREVIOUS)
            local = self.values[state] if equation.part is not None else self.names.new(equation.name, law.component)
            terms = self._terms(equation.value, own, law.component)
            yield from self.before
            self.before.clear()
            readers = (*_values([(law, told[place + 1 :])]), *later)
            if equation.part is not None and any(node == state for value in readers for node in walk(value)):
                self.values[state] = self.names.new(f"previous_{local}")
                yield (f"{self.values[state]} = {local}",)
            yield assignment(local, terms, self.indent)
            own[Named(equation.name, equation.value.shape)] = local
            if equation.part is not None:
                moved[with_changes(state, when=When.CURRENT)] = local
        self.values |= moved

    def _as_list(self, law: Law, equation: Equation, is_either_way: bool, anew: Mapping[State, Reset]) -> Lines:
        """A new state as a list of matrices; one that is carried goes where it is kept."""
        old = State(equation.owner or law.component, equation.part or "", equation.value.shape, When.PREVIOUS)
        current = with_changes(old, when=When.CURRENT)
        stacked, new = self.values[current], _entries(current)
        kept = self.moving.pop(_entries(old), self.lists.get(_entries(old)))
        like = kept or next(iter(self.lists.values()))
        made = f"_unstacked({stacked}, {like}[0])" if is_either_way else f"{stacked}.unbind()"
        if old in anew or kept is None:
            self.lists[new] = self.names.new(f"new_{stacked}")
            return (f"{self.lists[new]} = {made}",)
        self.lists[new] = kept
        return (f"torch._foreach_copy_({kept}, {made})",)

    # --- printing ----------------------------------------------------------------------------------------------------

    def _terms(self, value: Expr, own: Mapping[Expr, str] | None = None, level: str = "") -> tuple[str, ...]:
        """A value, a sum as its terms; a product that is added to something is one call, and what it multiplies has a line of its own."""
        return self._as_terms(value, self._piece(value, own or {}, level).text, own or {})

    def _as_terms(self, value: Expr, text: str, own: Mapping[Expr, str]) -> tuple[str, ...]:
        plain = self._printer(own).terms(value)
        return plain if text == " ".join(plain) else (text,)

    def _piece(self, value: Expr, own: Mapping[Expr, str], level: str) -> Piece:
        printer = self._printer(own)
        terms = terms_of(value)
        products = [core for core in terms if isinstance(core, MatMul)]
        rest = [core for core in terms if not isinstance(core, MatMul)]
        numbers = {core: printer.number(coefficient) for core, coefficient in terms.items()}
        if len(products) != 1 or len(rest) > 1 or any(number is None for number in numbers.values()):
            return printer.whole(value)
        (product,) = products
        assert isinstance(product, MatMul)
        if not rest and (isinstance(product.left, LEAVES) or terms[product] != ONE):
            return printer.whole(value)
        left, right = self._piece(product.left, own, level), self._piece(product.right, own, level)
        if not rest:
            return Piece(f"{in_brackets(left, PRODUCT)} @ {in_brackets(right, UNARY)}", PRODUCT, 2)
        if not isinstance(product.left.x if isinstance(product.left, Transpose) else product.left, LEAVES):
            local = self.names.new("polynomial", level)
            self.before.append(assignment(local, self._as_terms(product.left, left.text, own), self.indent))
            left = Piece(local, rank=2)
        factors = {"beta": (rest[0], numbers[rest[0]]), "alpha": (product, numbers[product])}
        said = "".join(f", {word}={number}" for word, (core, number) in factors.items() if terms[core] != ONE)
        return Piece(f"torch.baddbmm({self._piece(rest[0], own, level).text}, {left.text}, {right.text}{said})", ATOM, 2)

    def _printer(self, own: Mapping[Expr, str]) -> TorchPrinter:
        known = {**self.values, **own}

        def leaf(node: Expr) -> Piece:
            if node in known:
                return Piece(known[node], rank=len(node.shape))
            if node in self.scalars:
                return self.scalars[node]
            raise unwritable(node)

        return TorchPrinter(
            leaf,
            next(iter(known.values())),
            known=self.identities,
            clamps=True,
            dim=lambda dim: dim_text(dim, self.sides.__getitem__),
        )


SIDES = ((str(ROWS), "rows"), (str(COLUMNS), "columns"))
"""The sizes of matrices, and their variables."""

Told = Sequence[tuple[Equation, tuple[str, ...]]]
"""Equations with the texts that stand above their lines."""


def groups_of(laws: Sequence[Law]) -> list[tuple[Law, ...]]:
    """The laws one by one; neighbours together that move several times a step, or that share stacks of matrices."""
    groups: list[tuple[Law, ...]] = []
    for law in laws:
        is_alike = bool(groups) and groups[-1][-1].clock == law.clock
        if is_alike and (law.clock.updates_per_tick > 1 or (law.clock.period == 1 and needs_stack(law) and needs_stack(groups[-1][-1]))):
            groups[-1] = (*groups[-1], law)
        else:
            groups.append((law,))
    return groups


def _values(laws: Iterable[tuple[Law, Told]]) -> list[Expr]:
    return [equation.value for _, told in laws for equation, _ in told]


def is_gathered(equation: Equation) -> bool:
    """Whether an equation adds a datum to what is gathered between two updates."""
    return equation.part is not None and not isinstance(equation.value, Where)


def needs_stack(law: Law) -> bool:
    """Whether a law has more to it than functions of entries and numbers for each matrix."""
    return any(has_products(item.value) for item in law.equations)


def has_products(value: Expr) -> bool:
    """Whether an expression is more than functions of entries and numbers."""
    return any(node.shape not in (ENTRIES, MATRIX, ()) or isinstance(node, MatMul | Softmax | Eye) for node in walk(value))


def as_entries(node: Expr) -> Expr:
    """A leaf as the update around the stacks knows it."""
    return _entries(node)


def _entries(node: Expr) -> Expr:
    return with_changes(node, shape=ENTRIES) if isinstance(node, LEAVES) and node.shape == MATRIX else node


def _read_outside(laws: Sequence[Law], anew: Mapping[State, Reset]) -> Iterator[Expr]:
    """What the laws read that none of them made before; also the states that they carry on."""
    made = set(anew)
    for law in laws:
        for equation in law.equations:
            yield from (node for node in walk(equation.value) if node not in made and not isinstance(node, Named))
            if equation.part is not None:
                old = State(equation.owner or law.component, equation.part, equation.value.shape, When.PREVIOUS)
                yield from () if old in made else (old,)
                made.add(with_changes(old, when=When.CURRENT))


def _moved(laws: Sequence[Law]) -> Iterator[State]:
    """The states that the laws move, before they do."""
    for law in laws:
        for equation in law.equations:
            if equation.part is not None:
                yield State(equation.owner or law.component, equation.part, equation.value.shape, When.PREVIOUS)


def _is_the_same_transposed(laws: Sequence[Law]) -> bool:
    """Whether matrices enter products as Gram matrices alone, in powers before the matrix itself: X^T then moves as X does, transposed."""
    return all(state.shape == MATRIX for state in _moved(laws)) and all(_is_either_way(law.equations) for law in laws)


def _is_either_way(equations: Sequence[Equation]) -> bool:
    grams: dict[Expr, Expr] = {}
    for equation in equations:
        match equation.value:
            case MatMul(base, other) if equation.rule == GRAM and other == transpose(base):
                grams[Named(equation.name, equation.value.shape)] = base
    others = [equation.value for equation in equations if equation.rule != GRAM]
    nodes = [node for value in others for node in walk(value)]
    return bool(grams) and all(_is_over_grams(node, grams) for node in nodes if isinstance(node, MatMul | Transpose))


def _is_over_grams(node: Expr, grams: Mapping[Expr, Expr]) -> bool:
    match node:
        case MatMul(left, right):
            inside = [part for part in walk(left) if isinstance(part, LEAVES) and part.shape]
            return all(part in grams for part in inside) and (right in grams or all(grams[part] == right for part in inside))
    return False


def _comment(text: str) -> Lines:
    return tuple(f"# {line}" for line in wrapped(text, 116))
