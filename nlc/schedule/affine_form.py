"""From the terms of a law that is affine in its state to the normal form: a decay, and writes along vectors."""

from __future__ import annotations

from dataclasses import dataclass

from nlc.ir.affine import AffineLaw, StateRead, Write
from nlc.ir.algebra import ONE, ZERO, Expr, MatMul, Outer, Scale, State, Times
from nlc.ir.build import add, matmul, outer, scale, spread, times
from nlc.ir.expand import degree, terms
from nlc.schedule.columns import per_column


@dataclass(frozen=True, slots=True)
class Kept:
    """decay * S; the decay is a scalar, or one number per column, or has the state's shape."""

    decay: Expr


@dataclass(frozen=True, slots=True)
class Given:
    """value along^T, free of the state."""

    value: Expr
    along: Expr | None


@dataclass(frozen=True, slots=True)
class ReadAlong:
    """coefficient * (S @ vector) along^T."""

    read: StateRead
    along: Expr


Term = Kept | Given | ReadAlong


def affine_form(new_state: Expr, state: State) -> AffineLaw | Expr:
    """The normal form, or the first term that does not fit into one. The new state must be affine in the state."""
    fitted: list[Term] = []
    for term in terms(new_state, state):
        part = fit(term, state)
        if part is None:
            return term
        fitted.append(part)
    return AffineLaw(state.component, state.part, state.shape, _decay(fitted, state), _writes(fitted))


def affine_expression(law: AffineLaw, state: Expr) -> Expr:
    """The normal form as an expression of the state: the new state again."""
    decay = spread(law.decay, 1, law.shape) if law.decays_by_column and len(law.shape) == 2 else law.decay
    return add(times(decay, state), *(_written(write, state) for write in law.writes))


def _written(write: Write, state: Expr) -> Expr:
    given = () if write.given is None else (write.given,)
    value = add(*given, *(scale(read.coefficient, matmul(state, read.vector)) for read in write.reads))
    return value if write.along is None else outer(value, write.along)


def fit(term: Expr, state: State) -> Term | None:
    """What a term of the new state does; None when it fits into no normal form."""
    if not state.shape:
        return _fit_number(term, state)
    coefficient, core = peeled(term)
    if degree(coefficient, state):
        return None
    match core:
        case State() if core == state:
            return Kept(coefficient)
        case Times() if (share := _share(core, state)) is not None:
            return Kept(scale(coefficient, share))
        case Outer(MatMul(read, vector), along) if read == state and not degree(vector, state) and not degree(along, state):
            return ReadAlong(StateRead(coefficient, vector), along)
        case Outer(MatMul(Times(decay, read), vector), along) if read == state and not any(
            degree(x, state) for x in (decay, vector, along)
        ):
            column = per_column(decay)  # (decay * S) @ vector = S @ (column * vector)
            return None if column is None else ReadAlong(StateRead(coefficient, times(column, vector)), along)
        case Outer(value, along) if not degree(core, state):
            return Given(scale(coefficient, value), along)
    return Given(term, None) if len(state.shape) == 1 and not degree(core, state) else None


def _fit_number(term: Expr, state: State) -> Term | None:
    """The same of a state that is one number, which is a factor of whatever it is in."""
    if not degree(term, state):
        return Given(term, None)
    if term == state:
        return Kept(ONE)
    match term:
        case Scale(by, x):
            free, rest = (by, x) if degree(x, state) else (x, by)
            kept = None if degree(free, state) else _fit_number(rest, state)
            return Kept(scale(free, kept.decay)) if isinstance(kept, Kept) else None
    return None


def _share(term: Expr, state: State) -> Expr | None:
    """The x with term = x * S, entry by entry, a scalar or of the shape of S; None when there is none."""
    coefficient, core = peeled(term)
    if core == state:
        return coefficient
    for free, rest in ((core.left, core.right), (core.right, core.left)) if isinstance(core, Times) else ():
        share = None if degree(free, state) or degree(coefficient, state) else _share(rest, state)
        if share is not None:
            return scale(coefficient, times(free, share) if share.shape else scale(share, free))
    return None


def peeled(term: Expr) -> tuple[Expr, Expr]:
    """All scalar factors of a term, multiplied, and what is left."""
    match term:
        case Scale(by, x):
            coefficient, core = peeled(x)
            return scale(by, coefficient), core
    return ONE, term


def _decay(fitted: list[Term], state: State) -> Expr:
    decays = [term.decay for term in fitted if isinstance(term, Kept)]
    if any(decay.shape for decay in decays):
        decays = [spread(decay, None, state.shape) for decay in decays]
    decay = add(*decays) if decays else ZERO
    return (per_column(decay) or decay) if len(decay.shape) == 2 else decay


def _writes(fitted: list[Term]) -> tuple[Write, ...]:
    """One write for each vector that is written along, in the order of their first terms."""
    directions = dict.fromkeys(term.along for term in fitted if not isinstance(term, Kept))
    return tuple(_write(along, fitted) for along in directions)


def _write(along: Expr | None, fitted: list[Term]) -> Write:
    given = [term.value for term in fitted if isinstance(term, Given) and term.along == along]
    coefficients: dict[Expr, list[Expr]] = {}
    for term in fitted:
        if isinstance(term, ReadAlong) and term.along == along:
            coefficients.setdefault(term.read.vector, []).append(term.read.coefficient)
    reads = tuple(StateRead(add(*parts), vector) for vector, parts in coefficients.items())
    return Write(along, add(*given) if given else None, reads)
