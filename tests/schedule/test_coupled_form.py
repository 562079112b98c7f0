"""Laws of several states, or with several writes, equal their common normal form, which has as few writes as it can."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest
import torch
from hypothesis import given, strategies as st

from nlc.ir.affine import CoupledLaw
from nlc.ir.algebra import HALF, Dot, Expr, Hyperparameter, Input, State, When, walk
from nlc.ir.build import add, constant, matmul, negate, outer, scale, subtract, times
from nlc.ir.show import expression_text
from nlc.schedule.coupled_form import coupled_expressions, coupled_form, written_value
from nlc.schedule.monomials import polynomial, quotient
from tests.derive.numeric import evaluate, random_tensor
from tests.models import D_K, D_V, MATRIX, stream

FIRST, SECOND = (State(name, "", MATRIX, When.PREVIOUS) for name in ("first", "second"))
k, v, p, beta, alpha, mu = stream("k"), stream("v"), Input("p", (D_K,)), stream("beta"), stream("alpha"), Hyperparameter("mu")
ERROR = subtract(matmul(SECOND, k), v)
GRADIENT = outer(ERROR, k)


def texts(*new: Expr) -> tuple[list[str], list[str]]:
    """The normal form: new states and writes."""
    law = form(*new)
    names = [Input(f"w{number}", (D_V,)) for number, _ in enumerate(law.writes, 1)]
    states = [expression_text(value) for value in coupled_expressions(law, law.states, names)]
    return states, [expression_text(written_value(write, law.states)) for write in law.writes]


def form(*new: Expr) -> CoupledLaw:
    law = coupled_form(new, (FIRST, SECOND)[-len(new) :])
    assert isinstance(law, CoupledLaw)
    return law


def test_the_rate_inside_the_momentum_is_a_part_of_the_write() -> None:
    momentum = subtract(scale(alpha, FIRST), scale(beta, GRADIENT))
    assert texts(momentum, add(SECOND, momentum)) == (
        ["alpha * prev(first) + outer(w1, k)", "alpha * prev(first) + prev(second) + outer(w1, k)"],
        ["beta * v - beta * (prev(second) @ k)"],
    )


def test_the_rate_outside_is_the_weight_of_the_memory() -> None:
    momentum = add(scale(alpha, FIRST), GRADIENT)
    assert texts(momentum, subtract(SECOND, scale(beta, momentum))) == (
        ["alpha * prev(first) + outer(w1, k)", "-beta * alpha * prev(first) + prev(second) - beta * outer(w1, k)"],
        ["-v + prev(second) @ k"],
    )


def test_looking_ahead_is_one_read_of_both_and_one_write() -> None:
    ahead = add(SECOND, scale(mu, FIRST))
    momentum = subtract(scale(mu, FIRST), scale(beta, outer(subtract(matmul(ahead, k), v), k)))
    law = form(momentum, add(SECOND, scale(mu, momentum)))
    (write,) = law.writes
    (read,) = write.reads
    assert [expression_text(weight) for weight in write.weights] == ["1", "mu"]
    assert (expression_text(read.coefficient), [expression_text(weight) for weight in read.weights]) == ("-beta", ["mu", "1"])


def test_values_that_differ_by_more_than_a_factor_are_two_writes() -> None:
    new = add(FIRST, outer(v, k)), add(SECOND, outer(matmul(FIRST, k), k))
    assert [[expression_text(weight) for weight in write.weights] for write in form(*new).writes] == [["1", "0"], ["0", "1"]]


def test_a_weight_may_be_a_sum() -> None:
    momentum = subtract(scale(mu, FIRST), scale(beta, GRADIENT))
    law = form(momentum, subtract(add(SECOND, scale(mu, momentum)), scale(beta, GRADIENT)))
    (write,) = law.writes
    assert [expression_text(weight) for weight in write.weights] == ["1", "mu + 1"]


@pytest.mark.parametrize(
    "term",
    [matmul(Input("A", (D_V, D_V)), FIRST), scale(Dot(matmul(FIRST, k), v), outer(v, k)), Input("G", MATRIX)],
)
def test_what_does_not_fit_is_named(term: Expr) -> None:
    assert coupled_form((FIRST, add(SECOND, term)), (FIRST, SECOND)) == term


def test_decays_of_entries_and_of_the_whole_add_up() -> None:
    (kept, _), _ = form(add(FIRST, times(Input("G", MATRIX), FIRST)), SECOND).decays
    assert expression_text(kept) == "1 + G"


def test_a_quotient_is_exact_or_none() -> None:
    six, two, both = (polynomial(terms) for terms in ([scale(constant(6), scale(beta, mu))], [scale(constant(2), mu)], [beta, mu]))
    assert quotient(six, two) == polynomial([scale(constant(3), beta)])
    assert quotient(two, six) is None
    assert quotient(polynomial([scale(HALF, mu), scale(HALF, beta)]), both) == {(): Fraction(1, 2)}
    assert quotient(six, both) is None


def affine_pairs() -> st.SearchStrategy[tuple[Expr, Expr]]:
    """Two new states that are affine in both old ones, the second perhaps over the new first."""
    scalars = st.sampled_from((beta, alpha, mu, HALF, add(alpha, mu), Dot(k, p)))
    vectors = st.sampled_from((k, p, add(k, p), scale(beta, k)))
    states = st.sampled_from((FIRST, SECOND, add(SECOND, scale(mu, FIRST))))
    reads = st.builds(matmul, states, vectors)
    columns = st.one_of(st.just(v), reads, st.builds(lambda x: subtract(x, v), reads))
    parts = st.one_of(states, st.builds(outer, columns, vectors))

    def grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
        return st.one_of(st.builds(add, inner, inner), st.builds(scale, scalars, inner), st.builds(negate, inner))

    one = st.recursive(parts, grow, max_leaves=4)
    return st.tuples(one, one, scalars, st.booleans()).map(lambda drawn: (drawn[0], add(drawn[1], scale(drawn[2], drawn[drawn[3]]))))


def leaves(*expressions: Expr, seed: int) -> dict[Expr, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = dict.fromkeys(node for item in expressions for node in walk(item) if isinstance(node, Input | Hyperparameter | State))
    return {leaf: random_tensor(leaf.shape, generator) for leaf in found}


@given(affine_pairs(), st.integers(0, 3))
def test_any_affine_pair_has_an_equal_normal_form_free_of_the_states(new: Sequence[Expr], seed: int) -> None:
    law = form(*new)
    known = leaves(*new, FIRST, SECOND, k, v, p, beta, alpha, mu, seed=seed)
    states = coupled_expressions(law, law.states, [written_value(write, law.states) for write in law.writes])
    for found, wanted in zip(states, new, strict=True):
        torch.testing.assert_close(evaluate(found, known), evaluate(wanted, known), rtol=1e-9, atol=1e-9)
    parts = [decay for row in law.decays for decay in row]
    for write in law.writes:
        parts += [*write.weights, *(part for part in (write.given, write.along) if part is not None)]
        parts += [part for read in write.reads for part in (read.coefficient, read.vector, *read.weights)]
    assert not any(isinstance(node, State) for part in parts for node in walk(part))
