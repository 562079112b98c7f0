"""How the elementwise functions of the language are written in torch, and in Python where the argument is a plain number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Spelling:
    """The function of a tensor and of a number: `{x}` is the argument inside a call, `{atom}` the argument as an operand."""

    tensor: str
    number: str


SPELLINGS: Mapping[str, Spelling] = MappingProxyType(
    {
        "exp": Spelling("{atom}.exp()", "math.exp({x})"),
        "log": Spelling("{atom}.log()", "math.log({x})"),
        "sqrt": Spelling("{atom}.sqrt()", "math.sqrt({x})"),
        "abs": Spelling("{atom}.abs()", "abs({x})"),
        "sign": Spelling("{atom}.sign()", "(({x} > 0) - ({x} < 0))"),
        "sin": Spelling("{atom}.sin()", "math.sin({x})"),
        "cos": Spelling("{atom}.cos()", "math.cos({x})"),
        "sinh": Spelling("{atom}.sinh()", "math.sinh({x})"),
        "cosh": Spelling("{atom}.cosh()", "math.cosh({x})"),
        "tanh": Spelling("{atom}.tanh()", "math.tanh({x})"),
        "sigmoid": Spelling("{atom}.sigmoid()", "(1 / (1 + math.exp(-{atom})))"),
        "softplus": Spelling("torch.nn.functional.softplus({x}, threshold=40)", "math.log1p(math.exp({x}))"),
        "relu": Spelling("{atom}.relu()", "max({x}, 0)"),
        "silu": Spelling("torch.nn.functional.silu({x})", "({atom} / (1 + math.exp(-{atom})))"),
        "gelu": Spelling("torch.nn.functional.gelu({x})", "({atom} * math.erfc(-{atom} / math.sqrt(2)) / 2)"),
        "normal_cdf": Spelling("torch.special.ndtr({x})", "(math.erfc(-{atom} / math.sqrt(2)) / 2)"),
        "normal_density": Spelling(
            "(torch.exp(-{atom}.square() / 2) / math.sqrt(2 * math.pi))", "(math.exp(-{atom} * {atom} / 2) / math.sqrt(2 * math.pi))"
        ),
    }
)
"""Softplus is exact with the threshold 40: beyond it, log1p(exp(-x)) is below the precision of float64."""
