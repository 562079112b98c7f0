"""Implicit steps: the equations word for word, at the minimiser itself, and refused by name where there is no closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nlc import pipeline
from nlc.diagnostics import CompileError
from nlc.emit import emit_module
from nlc.ir.build import dot
from nlc.ir.program import Program
from nlc.ir.show import expression_text
from nlc.verify.load import load_source
from nlc.verify.oracle import OracleError, run_oracle
from tests.architecture.modules import ROOT
from tests.random_specs.judge import CLOSED, judge

SPEC = """\
nlc: 1
name: Implicit
dims: {{d_k: 4, d_v: 3}}
axes: [heads]
inputs:
  q: [d_k]
  k: [d_k]
  p: [d_k]
  v: [d_v]
  u: [d_v]
  s: []
  beta: {{shape: [], range: [0, 2]}}
  rates: {{shape: [d_v], range: [0, 2]}}
  keep: {{shape: [d_k], range: [0, 1]}}
levels:
  memory:
    memory: {memory}
    objective: {objective}
    optimizer: proximal({rate})
    every: {every}
{more}outputs:
  y: {output}
"""


def spec(objective: str, rate: str = "beta", **changes: str) -> str:
    defaults = {"memory": "matrix(d_v, d_k)", "every": "token", "output": "memory(q)"}
    more = "".join(f"    {key}: {changes[key]}\n" for key in ("retention", "backprop") if key in changes)
    return SPEC.format(**{**defaults, "objective": objective, "rate": rate, "more": more, **changes})


def compiled(text: str, folder: Path) -> Program:
    path = folder / "implicit.yaml"
    path.write_text(text)
    return pipeline.compile_program(path)


ERROR = "0.5 * norm2(memory(k) - v)"
VECTOR = {"memory": "vector(d_k)", "output": "dot(memory, q)"}

LAWS: Mapping[str, tuple[str, tuple[str, ...], bool]] = {
    "one read": (
        spec(ERROR),
        (
            "gradient = outer(prev(memory) @ k - v, k)",
            "implicit_rate = beta / (1 + beta * norm2(k))",
            "memory = prev(memory) - implicit_rate * gradient",
        ),
        True,
    ),
    "a rate for each row": (
        spec(ERROR, "rates"),
        (
            "gradient = outer(prev(memory) @ k - v, k)",
            "implicit_rate = rates / (1 + norm2(k) * rates)",
            "memory = prev(memory) - implicit_rate * gradient",
        ),
        False,
    ),
    "a penalty": (
        spec("-dot(memory(k), v) + 0.5 * norm2(memory)", retention="keep"),
        (
            "retained = keep * prev(memory)",
            "gradient = -outer(v, k) + retained",
            "implicit_rate = beta / (1 + beta)",
            "memory = retained - implicit_rate * gradient",
        ),
        True,
    ),
    "a read and a penalty": (
        spec(f"{ERROR} + 0.1 * norm2(memory)"),
        (
            "gradient = outer(prev(memory) @ k - v, k) + 0.2 * prev(memory)",
            "shrunk_rate = beta / (1 + 0.2 * beta)",
            "implicit_rate = shrunk_rate / (1 + shrunk_rate * norm2(k))",
            "memory = prev(memory) - shrunk_rate * gradient + shrunk_rate * implicit_rate * outer(gradient @ k, k)",
        ),
        True,
    ),
    "a vector": (
        spec("0.5 * (dot(memory, k) - s) ** 2", **VECTOR),
        (
            "gradient = (dot(prev(memory), k) - s) * k",
            "implicit_rate = beta / (1 + beta * norm2(k))",
            "memory = prev(memory) - implicit_rate * gradient",
        ),
        False,
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_word_for_word(name: str, tmp_path: Path) -> None:
    text, expected, is_parallel = LAWS[name]
    program = compiled(text, tmp_path)
    (law,) = program.laws.laws
    assert tuple(f"{item.name} = {expression_text(item.value)}" for item in law.equations) == expected
    assert program.is_parallel == is_parallel


CLOSE = (
    *(text for text, _, _ in LAWS.values()),
    spec(f"{ERROR} + norm2(memory(p) - u)", retention="beta / 2"),
    spec(f"{ERROR} + norm2(memory(p) - u) + 0.1 * norm2(memory)", backprop="none"),
    spec("0.5 * sum(rates * (memory(k) - v) ** 2) + 0.1 * norm2(memory)", "rates"),
    spec(f"{ERROR} + 0.1 * dot(memory(p), prev(memory)(p))"),
    spec(ERROR, "100 * beta"),
    spec(ERROR, "0", retention="keep"),
    spec("0.5 * (dot(memory, k) - s) ** 2 + dot(memory, p) ** 2 + norm2(memory)", **VECTOR),
    spec("0.5 * sum(keep * (memory - k) ** 2)", "keep", **VECTOR),
    spec("-dot(memory(k), v) + 0.5 * norm2(keep * memory)"),
    spec("norm2(memory - v)", memory="vector(d_v)", output="memory"),
)


@pytest.mark.parametrize("text", CLOSE)
def test_every_square_closes(text: str) -> None:
    outcome = judge(text)
    assert (outcome.word, outcome.roundings) == (CLOSED, 0), outcome.detail


REFUSED: Mapping[str, str] = {
    spec("norm(memory(k) - v)"): "its objective is not quadratic in the state: its gradient has norm(memory @ k - v)",
    spec("sum(abs(memory(k) - v))"): "its objective is not quadratic in the state: its gradient has sign(memory @ k - v)",
    spec(
        "dot(memory(k), stop_gradient(memory(p)))"
    ): "its objective is not quadratic in the state: its gradient has stop_gradient(memory @ p)",
    spec("dot(memory(k), memory(p))"): "is neither the state, scaled, nor a read of it along the vector that it was read at",
    spec("norm2(transpose(memory) @ v)"): "is neither the state, scaled, nor a read of it along the vector that it was read at",
    spec("norm2(memory(k)) + norm2(memory(p)) + norm2(memory(q))"): "its objective reads the state at 3 vectors",
    spec("-norm2(memory(k))"): "its objective curves downwards",
    spec(ERROR, "keep"): "its rate or penalty differs between the columns",
    spec(f"{ERROR} + norm2(memory(p))", "rates"): "differ between the rows, and its objective reads the state at two vectors",
    spec("norm2(memory(k))", memory="mlp(d_k, 2, d_v, activation = tanh)"): "its memory has several tensors",
    spec(ERROR, every="4 tokens"): "it moves every 4 tokens",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_by_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        compiled(text, tmp_path)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "NLC401"
    assert REFUSED[text] in diagnostic.message
    assert "`gradient_descent(...)`" in diagnostic.help


def streams(program: Program, sizes: Mapping[str, int]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        item.name: torch.rand(2, 1, sizes["heads"], *(dim.size(sizes) for dim in item.shape), generator=generator, dtype=torch.float64)
        for item in program.model.inputs
    }


def test_the_oracle_is_at_the_minimum(tmp_path: Path) -> None:
    """Whatever moves the oracle's state off its place raises the objective with its penalty."""
    model = compiled(spec(f"{ERROR} + norm2(memory(p) - u) + 0.1 * norm2(memory)"), tmp_path).model
    sizes = {"d_k": 4, "d_v": 3, "heads": 2}
    given = streams(compiled(spec(ERROR), tmp_path), sizes)
    old = torch.rand(2, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    _, final = run_oracle(model, given, sizes, {}, {"memory": old})
    k, p, v, u, beta = (given[name][:, 0] for name in ("k", "p", "v", "u", "beta"))

    def penalised(memory: torch.Tensor) -> torch.Tensor:
        def miss(key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return ((memory @ key[..., None]).squeeze(-1) - value).square().sum(-1)

        kept = 0.1 * memory.square().sum((-1, -2))
        return miss(k, v) / 2 + miss(p, u) + kept + (memory - old).square().sum((-1, -2)) / (2 * beta)

    least = penalised(final["memory"])
    for place in range(12):
        for sign in (-1, 1):
            moved = final["memory"].clone()
            moved.view(2, 2, 12)[..., place] += sign * 1e-4
            assert bool((penalised(moved) > least).all())


def test_the_oracle_refuses_what_is_not_quadratic(tmp_path: Path) -> None:
    model = compiled(spec(ERROR), tmp_path).model
    (component,) = model.components
    quartic = dot(component.objective, component.objective)
    sizes = {"d_k": 4, "d_v": 3, "heads": 2}
    given = streams(compiled(spec(ERROR), tmp_path), sizes)
    with pytest.raises(OracleError, match="quadratic"):
        run_oracle(replace(model, components=(replace(component, objective=quartic, follows=quartic),)), given, sizes, {})


def test_keys_of_any_length_are_learned_by_heart() -> None:
    """As the rate and the keys grow, the step goes to the memory nearest to the old one that answers the key with its value."""
    module = load_source(emit_module(pipeline.compile_program(ROOT / "specs" / "architectures" / "longhorn.yaml"))).Longhorn(
        d_k=4, d_v=3, chunk=4
    )
    generator = torch.Generator().manual_seed(5)
    q, k, v, old = (
        torch.rand(size, dtype=torch.float64, generator=generator) for size in ((1, 1, 1, 4), (1, 1, 1, 4), (1, 1, 1, 3), (1, 1, 3, 4))
    )
    _, new = module(q=q, k=k * 1e30, v=v, beta=torch.ones(1, 1, 1, dtype=torch.float64), state=old)
    unit = k / k.norm()
    torch.testing.assert_close(new, old - (old * unit).sum(-1, keepdim=True) * unit, rtol=1e-14, atol=1e-14)
