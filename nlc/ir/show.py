"""One text form for expressions: what `nlc show`, `nlc explain`, generated headers and golden tests print."""

from __future__ import annotations

from dataclasses import replace as renamed

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
    Window,
    WindowMean,
    WindowSoftmax,
    WindowSum,
    children,
)  # fmt: skip
from nlc.ir.build import replace
from nlc.ir.calculus import Derivative, Embedding, Inverse, LastUnit
from nlc.ir.recents import Convolve, Delay, Recent, Shift

ROTARY_BASE = 10_000
"""The base of `rotary(x)` when it does not say."""

COMPARISON, SUM, PRODUCT, UNARY, POWER, ATOM = range(6)


def expression_text(node: Expr) -> str:
    """The expression in the spec language, as a user could have typed it."""
    return _text(node)[0]


def uncounted(node: Expr) -> Expr:
    """The expression, whose `tick` counts the updates of any level: as it stands in an abbreviation, outside of levels."""
    return replace(node, lambda part: renamed(part, component="") if isinstance(part, Tick) else None)


def _wrapped(node: Expr, lowest: int) -> str:
    text, binding = _text(node)
    return text if binding >= lowest else f"({text})"


def _text(node: Expr) -> tuple[str, int]:
    """The text of a node and how tightly it binds."""
    match node:
        case Constant(value) | Full(value):
            return _number(value.numerator, value.denominator)
        case Size(dim):
            return str(dim), ATOM if dim.name else SUM
        case Index(axis):
            return f"index({axis})", ATOM
        case Input(name, _, delayed):
            return (f"prev({name})" if delayed else name), ATOM
        case Hyperparameter(name) | Named(name):
            return name, ATOM
        case State():
            return _state(node), ATOM
        case Parameter(component, part):
            return (f"{component}.{part}" if part else component), ATOM
        case Task():
            return "task", ATOM
        case Position():
            return "position", ATOM
        case Age():
            return "age", ATOM
        case Window(_, part):
            return part, ATOM
        case Gradient(component, part):
            return f"gradient({component}{'.' + part if part else ''})", ATOM
        case Tick(component):
            return f"tick({component})" if component else "tick", ATOM
        case Due(period, unit):
            return ("true" if period == 1 else f"due({period} {unit}s)"), ATOM
        case Eye():
            return "eye", ATOM
        case Embedding():
            return "embedding", ATOM
        case LastUnit():
            return "last_unit", ATOM
        case Add((MatMul(Embedding(), x), Outer(LastUnit(), row))):
            return f"append({expression_text(x)}, {expression_text(row)})", ATOM
        case Add(terms):
            return _sum(terms), SUM
        case Scale(Constant(value), x) if value == -1:
            return f"-{_wrapped(x, PRODUCT)}", UNARY
        case Scale(left, right) | Times(left, right):
            return f"{_wrapped(left, PRODUCT)} * {_wrapped(right, UNARY)}", PRODUCT
        case Divide() | Power() | MatMul():
            return _of_two(node)
        case Compare(operator, left, right):
            return f"{_wrapped(left, SUM)} {operator} {_wrapped(right, SUM)}", COMPARISON
        case Spread(x):
            return _text(x)
        case Recent() | Shift() | Delay() | Convolve():
            return _of_past(node)
    return _call(node), ATOM


def _of_two(node: Divide | Power | MatMul) -> tuple[str, int]:
    match node:
        case Divide(x, Extremum("maximum", Norm(y), Constant())) if x == y:
            return f"l2_normalise({expression_text(x)})", ATOM
        case Divide(x, by):
            return f"{_wrapped(x, PRODUCT)} / {_wrapped(by, POWER)}", PRODUCT
        case Power(x, exponent):
            return f"{_wrapped(x, ATOM)} ** {_wrapped(exponent, ATOM)}", POWER
        case MatMul(Inverse(x), right):
            return f"solve({expression_text(x)}, {expression_text(right)})", ATOM
        case MatMul(left, right):
            return f"{_wrapped(left, PRODUCT)} @ {_wrapped(right, POWER)}", PRODUCT
    raise AssertionError(node)


def _of_past(node: Recent | Shift | Delay | Convolve) -> tuple[str, int]:
    match node:
        case Recent(x):
            return f"recent({expression_text(x)})", ATOM
        case Shift(Recent(x), new):
            return f"recent({expression_text(x)}) and {expression_text(new)}", SUM
        case Delay(Recent(x), tokens):
            return f"delay({expression_text(x)}, {tokens} token{'s' if tokens > 1 else ''})", ATOM
        case Convolve(x, kernel):
            return f"convolve({expression_text(x)}, {expression_text(kernel)})", ATOM
    raise AssertionError(node)


def _call(node: Expr) -> str:
    names = {
        Transpose: "transpose",
        Outer: "outer",
        Dot: "dot",
        Sum: "sum",
        Norm: "norm",
        Softmax: "softmax",
        LayerNorm: "layer_norm",
        Split: "split",
        Join: "join",
        StopGradient: "stop_gradient",
        Rotary: "rotary",
        Now: "now",
        WindowSum: "sum",
        WindowSoftmax: "softmax",
        Derivative: "gradient_of",
        Inverse: "inverse",
    }
    match node:
        case Map(function) | Extremum(function):
            name = function
        case _:
            name = names.get(type(node), "where")
    if isinstance(node, WindowMean):
        scores, values = (", ".join(expression_text(part) for part in parts) for parts in (node.scores, node.values))
        return f"sum(softmax({scores}) * ({values}), over = window)"
    if isinstance(node, Dot) and node.left == node.right:
        return f"norm2({expression_text(node.left)})"
    arguments = [expression_text(child) for child in children(node)]
    if isinstance(node, Split | Join):
        arguments.append(node.axis)
    if isinstance(node, Rotary):
        arguments = [arguments[0], *([] if node.base == ROTARY_BASE else [f"base = {node.base}"])]
        arguments += [] if node.place == Position() else [f"place = {expression_text(node.place)}"]
    if isinstance(node, WindowSum | WindowSoftmax):
        arguments.append("over = window")
    if isinstance(node, Sum | Softmax) and node.axis is not None:
        arguments.append(f"over = {node.x.shape[node.axis]}")
    return f"{name}({', '.join(arguments)})"


def _state(node: State) -> str:
    name = f"{node.component}.{node.part}" if node.part else node.component
    match node.when:
        case When.PREVIOUS:
            return f"prev({name})"
        case When.HELD:
            return f"hold({name}, {node.period} tokens)"
    return name


def _number(numerator: int, denominator: int) -> tuple[str, int]:
    if denominator == 1:
        return str(numerator), ATOM if numerator >= 0 else UNARY
    rest, digits = denominator, 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest, count = rest // prime, count + 1
        digits = max(digits, count)
    if rest == 1 and digits <= 12:
        scaled = abs(numerator) * 10**digits // denominator
        sign = "-" if numerator < 0 else ""
        whole, part = divmod(scaled, 10**digits)
        return f"{sign}{whole}.{part:0{digits}d}", ATOM if numerator > 0 else UNARY
    return f"{numerator} / {denominator}", PRODUCT


def _sum(terms: tuple[Expr, ...]) -> str:
    text = _wrapped(terms[0], SUM)
    for term in terms[1:]:
        match term:
            case Scale(Constant(value), x) if value < 0:
                positive = x if value == -1 else Scale(Constant(-value), x, x.shape)
                text += f" - {_wrapped(positive, PRODUCT)}"
            case Constant(value) | Full(value) if value < 0:
                text += f" - {_number(-value.numerator, value.denominator)[0]}"
            case _:
                text += f" + {_wrapped(term, PRODUCT)}"
    return text
