"""More models built by hand: what the shipped specs do not show about derivation and scheduling."""

from __future__ import annotations

from dataclasses import replace

from nlc.ir.algebra import (
    HALF,
    MINUS_ONE,
    ONE,
    Compare,
    Expr,
    Extremum,
    Gradient,
    Hyperparameter,
    Input,
    Norm,
    Spread,
    State,
    StopGradient,
    When,
    Where,
)
from nlc.ir.build import add, apply_map, dot, matmul, scale, subtract, times, total
from nlc.ir.dims import LIKE_WEIGHTS
from nlc.ir.model import (
    STEP,
    TOKEN,
    Component,
    GradientDescent,
    GradientPoint,
    HyperparameterDeclaration,
    InputStream,
    Model,
    Output,
    StateDeclaration,
)
from tests.models import (
    D_K,
    D_V,
    MATRIX,
    delta_rule,
    dot_objective,
    gated_delta_rule,
    l2_objective,
    linear_attention,
    memory,
    memory_state,
    stream,
)

FITTED = memory_state(When.FITTED)
PREDICTION = matmul(FITTED, stream("k"))
ERROR = subtract(PREDICTION, stream("v"))
KEYED: dict[str, object] = {"prediction": PREDICTION, "value": stream("v")}
READ_VECTOR = Input("p", (D_K,))


def with_memory(component: Component, *outputs: Expr) -> Model:
    """The delta rule's streams around another memory, and other outputs if any are given."""
    base = delta_rule()
    named = tuple(Output(name=f"y{number or ''}", value=value) for number, value in enumerate(outputs)) or base.outputs
    extra = (InputStream(name="alpha", shape=()), InputStream(name="p", shape=(D_K,)))
    return replace(base, components=(component,), inputs=(*base.inputs, *extra), outputs=named)


def robust_memory() -> Model:
    """A log-cosh objective: the surprise is tanh of the error."""
    return with_memory(memory(total(apply_map("log", apply_map("cosh", ERROR))), stream("beta")))


def huber_memory() -> Model:
    length, delta = Norm(ERROR), Hyperparameter("delta")
    outside = scale(delta, subtract(length, scale(HALF, delta)))
    model = with_memory(memory(Where(Compare("<", length, delta, ()), scale(HALF, dot(ERROR, ERROR)), outside, ()), stream("beta")))
    return replace(model, hyperparameters=(HyperparameterDeclaration(name="delta", default=HALF.value),))


def ridge_memory() -> Model:
    ridge = scale(HALF, scale(Hyperparameter("ridge"), dot(FITTED, FITTED)))
    model = with_memory(memory(add(l2_objective(), ridge), stream("beta")))
    return replace(model, hyperparameters=(HyperparameterDeclaration(name="ridge", default=HALF.value),))


def separate_read_and_write() -> Model:
    """Comba, RWKV-7: the state is read along p and written along k."""
    erased = subtract(matmul(FITTED, READ_VECTOR), stream("v"))
    objective = dot(PREDICTION, StopGradient(scale(stream("beta"), erased), (D_V,)))
    changes: dict[str, object] = {"retention": (stream("alpha"),), "gradient_at": GradientPoint.RETAINED}
    return with_memory(memory(objective, ONE, **changes))


def decayed_after_the_gradient() -> Model:
    """Retention given, gradient at the previous state: the decay does not reach the read."""
    return with_memory(memory(l2_objective(), stream("beta"), retention=(stream("alpha"),)))


def channel_gated_memory() -> Model:
    """Gated linear attention: one retention per key channel."""
    return with_memory(memory(dot_objective(), ONE, retention=(Spread(READ_VECTOR, 1, MATRIX),)))


def channel_gated_delta_rule() -> Model:
    return with_memory(memory(l2_objective(), stream("beta"), retention=(Spread(READ_VECTOR, 1, MATRIX),)))


def two_writes() -> Model:
    """Two pairs a token, written at once."""
    second = subtract(matmul(FITTED, READ_VECTOR), stream("v"))
    return with_memory(memory(add(l2_objective(), scale(HALF, dot(second, second))), stream("beta"), value=None, prediction=None))


SECOND = State("memory", "second", MATRIX, When.FITTED)
"""The other tensor of a memory of two."""


def two_tensors(objective: Expr | None = None) -> Component:
    """A memory of two matrices, which are read and written together; linear attention unless another objective is given."""
    prediction = add(PREDICTION, matmul(SECOND, stream("k")))
    states = (StateDeclaration(part="", shape=MATRIX), StateDeclaration(part="second", shape=MATRIX))
    chosen = scale(MINUS_ONE, dot(prediction, stream("v"))) if objective is None else objective
    return memory(chosen, ONE, states=states, prediction=None, value=None)


def rate_per_value_channel() -> Model:
    return with_memory(memory(l2_objective(), Spread(stream("v"), 0, MATRIX)))


def clipped_memory() -> Model:
    """Nonlinear in the old state without any map: an extremum of the prediction."""
    return with_memory(memory(dot(stream("v"), Extremum("maximum", PREDICTION, stream("v"), (D_V,))), stream("beta")))


def vector_memory() -> Model:
    """A running mean of the values, without keys."""
    state = State("mean", "", (D_V,), When.FITTED)
    error = subtract(state, stream("v"))
    component = Component(
        name="mean",
        memory="vector(d_v)",
        states=(StateDeclaration(part="", shape=(D_V,)),),
        objective=(objective := scale(HALF, dot(error, error))),
        follows=objective,
        optimizer=GradientDescent(stream("beta")),
        every=TOKEN,
        value=stream("v"),
        prediction=state,
    )
    return with_memory(component, State("mean", "", (D_V,)))


def momentum_in_linear_attention() -> Model:
    """Gated, so that every word of an inlined optimizer is needed: retained, and a gradient that is no state's."""
    inner = Component(
        name="memory.momentum",
        host="memory",
        states=(StateDeclaration(part="", shape=MATRIX),),
        objective=(objective := dot(State("memory.momentum", "", MATRIX, When.FITTED), Gradient("memory", "", MATRIX))),
        follows=objective,
        optimizer=GradientDescent(stream("beta")),
        every=TOKEN,
    )
    follows = scale(MINUS_ONE, dot(FITTED, State("memory.momentum", "", MATRIX)))
    host = memory(dot_objective(), ONE, follows=follows, retention=(stream("alpha"),))
    return replace(with_memory(host), components=(inner, host))


def gated_delta_rule_with_momentum() -> Model:
    """Both the inlined level and its host need the retained state."""
    model = momentum_in_linear_attention()
    inner, host = model.components
    retained = replace(host, objective=l2_objective(), gradient_at=GradientPoint.RETAINED, step_at=GradientPoint.RETAINED)
    return replace(model, components=(inner, retained))


def two_memories(*, first_reads: bool = False, second_reads: bool = True) -> Model:
    """`first` may write what `second` was before this token; `second` may write what `first` is after it."""
    first = memory(l2_objective(), stream("beta"), name="first")
    states = {name: State(name, "", MATRIX, When.FITTED) for name in ("first", "second")}
    values: dict[str, Expr] = {
        "first": matmul(State("second", "", MATRIX, When.PREVIOUS), stream("k")) if first_reads else stream("v"),
        "second": matmul(State("first", "", MATRIX), READ_VECTOR) if second_reads else stream("v"),
    }
    components = []
    for name, state in states.items():
        prediction = matmul(state, stream("k"))
        error = subtract(prediction, values[name])
        objective = scale(HALF, dot(error, error))
        components.append(replace(first, name=name, objective=objective, follows=objective, prediction=prediction, value=values[name]))
    outputs = (matmul(State("second", "", MATRIX), stream("q")), matmul(State("first", "", MATRIX, When.PREVIOUS), stream("q")))
    return replace(with_memory(first, *outputs), components=tuple(components))


def two_memories_in_a_cycle() -> Model:
    return two_memories(first_reads=True)


def memory_of_two_tensors() -> Model:
    return with_memory(two_tensors(), matmul(memory_state(When.CURRENT), stream("q")))


def moments() -> Model:
    """An optimizer whose own gradient needs another word than `gradient`, which is its input."""
    like = (LIKE_WEIGHTS,)
    gradient = Input("gradient", like)

    def slow(name: str, objective: Expr, rate: Expr) -> Component:
        states = (StateDeclaration(part="", shape=like),)
        return Component(name=name, states=states, objective=objective, follows=objective, optimizer=GradientDescent(rate), every=STEP)

    error = subtract(State("moment", "", like, When.FITTED), times(gradient, gradient))
    return Model(
        name="Moments",
        kind="optimizer",
        inputs=(InputStream(name="gradient", shape=like, every=STEP),),
        hyperparameters=(HyperparameterDeclaration(name="rate", default=HALF.value),),
        components=(
            slow("moment", scale(HALF, dot(error, error)), Hyperparameter("rate")),
            slow(
                "weights",
                dot(State("weights", "", like, When.FITTED), apply_map("sqrt", State("moment", "", like))),
                Hyperparameter("rate"),
            ),
        ),
    )


ONE_LEVEL = (
    linear_attention,
    delta_rule,
    gated_delta_rule,
    robust_memory,
    huber_memory,
    ridge_memory,
    separate_read_and_write,
    decayed_after_the_gradient,
    channel_gated_memory,
    channel_gated_delta_rule,
    two_writes,
    rate_per_value_channel,
    clipped_memory,
    vector_memory,
)
"""Models with one level, whose law is the objective's own gradient step."""
