"""The implicit step: an objective that is quadratic in a state -> named equations for its minimiser near the retained state.

With the gradient G at the retained state R, and what a change X of the state adds to it,

    H(X) = penalty * X + sum over reads of  weight * (X @ k) k^T,

the minimiser of objective(W) + |W - R|^2 / (2 rate) is R - S with S + rate * H(S) = rate * G. One read after the other, the formula of
Sherman and Morrison solves that in closed form; the result stays affine in R, so the parallel forms of explicit steps fit it.

A read of the data in the columns of a matrix K adds weight * (X @ K) K^T. Then all reads are solved at once, by an inverse:

    S = shrunk_rate * G @ inverse(eye + shrunk_rate * (sum over reads of weight * k k^T)),    shrunk_rate = rate / (1 + rate * penalty).
"""

from __future__ import annotations

from dataclasses import dataclass

from nlc.derive.descent import Descent
from nlc.derive.gradient import DerivativeTooLarge, gradient
from nlc.ir.algebra import (
    ONE,
    ZERO,
    Constant,
    Dot,
    Expr,
    Eye,
    MatMul,
    Norm,
    Outer,
    Scale,
    Spread,
    State,
    Times,
    When,
    WindowSoftmax,
    WindowSum,
    contains,
    is_number,
)
from nlc.ir.build import add, divide, dot, full, matmul, outer, scale, spread, subtract, times, transpose
from nlc.ir.calculus import Inverse
from nlc.ir.expand import degree, first_nonlinear, terms
from nlc.ir.model import Component, Family, GradientPoint, Model, Proximal
from nlc.ir.show import expression_text

MOST_READS = 2
"""Vectors at which an objective may read the state: each makes the equations longer by a read."""

SHERMAN_MORRISON = ("sherman-morrison",)


@dataclass(frozen=True, slots=True)
class CurvedAlong:
    """weight * (X @ vector) vector^T; the weight is a scalar, or has a number for each row. Of data in the columns of a matrix likewise."""

    weight: Expr
    vector: Expr

    @property
    def is_of_data(self) -> bool:
        return len(self.vector.shape) == 2


@dataclass(frozen=True, slots=True)
class Curvature:
    """How the gradient changes with the state; the penalty is a scalar or of the state's shape.

    `is_along` says that the gradient itself, too, has nothing but multiples of the one vector in its rows.
    """

    penalty: Expr
    reads: tuple[CurvedAlong, ...]
    is_along: bool

    @property
    def reads_data(self) -> bool:
        return any(read.is_of_data for read in self.reads)


def curvature(component: Component) -> Curvature | str:
    """How the objective of a level curves, or why there is no closed form for its implicit step."""
    state = next(State(component.name, item.part, item.shape, When.FITTED) for item in component.states)
    return curvature_of(gradient(component.objective, state), state)


def curvature_of(slope: Expr, state: State) -> Curvature | str:
    """How a gradient changes with the state, or why that is not said in closed form."""
    if (culprit := first_nonlinear(slope, state)) is not None:
        return f"its objective is not quadratic in the state: its gradient has {expression_text(culprit)}"
    return _fitted(slope, state)


def _fitted(slope: Expr, state: State) -> Curvature | str:
    penalties: list[Expr] = []
    weights: dict[Expr, list[Expr]] = {}
    cores: list[Expr] = []
    for term in terms(slope, state):
        weight, core = _peeled(term, state)
        cores.append(core)
        match core:
            case _ if not degree(term, state):
                continue
            case _ if (entries := _entries(core, state)) is not None:
                penalties.append(times(weight, entries))
            case _ if (read := _read(weight, core, state)) is not None:
                weights.setdefault(read.vector, []).append(read.weight)
            case _:
                text = expression_text(term)
                return f"{text} in its gradient is neither the state, scaled, nor a read of it along the vector that it was read at"
    if any(penalty.shape for penalty in penalties):
        penalties = [spread(penalty, None, state.shape) for penalty in penalties]
    reads = tuple(CurvedAlong(add(*(_alike(found, state))), vector) for vector, found in weights.items())
    penalty = add(*penalties) if penalties else ZERO
    is_along = len(reads) == 1 and all(_is_along(core, reads[0].vector) for core in cores)
    return _checked(Curvature(penalty, reads, is_along))


def _peeled(term: Expr, state: State) -> tuple[Expr, Expr]:
    """All scalar factors of a term that are free of the state, multiplied, and what is left."""
    match term:
        case Scale(by, x) if not degree(by, state):
            weight, core = _peeled(x, state)
            return scale(by, weight), core
    return ONE, term


def _entries(core: Expr, state: State) -> Expr | None:
    """What every entry of the state is multiplied by."""
    match core:
        case State() if core == state:
            return ONE
        case Times(left, right):
            free, other = (left, right) if not degree(left, state) else (right, left)
            entries = None if degree(free, state) else _entries(other, state)
            return None if entries is None else times(free, entries)
    return None


def _read(weight: Expr, core: Expr, state: State) -> CurvedAlong | None:
    """A read of the state at a vector, along that same vector."""
    match core:
        case Outer(MatMul(read, vector), along) if read == state and vector == along:
            return CurvedAlong(weight, vector)
        case Outer(Times(rows, MatMul(read, vector)) | Times(MatMul(read, vector), rows), along) if read == state and vector == along:
            return CurvedAlong(scale(weight, rows), vector)
        case MatMul(read, MatMul(data, rows)) if read == state and rows == transpose(data):
            return CurvedAlong(weight, data)
        case Scale(Dot(left, right), along) if state in (left, right):
            return CurvedAlong(weight, along) if along == (right if left == state else left) else None
    return None


def _alike(weights: list[Expr], state: State) -> list[Expr]:
    """Weights of one shape, to be added."""
    has_rows = any(weight.shape for weight in weights)
    return [spread(weight, None, state.shape[:1]) if has_rows else weight for weight in weights]


def _is_along(core: Expr, vector: Expr) -> bool:
    match core:
        case Outer(_, along) | Scale(_, along):
            return along == vector
    return core == vector


def _checked(found: Curvature) -> Curvature | str:
    if len(found.reads) > MOST_READS and not found.reads_data:
        return f"its objective reads the state at {len(found.reads)} vectors, and the closed form is known for {MOST_READS}"
    if any(isinstance(item, Constant) and item.value < 0 for item in (found.penalty, *(read.weight for read in found.reads))):
        return "its objective curves downwards, so that it has no minimum near the retained state"
    return found


def no_implicit_step(model: Model, component: Component) -> str:
    """Why the implicit step of a level is not derived; empty when it is."""
    assert isinstance(component.optimizer, Proximal)
    if component.has_inlined_optimizer or component.host or model.is_parameter(component.name):
        return "it belongs to an optimizer of another level, or is moved by outer steps"
    if len(component.states) > 1:
        return "its memory has several tensors, which the minimiser couples"
    if why := several_data(model, component, component.objective):
        return why
    if component.gradient_at is not GradientPoint.PREVIOUS:
        return "it has `gradient_at`, but the gradient of an implicit step is that at the new state"
    try:
        found = curvature(component)
    except DerivativeTooLarge:
        return "the gradient of its objective is too large"
    if isinstance(found, Curvature) and found.reads and model.kind == "optimizer" and not model.moves_matrices:
        return "its objective reads all tensors at once along a vector"
    return found if isinstance(found, str) else _unfit_rate(component.optimizer.rate, found)


def several_data(model: Model, component: Component, objective: Expr) -> str:
    """Why an objective is not that of one datum, or of one tensor like another; empty when it is."""
    if component.every.period > 1 or component.every.family is Family.SEQUENCE:
        return f"it moves every {component.every}, so that its objective sums over the data of several {model.unit}s"
    if contains(objective, lambda node: isinstance(node, WindowSum | WindowSoftmax)):
        return "its objective sums over a window"
    if model.kind == "optimizer" and not model.moves_matrices and contains(objective, lambda node: isinstance(node, Norm)):
        return "it has a norm, which differs from tensor to tensor, while its objective is one for all tensors"
    return ""


def _unfit_rate(rate: Expr, found: Curvature) -> str:
    """Why a rate does not go with the reads of an objective; empty when it does."""
    numbers = (rate, found.penalty)
    if not found.reads or all(item.shape == () for item in (*numbers, *(read.weight for read in found.reads))):
        return ""
    if found.reads_data:
        return "its rate, penalty or weights differ between entries, and its objective reads the state at a matrix of data"
    if any(_by_row(item) is None for item in numbers):
        return "its rate or penalty differs between the columns, along which its objective reads the state"
    return "its rate or weights differ between the rows, and its objective reads the state at two vectors" if len(found.reads) > 1 else ""


def _by_row(node: Expr) -> Expr | None:
    """A number that is the same in a whole row: a scalar, or one for each row; None when it is neither."""
    match node:
        case Spread(x, 0):
            return x
        case Scale(by, x):
            rows = _by_row(x)
            return None if rows is None else scale(by, rows)
    return node if node.shape == () else None


@dataclass(frozen=True, slots=True)
class ImplicitStep:
    """What an implicit step takes off the retained state, written into the descent's draft."""

    descent: Descent
    found: Curvature

    def off(self, rate: Expr) -> Expr:
        """The step S, over the names of the equations that lead to it."""
        (slope,) = self.descent.gradients(self.descent.component.objective, GradientPoint.RETAINED).values()
        penalty = self.descent.seen(self.found.penalty)
        if self.found.reads_data:
            return self._solved(self._shrunk("shrunk_rate", rate, penalty), slope)
        if not self.found.reads:
            rows, penalty_of_rows = _by_row(rate), _by_row(penalty)
            pair = (rate, penalty) if rows is None or penalty_of_rows is None else (rows, penalty_of_rows)
            return _times_rows(self._shrunk("implicit_rate", *pair), slope)
        rate, penalty = _by_row(rate) or rate, _by_row(penalty) or penalty
        first, *others = (CurvedAlong(self.descent.seen(item.weight), self.descent.seen(item.vector)) for item in self.found.reads)
        shrunk = self._shrunk("shrunk_rate", rate, penalty)
        value = _over_one_more(shrunk, times(times(first.weight, shrunk), dot(first.vector, first.vector)))
        implicit = self.descent.draft.let("implicit_rate", value, "rate of the implicit step", SHERMAN_MORRISON)
        if self.found.is_along:
            return _times_rows(implicit, slope)
        strength = times(first.weight, times(shrunk, implicit))
        step = subtract(_times_rows(shrunk, slope), _written(times(strength, _asked(slope, first.vector)), first.vector))
        for second in others:
            leaves = subtract(scale(shrunk, second.vector), scale(scale(strength, dot(first.vector, second.vector)), first.vector))
            step = self._off_along(second, step, leaves)
        return step

    def _solved(self, shrunk: Expr, slope: Expr) -> Expr:
        """The step of reads at data, all at once."""
        reads = [(self.descent.seen(item.weight), self.descent.seen(item.vector)) for item in self.found.reads]
        squares = [scale(weight, matmul(x, transpose(x)) if len(x.shape) == 2 else outer(x, x)) for weight, x in reads]
        system = add(Eye(squares[0].shape), scale(shrunk, add(*squares)))
        curved = self.descent.draft.let("curved", system, "how the objective curves, beside the distance")
        return scale(shrunk, matmul(slope, Inverse(curved, curved.shape)))

    def _shrunk(self, word: str, rate: Expr, penalty: Expr) -> Expr:
        """rate / (1 + rate * penalty), under a name."""
        if is_number(penalty, 0):
            return rate
        return self.descent.draft.let(word, _over_one_more(rate, times(rate, penalty)), "rate of the implicit step of the penalty")

    def _off_along(self, read: CurvedAlong, step: Expr, leaves: Expr) -> Expr:
        """A step that leaves one read out, with that read: what it would still be asked for is taken off along what the others leave."""
        draft = self.descent.draft
        step = draft.let("first_step", step, "implicit step of the first read", SHERMAN_MORRISON)
        direction = draft.let("direction", leaves, "the second vector, after the first read", SHERMAN_MORRISON)
        value = _over_one_more(read.weight, scale(read.weight, dot(read.vector, direction)))
        share = draft.let("share", value, "weight of the second read", SHERMAN_MORRISON)
        return subtract(step, _written(times(share, _asked(step, read.vector)), direction))


def _over_one_more(x: Expr, y: Expr) -> Expr:
    """x / (1 + y), entry by entry."""
    shape = x.shape or y.shape
    return divide(spread(x, None, shape), add(full(1, shape), spread(y, None, shape)))


def _times_rows(factor: Expr, x: Expr) -> Expr:
    """x times a factor of all entries, of each row, or of each entry."""
    return times(spread(factor, 0, x.shape) if 0 < len(factor.shape) < len(x.shape) else factor, x)


def _asked(x: Expr, vector: Expr) -> Expr:
    return matmul(x, vector) if len(x.shape) == 2 else dot(x, vector)


def _written(value: Expr, vector: Expr) -> Expr:
    return outer(value, vector) if value.shape else scale(value, vector)
