"""The minimiser of an objective over a window, in closed form: the law of a level that is solved anew for every query.

    sum over i of weight_i * norm2(value_i - state)      is least at      sum over i of weight_i value_i / sum over i of weight_i,

where its derivative, 2 * sum over i of weight_i * (state - value_i), is zero (Nadaraya-Watson; Nested Learning, Eqs. 62 and 63). When
weight_i = exp(score_i), the weights over their sum are a softmax of the scores over the window. A sum of several such distances, with
exp as their weights, is least at the mean over all of them together; those to the rows of a matrix stand outside the sum over the window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nlc.codes import derive as codes
from nlc.derive.draft import Draft
from nlc.derive.lets import abbreviated
from nlc.derive.names import last_segment, said, words_of
from nlc.derive.settle import settle
from nlc.derive.signs import is_never_negative
from nlc.diagnostics import CompileError
from nlc.ir.algebra import (
    ONE,
    ZERO,
    Add,
    Compare,
    Constant,
    Divide,
    Dot,
    Expr,
    Map,
    Parameter,
    Power,
    Scale,
    Spread,
    State,
    Sum,
    Times,
    When,
    Where,
    Window,
    WindowMean,
    WindowSoftmax,
    WindowSum,
    contains,
    is_number,
    walk,
)
from nlc.ir.build import add, constant, divide, negate, replace, scale, window_sum
from nlc.ir.law import WORD, Equation, Law
from nlc.ir.model import Component
from nlc.ir.order import LevelOrder

KERNEL = ("nl:eq-62",)
MEAN = ("nl:eq-63",)


@dataclass(frozen=True, slots=True)
class Fit:
    """What is minimised: the sum over a window of factor * exp(score) * norm2(value - state); each is None when there is no such thing.

    Of distances to the rows of a matrix, which is the value, the score is a vector.
    """

    score: Expr | None
    factor: Expr | None
    value: Expr


def derive_minimiser(order: LevelOrder, component: Component) -> Law:
    """The law of a level that is solved for every query; raises CompileError when no closed form is known."""
    fits = _fits(order, component)
    draft = Draft(component.name, words_of(order.model))
    whole = component.objective
    objective = f"objective {said(order.model, whole.x if isinstance(whole, WindowSum) else whole)}"
    value = _mean(draft, objective, fits[0]) if len(fits) == 1 else _mean_of_all(draft, fits)
    rule = "the minimiser, where the derivative by it is zero"
    cites = (*MEAN, *(cite for cite in component.cites or order.model.cites if cite not in (*KERNEL, *MEAN)))
    new = Equation(last_segment(component.name), value, rule, cites, component.states[0].part)
    return Law(component.name, component.every, (*_words(order, component), *draft.finished(new)))


def _words(order: LevelOrder, component: Component) -> tuple[Equation, ...]:
    """The entries of the spec that data read, but for those that are data."""
    data = tuple(Equation(item.name, settle(order, component.name, item.value), "") for item in component.data)
    return tuple(item for item in abbreviated(order, component.name, data) if item.rule == WORD)


def _mean(draft: Draft, objective: str, fit: Fit) -> Expr:
    """The weighted mean over the data of a window."""
    if fit.score is None:
        weight = draft.let("weight", fit.factor or ONE, f"{objective}, at each datum", KERNEL)
    else:
        score = draft.let("score", fit.score, f"{objective}, what exp is taken of", KERNEL)
        share: Expr = WindowSoftmax(score)
        rule = "exp of the scores over their sum"
        weight = draft.let("weight", share if fit.factor is None else scale(fit.factor, share), rule, KERNEL)
    value = window_sum(scale(weight, fit.value))
    if fit.factor is not None or fit.score is None:
        total = draft.let("total", WindowSum(weight, ()), "the sum of the weights")
        value = divide(value, Where(Compare(">", total, ZERO, ()), total, ONE, ()))
    return value


def _mean_of_all(draft: Draft, fits: Sequence[Fit]) -> Expr:
    """The mean over the data of several distances, all weights of which are exp of scores."""
    values, scores = tuple(fit.value for fit in fits), []
    for fit in fits:
        assert fit.score is not None, fit
        of = next((node for node in walk(fit.value) if isinstance(node, Window | Parameter)), None)
        word = of.part if isinstance(of, Window) else of.component.replace(".", "_") if of is not None else "0"
        scores.append(draft.let(f"score_{word}", fit.score, f"the objective's exp of it weighs the distance to {word}", KERNEL))
    return WindowMean(tuple(scores), values, values[0].shape[-1:])


def over_data(order: LevelOrder, component: Component, node: Expr) -> Expr:
    """An expression over the data of a component's window, as the laws have it: streams by the names under which they are kept."""
    kept = {item.value: Window(component.name, item.name, item.value.shape) for item in component.data}
    return settle(order, component.name, replace(node, kept.get))


def _fits(order: LevelOrder, component: Component) -> tuple[Fit, ...]:
    """The objective as one fit or several; raises CompileError, saying where it is something else."""
    if len(component.states) != 1:
        raise _refused(component, "its memory consists of several tensors", "fit one tensor, such as a vector")
    if not component.data:
        raise _refused(component, "its window holds nothing: no stream is read at a datum", "read a stream without `now(...)`")
    objective = component.objective
    if isinstance(objective, Scale) and isinstance(objective.by, Constant) and objective.by.value > 0:
        objective = objective.x
    state = State(component.name, component.states[0].part, component.states[0].shape, When.FITTED)
    fits = tuple(
        _fit(order, component, state, term) if is_at_datum else _lasting_fit(order, component, state, term)
        for term, is_at_datum in _distances(objective)
    )
    if len(fits) > 1 and any(fit.score is None or fit.factor is not None for fit in fits):
        raise _refused(component, "of several distances some are weighed by more than exp of a score", "weigh each by exp(...) alone")
    return fits


def _distances(node: Expr) -> Iterator[tuple[Expr, bool]]:
    """The terms of an objective, and whether each is summed over the window."""
    for term in node.terms if isinstance(node, Add) else (node,):
        if isinstance(term, WindowSum):
            yield from ((part, True) for part in (term.x.terms if isinstance(term.x, Add) else (term.x,)))
        else:
            yield term, False


def _fit(order: LevelOrder, component: Component, state: State, term: Expr) -> Fit:
    """A weight times a distance at every datum."""
    factors = list(_factors(term))
    value = _taken_out(factors, state)
    if value is None or any(contains(part, lambda node: node == state) for part in (value, *factors)):
        raise _refused(component, f"`{said(order.model, term)}` is not a weight times a squared distance to the level", WAY_OUT)
    for factor in factors:
        if not is_never_negative(order.model, factor):
            why = f"its weight `{said(order.model, factor)}` may be negative, and then no state is best"
            raise _refused(
                component, why, "write a weight that cannot be negative: exp(...), sigmoid(...), a square, a stream with a `range`"
            )
    scores = [factor.x for factor in factors if isinstance(factor, Map) and factor.function == "exp"]
    others = [
        factor for factor in factors if not (isinstance(factor, Map) and factor.function == "exp") and not isinstance(factor, Constant)
    ]
    score = over_data(order, component, add(*scores)) if scores else None
    return Fit(score, over_data(order, component, _product(others)) if others else None, over_data(order, component, value))


def _lasting_fit(order: LevelOrder, component: Component, state: State, term: Expr) -> Fit:
    """The distances to the rows of a matrix, each weighed by exp of an entry of a vector."""
    match term:
        case Sum(Times(Map("exp", score), Sum(Power(distance, exponent), 1)) | Times(Sum(Power(distance, exponent), 1), Map("exp", score))):
            value = _difference(distance, Spread(state, 1, distance.shape)) if is_number(exponent, 2) else None
            if value is not None and not any(contains(part, lambda node: node == state) for part in (value, score)):
                return Fit(over_data(order, component, score), None, over_data(order, component, value))
    why = f"`{said(order.model, term)}`, outside the sum over the window, is no sum over the rows of a matrix"
    raise _refused(component, why, "write sum(exp(scores) * norm2(values - level, over = size), over = rows), or sum it over the window")


WAY_OUT = "write weight * norm2(value - level), where neither depends on the level, or a step of a level on the token clock"


def _refused(component: Component, why: str, help: str) -> CompileError:
    return CompileError(codes.no_minimiser(component.objective_span, component.name, why, help))


def _factors(node: Expr) -> Iterator[Expr]:
    """The scalar factors of a product, one after another."""
    match node:
        case Scale(by, x) if node.shape == ():
            yield from _factors(by)
            yield from _factors(x)
        case Divide(x, by) if not is_number(x, 1):
            yield from _factors(x)
            yield Divide(ONE, by, ())
        case _:
            yield node


def _taken_out(factors: list[Expr], state: State) -> Expr | None:
    """The value of the one factor norm2(value - state), which is taken out of the factors; None when there is no such factor."""
    for place, factor in enumerate(factors):
        value = _value(factor, state)
        if value is not None:
            del factors[place]
            return value
        if not state.shape and factor in factors[place + 1 :] and (value := _difference(factor, state)) is not None:
            factors.remove(factor)
            factors.remove(factor)
            return value
    return None


def _value(node: Expr, state: State) -> Expr | None:
    """The value of norm2(value - state)."""
    match node:
        case Dot(left, right) if left == right:
            return _difference(left, state)
        case Power(x, exponent) if is_number(exponent, 2):
            return _difference(x, state)
    return None


def _difference(node: Expr, state: Expr) -> Expr | None:
    """The value of value - state, or of state - value."""
    for own, sign in ((negate(state), 1), (state, -1)):
        if isinstance(node, Add) and own in node.terms:
            return scale(constant(sign), add(*(term for term in node.terms if term != own)))
    return None


def _product(factors: Sequence[Expr]) -> Expr:
    product = factors[0]
    for factor in factors[1:]:
        product = scale(product, factor)
    return product
