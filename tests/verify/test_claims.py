"""True claims are proved, false ones refuted with a counterexample, and what cannot be decided says so."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from nlc.derive import derive_laws
from nlc.diagnostics import CompileError, Diagnostic
from nlc.ir.algebra import HALF, ONE, ZERO, Divide, Expr, Eye, Gradient, Hyperparameter, Input, Map, Named, Norm, State, When
from nlc.ir.build import (
    add,
    apply_map,
    constant,
    divide,
    dot,
    matmul,
    negate,
    outer,
    power,
    scale,
    spread,
    subtract,
    times,
    total,
    transpose,
)
from nlc.ir.dims import LIKE_WEIGHTS
from nlc.ir.law import Equation, Law, Laws
from nlc.ir.model import Component, EqualityClaim, GradientDescent, IllTyped, Model, OrderClaim, SameAsClaim
from nlc.order import order_levels
from nlc.verify.claims import Verdict, decide_claims
from tests.models import (
    D_K,
    D_V,
    GRADIENT,
    MATRIX,
    delta_rule,
    delta_rule_with_momentum,
    gated_delta_rule,
    gated_linear_memory,
    heavy_ball,
    linear_attention,
    memory_state,
    momentum,
    stream,
)  # fmt: skip
from tests.timing import is_in_time

OLD, NEW = memory_state(When.PREVIOUS), memory_state(When.CURRENT)

q, k, v, beta, alpha = (stream(name) for name in ("q", "k", "v", "beta", "alpha"))
EYE = Eye((D_K, D_K))
rate, decay = Hyperparameter("learning_rate"), Hyperparameter("decay")


def like(name: str, when: When) -> State:
    return State(name, "", (LIKE_WEIGHTS,), when)


M0, M1 = like("momentum", When.PREVIOUS), like("momentum", When.CURRENT)
W0, W1 = like("weights", When.PREVIOUS), like("weights", When.CURRENT)
INNER0, INNER1 = (State("memory.momentum", "", MATRIX, when) for when in (When.PREVIOUS, When.CURRENT))


def laws_of(model: Model) -> Laws:
    return derive_laws(order_levels(model))


def equality(left: Expr, right: Expr, expect: str = "proved", given: tuple[tuple[Expr, Expr], ...] = ()) -> EqualityClaim:
    return EqualityClaim(says="the sides agree", expect=expect, sides=(left, right), given=given, text="left == right")


def decided(model: Model, claim: EqualityClaim | OrderClaim | SameAsClaim) -> Verdict:
    laws = laws_of(replace(model, claims=(claim,)))
    verdicts: list[Verdict] = []
    assert is_in_time(2, lambda: verdicts.extend(decide_claims(laws, laws_of)))
    verdict = verdicts[0]
    json.dumps(verdict.as_json())
    return verdict


def step(matrix: Expr, key: Expr, value: Expr, strength: Expr = beta) -> Expr:
    """The delta rule."""
    return subtract(matrix, scale(strength, outer(subtract(matmul(matrix, key), value), key)))


def erase(strength: Expr) -> Expr:
    return subtract(EYE, scale(strength, outer(k, k)))


# --- equalities --------------------------------------------------------------------------------------------------

TRUE: dict[str, tuple[Model, EqualityClaim]] = {
    "linear attention is one gradient step": (linear_attention(), equality(NEW, add(OLD, outer(v, k)))),
    "and reads after the write": (linear_attention(), equality(matmul(NEW, q), add(matmul(OLD, q), scale(dot(k, q), v)))),
    "the delta rule is one gradient step": (delta_rule(), equality(NEW, step(OLD, k, v))),
    "the delta rule, factored": (delta_rule(), equality(NEW, add(matmul(OLD, erase(beta)), scale(beta, outer(v, k))))),
    "the transposed delta rule": (
        delta_rule(),
        equality(transpose(NEW), add(matmul(erase(beta), transpose(OLD)), scale(beta, outer(k, v)))),
    ),
    "gated: the decay comes first": (gated_delta_rule(), equality(NEW, step(scale(alpha, OLD), k, v))),
    "gated, factored": (
        gated_delta_rule(),
        equality(NEW, add(scale(alpha, matmul(OLD, erase(beta))), scale(beta, outer(v, k)))),
    ),
    "retention is a gradient step on the norm": (
        gated_linear_memory(),
        equality(NEW, subtract(OLD, add(scale(subtract(ONE, alpha), OLD), negate(outer(v, k))))),
    ),
    "at strength 1 and unit keys the memory returns the value": (
        delta_rule(),
        equality(matmul(NEW, k), v, given=((beta, ONE), (dot(k, k), ONE))),
    ),
    "at strength 0 nothing is written": (delta_rule(), equality(NEW, OLD, given=((beta, ZERO),))),
    "momentum is gradient descent on a value-less memory": (
        momentum(),
        equality(M1, subtract(scale(decay, M0), scale(rate, GRADIENT))),
    ),
    "from rest the first step is gradient descent": (
        momentum(),
        equality(W1, subtract(W0, scale(rate, GRADIENT)), given=((M0, spread(ZERO, None, (LIKE_WEIGHTS,))),)),
    ),
    "momentum inside a memory": (
        delta_rule_with_momentum(),
        equality(
            NEW,
            add(OLD, scale(constant(Fraction(9, 10)), INNER0), negate(scale(beta, outer(subtract(matmul(OLD, k), v), k)))),
        ),
    ),
    "the squared norm of what is written": (
        linear_attention(),
        equality(total(power(subtract(NEW, OLD), constant(2))), scale(dot(v, v), dot(k, k))),
    ),
    "functions of equal arguments": (linear_attention(), equality(apply_map("tanh", NEW), apply_map("tanh", add(outer(v, k), OLD)))),
}

FALSE: dict[str, tuple[Model, EqualityClaim]] = {
    "a sign": (delta_rule(), equality(NEW, step(OLD, k, v, negate(beta)), "refuted")),
    "a missing half": (delta_rule(), equality(NEW, step(OLD, k, v, scale(HALF, beta)), "refuted")),
    "read before the write": (delta_rule(), equality(matmul(NEW, q), matmul(OLD, q), "refuted")),
    "a dropped retention": (gated_linear_memory(), equality(NEW, add(OLD, outer(v, k)), "refuted")),
    "decay after the gradient": (gated_delta_rule(), equality(NEW, scale(alpha, step(OLD, k, v)), "refuted")),
    "true only for d_v = 1": (linear_attention(), equality(times(v, v), spread(dot(v, v), None, (D_V,)), "refuted")),
    "true only for d_k = 1": (delta_rule(), equality(matmul(NEW, outer(k, q)), matmul(NEW, outer(q, k)), "refuted")),
    "true only for symmetric matrices": (
        delta_rule(),
        equality(outer(k, matmul(erase(beta), q)), transpose(outer(k, matmul(erase(beta), q))), "refuted"),
    ),
    "true only for commuting matrices": (
        delta_rule(),
        equality(matmul(erase(beta), outer(q, q)), matmul(outer(q, q), erase(beta)), "refuted"),
    ),
    "true only for unit keys": (delta_rule(), equality(matmul(NEW, k), v, "refuted", given=((beta, ONE),))),
    "ascent": (momentum(), equality(subtract(W0, M1), subtract(W0, scale(rate, GRADIENT)), "refuted")),
    "a function in place of its argument": (linear_attention(), equality(apply_map("tanh", NEW), NEW, "refuted")),
}


@pytest.mark.parametrize("name", TRUE)
def test_true_claims_are_proved(name: str) -> None:
    verdict = decided(*TRUE[name])
    assert (verdict.verdict, verdict.as_expected) == ("proved", True), verdict.detail
    assert verdict.trace
    assert verdict.counterexample is None


@pytest.mark.parametrize("name", FALSE)
def test_false_claims_are_refuted(name: str) -> None:
    verdict = decided(*FALSE[name])
    assert (verdict.verdict, verdict.as_expected) == ("refuted", True), verdict.detail
    assert verdict.counterexample is not None
    assert verdict.counterexample["left"] != verdict.counterexample["right"]


def test_a_refutation_prints_the_residual_and_the_smallest_counterexample() -> None:
    verdict = decided(*FALSE["a dropped retention"])
    assert verdict.detail == (
        "the retention alpha of prev(memory) is missing on the right; "
        "the residual (left - right) is -prev(memory) + alpha * prev(memory); it would hold if alpha == 1; "
        "at d_k = 1, d_v = 1, alpha = 0, prev(memory) = [[1]], v = [0], k = [0]: memory is [[0]] on the left and [[1]] on the right"
    )


def test_what_holds_only_in_one_dimension_is_refuted_in_two() -> None:
    counterexample = decided(*FALSE["true only for d_k = 1"]).counterexample
    assert counterexample is not None
    assert counterexample["dims"] == {"d_k": 2, "d_v": 1}


def test_a_false_claim_that_is_expected_to_be_proved_is_not_as_expected() -> None:
    model, claim = FALSE["a sign"]
    assert not decided(model, replace(claim, expect="proved")).as_expected


def test_a_proof_names_the_laws_and_their_rules() -> None:
    trace = [str(item) for item in decided(*TRUE["the delta rule, factored"]).trace]
    assert trace[0].startswith("prediction = prev(memory) @ k    [law of memory:")
    assert "prev(memory) + beta * outer(v, k) - beta * outer(prev(memory) @ k, k)" in trace[-1]


def test_form_only_must_be_asked_for() -> None:
    model, claim = FALSE["a missing half"]
    verdict = decided(model, replace(claim, expect="form-only"))
    assert verdict.verdict == "form-only"
    assert "other coefficients" in verdict.detail
    assert decided(*FALSE["a dropped retention"]).verdict == "refuted"
    assert decided(model, equality(NEW, OLD, "form-only")).verdict == "refuted"


# --- conditions --------------------------------------------------------------------------------------------------


def test_a_division_on_one_side_alone_is_a_condition() -> None:
    verdict = decided(delta_rule(), equality(NEW, divide(scale(beta, step(OLD, k, v)), beta), "proved-if"))
    assert (verdict.verdict, verdict.conditions) == ("proved-if", ("beta != 0",))


def test_a_division_on_both_sides_is_none() -> None:
    verdict = decided(delta_rule(), equality(divide(NEW, beta), divide(step(OLD, k, v), beta)))
    assert (verdict.verdict, verdict.conditions) == ("proved", ())


def test_a_root_on_one_side_alone_is_a_condition() -> None:
    verdict = decided(delta_rule(), equality(power(Map("sqrt", beta, ()), constant(2)), beta, "proved-if"))
    assert verdict.conditions == ("beta >= 0",)


def test_the_expected_conditions_are_tried() -> None:
    left, right = scale(rate, power(GRADIENT, constant(2))), scale(decay, power(GRADIENT, constant(2)))
    assert decided(momentum(), equality(left, right, "proved-if learning_rate == decay")).as_expected
    assert decided(momentum(), equality(left, right, "proved-if learning_rate == 0 and decay == 0")).as_expected
    assert decided(momentum(), equality(left, right, "proved-if")).conditions == ("learning_rate == decay",)
    assert decided(momentum(), equality(left, right, "proved-if learning_rate == 2")).verdict == "refuted"


def test_dividing_by_zero_is_unknown() -> None:
    assert decided(delta_rule(), equality(Divide(NEW, ZERO, MATRIX), OLD, "unknown")).as_expected


def test_an_implicit_step_is_the_explicit_one_at_a_smaller_rate() -> None:
    """Longhorn: the proximal step's law, checked against its optimality condition (math.md 2.4)."""
    strength = divide(beta, add(ONE, scale(beta, dot(k, k))))
    model = replace(delta_rule(), claims=(equality(subtract(NEW, OLD), scale(beta, outer(subtract(v, matmul(NEW, k)), k)), "proved-if"),))
    law = Law("memory", model.components[0].every, (Equation("memory", step(OLD, k, v, strength), "proximal step", (), ""),))
    (verdict,) = decide_claims(Laws(order_levels(model), (law,), ()), laws_of)
    assert (verdict.verdict, verdict.conditions) == ("proved", ()), verdict.detail


# --- what cannot be proved ---------------------------------------------------------------------------------------


def test_identities_of_functions_are_tested() -> None:
    half = scale(HALF, matmul(NEW, q))
    doubled = subtract(scale(constant(2), apply_map("sigmoid", matmul(NEW, q))), spread(ONE, None, (D_V,)))
    verdict = decided(delta_rule(), equality(apply_map("tanh", half), doubled, "tested"))
    assert verdict.as_expected
    samples = verdict.as_json()["samples"]
    assert isinstance(samples, dict)
    assert samples["samples"] >= 20
    assert samples["worst_gap"] < 1e-12


def test_expecting_tested_accepts_proved_and_not_the_reverse() -> None:
    model, claim = TRUE["the delta rule is one gradient step"]
    assert decided(model, replace(claim, expect="tested")).as_expected
    absolute = equality(Norm(scale(constant(-2), v)), scale(constant(2), Norm(v)))
    verdict = decided(model, absolute)
    assert verdict.verdict == "tested"
    assert not verdict.as_expected


def test_a_normal_form_that_is_too_large_is_unknown_or_refuted() -> None:
    sum_of_rates = add(*(Input(f"rate{index}", ()) for index in range(30)))
    wide = power(sum_of_rates, constant(6))
    assert decided(delta_rule(), equality(wide, add(wide, ONE), "refuted")).as_expected
    assert "too large" in decided(delta_rule(), equality(wide, scale(sum_of_rates, power(sum_of_rates, constant(5))), "tested")).detail


def test_assumptions_that_cannot_be_met_leave_it_unknown() -> None:
    impossible = ((dot(k, k), constant(-1)),)
    assert decided(delta_rule(), equality(NEW, OLD, "unknown", given=impossible)).as_expected


def test_a_gradient_in_a_claim_is_unknown() -> None:
    assert decided(delta_rule(), equality(NEW, Gradient("memory", "", MATRIX), "unknown")).as_expected


def test_an_output_in_a_claim_is_its_expression() -> None:
    y = Named("y", (D_V,))
    assert decided(linear_attention(), equality(y, add(matmul(OLD, q), scale(dot(k, q), v)))).as_expected
    assert decided(linear_attention(), equality(Named("z", (D_V,)), v, "unknown")).as_expected


# --- shapes ------------------------------------------------------------------------------------------------------


def ill_typed(left: Expr, right: Expr) -> EqualityClaim:
    diagnostic = Diagnostic("NLC220", "eye is (d_v, d_v) here, but outer(k, k) is (d_k, d_k)")
    sides = IllTyped(diagnostic, identified=(left, right), dims=("d_v", "d_k"))
    return EqualityClaim(says="as printed", expect="ill-typed", sides=sides)


def square(when: When) -> State:
    return State("memory", "", (D_V, D_V), when)


def test_an_ill_typed_claim_says_what_holds_with_the_dims_identified() -> None:
    key, eye = Input("k", (D_V,)), Eye((D_V, D_V))
    factor, write = subtract(eye, scale(beta, outer(key, key))), scale(beta, outer(v, key))
    wrong = decided(delta_rule(), ill_typed(square(When.CURRENT), add(matmul(factor, square(When.PREVIOUS)), write)))
    assert wrong.as_expected
    assert "with d_v = d_k it is refuted: the erase term" in wrong.detail
    assert wrong.counterexample is not None
    right = decided(delta_rule(), ill_typed(square(When.CURRENT), add(matmul(square(When.PREVIOUS), factor), write)))
    assert "with d_v = d_k it is proved" in right.detail


def test_an_ill_typed_claim_without_an_identification_has_only_its_message() -> None:
    claim = EqualityClaim(says="as printed", expect="ill-typed", sides=IllTyped(Diagnostic("NLC220", "shapes differ")))
    assert decided(delta_rule(), claim).detail == "shapes differ"


# --- orders ------------------------------------------------------------------------------------------------------


def chain(*items: str, expect: str = "proved") -> OrderClaim:
    return OrderClaim(says="levels", expect=expect, names=items[::2], relations=items[1::2])  # type: ignore[arg-type]


def test_orders_are_proved_with_the_reason() -> None:
    verdict = decided(momentum(), chain("momentum", ">", "weights"))
    assert verdict.as_expected
    assert verdict.detail.startswith("momentum is faster than weights (")
    assert decided(momentum(), chain("weights", "<", "momentum")).as_expected


def test_wrong_orders_are_refuted_with_the_actual_relation() -> None:
    for sign in ("~", "<"):
        verdict = decided(momentum(), chain("momentum", sign, "weights", expect="refuted"))
        assert verdict.as_expected
        assert f"momentum {sign} weights does not hold: momentum is faster than weights" in verdict.detail


def test_a_tie_beside_a_faster_level_passes_it_on() -> None:
    model = momentum()
    second = replace(model.components[0], name="second")
    model = replace(model, components=(model.components[0], second, model.components[1]))
    assert decided(model, chain("momentum", "~", "second")).as_expected
    verdict = decided(model, chain("momentum", "~", "second", ">", "weights", expect="refuted"))
    assert verdict.as_expected, verdict.detail


def test_an_unknown_level_is_unknown() -> None:
    assert decided(momentum(), chain("momentum", ">", "velocity", expect="unknown")).as_expected


# --- whole systems -----------------------------------------------------------------------------------------------


def same(other: Model, expect: str = "proved", **fields: object) -> SameAsClaim:
    return SameAsClaim(says="the same system", expect=expect, other=other, other_name=other.name, **fields)  # type: ignore[arg-type]


def test_momentum_is_heavy_ball_at_a_constant_rate() -> None:
    verdict = decided(momentum(), same(heavy_ball()))
    assert verdict.as_expected, verdict.detail
    assert "momentum = -learning_rate * HeavyBall's momentum" in verdict.detail
    assert verdict.conditions == ()
    assert decided(heavy_ball(), same(momentum())).as_expected


def test_and_not_under_a_schedule() -> None:
    verdict = decided(momentum(), same(heavy_ball(), "refuted", varying=("learning_rate",)))
    assert verdict.as_expected
    assert verdict.counterexample is not None
    assert verdict.counterexample["quantity"] == "weights after tick 2"
    values = verdict.counterexample["values"]
    assert isinstance(values, dict)
    assert values["learning_rate[1]"] != values["learning_rate[2]"]


def test_a_decay_may_vary() -> None:
    assert decided(momentum(), same(heavy_ball(), varying=("decay",))).as_expected


def test_other_rates_are_another_optimizer() -> None:
    doubled = (("learning_rate", scale(constant(2), rate)),)
    assert decided(momentum(), same(heavy_ball(), "refuted", bindings=doubled)).as_expected


def test_the_gated_rule_with_an_open_gate_is_the_delta_rule() -> None:
    assert decided(delta_rule(), same(gated_delta_rule(), bindings=(("alpha", ONE),))).as_expected
    assert decided(gated_delta_rule(), same(delta_rule(), "refuted")).as_expected


def test_titans_coupled_and_decoupled_decay_differ() -> None:
    """Gated delta: decay first; the decoupled form takes the gradient at the old state (math.md 2.10)."""
    coupled = gated_delta_rule()
    decoupled = replace(delta_rule(), inputs=coupled.inputs, components=(replace(delta_rule().components[0], retention=(alpha,)),))
    assert decided(coupled, same(decoupled, "refuted")).as_expected
    again = (("beta", scale(alpha, beta)), ("v", divide(v, alpha)))
    verdict = decided(coupled, same(decoupled, "proved-if", bindings=again))
    assert (verdict.verdict, verdict.conditions) == ("proved-if", ("alpha != 0",))


def test_a_momentum_that_is_never_kept_is_no_momentum() -> None:
    inner, host = delta_rule_with_momentum().components
    forgetful = replace(delta_rule_with_momentum(), components=(replace(inner, retention=(ZERO,)), host))
    assert decided(delta_rule(), same(forgetful)).as_expected
    assert decided(delta_rule(), same(delta_rule_with_momentum(), "refuted")).as_expected


def test_an_option_fixes_a_hyperparameter_of_the_other() -> None:
    plain = replace(momentum(), name="GradientDescent", components=_gradient_descent())
    assert decided(plain, same(momentum(), options=(("decay", Fraction(0)),))).as_expected
    assert decided(plain, same(momentum(), "refuted")).as_expected


def test_what_is_given_holds_at_every_tick() -> None:
    assert decided(gated_delta_rule(), same(delta_rule(), given=((alpha, ONE),))).as_expected
    assert decided(gated_delta_rule(), same(delta_rule(), "refuted", given=((alpha, HALF),))).as_expected
    assert decided(momentum(), same(heavy_ball(), given=((decay, rate),))).as_expected
    assert "at every tick" in decided(momentum(), same(heavy_ball(), "unknown", given=((M0, GRADIENT),))).detail


def _gradient_descent() -> tuple[Component, ...]:
    weights = heavy_ball().components[1]
    objective = dot(State("weights", "", (LIKE_WEIGHTS,), When.FITTED), GRADIENT)
    return (replace(weights, objective=objective, follows=objective),)


def test_an_input_that_nothing_binds_is_unknown() -> None:
    assert "alpha" in decided(delta_rule(), same(gated_delta_rule(), "unknown")).detail


def test_kinds_are_not_mixed() -> None:
    assert decided(delta_rule(), same(momentum(), "unknown")).as_expected


def test_a_model_that_has_no_laws_is_unknown() -> None:
    def refuse(_: Model) -> Laws:
        raise CompileError(Diagnostic("NLC401", "proximal steps are not compiled"))

    (verdict,) = decide_claims(laws_of(replace(delta_rule(), claims=(same(linear_attention(), "unknown"),))), refuse)
    assert verdict.as_expected
    assert "NLC401" in verdict.detail


def test_systems_that_agree_by_an_identity_of_functions_are_tested() -> None:
    strength = scale(constant(2), apply_map("sigmoid", beta))
    other = scale(constant(1), add(ONE, apply_map("tanh", scale(HALF, beta))))
    verdict = decided(delta_rule(), same(_with_rate(strength), "refuted"))
    assert verdict.as_expected
    (verdict,) = decide_claims(laws_of(replace(_with_rate(strength), claims=(same(_with_rate(other), "tested"),))), laws_of)
    assert verdict.as_expected, verdict.detail


def _with_rate(strength: Expr) -> Model:
    model = delta_rule()
    return replace(model, components=(replace(model.components[0], optimizer=GradientDescent(strength)),))


def test_every_claim_gets_a_verdict_in_order() -> None:
    claims = (TRUE["the delta rule is one gradient step"][1], chain("memory", "~", "memory"), same(delta_rule()))
    verdicts = decide_claims(laws_of(replace(delta_rule(), claims=claims)), laws_of)
    assert [verdict.verdict for verdict in verdicts] == ["proved", "proved", "proved"]
    assert {"spec", "claim", "verdict", "expected", "method"} <= verdicts[0].as_json().keys()
