"""Models built by hand, as `resolve` builds them from the shipped specs: for the tests of the later stages."""

from __future__ import annotations

from fractions import Fraction

from nlc.ir.algebra import HALF, MINUS_ONE, ONE, Expr, Gradient, Hyperparameter, Input, State, When
from nlc.ir.build import constant, dot, matmul, scale, subtract
from nlc.ir.dims import LIKE_WEIGHTS, Dim, Shape
from nlc.ir.model import (
    STEP,
    TOKEN,
    Component,
    DimDeclaration,
    GradientDescent,
    GradientPoint,
    HyperparameterDeclaration,
    InputStream,
    Model,
    Output,
    StateDeclaration,
)  # fmt: skip

D_K, D_V = Dim.named("d_k"), Dim.named("d_v")
MATRIX: Shape = (D_V, D_K)
SHAPES: dict[str, Shape] = {"q": (D_K,), "k": (D_K,), "v": (D_V,), "beta": (), "alpha": ()}


def stream(name: str) -> Input:
    return Input(name, SHAPES[name])


def memory_state(when: When) -> State:
    return State("memory", "", MATRIX, when)


def _architecture(name: str, inputs: tuple[str, ...], *components: Component) -> Model:
    return Model(
        name=name,
        kind="architecture",
        says=f"{name}, built by hand.",
        dims=(DimDeclaration(name="d_k", default=64), DimDeclaration(name="d_v", default=64)),
        axes=("heads",),
        inputs=tuple(InputStream(name=item, shape=SHAPES[item], axes=("heads",)) for item in inputs),
        components=components,
        outputs=(Output(name="y", value=matmul(memory_state(When.CURRENT), stream("q"))),),
        path=f"specs/architectures/{name}.yaml",
        digest="0" * 64,
    )


def l2_objective() -> Expr:
    error = subtract(matmul(memory_state(When.FITTED), stream("k")), stream("v"))
    return scale(HALF, dot(error, error))


def dot_objective() -> Expr:
    return scale(MINUS_ONE, dot(matmul(memory_state(When.FITTED), stream("k")), stream("v")))


def memory(objective: Expr, rate: Expr, **changes: object) -> Component:
    fields: dict[str, object] = {
        "name": "memory",
        "memory": "matrix(d_v, d_k)",
        "states": (StateDeclaration(part="", shape=MATRIX),),
        "objective": objective,
        "follows": objective,
        "optimizer": GradientDescent(rate),
        "every": TOKEN,
        "key": stream("k"),
        "value": stream("v"),
        "prediction": matmul(memory_state(When.FITTED), stream("k")),
    }
    return Component(**{**fields, **changes})  # type: ignore[arg-type]


def linear_attention() -> Model:
    return _architecture("LinearAttention", ("q", "k", "v"), memory(dot_objective(), ONE))


def delta_rule() -> Model:
    return _architecture("DeltaRule", ("q", "k", "v", "beta"), memory(l2_objective(), stream("beta")))


def gated_delta_rule() -> Model:
    gated = memory(l2_objective(), stream("beta"), retention=(stream("alpha"),), gradient_at=GradientPoint.RETAINED)
    return _architecture("GatedDeltaRule", ("q", "k", "v", "beta", "alpha"), gated)


def gated_linear_memory() -> Model:
    """Linear attention with a scalar decay per token."""
    return _architecture("GatedLinearMemory", ("q", "k", "v", "alpha"), memory(dot_objective(), ONE, retention=(stream("alpha"),)))


def delta_rule_with_momentum() -> Model:
    """`optimizer: momentum(learning_rate = beta, decay = 0.9)` inside the memory: the optimizer spec, inlined as a level."""
    host = memory(
        l2_objective(),
        ONE,
        follows=scale(MINUS_ONE, dot(memory_state(When.FITTED), State("memory.momentum", "", MATRIX, When.CURRENT))),
        optimizer_name="momentum",
    )
    inner = Component(
        name="memory.momentum",
        memory="like(weights)",
        host="memory",
        states=(StateDeclaration(part="", shape=MATRIX),),
        objective=(objective := dot(State("memory.momentum", "", MATRIX, When.FITTED), Gradient("memory", "", MATRIX))),
        follows=objective,
        optimizer=GradientDescent(stream("beta")),
        retention=(constant(Fraction(9, 10)),),
        every=TOKEN,
    )
    return _architecture("DeltaRuleWithMomentum", ("q", "k", "v", "beta"), inner, host)


def _optimizer(name: str, hyperparameters: dict[str, str], *components: Component) -> Model:
    return Model(
        name=name,
        kind="optimizer",
        says=f"{name}, built by hand.",
        inputs=(InputStream(name="gradient", shape=(LIKE_WEIGHTS,), every=STEP),),
        hyperparameters=tuple(HyperparameterDeclaration(name=key, default=Fraction(value)) for key, value in hyperparameters.items()),
        components=components,
        path=f"specs/optimizers/{name}.yaml",
        digest="0" * 64,
    )


def _slow(name: str, objective: Expr, rate: Expr, retention: tuple[Expr, ...] = ()) -> Component:
    return Component(
        name=name,
        memory="like(weights)",
        states=(StateDeclaration(part="", shape=(LIKE_WEIGHTS,)),),
        objective=objective,
        follows=objective,
        optimizer=GradientDescent(rate),
        retention=retention,
        every=STEP,
    )


def _like(name: str, when: When) -> State:
    return State(name, "", (LIKE_WEIGHTS,), when)


GRADIENT = Input("gradient", (LIKE_WEIGHTS,))


def momentum() -> Model:
    """m = decay m - rate g;  W = W + m (the rate inside the memory, as in the paper)."""
    return _optimizer(
        "Momentum",
        {"learning_rate": "0.01", "decay": "0.9"},
        _slow("momentum", dot(_like("momentum", When.FITTED), GRADIENT), Hyperparameter("learning_rate"), (Hyperparameter("decay"),)),
        _slow("weights", scale(MINUS_ONE, dot(_like("weights", When.FITTED), _like("momentum", When.CURRENT))), ONE),
    )


def heavy_ball() -> Model:
    """m = decay m + g;  W = W - rate m (the rate outside, as in torch)."""
    return _optimizer(
        "HeavyBall",
        {"learning_rate": "0.01", "decay": "0.9"},
        _slow("momentum", scale(MINUS_ONE, dot(_like("momentum", When.FITTED), GRADIENT)), ONE, (Hyperparameter("decay"),)),
        _slow("weights", dot(_like("weights", When.FITTED), _like("momentum", When.CURRENT)), Hyperparameter("learning_rate")),
    )


ALL = (linear_attention, delta_rule, gated_delta_rule, gated_linear_memory, delta_rule_with_momentum, momentum, heavy_ball)
