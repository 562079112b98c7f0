"""Expressions: what they mean, and what is refused, with the code and the place."""

from __future__ import annotations

import pytest

from nlc.diagnostics import CompileError
from nlc.ir.show import expression_text
from tests.resolve.specs import resolve


def output(text: str, **changes: str) -> str:
    (item,) = resolve(output=text, **changes).outputs
    return expression_text(item.value)


def refusal(**changes: str) -> tuple[str, str, str]:
    """Code, message and the text under the main label."""
    with pytest.raises(CompileError) as caught:
        resolve(**changes)
    diagnostic = caught.value.diagnostics[0]
    return diagnostic.code, diagnostic.message, diagnostic.labels[0].span.text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("memory(q)", "memory @ q"),
        ("prev(memory)(q)", "prev(memory) @ q"),
        ("hold(memory, 2 * 4 tokens)(q)", None),
        ("hold(memory, 8 tokens)(q)", "hold(memory, 8 tokens) @ q"),
        ("hold(memory, period tokens)(q)", "hold(memory, 8 tokens) @ q"),
        ("memory @ q", "memory @ q"),
        ("2 * memory(q) - memory(k)", "2 * (memory @ q) - memory @ k"),
        ("memory(q) / norm(q)", "memory @ q / norm(q)"),
        ("memory(q) + 1", "memory @ q + 1"),
        ("tanh(memory(q))", "tanh(memory @ q)"),
        ("memory(gate * q)", "memory @ (gate * q)"),
        ("(gate * memory)(q)", None),
        ("(eye - beta * outer(v, v)) @ memory(q)", "(eye - beta * outer(v, v)) @ (memory @ q)"),
        ("memory(softmax(q))", "memory @ softmax(q, over = d_k)"),
        ("memory(prev(q))", "memory @ prev(q)"),
        ("memory(prev(q + k))", "memory @ (prev(q) + prev(k))"),
        ("where(beta < 0.5, memory(q), v)", "where(beta < 0.5, memory @ q, v)"),
        ("memory(q) / sqrt(d_k)", "memory @ q / sqrt(d_k)"),
        ("sum(memory, over = d_k)", "sum(memory, over = d_k)"),
        ("mean(v) * v", "sum(v) / d_v * v"),
        ("transpose(memory) @ v", "transpose(memory) @ v"),
        ("maximum(memory(q), 0)", "maximum(memory @ q, 0)"),
        ("rate * v", "rate * v"),
        ("index(heads) * v", "index(heads) * v"),
        ("2 ** (-5 - index(heads)) * v", "2 ** (-5 - index(heads)) * v"),
    ],
)
def test_what_expressions_mean(written: str, meant: str | None) -> None:
    if meant is None:
        with pytest.raises(CompileError):
            output(written)
    else:
        assert output(written) == meant


def test_abbreviations_mean_their_text() -> None:
    assert output("memory(u)", top="let: {u: q + w, w: 2 * k}") == "memory @ (q + 2 * k)"


@pytest.mark.parametrize(
    ("changes", "code", "under"),
    [
        ({"output": "memory(r)"}, "NLC201", "r"),
        ({"output": "memory(q) + q"}, "NLC202", "memory(q)"),
        ({"output": "memory @ v"}, "NLC203", "memory"),
        ({"output": "q(k)"}, "NLC204", "q"),
        ({"output": "dot(q)"}, "NLC205", "dot(q)"),
        ({"objective": "memory(k) - v"}, "NLC206", "memory(k) - v"),
        ({"memory": "tensor(d_v, d_k)"}, "NLC207", "tensor"),
        ({"memory": "matrix(d_v, 0.5)"}, "NLC208", "0.5"),
        ({"level": "keys: k"}, "NLC209", "k"),
        ({"level": "values: v"}, "NLC209", "v"),
        ({"level": "retention: x"}, "NLC210", "x"),
        ({"every": "often"}, "NLC211", "often"),
        ({"every": "0 tokens"}, "NLC212", "0"),
        ({"optimizer": "momentum(rat = 1)"}, "NLC213", "rat"),
        ({"output": "prev(prev(q))"}, "NLC215", "prev(prev(q))"),
        ({"level": "retention: norm(memory)"}, "NLC218", "memory"),
        ({"top": "let: {u: w, w: u}", "output": "memory(u)"}, "NLC219", "w"),
        ({"output": "memory(q) < v"}, "NLC220", "memory(q) < v"),
        ({"output": "sum(q, over = d_v) * v"}, "NLC221", "d_v"),
        ({"output": "memory(v)"}, "NLC222", "v"),
        ({"memory": "like(weights)"}, "NLC223", "like(weights)"),
        ({"memory": "matrix(d, d)", "objective": "norm2(memory(x))", "output": "memory * x"}, "NLC224", "x"),
        ({"objective": "norm2(v)"}, "NLC225", "norm2(v)"),
        ({"output": "hold(memory, 4)(q)"}, "NLC226", "4"),
        ({"memory": "vector(d)", "objective": "norm2(memory - x)", "output": "memory(x)"}, "NLC231", "memory"),
        ({"output": "where(q, k, q)"}, "NLC236", "q"),
        ({"output": "memory.W"}, "NLC237", "memory.W"),
    ],
)
def test_what_is_refused(changes: dict[str, str], code: str, under: str) -> None:
    found, _, text = refusal(**changes)
    assert (found, text) == (code, under)


def test_a_doubling_chain_of_abbreviations_is_refused_quickly() -> None:
    chain = ", ".join(f"a{index}: a{index + 1} + a{index + 1}" for index in range(40))
    assert refusal(top=f"let: {{{chain}, a40: q}}", output="memory(a0)")[0] == "NLC229"


def test_dims_are_compared_by_name_and_not_by_size() -> None:
    assert refusal(top="", memory="matrix(d_v, d_k)", output="memory(q) + x")[0] == "NLC202"


def test_every_mistake_is_reported_at_once() -> None:
    with pytest.raises(CompileError) as caught:
        resolve(objective="memory(k) - v", output="memory(nothing)")
    assert [item.code for item in caught.value.diagnostics] == ["NLC206", "NLC201"]
