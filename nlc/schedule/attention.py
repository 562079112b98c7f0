"""Laws of levels that are solved over a window -> what all tokens at once compute: attention, where the law is that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nlc.ir.affine import Classified, Transition
from nlc.ir.algebra import (
    ONE,
    Constant,
    Divide,
    Dot,
    Expr,
    Hyperparameter,
    Map,
    MatMul,
    Named,
    Now,
    Parameter,
    Power,
    Scale,
    Size,
    Window,
    WindowMean,
    WindowSoftmax,
    WindowSum,
    walk,
)
from nlc.ir.attention import DotProductAttention, WindowLaw
from nlc.ir.build import divide, replace, scale
from nlc.ir.law import Equation, Law, Laws
from nlc.ir.windows import window_text


def data_of(laws: Laws, component: str) -> tuple[tuple[str, Expr], ...]:
    """The streams of a level's window, settled, by name."""
    return tuple((item.part, item.value) for item in laws.kept if item.component == component and item.window is not None)


def window_values(laws: Laws, law: Law) -> tuple[Expr, ...]:
    """Every expression of such a law: its equations, then the streams of its window."""
    return (*(equation.value for equation in law.without_words), *(value for _, value in data_of(laws, law.component)))


def window_law(laws: Laws, law: Law, values: Sequence[Expr]) -> WindowLaw:
    """The law over the reads of other memories, which `values` (in the order of `window_values`) have in place of their states."""
    count, component = len(law.without_words), laws.order.model.component(law.component)
    equations = tuple(
        Equation(item.name, value, item.rule, item.cites, item.part) for item, value in zip(law.without_words, values[:count], strict=True)
    )
    data = tuple((name, value) for (name, _), value in zip(data_of(laws, law.component), values[count:], strict=True))
    assert component.window is not None, component
    return WindowLaw(law.component, component.window, component.segment, data, equations, _attention(equations))


def classify_window(law: WindowLaw, component: str) -> Classified:
    """What there is to say of its transition: there is none. `component` is the last of those that move as one."""
    span = window_text(law.window, law.segment)
    return Classified(component, Transition.SOLVED, None, f"it is solved anew for every query, from the data of {span}")


def _attention(equations: Sequence[Equation]) -> DotProductAttention | None:
    """The law as attention: a softmax of scaled dot products of a datum and a query, and the mean of another datum with these weights."""
    whole: dict[str, Expr] = {}
    for equation in equations:
        whole[equation.name] = replace(equation.value, lambda node: whole.get(node.name) if isinstance(node, Named) else None)
    match whole[equations[-1].name]:
        case WindowSum(Scale(WindowSoftmax(score), value)):
            matched = [_matched(score, value)]
        case WindowMean() as mean:
            matched = [_matched(score, value) for score, value in mean.pairs]
        case _:
            return None
    pairs = [item for item in matched if item is not None]
    if len(pairs) < len(matched) or len({(item.query, item.scale) for item in pairs}) > 1:
        return None
    together = {name: tuple(pair for item in pairs for pair in getattr(item, name)) for name in ("pairs", "lasting")}
    return DotProductAttention(pairs[0].query, together["pairs"], pairs[0].scale, together["lasting"])


def _matched(score: Expr, value: Expr) -> DotProductAttention | None:
    """One pair as attention: a number times the dot product of a datum, or of every row of a matrix, and the query."""
    factors = list(_factors(score))
    products = [factor for factor in factors if isinstance(factor, Dot | MatMul)]
    others = [factor for factor in factors if factor not in products]
    if len(products) != 1 or not all(_is_number(factor) for factor in others):
        return None
    number: Expr = ONE
    for factor in others:
        number = divide(number, factor.by) if isinstance(factor, Divide) else scale(number, factor)
    match products[0], value:
        case (Dot(Window(part=key, shape=(_,)), Now(query)) | Dot(Now(query), Window(part=key, shape=(_,))), Window(part=name, shape=(_,))):
            return DotProductAttention(query, ((key, name),), number)
        case MatMul(Parameter() as keys, Now(query)), Parameter():
            return DotProductAttention(query, (), number, ((keys, value),))
    return None


def _factors(node: Expr) -> Iterator[Expr]:
    match node:
        case Scale(by, x):
            yield from _factors(by)
            yield from _factors(x)
        case Divide(x, by) if by.shape == ():
            yield from _factors(x)
            yield Divide(ONE, by, ())
        case _:
            yield node


def _is_number(node: Expr) -> bool:
    """Whether a factor is one Python number for all tokens, places and sequences."""
    inner = all(isinstance(part, Constant | Size | Hyperparameter | Divide | Scale | Map | Power) for part in walk(node))
    return inner and node.shape == ()
