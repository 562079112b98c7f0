"""Every kind of expression, printed as torch code, gives the value that it stands for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import pytest
import torch
from torch import Tensor

from nlc.diagnostics import CompileError
from nlc.emit.dims import dim_text, folded
from nlc.emit.functions import SPELLINGS
from nlc.emit.scope import leaf
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Tick
from nlc.ir.dims import Dim
from nlc.ir.maps import MAPS
from tests.emit.systems import emitted_class, inputs_of, program_from, sizes_of

FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        **{name: getattr(torch, name) for name in "exp log sqrt abs sign sin cos sinh cosh tanh sigmoid relu".split()},
        "softplus": lambda x: torch.log1p(torch.exp(x)),
        "silu": lambda x: x * torch.sigmoid(x),
        "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
        "normal_cdf": lambda x: 0.5 * (1 + torch.erf(x / math.sqrt(2))),
        "normal_density": lambda x: torch.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    }
)

Value = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of one token: a (scalar), k (vector), m (matrix)."""

CASES: Mapping[str, Value] = MappingProxyType(
    {
        **{f"{name}(k ** 2 + 0.1)": lambda a, k, m, name=name: FUNCTIONS[name](k**2 + 0.1) for name in MAPS},  # type: ignore[misc]
        **{f"{name}(rate)": lambda a, k, m, name=name: FUNCTIONS[name](torch.tensor(0.3, dtype=torch.float64)) for name in MAPS},  # type: ignore[misc]
        "a - k * a": lambda a, k, m: a - k * a,
        "-(a - 2 * k) / (a + 1) - 0.5": lambda a, k, m: -(a - 2 * k) / (a + 1) - 0.5,
        "k / (k ** 2 + 1 / 3)": lambda a, k, m: k / (k**2 + 1 / 3),
        "(a + 2) ** rate * 2 ** a": lambda a, k, m: (a + 2) ** 0.3 * 2**a,
        "a ** 3 ** 0.5": lambda a, k, m: a ** (3**0.5),
        "maximum(k, 0.25) - minimum(a, rate)": lambda a, k, m: torch.clamp(k, min=0.25) - torch.clamp(a, max=0.3),
        "maximum(rate, 0.5)": lambda a, k, m: torch.tensor(0.5).double(),
        "where(k < a, k, -1)": lambda a, k, m: torch.where(k < a, k, -1.0),
        "where(a <= 0.5, 0.1, 0.7)": lambda a, k, m: torch.where(a <= 0.5, a.new_tensor(0.1), a.new_tensor(0.7)),
        "where(rate > 0.5, k, 2 * k)": lambda a, k, m: 2 * k,
        "softmax(k, over = d_k) + softmax(a * k, over = d_k)": lambda a, k, m: k.softmax(0) + (a * k).softmax(0),
        "norm(k) + norm(m(k)) * norm2(k)": lambda a, k, m: k.norm() + (m @ k).norm() * (k @ k),
        "sum(k) + mean(k) - sum(k * k)": lambda a, k, m: k.sum() + k.mean() - (k * k).sum(),
        "sum(a + 0 * k)": lambda a, k, m: 5 * a,
        "dot(k, softmax(k, over = d_k)) / sqrt(d_k)": lambda a, k, m: (k @ k.softmax(0)) / math.sqrt(5),
        "outer(k, k) @ k": lambda a, k, m: torch.outer(k, k) @ k,
        "transpose(m) @ (m @ k)": lambda a, k, m: m.T @ (m @ k),
        "(2 * eye - a * m) @ k": lambda a, k, m: 2 * k - a * (m @ k),
        "m @ m @ k - norm(m) * k": lambda a, k, m: m @ m @ k - m.norm() * k,
        "inner(m, transpose(m)) + sum(m)": lambda a, k, m: (m * m.T).sum() + m.sum(),
        "stop_gradient(k) + d_k * k": lambda a, k, m: 6 * k,
    }
)

SPEC = """
nlc: 1
name: Printed
dims: {{d_k: 5}}
hyperparameters: {{rate: 0.3}}
inputs: {{a: [], k: [d_k]}}
levels:
  m:
    memory: matrix(d_k, d_k)
    objective: 0.5 * norm2(m(k) - k)
    optimizer: gradient_descent(a)
    every: token
outputs: {{y: "{expression}"}}
"""


@pytest.mark.parametrize("expression", CASES)
def test_value(expression: str) -> None:
    try:
        program = program_from(SPEC.format(expression=expression))
    except CompileError as error:
        pytest.fail(f"the case is no longer in the language: {error}")
    sizes = sizes_of(program)
    inputs = inputs_of(program, sizes, batch=1, tokens=4)
    module = emitted_class(program)()
    memory = torch.zeros(5, 5, dtype=torch.float64)
    for t in range(4):
        a, k = inputs["a"][0, t], inputs["k"][0, t]
        memory = memory - a * torch.outer(memory @ k - k, k)
        wanted = CASES[expression](a, k, memory)
        for run in (module, module.forward_by_token):
            found = run(**inputs)[0][0, t]
            assert found.shape == wanted.shape
            assert torch.allclose(found, wanted.to(found.dtype), rtol=1e-12, atol=1e-14), run


def test_every_function_of_the_language_has_a_spelling() -> None:
    assert set(SPELLINGS) == set(MAPS)


def test_what_torch_code_cannot_say_is_a_diagnostic() -> None:
    with pytest.raises(CompileError) as error:
        TorchPrinter(lambda node: leaf(node, {}), "x").text(Tick("memory"))
    assert error.value.diagnostics[0].code == "NLC602"


def test_dims_as_integer_expressions() -> None:
    d, heads = Dim.named("d"), Dim.named("heads")
    two = Dim.number(2)
    texts = {
        dim_text(d, str): "d",
        dim_text(d / heads, str): "d // heads",
        dim_text(d * heads + two, str): "2 + d * heads",
        dim_text((d * d + d) / two, str): "(d + d**2) // 2",
        dim_text(d - two, str): "d - 2",
        dim_text(two, str): "2",
        dim_text(d / heads + d, str): "(d + d * heads) // heads",
    }
    assert list(texts) == list(texts.values())


def test_sizes_that_follow_from_others_are_called_by_their_names() -> None:
    d, heads, four = Dim.named("d"), Dim.named("heads"), Dim.number(4)
    derived = {"d_head": d / heads, "wide": four * d}
    texts = {
        str(folded(d / heads, derived)): "d_head",
        str(folded(four * d / heads, derived)): "4 * d_head",
        str(folded(d * d / heads, derived)): "d * d_head",
        str(folded(four * d, derived)): "wide",
        str(folded(d, derived)): "d",
        str(folded(heads / d, derived)): str(heads / d),
    }
    assert list(texts) == list(texts.values())
