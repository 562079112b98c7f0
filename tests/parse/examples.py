"""Texts for the tests of the parse stage, and short forms of what comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nlc.diagnostics import CompileError, Diagnostic
from nlc.ir.spec import Binary, Call, Comparison, Duration, Function, Listing, Name, Negate, Number, Syntax
from nlc.parse.expressions import parse_expression
from nlc.parse.nodes import MappingNode, Scalar
from nlc.parse.texts import source_of
from nlc.parse.yaml_nodes import read_yaml

DELTA = """\
nlc: 1
name: DeltaRule
says: A matrix memory.
cites: [nl:eq-65, deltanet]
dims: {d_k: 64, d_v: 64, d_all: d_k + d_v}
axes: [heads]
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  beta: {shape: [], range: [0, 1], every: token / 2, axes: []}
let:
  error: prev(memory)(k) - v
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: l2
    optimizer: gradient_descent(learning_rate = beta)
    every: token
outputs: {y: memory(q)}
claims:
  - says: the write is the delta rule
    prove: memory == prev(memory) - beta * outer(error, k)
    cites: nl:eq-65
  - says: one level
    order: memory > memory
    expect: refuted
"""

MOMENTUM = """\
nlc: 1
name: Momentum
kind: optimizer
inputs: {gradient: like(weights)}
hyperparameters: {learning_rate: 1e-3}
levels:
  momentum:
    memory: like(weights)
    objective: inner(momentum, gradient)
    optimizer: gradient_descent(learning_rate)
    every: step
  weights:
    objective: -inner(weights, momentum)
    optimizer: gradient_descent(1)
    every: step
"""


def spec_text(*, without: tuple[str, ...] = (), **keys: str) -> str:
    """A small valid spec with some of its top-level lines replaced, added or left out."""
    lines = {
        "nlc": "1",
        "name": "Small",
        "inputs": "{k: [], v: []}",
        "levels": "{memory: {memory: vector(1), objective: l2, every: token}}",
        "outputs": "{y: memory}",
    }
    lines |= keys
    return "".join(f"{key}: {value}\n" for key, value in lines.items() if key not in without)


def scalar_of(value: str) -> Scalar:
    """The scalar that YAML makes of `key: value`."""
    tree = read_yaml(source_of(f"key: {value}\n", "test.yaml"))
    assert isinstance(tree, MappingNode)
    scalar = tree.entries[0].value
    assert isinstance(scalar, Scalar)
    return scalar


def expression(value: str) -> Syntax:
    return parse_expression(scalar_of(value))


def form(syntax: Syntax) -> str:
    """The tree with every grouping in brackets."""
    match syntax:
        case Name(text):
            return text
        case Number(value):
            return str(value)
        case Negate(operand):
            return f"(-{form(operand)})"
        case Binary(operator, left, right):
            return f"({form(left)} {operator} {form(right)})"
        case Comparison(operands, operators):
            rest = (f" {operator} {form(operand)}" for operator, operand in zip(operators, operands[1:], strict=True))
            return f"({form(operands[0])}{''.join(rest)})"
        case Call(function, arguments, keywords):
            inside = [*map(form, arguments), *(f"{name.text}={form(value)}" for name, value in keywords)]
            return f"{form(function)}({', '.join(inside)})"
        case Duration(count, unit):
            return f"<{form(count)} {unit}>"
        case Function(parameters, body):
            return f"({', '.join(item.text for item in parameters)} -> {form(body)})"
        case Listing(items):
            return f"[{', '.join(map(form, items))}]"


def mistakes(action: Callable[[], object]) -> tuple[Diagnostic, ...]:
    """The diagnostics of an action that must fail."""
    try:
        result = action()
    except CompileError as error:
        return error.diagnostics
    raise AssertionError(f"accepted: {result}")


def codes(action: Callable[[], object]) -> list[str]:
    return [item.code for item in mistakes(action)]


def write(folder: Path, **files: str) -> Path:
    """Write `specs/GROUP/NAME.yaml` for each `GROUP__NAME = text`; returns the folder of specs."""
    for name, text in files.items():
        path = folder / "specs" / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "specs"
