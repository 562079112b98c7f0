"""Whether an expression can be negative, or zero, by the signs of its parts: what a weight, or a ridge, must not be."""

from __future__ import annotations

from nlc.ir.algebra import (
    Add,
    Age,
    Constant,
    Divide,
    Dot,
    Expr,
    Extremum,
    Full,
    Hyperparameter,
    Index,
    Input,
    Join,
    Map,
    MatMul,
    Norm,
    Now,
    Outer,
    Power,
    Scale,
    Size,
    Softmax,
    Split,
    Spread,
    StopGradient,
    Sum,
    Times,
    Transpose,
    Where,
    WindowSoftmax,
    children,
)
from nlc.ir.model import Model

NEVER_NEGATIVE = frozenset("exp sqrt abs sigmoid softplus relu cosh normal_cdf normal_density".split())
"""The elementwise functions whose values are 0 or more."""


def is_never_negative(model: Model, node: Expr) -> bool:
    """Whether every entry of the value is surely 0 or more; hyperparameters are judged by their defaults, streams by their `range`."""
    match node:
        case Constant(value) | Full(value):
            return value >= 0
        case Size() | Index() | Age() | Norm() | Softmax() | WindowSoftmax():
            return True
        case Hyperparameter(name):
            return any(item.name == name and item.default >= 0 for item in model.hyperparameters)
        case Input(name):
            return any(item.name == name and item.low is not None and item.low >= 0 for item in model.inputs)
        case Map(function) if function in NEVER_NEGATIVE:
            return True
        case Dot(left, right) | Scale(left, right) | Times(left, right) if left == right:
            return True
        case Power(_, Constant(exponent)) if exponent.denominator == 1 and exponent.numerator % 2 == 0:
            return True
        case Extremum("maximum", left, right):
            return is_never_negative(model, left) or is_never_negative(model, right)
        case Where(_, then, otherwise):
            return is_never_negative(model, then) and is_never_negative(model, otherwise)
        case Power(x):
            return is_never_negative(model, x)
    return isinstance(node, INHERITING) and all(is_never_negative(model, child) for child in children(node))


def is_positive(model: Model, node: Expr) -> bool:
    """Whether every entry of the value is surely above 0; hyperparameters are judged by their defaults, streams by their `range`."""
    match node:
        case Constant(value) | Full(value):
            return value > 0
        case Size():
            return True
        case Hyperparameter(name):
            return any(item.name == name and item.default > 0 for item in model.hyperparameters)
        case Input(name):
            return any(item.name == name and item.low is not None and item.low > 0 for item in model.inputs)
        case Map(function) if function in POSITIVE:
            return True
        case Add(terms):
            return is_never_negative(model, node) and any(is_positive(model, term) for term in terms)
        case Extremum("maximum", left, right):
            return is_positive(model, left) or is_positive(model, right)
        case Where(_, then, otherwise):
            return is_positive(model, then) and is_positive(model, otherwise)
        case Map("sqrt", x) | Power(x) | Spread(x) | Split(x) | Join(x) | StopGradient(x):
            return is_positive(model, x)
    return isinstance(node, Divide | Scale | Times) and all(is_positive(model, child) for child in children(node))


POSITIVE = frozenset("exp sigmoid softplus cosh".split())
"""The elementwise functions whose values are above 0."""

INHERITING = (Add, Divide, Dot, Extremum, Join, MatMul, Now, Outer, Scale, Split, Spread, StopGradient, Sum, Times, Transpose)
"""Nodes that are never negative when none of their operands is."""
