"""One LaTeX form for expressions, in the paper's symbols: `prev(memory) @ k` is M_{t-1} k_t.

Reads of states and streams carry the tick; names that papers write as a letter do too here (`SYMBOLS`), others stand upright.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

from nlc.ir.algebra import (
    Add,
    Age,
    Compare,
    Constant,
    Divide,
    Dot,
    Due,
    Expr,
    Extremum,
    Eye,
    Full,
    Gradient,
    Hyperparameter,
    Index,
    Input,
    Join,
    LayerNorm,
    Map,
    MatMul,
    Named,
    Norm,
    Now,
    Outer,
    Parameter,
    Position,
    Power,
    Rotary,
    Scale,
    Size,
    Softmax,
    Split,
    Spread,
    State,
    StopGradient,
    Sum,
    Task,
    Tick,
    Times,
    Transpose,
    When,
    Where,
    Window,
    WindowMean,
    WindowSoftmax,
    WindowSum,
)  # fmt: skip
from nlc.ir.calculus import Inverse
from nlc.ir.dims import Dim, Monomial
from nlc.ir.recents import Convolve, Delay, Recent, Shift

COMPARISON, SUM, ENTRYWISE, PRODUCT, ATOM = range(5)
"""How tightly a text binds; only an atom, which has nothing above it, can be raised to a power or transposed."""

GREEK = frozenset(
    """
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega
    """.split()
)
SYMBOLS: Mapping[str, str] = MappingProxyType({"memory": "M", "weights": "W", "momentum": "m", "gradient": "g", "learning_rate": r"\eta"})
MATHS: Mapping[str, str] = MappingProxyType(
    {name: rf"\{name}" for name in ("exp", "log", "sin", "cos", "sinh", "cosh", "tanh")}
    | {"sigmoid": r"\sigma", "normal_cdf": r"\Phi", "normal_density": r"\varphi"}
)
LARGEST_DENOMINATOR = 16
"""Fractions with a larger one are written as decimals where they end."""

COMPARISONS: Mapping[str, str] = MappingProxyType({"<": "<", "<=": r"\le", ">": ">", ">=": r"\ge"})
LETTER = re.compile(rf"([A-Za-z]|{'|'.join(sorted(GREEK))})(?:_?(\d+)|_([a-z]+))?")
"""A letter, which may have an index: a number, or after an underscore a word."""


def expression_latex(node: Expr) -> str:
    """The expression as LaTeX, without delimiters."""
    return _latex(node)[0]


def symbol(name: str, *, at: str = "", of: str = "") -> str:
    """A name as LaTeX, with a tick below and what it belongs to above: `memory` at `t` is M_{t}."""
    host, _, own = name.rpartition(".")
    letter, index = _letter(own)
    below = ",".join(part for part in (index, at) if part)
    above = of or (symbol(host) if host else "")
    return letter + (f"^{{({above})}}" if above else "") + (f"_{{{below}}}" if below else "")


def _letter(name: str) -> tuple[str, str]:
    """How a name is written, and its own index: `d_k`, `beta1`, `learning_rate`."""
    if name in SYMBOLS:
        return SYMBOLS[name], ""
    match = LETTER.fullmatch(name)
    if match is None:
        return _upright(name), ""
    letter, number, word = match.groups(default="")
    return (letter if len(letter) == 1 else rf"\{letter}"), number or (word if len(word) <= 1 else _upright(word) if word else "")


def _wrapped(node: Expr, lowest: int) -> str:
    text, binding = _latex(node)
    return text if binding >= lowest else _in_brackets(text)


def _in_brackets(text: str) -> str:
    return rf"\left({text}\right)"


def _latex(node: Expr) -> tuple[str, int]:
    """The LaTeX of a node and how tightly it binds."""
    match node:
        case Constant(value) | Full(value):
            return _number(value)
        case Size(dim):
            return size_latex(dim), ATOM if dim.name else SUM
        case Add(terms):
            return _sum(terms), SUM
        case Scale(Constant(value), x) if value < 0:
            return f"-{_wrapped(_positive(value, x), ENTRYWISE)}", SUM
        case Scale(left, right):
            return _side_by_side(_wrapped(left, PRODUCT), _wrapped(right, PRODUCT)), PRODUCT
        case MatMul(left, right):
            return _side_by_side(_wrapped(left, PRODUCT), _wrapped(right, PRODUCT)), PRODUCT
        case Times(left, right):
            return rf"{_wrapped(left, ENTRYWISE)} \odot {_wrapped(right, ENTRYWISE)}", ENTRYWISE
        case Outer(left, right):
            return _side_by_side(_wrapped(left, PRODUCT), rf"{_wrapped(right, ATOM)}^\top"), PRODUCT
        case Transpose(x):
            return rf"{_wrapped(x, ATOM)}^\top", PRODUCT
        case Inverse(x):
            return rf"{_wrapped(x, ATOM)}^{{-1}}", PRODUCT
        case Power(x, exponent):
            return f"{_wrapped(x, ATOM)}^{{{expression_latex(exponent)}}}", PRODUCT
        case Compare(operator, left, right):
            return f"{_wrapped(left, SUM)} {COMPARISONS[operator]} {_wrapped(right, SUM)}", COMPARISON
        case Spread(x) | Now(x):
            return _latex(x)
        case WindowSum(x):
            return rf"\sum_{{i}} {_wrapped(x, PRODUCT)}", ENTRYWISE
        case Age() | Position():
            return ("t - i" if isinstance(node, Age) else "t - 1"), SUM
        case Map(function, x) if function not in ("sqrt", "abs"):
            return rf"{MATHS.get(function, _upright(function))}\left({expression_latex(x)}\right)", PRODUCT
    leaf = _leaf(node)
    return (leaf, ATOM if "^" not in leaf else PRODUCT) if leaf else (_fenced(node), PRODUCT)


def _leaf(node: Expr) -> str:
    """What has no operands; empty for what has."""
    match node:
        case Index(axis):
            return rf"\operatorname{{index}}_{{{_upright(axis)}}}"
        case Input(name, _, delayed):
            return symbol(name, at="t-1" if delayed else "t")
        case State():
            return _state(node)
        case Named(name):
            return symbol(name, at="t")
        case Window(_, part):
            return symbol(part, at="i")
        case Hyperparameter(name):
            return symbol(name)
        case Parameter(component, part):
            return symbol(part or component, of=symbol(component) if part else "")
        case Task():
            return r"\mathcal{L}"
        case Gradient(component, part):
            variable = symbol(component, of=part and symbol(part))
            return rf"\nabla_{{{variable}}} \mathcal{{L}}_{{t}}"
        case Tick():
            return "t"
        case Due(period):
            return rf"{period} \mid t"
        case Eye():
            return "I"
    return ""


def _fenced(node: Expr) -> str:
    """What brings its own brackets."""
    match node:
        case Dot(left, right) if left == right:
            return rf"\left\lVert {expression_latex(left)} \right\rVert^2"
        case Dot(left, right):
            return rf"\left\langle {expression_latex(left)}, {expression_latex(right)} \right\rangle"
        case Norm(x):
            return rf"\left\lVert {expression_latex(x)} \right\rVert"
        case Divide(x, by):
            return rf"\frac{{{expression_latex(x)}}}{{{expression_latex(by)}}}"
        case Map("sqrt", x):
            return rf"\sqrt{{{expression_latex(x)}}}"
        case Map("abs", x):
            return rf"\left\lvert {expression_latex(x)} \right\rvert"
        case Where(condition, then, otherwise):
            other = rf"{expression_latex(otherwise)} & \text{{otherwise}}"
            return rf"\begin{{cases}} {expression_latex(then)} & {expression_latex(condition)} \\ {other} \end{{cases}}"
        case Extremum(function, left, right):
            name = r"\max" if function == "maximum" else r"\min"
            return rf"{name}\left({expression_latex(left)}, {expression_latex(right)}\right)"
        case Sum(x, axis) | Softmax(x, axis):
            name = r"\operatorname{sum}" if isinstance(node, Sum) else r"\operatorname{softmax}"
            below = "" if axis is None else f"_{{{size_latex(x.shape[axis])}}}"
            return rf"{name}{below}\left({expression_latex(x)}\right)"
        case LayerNorm(x):
            return rf"\operatorname{{LN}}\left({expression_latex(x)}\right)"
        case Split(x, axis) | Join(x, axis):
            name = r"\operatorname{split}" if isinstance(node, Split) else r"\operatorname{join}"
            return rf"{name}_{{{_upright(axis)}}}\left({expression_latex(x)}\right)"
        case Convolve(x, kernel):
            return rf"\left({expression_latex(kernel)} * {expression_latex(x)}\right)"
        case Delay(Recent(x), tokens):
            return rf"\left({expression_latex(x)}\right)_{{t-{tokens}}}"
        case Recent(x) | Shift(Recent(x)):
            return rf"\operatorname{{recent}}\left({expression_latex(x)}\right)"
        case Rotary(x, place):
            return rf"R_{{{expression_latex(place)}}} {_wrapped(x, PRODUCT)}"
        case WindowMean(scores, values):
            weights, means = (", ".join(expression_latex(part) for part in parts) for parts in (scores, values))
            return rf"\sum_{{i}} \operatorname{{softmax}}_{{i}}\left({weights}\right) \left({means}\right)"
        case WindowSoftmax(x):
            return rf"\operatorname{{softmax}}_{{i}}\left({expression_latex(x)}\right)"
        case StopGradient(x):
            return rf"\operatorname{{stop}}\left({expression_latex(x)}\right)"
    raise TypeError(f"{type(node).__name__} has no LaTeX form")


def _state(node: State) -> str:
    above = symbol(node.part) if node.part else ""
    match node.when:
        case When.FITTED:
            return symbol(node.component, of=above)
        case When.PREVIOUS:
            tick = "t-1"
        case When.HELD:
            tick = rf"{node.period} \lfloor (t-1) / {node.period} \rfloor"
        case When.CURRENT:
            tick = "t"
    return symbol(node.component, at=tick, of=above)


def size_latex(dim: Dim) -> str:
    """A size: a sum of products of names."""
    return " + ".join(_monomial_latex(monomial, coefficient) for monomial, coefficient in dim.terms) or "0"


def _monomial_latex(monomial: Monomial, coefficient: Fraction) -> str:
    factors = [symbol(name) + ("" if exponent == 1 else f"^{{{exponent}}}") for name, exponent in monomial]
    numbers = [_number(coefficient)[0]] if coefficient != 1 or not factors else []
    return r" \cdot ".join((*numbers, *factors))


def _upright(text: str) -> str:
    return rf"\text{{{text.replace('_', ' ')}}}"


def _number(value: Fraction) -> tuple[str, int]:
    if value < 0:
        return f"-{_number(-value)[0]}", SUM
    if value.denominator == 1:
        return str(value), ATOM
    if value.denominator > LARGEST_DENOMINATOR and Fraction(f"{float(value):.12f}") == value:
        return f"{float(value):.12f}".rstrip("0"), ATOM
    return rf"\tfrac{{{value.numerator}}}{{{value.denominator}}}", PRODUCT


def _side_by_side(left: str, right: str) -> str:
    """A product; a dot keeps digits apart, a thin space words."""
    if left[-1].isdigit() and right[0].isdigit():
        return rf"{left} \cdot {right}"
    return rf"{left} \, {right}" if r"\text{" in left + right else f"{left} {right}"


def _sum(terms: tuple[Expr, ...]) -> str:
    text = _wrapped(terms[0], SUM)
    for term in terms[1:]:
        match term:
            case Scale(Constant(value), x) if value < 0:
                text += f" - {_wrapped(_positive(value, x), ENTRYWISE)}"
            case Constant(value) | Full(value) if value < 0:
                text += f" - {_number(-value)[0]}"
            case _:
                text += f" + {_wrapped(term, ENTRYWISE)}"
    return text


def _positive(value: Fraction, x: Expr) -> Expr:
    """What is left of a negative multiple without its sign."""
    return x if value == -1 else Scale(Constant(-value), x, x.shape)
