"""The new values of states that move as one -> their normal form over the states at the token's start (`CoupledLaw`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from nlc.ir.affine import CoupledLaw, CoupledRead, CoupledWrite
from nlc.ir.algebra import ZERO, Expr, State
from nlc.ir.build import add, matmul, outer, scale, spread, times
from nlc.ir.dims import Shape
from nlc.ir.expand import degree, terms
from nlc.schedule.affine_form import Given, Kept, ReadAlong, Term, fit, peeled
from nlc.schedule.monomials import UNIT, Polynomial, expression, polynomial, product, quotient


class Core(NamedTuple):
    """A vector that is written: one that is given, or (with the place of a state) that state @ it."""

    place: int | None
    vector: Expr


Row = Mapping[Core, Polynomial]
"""What one state is written along one vector: how much of each core."""


def coupled_form(new_states: Sequence[Expr], states: Sequence[State]) -> CoupledLaw | Expr:
    """The normal form, or the first term that does not fit into one. The new states must be affine in the states together."""
    fitted: list[list[tuple[int | None, Term]]] = []
    for new in new_states:
        fitted.append([])
        for term in terms(new, *states):
            found = _fit(term, states)
            if found is None:
                return term
            fitted[-1].append(found)
    decays = tuple(tuple(_decay(row, place, states[0].shape) for place in range(len(states))) for row in fitted)
    return CoupledLaw(tuple(states), decays, tuple(_writes(fitted)))


def _fit(term: Expr, states: Sequence[State]) -> tuple[int | None, Term] | None:
    """The place of the state that a term reads, and what the term does; None when that fits into no normal form."""
    read = [place for place, state in enumerate(states) if degree(term, state)]
    if len(read) > 1:
        return None
    part = fit(term, states[read[0] if read else 0])
    return None if part is None else (read[0] if read else None, part)


def _decay(row: Sequence[tuple[int | None, Term]], place: int, shape: Shape) -> Expr:
    """How much of one state is kept in another: a scalar, or a number for each entry."""
    found = [term.decay for read, term in row if isinstance(term, Kept) and read == place]
    if any(decay.shape for decay in found):
        found = [spread(decay, None, shape) for decay in found]
    return add(*found) if found else ZERO


def _writes(fitted: Sequence[Sequence[tuple[int | None, Term]]]) -> Iterator[CoupledWrite]:
    """Vector by vector, in the order of their first terms, the fewest values that make up what is written along it."""
    directions = dict.fromkeys(term.along for row in fitted for _, term in row if not isinstance(term, Kept))
    for along in directions:
        for weights, value in _shared([_row(row, along) for row in fitted]):
            given = [scale(expression(amount), core.vector) for core, amount in value.items() if core.place is None]
            reads = tuple(_reads(value, len(fitted)))
            yield CoupledWrite(tuple(map(expression, weights)), along, add(*given) if given else None, reads)


def _row(row: Sequence[tuple[int | None, Term]], along: Expr | None) -> Row:
    found: dict[Core, list[Expr]] = {}
    for place, term in row:
        match term:
            case Given(value, direction) if direction == along:
                coefficient, vector = peeled(value)
                found.setdefault(Core(None, vector), []).append(coefficient)
            case ReadAlong(read, direction) if direction == along:
                found.setdefault(Core(place, read.vector), []).append(read.coefficient)
    amounts = {core: polynomial(parts) for core, parts in found.items()}
    return {core: amount for core, amount in amounts.items() if amount}


def _shared(rows: Sequence[Row]) -> Iterator[tuple[list[Polynomial], Row]]:
    """Values, and how much of each every state gets: rows that are multiples of one another share one."""
    left = [place for place, row in enumerate(rows) if row]
    while left:
        multiples = {base: {place: _multiple(rows[place], rows[base]) for place in left} for base in left}
        base = max(left, key=lambda place: sum(weight is not None for weight in multiples[place].values()))
        weights = {place: weight for place, weight in multiples[base].items() if weight is not None}
        yield [weights.get(place, {}) for place in range(len(rows))], rows[base]
        left = [place for place in left if place not in weights]


def _multiple(row: Row, base: Row) -> Polynomial | None:
    """row / base, if there is such a factor."""
    core = next(iter(base))
    weight = quotient(row[core], base[core]) if row.keys() == base.keys() else None
    if weight is None or any(product(base[other], weight) != row[other] for other in base):
        return None
    return weight


def _reads(value: Row, count: int) -> Iterator[CoupledRead]:
    """The reads of a value, one for each vector; of several states at once with what their coefficients have in common in front."""
    for vector in dict.fromkeys(core.vector for core in value if core.place is not None):
        amounts = [value.get(Core(place, vector), {}) for place in range(count)]
        common, weights = _common([amount for amount in amounts if amount])
        each = iter(weights)
        yield CoupledRead(expression(common), tuple(expression(next(each)) if amount else ZERO for amount in amounts), vector)


def _common(amounts: Sequence[Polynomial]) -> tuple[Polynomial, list[Polynomial]]:
    """One of the amounts that divides all, and the quotients; else 1, and the amounts."""
    for base in reversed(amounts):
        found = [quotient(amount, base) for amount in amounts]
        if None not in found:
            return base, [weight for weight in found if weight is not None]
    return UNIT, list(amounts)


# --- as expressions again ----------------------------------------------------------------------------------------


def written_value(write: CoupledWrite, states: Sequence[Expr]) -> Expr:
    """What a write writes, as an expression of the old states: a vector."""
    given = () if write.given is None else (write.given,)
    return add(*given, *(scale(read.coefficient, matmul(_weighted(read.weights, states), read.vector)) for read in write.reads))


def coupled_expressions(law: CoupledLaw, states: Sequence[Expr], values: Sequence[Expr]) -> tuple[Expr, ...]:
    """The new states, as expressions of the old ones and of what is written."""
    return tuple(_new_state(law, place, states, values) for place in range(len(law.states)))


def _new_state(law: CoupledLaw, place: int, states: Sequence[Expr], values: Sequence[Expr]) -> Expr:
    kept = (times(decay, state) for decay, state in zip(law.decays[place], states, strict=True) if decay != ZERO)
    written = (
        scale(write.weights[place], value if write.along is None else outer(value, write.along))
        for write, value in zip(law.writes, values, strict=True)
    )
    return add(*_or_zero((*kept, *written), states[place]))


def _weighted(weights: Sequence[Expr], states: Sequence[Expr]) -> Expr:
    return add(*_or_zero([scale(weight, state) for weight, state in zip(weights, states, strict=True)], states[0]))


def _or_zero(parts: Iterable[Expr], like: Expr) -> tuple[Expr, ...]:
    found = tuple(parts)
    return found or (scale(ZERO, like),)
