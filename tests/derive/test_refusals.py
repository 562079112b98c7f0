"""Everything that this version does not derive is refused with its own code, all at once, and no code is idle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from nlc import pipeline
from nlc.codes.derive import CODES
from nlc.derive import derive_laws
from nlc.derive.refusals import refusals
from nlc.diagnostics import CompileError, Diagnostic
from nlc.ir.algebra import ONE, ZERO, Constant, Expr, Gradient, Hyperparameter, Norm, Softmax, State, Tick, When
from nlc.ir.build import apply_map, constant, dot, outer, scale, spread, subtract, total
from nlc.ir.dims import LIKE_WEIGHTS
from nlc.ir.model import STEP, Clock, ClosedForm, Family, GradientDescent, GradientPoint, HyperparameterDeclaration, Model, Proximal
from nlc.source import Source, Span
from tests.architecture.modules import ROOT
from tests.derive.hand import order_of
from tests.derive.systems import PREDICTION
from tests.models import MATRIX, delta_rule, delta_rule_with_momentum, memory_state, momentum, stream
from tests.schedule.windows import ATTENTION, OTHER, model_of_text

BAD = ROOT / "tests" / "bad"
SEQUENCE = Clock(Family.SEQUENCE)
CHUNK = Clock(Family.TOKEN, Fraction(16))
TWO_THIRDS = Clock(Family.TOKEN, Fraction(2, 3))


def with_level(**changes: object) -> Model:
    model = delta_rule()
    return replace(model, components=(replace(model.components[0], **changes),))  # type: ignore[arg-type]


def with_rate(rate: Expr) -> Model:
    """An optimizer whose weights have another rate."""
    first, weights = momentum().components
    return replace(momentum(), components=(first, replace(weights, optimizer=GradientDescent(rate))))


def gradient_of_a_gradient() -> Model:
    inner, host = delta_rule_with_momentum().components
    circular = replace(host, gradient_at=GradientPoint.RETAINED, retention=(scale(ONE, Gradient("memory", "", MATRIX)),))
    return replace(delta_rule_with_momentum(), components=(inner, circular))


HELD: Mapping[str, Any] = {"gradient_at": GradientPoint.HELD, "gradient_period": 16}


def stepped() -> Expr:
    """What an inlined optimizer's `weights` follow: not the objective of the level itself."""
    return scale(constant(2), delta_rule().components[0].objective)


def nested_softmax() -> Model:
    vector = PREDICTION
    for _ in range(30):
        vector = apply_map("tanh", Softmax(vector, 0, vector.shape))
    return with_level(objective=total(vector), follows=total(vector))


GRAM = OTHER.replace("other", "gram").replace("    keys: k\n    values: v\n", "").replace("l2", "-beta * dot(gram(k), k)")
NOT_DEFINITE: Mapping[str, tuple[str, str]] = {
    "no ridge": (GRAM, "gram"),
    "a ridge of nothing": (GRAM, "gram + 0 * eye"),
    "a ridge that may be zero": (GRAM, "gram + beta * eye"),
    "a difference": (GRAM, "eye - gram"),
    "written along another vector": (GRAM.replace("(k), k)", "(k), v)"), "gram + eye"),
    "weighed by what may be negative": (GRAM.replace("-beta *", "-k_0 *").replace("k_0", "dot(q, k)"), "gram + eye"),
    "steps up the objective": (GRAM.replace("-beta *", "beta *"), "gram + eye"),
    "a rate that may be negative": (GRAM.replace("gradient_descent(beta)", "gradient_descent(dot(q, k))"), "gram + eye"),
    "kept times what may be negative": (GRAM + "    retention: dot(q, k)\n", "gram + eye"),
    "erased as well": (GRAM.replace("-beta * dot(gram(k), k)", "0.5 * norm2(gram(k) - k)"), "gram + eye"),
    "begun at anything": (GRAM + "    init: outer(v, k)\n", "gram + eye"),
}
DEFINITE: Mapping[str, tuple[str, str]] = {
    "a ridge": (GRAM, "gram + eye"),
    "a positive function as the ridge": (GRAM, "gram + softplus(dot(q, k)) * eye"),
    "kept by a gate": (GRAM + "    retention: beta\n", "prev(gram) + 0.1 * eye"),
    "begun at a square": (GRAM + "    init: outer(k, k)\n", "gram + eye"),
    "a square written out": (GRAM, "beta * outer(v, v) + gram @ transpose(gram) + eye"),
}


def gram_model(level_and_matrix: tuple[str, str] | str) -> Model:
    """A level of squares, and an output that solves with a matrix made of it."""
    level, matrix = NOT_DEFINITE[level_and_matrix] if isinstance(level_and_matrix, str) else level_and_matrix
    return model_of_text(level, f"solve({matrix}, q)")


REFUSED: Mapping[str, tuple[Callable[[], Model], ...]] = {
    "NLC401": (
        lambda: with_level(optimizer=Proximal(stream("beta")), every=CHUNK),
        lambda: with_level(optimizer=Proximal(stream("beta")), gradient_at=GradientPoint.RETAINED),
        lambda: with_level(optimizer=Proximal(stream("beta")), objective=Norm(memory_state(When.FITTED))),
    ),
    "NLC402": (lambda: with_level(optimizer=ClosedForm()),),
    "NLC403": (lambda: with_level(every=TWO_THIRDS), lambda: with_level(every=STEP)),
    "NLC404": (lambda: replace(delta_rule(), inputs=tuple(replace(item, every=CHUNK) for item in delta_rule().inputs[:1])),),
    "NLC405": (lambda: with_rate(State("momentum", "", (LIKE_WEIGHTS,), When.HELD, period=16)),),
    "NLC406": (
        lambda: replace(momentum(), components=(replace(momentum().components[0], **HELD), momentum().components[1])),
        lambda: with_level(follows=stepped(), step_at=GradientPoint.HELD),
    ),
    "NLC408": (lambda: with_level(window=8), lambda: with_level(window="all")),
    "NLC409": (lambda: with_level(reset=STEP),),
    "NLC410": (lambda: with_level(init=(spread(Tick("memory"), None, delta_rule().components[0].states[0].shape),)),),
    "NLC414": (
        lambda: with_level(every=CHUNK, gradient_at=GradientPoint.RETAINED, retention=(stream("beta"),)),
        lambda: with_level(unsupported=(("`backprop: none`", Span(Source("a.yaml", "x"), 0, 1)),)),
        lambda: with_level(reset=CHUNK, **HELD),
        lambda: with_level(backprop=2, **HELD),
        gradient_of_a_gradient,
    ),
    "NLC415": (nested_softmax,),
    "NLC416": (lambda: replace(delta_rule(), inputs=tuple(replace(item, every=SEQUENCE) for item in delta_rule().inputs)),),
    "NLC417": (lambda: with_level(every=SEQUENCE, backprop=0),),
    "NLC419": (lambda: with_level(every=Clock(Family.TOKEN, Fraction(1, 2)), backprop=3),),
    "NLC418": (lambda: with_level(every=SEQUENCE, init=(outer(stream("v"), stream("k")),)),),
    "NLC420": (lambda: pipeline.resolve(pipeline.parse(BAD / "NLC420-reset-to-nothing.yaml")),),
    "NLC421": (lambda: pipeline.resolve(pipeline.parse(BAD / "NLC421-name-of-what-is-kept.yaml")),),
    "NLC430": (
        lambda: model_of_text(ATTENTION.replace("exp(dot(k, now(q)))", "dot(k, now(q))")),
        lambda: model_of_text(ATTENTION.replace("norm2(v - memory)", "norm2(now(v) - memory)").replace("dot(k, now(q))", "1")),
    ),
    "NLC431": (lambda: model_of_text(ATTENTION.replace("    window: all\n", "").replace("now(q)", "q")),),
    "NLC432": (lambda: model_of_text(ATTENTION, "prev(memory)"), lambda: model_of_text(f"{ATTENTION}    reset: never\n")),
    "NLC433": tuple(lambda culprit=culprit: gram_model(culprit) for culprit in NOT_DEFINITE),
    "NLC434": (
        lambda: with_level(optimizer=GradientDescent(Constant(Fraction(-1, 2)))),
        lambda: with_default(Hyperparameter("h"), Fraction(-1, 2)),
        lambda: with_default(subtract(ONE, Hyperparameter("h")), Fraction(1)),
    ),
}


def with_default(rate: Expr, default: Fraction) -> Model:
    """The delta rule at a rate over a hyperparameter with a default."""
    return replace(with_level(optimizer=GradientDescent(rate)), hyperparameters=(HyperparameterDeclaration(name="h", default=default),))


def refused(model: Model) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as caught:
        derive_laws(order_of(model))
    return caught.value.diagnostics


def test_every_code_is_tried() -> None:
    assert {code.number for code in CODES} == set(REFUSED)


@pytest.mark.parametrize("code", REFUSED)
def test_each_is_refused_alone(code: str) -> None:
    for make in REFUSED[code]:
        (diagnostic,) = refused(make())
        assert diagnostic.code == code
        assert diagnostic.message
        assert diagnostic.labels[0].text
        assert diagnostic.help


def test_all_at_once() -> None:
    model = with_level(optimizer=ClosedForm(), every=TWO_THIRDS, window="all")
    assert [diagnostic.code for diagnostic in refused(model)] == ["NLC402", "NLC403", "NLC408"]


def test_a_place_is_named_once() -> None:
    held = State("momentum", "", (LIKE_WEIGHTS,), When.HELD, period=16)
    (diagnostic,) = refused(with_rate(dot(held, held)))
    assert diagnostic.code == "NLC405"


def test_an_optimizer_runs_on_the_step_clock() -> None:
    model = momentum()
    slow = replace(model, components=(replace(model.components[0], every=Clock(Family.STEP, Fraction(8, 3))), model.components[1]))
    (diagnostic,) = refused(slow)
    assert (diagnostic.code, diagnostic.message) == ("NLC403", "`momentum` updates every (8 steps) / 3, which nlc does not compile yet")


def test_defaults_spelled_out_are_fine() -> None:
    derive_laws(order_of(with_level(reset=SEQUENCE, init=(ZERO,), reduce="sum")))


def test_a_message_reads_well() -> None:
    (diagnostic,) = refused(with_rate(total(State("momentum", "", (LIKE_WEIGHTS,), When.HELD, period=16))))
    assert diagnostic.message == "a held read of `momentum` is not compiled yet"


@pytest.mark.parametrize("case", DEFINITE)
def test_what_is_surely_definite_is_solved(case: str) -> None:
    assert not refusals(gram_model(DEFINITE[case]))
