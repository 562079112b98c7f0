"""The normal form equals the law, and every transition is recognised and explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from hypothesis import given, strategies as st

from nlc.ir.affine import AffineLaw, Transition
from nlc.ir.algebra import HALF, Dot, Expr, Eye, Hyperparameter, Input, State, When, walk
from nlc.ir.build import add, divide, matmul, negate, outer, scale, subtract, times, transpose
from nlc.ir.model import Model
from nlc.ir.show import expression_text
from nlc.schedule.affine_form import affine_expression, affine_form
from nlc.schedule.inline import inlined
from nlc.schedule.memories import find_memories
from nlc.schedule.transition import classify
from tests import models
from tests.derive import systems
from tests.derive.numeric import evaluate, random_tensor, run_law
from tests.models import D_K, D_V, MATRIX, memory_state, stream
from tests.schedule.windows import attention_model, model_of_text
from tests.schedule.witnesses import laws_of

S = memory_state(When.PREVIOUS)
k, v, p, beta, alpha = stream("k"), stream("v"), Input("p", (D_K,)), stream("beta"), stream("alpha")

NUMBER = """
  length:
    memory: scalar
    objective: 0.5 * norm2(length - norm2(k))
    retention: 0.5
    gradient_at: retained
    optimizer: gradient_descent(beta)
    every: token
"""


def number() -> Model:
    """A level that is one number."""
    head = "nlc: 1\nname: Number\ndims: {d_k: 4, d_v: 5}\ninputs: {k: [d_k], v: [d_v], beta: []}\n"
    return model_of_text(NUMBER, "length * v", head)


CLASSES: Mapping[Callable[[], Model], tuple[Transition, str, str]] = {
    models.linear_attention: (
        Transition.IDENTITY,
        "the old state is kept unchanged, and no write reads it",
        "prev(memory) + outer(v, k)",
    ),
    models.gated_linear_memory: (
        Transition.SCALAR,
        "the old state is kept times alpha, and no write reads it",
        "alpha * prev(memory) + outer(v, k)",
    ),
    systems.channel_gated_memory: (
        Transition.DIAGONAL,
        "the old state is kept times p, and no write reads it",
        "p * prev(memory) + outer(v, k)",
    ),
    models.delta_rule: (
        Transition.SCALAR_MINUS_LOW_RANK,
        "the old state is kept unchanged, and the writes read it at k alone",
        "prev(memory) + outer(beta * v - beta * (prev(memory) @ k), k)",
    ),
    models.gated_delta_rule: (
        Transition.SCALAR_MINUS_LOW_RANK,
        "the old state is kept times alpha, and the writes read it at k alone",
        "alpha * prev(memory) + outer(beta * v - beta * alpha * (prev(memory) @ k), k)",
    ),
    systems.ridge_memory: (
        Transition.SCALAR_MINUS_LOW_RANK,
        "the old state is kept times 1 - beta * ridge, and the writes read it at k alone",
        "(1 - beta * ridge) * prev(memory) + outer(beta * v - beta * (prev(memory) @ k), k)",
    ),
    systems.separate_read_and_write: (
        Transition.SCALAR_MINUS_LOW_RANK,
        "the old state is kept times alpha, and the writes read it at p alone",
        "alpha * prev(memory) + outer(beta * v - beta * alpha * (prev(memory) @ p), k)",
    ),
    systems.two_writes: (
        Transition.SCALAR_MINUS_LOW_RANK,
        "the old state is kept unchanged, and the writes read it at k, p alone",
        "prev(memory) + outer(beta * v - beta * (prev(memory) @ k), k) + outer(beta * v - beta * (prev(memory) @ p), p)",
    ),
    systems.channel_gated_delta_rule: (
        Transition.DIAGONAL_MINUS_LOW_RANK,
        "the old state is kept times p, and the writes read it at k alone",
        "p * prev(memory) + outer(beta * v - beta * (prev(memory) @ k), k)",
    ),
    systems.vector_memory: (
        Transition.SCALAR,
        "the old state is kept times 1 - beta, and no write reads it",
        "(1 - beta) * prev(mean) + beta * v",
    ),
    number: (
        Transition.SCALAR,
        "the old state is kept times 0.5 - 0.5 * beta, and no write reads it",
        "(0.5 - 0.5 * beta) * prev(length) + beta * norm2(k)",
    ),
    models.delta_rule_with_momentum: (
        Transition.COMPANION,
        "the states memory.momentum and memory move as one, and the writes read them at k alone",
        "",
    ),
    systems.rate_per_value_channel: (
        Transition.DENSE,
        "-v * outer(prev(memory) @ k, k) is neither the state, scaled, nor the state @ a vector along a vector",
        "",
    ),
    systems.robust_memory: (
        Transition.NONLINEAR,
        "the old state enters through tanh(prev(memory) @ k - v), which is not affine in it",
        "",
    ),
    systems.clipped_memory: (
        Transition.NONLINEAR,
        "the old state enters through prev(memory) @ k > v, which is not affine in it",
        "",
    ),
    attention_model: (
        Transition.SOLVED,
        "it is solved anew for every query, from the data of all tokens so far",
        "",
    ),
}


def test_every_transition_has_a_model() -> None:
    assert {transition for transition, _, _ in CLASSES.values()} == set(Transition)


@pytest.mark.parametrize("make", CLASSES, ids=lambda make: make.__name__)
def test_class_reason_and_normal_form(make: Callable[[], Model]) -> None:
    classified = find_memories(laws_of(make())).candidates[0].classified
    law = classified.affine
    state = S if law is None else State(law.component, "", law.shape, When.PREVIOUS)
    text = "" if law is None else expression_text(affine_expression(law, state))
    assert (classified.transition, classified.because, text) == CLASSES[make]


def by_the_normal_form(law: AffineLaw, state: torch.Tensor, leaves: Mapping[Expr, torch.Tensor]) -> torch.Tensor:
    """decay * S + (given + coefficient * (S @ vector)) along^T, spelled out with torch."""
    result = evaluate(law.decay, leaves) * state
    for write in law.writes:
        value = torch.zeros(state.shape[:1], dtype=state.dtype) if write.given is None else evaluate(write.given, leaves)
        for read in write.reads:
            value = value + evaluate(read.coefficient, leaves) * (state @ evaluate(read.vector, leaves))
        result = result + (value if write.along is None else torch.outer(value, evaluate(write.along, leaves)))
    return result


def random_leaves(*expressions: Expr, seed: int = 0) -> dict[Expr, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = dict.fromkeys(
        node for expression in expressions for node in walk(expression) if isinstance(node, Input | Hyperparameter | State)
    )
    return {leaf: random_tensor(leaf.shape, generator) for leaf in found}


@pytest.mark.parametrize("make", [make for make, row in CLASSES.items() if row[2]], ids=lambda make: make.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_the_normal_form_is_the_law(make: Callable[[], Model], seed: int) -> None:
    laws = laws_of(make())
    (law,) = laws.laws
    affine = find_memories(laws).candidates[0].classified.affine
    assert affine is not None
    leaves = random_leaves(inlined(law, ""), seed=seed)
    state = State(affine.component, "", affine.shape, When.PREVIOUS)
    assert torch.allclose(by_the_normal_form(affine, leaves[state], leaves), run_law(law, leaves), rtol=1e-12, atol=1e-12)


FREE_OF_THE_STATE = (beta, alpha, Dot(k, p), HALF)


def affine_matrices() -> st.SearchStrategy[Expr]:
    """Random matrix expressions that are affine in S, written in the ways in which people write them."""
    scalars = st.sampled_from(FREE_OF_THE_STATE)
    vectors = st.sampled_from((k, p, add(k, p), scale(beta, k)))
    projections = st.builds(lambda b, x, y: subtract(Eye((D_K, D_K)), scale(b, outer(x, y))), scalars, vectors, vectors)
    reads = st.builds(matmul, st.just(S), vectors)
    columns = st.one_of(st.just(v), reads, st.builds(lambda x: subtract(x, v), reads), st.builds(scale, scalars, reads))
    rank_one = st.one_of(
        st.builds(outer, columns, vectors),
        st.builds(lambda x, y: transpose(outer(x, y)), vectors, columns),
    )

    def grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
        return st.one_of(
            st.builds(add, inner, inner),
            st.builds(subtract, inner, inner),
            st.builds(scale, scalars, inner),
            st.builds(negate, inner),
            st.builds(matmul, inner, projections),
            st.builds(lambda x, y: outer(matmul(x, y), y), inner, vectors),
            st.builds(lambda x, y: divide(x, add(HALF, Dot(y, y))), inner, vectors),
            st.builds(lambda x: transpose(transpose(x)), inner),
        )

    return st.recursive(st.one_of(st.just(S), rank_one), grow, max_leaves=5)


@given(affine_matrices(), st.integers(0, 3))
def test_any_affine_law_has_an_equal_normal_form(new_state: Expr, seed: int) -> None:
    law = affine_form(new_state, S)
    assert isinstance(law, AffineLaw)
    leaves = random_leaves(new_state, S, seed=seed)
    known = {**leaves, **random_leaves(k, v, p, beta, alpha, seed=seed + 10), **leaves}
    assert torch.allclose(by_the_normal_form(law, known[S], known), evaluate(new_state, known), rtol=1e-9, atol=1e-9)


@given(affine_matrices())
def test_the_normal_form_is_free_of_the_state(new_state: Expr) -> None:
    law = affine_form(new_state, S)
    assert isinstance(law, AffineLaw)
    parts = [law.decay]
    for write in law.writes:
        parts += [part for part in (write.given, write.along) if part is not None]
        parts += [part for read in write.reads for part in (read.coefficient, read.vector)]
    assert not any(isinstance(node, State) for part in parts for node in walk(part))
    assert len({write.along for write in law.writes}) == len(law.writes)


@pytest.mark.parametrize(
    ("new_state", "transition", "because"),
    [
        (matmul(Input("A", (D_V, D_V)), S), Transition.DENSE, "A @ prev(memory) is neither"),
        (matmul(S, Input("B", (D_K, D_K))), Transition.DENSE, "prev(memory) @ B is neither"),
        (outer(v, matmul(transpose(S), v)), Transition.DENSE, "outer(v, transpose(prev(memory)) @ v) is neither"),
        (scale(Dot(matmul(S, k), v), outer(v, k)), Transition.DENSE, "dot(prev(memory) @ k, v) * outer(v, k) is neither"),
        (add(S, Input("G", MATRIX)), Transition.DENSE, "G is written, which is not an outer product"),
        (times(S, S), Transition.NONLINEAR, "the old state enters through prev(memory) * prev(memory)"),
        (divide(S, Dot(S, S)), Transition.NONLINEAR, "the old state enters through norm2(prev(memory))"),
        (outer(matmul(S, matmul(transpose(S), v)), k), Transition.NONLINEAR, "the old state enters through prev(memory) @ (transpose"),
    ],
    ids=lambda item: expression_text(item) if not isinstance(item, str | Transition) else "",
)
def test_what_has_no_normal_form(new_state: Expr, transition: Transition, because: str) -> None:
    classified = classify(new_state, S)
    assert (classified.transition, classified.affine) == (transition, None)
    assert classified.because.startswith(because)


def test_left_and_right_forms_of_the_delta_rule_are_one_normal_form() -> None:
    erased = matmul(S, subtract(Eye((D_K, D_K)), scale(beta, outer(k, k))))
    printed = add(erased, scale(beta, outer(v, k)))
    law = affine_form(printed, S)
    assert isinstance(law, AffineLaw)
    assert expression_text(affine_expression(law, S)) == "prev(memory) + outer(beta * v - beta * (prev(memory) @ k), k)"


def test_equal_reads_and_directions_are_merged() -> None:
    law = affine_form(add(outer(matmul(S, k), p), outer(v, p), scale(beta, outer(matmul(S, k), p)), outer(matmul(S, p), k)), S)
    assert isinstance(law, AffineLaw)
    (first, second) = law.writes
    assert (first.along, first.given, second.given) == (p, v, None)
    assert [expression_text(read.coefficient) for read in first.reads] == ["1 + beta"]
