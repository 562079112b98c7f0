"""Small specs for the tests of `resolve`: a working one, with entries to replace."""

from __future__ import annotations

from nlc.ir.model import Model
from nlc.parse import parse_text
from nlc.resolve import resolve_model

SPEC = """\
nlc: 1
name: Small
dims: {{d_k: 4, d_v: 3, d: 5}}
axes: [heads]
inputs: {{q: [d_k], k: [d_k], v: [d_v], beta: [], alpha: [], gate: [d_k], x: [d]}}
hyperparameters: {{rate: 0.1, period: 8}}
{top}
levels:
  memory:
    memory: {memory}
    objective: {objective}
    {level}
    optimizer: {optimizer}
    every: {every}
outputs:
  y: {output}
"""

DEFAULTS = {
    "top": "",
    "memory": "matrix(d_v, d_k)",
    "objective": "0.5 * norm2(memory(k) - v)",
    "level": "",
    "optimizer": "gradient_descent(beta)",
    "every": "token",
    "output": "memory(q)",
}


def spec_text(**changes: str) -> str:
    """The small spec with some entries replaced."""
    return SPEC.format(**{**DEFAULTS, **changes})


def resolve(**changes: str) -> Model:
    """The model of the small spec with some entries replaced."""
    return resolve_model(parse_text(spec_text(**changes), "small.yaml", None))
