"""For every condition of every form rule, laws that violate it alone: with the form, they would be computed wrongly or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

from nlc.derive import derive_laws
from nlc.ir.algebra import HALF, Expr, Join, Norm, Spread, State, Tick, When
from nlc.ir.build import add, divide, dot, matmul, outer, replace as replaced, scale
from nlc.ir.dims import Dim
from nlc.ir.law import Laws
from nlc.ir.model import Clock, Component, Family, GradientDescent, Model
from nlc.order import order_levels
from nlc.schedule.rules import FORM_RULES, FormRule
from nlc.schedule.rules.dual import DUAL
from tests import models
from tests.derive import systems
from tests.derive.systems import FITTED, READ_VECTOR, with_memory
from tests.models import D_V, MATRIX, memory_state, stream
from tests.schedule import windows
from tests.schedule.dual_witnesses import DUAL_WITNESSES, held_memory

Witness = Callable[[Component], Laws]
"""Given a memory that the form fits, laws that it does not fit. The memory called `memory` is the one concerned."""


def laws_of(model: Model) -> Laws:
    return derive_laws(order_levels(model))


def on_a_slower_clock(fitting: Component) -> Laws:
    """A chunk's writes would be made at every token, not at every 16th."""
    laws = laws_of(with_memory(fitting))
    slower = replace(laws.laws[0], clock=Clock(Family.TOKEN, Fraction(16)))
    return replace(laws, laws=(slower,))


def read_before_all_parts(fitting: Component) -> Laws:
    """The state two updates ago is asked with what the last of them brings: the form asks each state with its own query alone."""
    before, half = State("memory", "", MATRIX, When.PREVIOUS), Clock(Family.TOKEN, Fraction(1, 2))
    model = with_memory(replace(fitting, every=half), matmul(before, stream("q")))
    return laws_of(replace(model, inputs=tuple(replace(item, every=half) if item.name == "q" else item for item in model.inputs)))


def read_at_two_periods(fitting: Component) -> Laws:
    """Either read is of a state some tokens ago, and at most tokens one of them changes: a block would be one token long."""
    reads = (matmul(State("memory", "", MATRIX, When.HELD, period=period), stream("q")) for period in (2, 3))
    return laws_of(with_memory(fitting, *reads))


def counted(fitting: Component) -> Laws:
    """The learning rate falls from token to token, which no stream says."""
    assert isinstance(fitting.optimizer, GradientDescent)
    rate = divide(fitting.optimizer.rate, Tick("memory"))
    return laws_of(with_memory(replace(fitting, optimizer=GradientDescent(rate))))


def at_every_token(fitting: Component) -> Laws:
    """Later tokens of the block see a state that earlier ones have moved."""
    return laws_of(with_memory(replace(fitting, every=models.delta_rule().components[0].every)))


def beside_parts_of_tokens(fitting: Component) -> Laws:
    """A block would be so many parts of tokens, of which the last of each token alone adds a datum."""
    return laws_of(_beside(fitting, Clock(Family.TOKEN, Fraction(1, 2))))


def _beside(fitting: Component, every: Clock) -> Model:
    """The memory and another one, which learns the delta rule's pairs at its own speed."""
    learner = models.delta_rule().components[0]
    objective = _substitute(learner.objective, FITTED, State("other", "", MATRIX, When.FITTED))
    other = replace(learner, name="other", every=every, objective=objective, follows=objective, prediction=None, value=None)
    return replace(with_memory(fitting), components=(fitting, other))


def beside_a_level_that_waits_for_the_end(fitting: Component) -> Laws:
    """The other level adds up its gradients token by token, which no chunk of this memory does."""
    return laws_of(_beside(fitting, Clock(Family.SEQUENCE)))


def heard_across_heads(fitting: Component) -> Laws:
    """The other level's value is louder the more all heads say together, and inside a block no head hears another."""
    model = _beside(fitting, Clock(Family.TOKEN, Fraction(4)))
    together = Join(matmul(memory_state(When.CURRENT), stream("k")), "heads", (Dim.named("heads") * D_V,))
    learner = model.component("other")
    objective = _substitute(learner.objective, stream("v"), scale(Norm(together), stream("v")))
    return laws_of(replace(model, components=(fitting, replace(learner, objective=objective, follows=objective))))


def started_from_another(fitting: Component) -> Laws:
    """The memory starts once, from what the other becomes at the first token: what begins with that token does not know it."""
    start = (State("other", "", MATRIX, When.CURRENT),) * len(fitting.states)
    model = _beside(fitting, Clock(Family.TOKEN))
    return laws_of(replace(model, components=(replace(fitting, init=start), model.component("other"))))


def _substitute(node: Expr, old: Expr, new: Expr) -> Expr:
    return replaced(node, lambda part: new if part == old else None)


def read_whole(fitting: Component) -> Laws:
    """The norm of the state is no read at a vector: only the state itself has it."""
    return laws_of(with_memory(fitting, scale(Norm(memory_state(When.CURRENT)), stream("v"))))


def read_whole_in_blocks(fitting: Component) -> Laws:
    """The whole state is made for all tokens of a sequence together, but another level moves every fourth token."""
    output = scale(Norm(memory_state(When.CURRENT)), stream("v"))
    return laws_of(replace(_beside(fitting, Clock(Family.TOKEN, Fraction(4))), outputs=with_memory(fitting, output).outputs))


def read_with_its_own_read(fitting: Component) -> Laws:
    """The second read's vector is not known before the first read, which comes with the form."""
    squared = matmul(memory_state(When.CURRENT), matmul(_transposed_read(), stream("v")))
    return laws_of(with_memory(fitting, squared))


def _transposed_read() -> Expr:
    """A (d_k, d_v) matrix that depends on a read: k times what the memory says about q."""
    return outer(stream("k"), matmul(memory_state(When.CURRENT), stream("q")))


def only_decaying(_: Component) -> Laws:
    return laws_of(with_memory(models.memory(scale(HALF, dot(FITTED, FITTED)), stream("beta"), value=None, prediction=None)))


def delta_rule(_: Component) -> Laws:
    """The write reads the state: a prefix sum would write what is not known yet."""
    return laws_of(models.delta_rule())


def linear_attention(_: Component) -> Laws:
    """No write reads the state: the system to solve would be empty."""
    return laws_of(models.linear_attention())


def two_writes(_: Component) -> Laws:
    """Two simultaneous writes read each other's past: the system couples 2C of them."""
    return laws_of(systems.two_writes())


def gated(component: Component) -> Component:
    """The component with a retention of its own for each key channel."""
    return replace(component, retention=(Spread(READ_VECTOR, 1, MATRIX),))


def channels_only_decaying(_: Component) -> Laws:
    decaying = models.memory(scale(HALF, dot(FITTED, FITTED)), stream("beta"), value=None, prediction=None)
    return laws_of(with_memory(gated(decaying)))


def gated_delta_rule(_: Component) -> Laws:
    """The write reads the state: a prefix sum would write what is not known yet."""
    return laws_of(systems.channel_gated_delta_rule())


def gated_linear_attention(_: Component) -> Laws:
    """No write reads the state: the system to solve would be empty."""
    return laws_of(systems.channel_gated_memory())


def two_gated_writes(_: Component) -> Laws:
    model = systems.two_writes()
    return laws_of(replace(model, components=(gated(model.components[0]),)))


def gated_by_rows(fitting: Component) -> Laws:
    """One decay for each value channel: the reads of every row would need decays of their own."""
    return laws_of(with_memory(replace(fitting, retention=(Spread(stream("v"), 0, MATRIX),))))


def ignoring(made: Callable[[], Laws]) -> Witness:
    """A witness that is made whatever the memory is."""
    return lambda _: made()


def fitting_laws(rule: str) -> Laws:
    """Laws that a form fits."""
    return windows.FITTING[rule]() if rule in windows.FITTING else laws_of(with_memory(FITTING[rule]))


def written_in_two_places(_: Component) -> Laws:
    """The writes read the states: a prefix sum would write what is not known yet."""
    return laws_of(systems.two_writes())


def two_tensors(_: Component) -> Laws:
    """No write reads the states: the system to solve would be empty."""
    return laws_of(with_memory(systems.two_tensors()))


def two_tensors_only_decaying(_: Component) -> Laws:
    squares = add(dot(FITTED, FITTED), dot(systems.SECOND, systems.SECOND))
    return laws_of(with_memory(systems.two_tensors(scale(HALF, squares))))


def two_gated_tensors(fitting: Component) -> Laws:
    """One decay for each key channel: the states at the start of a chunk would each need shares of their own."""
    return laws_of(with_memory(replace(fitting, retention=(Spread(READ_VECTOR, 1, MATRIX),) * 2)))


SAME_IN_EVERY_ROW = "decays that are the same in every row: one for each column, or for each entry of a vector"
SHARED: Mapping[str, Witness] = {
    "no level that moves when the sequence ends": beside_a_level_that_waits_for_the_end,
    "starts that are known where a sequence or a block of it begins": started_from_another,
    "blocks in which every copy along an axis is alone": heard_across_heads,
    "tokens whose parts are all alike": read_before_all_parts,
    "periods that end together somewhere but at every token": read_at_two_periods,
    "a law that is the same at every token": counted,
    "reads by others as a product with a vector": read_whole,
    "reads with vectors that come before it: streams, or reads of earlier memories": read_with_its_own_read,
}
WHOLE = "reads by others as a product with a vector, or as a whole in a system without periods"
EVERY_TOKEN: Mapping[str, Witness] = {"an update at every token": on_a_slower_clock}
EVERY_FOUR_TOKENS = replace(models.delta_rule().components[0], every=Clock(Family.TOKEN, Fraction(4)))
FITTING: Mapping[str, Component] = {
    "prefix-sum": models.linear_attention().components[0],
    "halved-prefix-sum": systems.channel_gated_memory().components[0],
    "triangular-chunks": models.delta_rule().components[0],
    "halved-triangular-chunks": systems.channel_gated_delta_rule().components[0],
    "stacked-prefix-sum": systems.two_tensors(),
    "stacked-triangular-chunks": systems.two_writes().components[0],
    "blocks": EVERY_FOUR_TOKENS,
    "dual-form": held_memory(),
}
WITNESSES: Mapping[str, Mapping[str, Witness]] = {
    "prefix-sum": {
        **EVERY_TOKEN,
        "a state that is kept up to a scalar, and that no write reads": delta_rule,
        "something to be written": only_decaying,
        **{(WHOLE if text == "reads by others as a product with a vector" else text): made for text, made in SHARED.items()},
        WHOLE: read_whole_in_blocks,
    },
    "triangular-chunks": {
        **EVERY_TOKEN,
        "a state that is kept up to a scalar, and that writes read at vectors": linear_attention,
        "one write a token": two_writes,
        **SHARED,
    },
    "halved-prefix-sum": {
        **EVERY_TOKEN,
        "a state that is kept up to a factor for each entry, and that no write reads": gated_delta_rule,
        "something to be written": channels_only_decaying,
        SAME_IN_EVERY_ROW: gated_by_rows,
        **SHARED,
    },
    "halved-triangular-chunks": {
        **EVERY_TOKEN,
        "a state that is kept up to a factor for each entry, and that writes read at vectors": gated_linear_attention,
        SAME_IN_EVERY_ROW: gated_by_rows,
        **SHARED,
    },
    "stacked-prefix-sum": {
        **EVERY_TOKEN,
        "several states that move as one, kept up to scalars or entry by entry, and that no write reads": written_in_two_places,
        "something to be written": two_tensors_only_decaying,
        "decays that are scalars": two_gated_tensors,
        **SHARED,
    },
    "stacked-triangular-chunks": {
        **EVERY_TOKEN,
        "several states that move as one, or several writes a token, which read the states at vectors": two_tensors,
        "decays that are scalars": two_gated_writes,
        **SHARED,
    },
    **{name: {text: ignoring(made) for text, made in texts.items()} for name, texts in windows.WITNESSES.items()},
    "blocks": {
        "an update every so many tokens": at_every_token,
        "no level that moves when the sequence ends": beside_a_level_that_waits_for_the_end,
        "starts that are known where a sequence or a block of it begins": started_from_another,
        "blocks in which every copy along an axis is alone": heard_across_heads,
        "tokens whose parts are all alike": beside_parts_of_tokens,
        "periods that end together somewhere but at every token": read_at_two_periods,
    },
    "dual-form": {
        text: DUAL_WITNESSES.get(text) or {**SHARED, "tokens whose parts are all alike": beside_parts_of_tokens}[text]
        for text in (condition.text for condition in DUAL.requires)
    },
    "recurrence": {},
}


def rows() -> list[tuple[FormRule, str]]:
    """Every rule with the text of each of its conditions."""
    return [(rule, condition.text) for rule in FORM_RULES for condition in rule.requires]
